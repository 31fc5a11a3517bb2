//! What a number's meaning rests on, in one short hash.

use serde::{Deserialize, Serialize};

use super::{Convention, Protocol};
use crate::base::hash::Digest;

/// Numbers with different fingerprints do not compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub data: String,
    /// Which interactions of the data are used, where not all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Hash of how the data was split; of all folds where there are several.
    pub split: String,
    pub relevant: String,
    pub protocol: Protocol,
    /// Settings of the protocol, where it has some.
    pub protocol_settings: String,
    pub convention: Convention,
    pub ties: String,
    /// What users without history get, where that is not what is popular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Which items are not ranked, where the task leaves a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    pub k: usize,
    /// Which users means are over.
    pub users: String,
}

impl Fingerprint {
    /// Ten hexadecimal digits.
    pub fn short(&self) -> String {
        Digest::of_json(self).to_string()[..10].to_owned()
    }
}
