//! The part of a step's record about generated texts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Repair, Source};
use crate::llm::LlmStats;

/// Profiles of items or of users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextStats {
    /// Texts by source.
    pub from: BTreeMap<Source, usize>,
    /// Number of items; none for profiles of users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
    /// Number of users; none for profiles of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_title: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_overview: Option<usize>,
    /// Items with at least one review of a training interaction, if profiles contain reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_reviews: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmdb: Option<TmdbStats>,
    /// Rows of a file with identifiers that are not in the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_about_other_items: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_about_other_users: Option<usize>,
    /// The data that a file of user profiles was written from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_leak: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmStats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<WritingStats>,
}

/// Profiles written by a language model, in addition to [`LlmStats`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WritingStats {
    /// Rule-based profiles instead of missing or unusable responses.
    pub fallbacks: usize,
    /// Repairs of profiles, by kind.
    #[serde(rename = "slips")]
    pub repairs: BTreeMap<Repair, usize>,
    /// Words outside the vocabulary that were omitted.
    pub outside_vocabulary: usize,
}

/// Overviews from The Movie Database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TmdbStats {
    #[serde(rename = "asked_for")]
    pub requested: usize,
    pub found: usize,
    pub not_found: usize,
    /// The notice that the terms of TMDB require.
    pub notice: String,
}
