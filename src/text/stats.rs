//! What the record of a step says of the texts that the step made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Slip, Source};
use crate::llm::LlmStats;

/// Profiles of items or of users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextStats {
    /// Texts by source.
    pub from: BTreeMap<Source, usize>,
    /// All items; none where the profiles are of users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
    /// All users; none where the profiles are of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_title: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_overview: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmdb: Option<TmdbStats>,
    /// Rows of a file whose identifiers the data set does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_about_other_items: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_about_other_users: Option<usize>,
    /// What a file of user profiles was written from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_leak: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmStats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<WritingStats>,
}

/// Profiles written by a language model, beside what [`LlmStats`] counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WritingStats {
    /// Rule-based profiles in place of what could not be written or read.
    pub fallbacks: usize,
    /// Repairs of profiles, by kind.
    pub slips: BTreeMap<Slip, usize>,
    /// Words outside the vocabulary that were omitted.
    pub outside_vocabulary: usize,
}

/// Overviews from The Movie Database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TmdbStats {
    pub asked_for: usize,
    pub found: usize,
    pub not_found: usize,
    /// What their terms ask to be shown.
    pub notice: String,
}
