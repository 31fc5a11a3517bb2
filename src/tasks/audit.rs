//! The key `audit:` of an experiment file: what `assay audit` has to know, and findings that are accepted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `assay audit`. They change no result and no key of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSpec {
    /// Accepted findings: the id of a check with a reason, or with a reason for each of some systems.
    pub allow: BTreeMap<String, Allow>,
    /// The systems that are proposed. The others are their baselines.
    pub proposed: Vec<String>,
    /// Ablations: systems that are claimed to differ in one factor.
    pub contrasts: Vec<Contrast>,
}

/// Reasons to accept findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Allow {
    /// For all findings of the check.
    All(String),
    /// By system.
    Some(BTreeMap<String, String>),
}

impl Allow {
    /// The reason to accept a finding about `subject`.
    pub fn reason(&self, subject: &str) -> Option<&str> {
        match self {
            Self::All(reason) => Some(reason),
            Self::Some(reasons) => reasons.get(subject).map(String::as_str),
        }
    }
}

/// Systems that are claimed to differ in one factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// Two or more systems.
    pub arms: Vec<String>,
    /// The settings that make up the factor, such as `text` or `cosine`; a setting includes those below it.
    pub factor: Vec<String>,
}

/// Whether `name`, which may be a system before its sweeps, stands for the system `full`, such as
/// `als[factors=32]`.
pub fn names_system(name: &str, full: &str) -> bool {
    full == name || full.strip_prefix(name).is_some_and(|levels| levels.starts_with('['))
}
