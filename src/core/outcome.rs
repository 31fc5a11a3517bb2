//! How a run ended.

use serde::{Deserialize, Serialize};

use super::Machine;
use crate::{base::hash::Digest, llm::Spent};

/// A trial that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub trial: String,
    /// The step that failed: `fit als u1 seed 1`
    pub step: String,
    pub cause: String,
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub record: RunRecord,
    pub interrupted: bool,
    /// A step failed because a response is not recorded or the budget is used up.
    pub lacks_responses: bool,
    /// All failures are errors of the user's data or files.
    pub bad_input: bool,
    /// A step failed because a disk is full.
    pub disk_full: bool,
    /// A step ended by an internal error, or because no thread could be started.
    pub internal: bool,
    /// The run ended although steps were not finished: an internal error.
    pub undone: bool,
}

/// The record of a run (`run.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    pub run: String,
    pub experiment: String,
    /// What replaced values of the experiment file, `path=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// The name of its directories: that of the experiment, unless another file has it. Empty in records of earlier
    /// versions.
    #[serde(default)]
    pub slot: String,
    /// The experiment file.
    #[serde(default)]
    pub file: String,
    /// The files of the experiment as they were, path and text.
    pub sources: Vec<(String, String)>,
    /// The experiment with all included files merged.
    pub resolved: serde_json::Value,
    /// Hash of the data's source files, by setting.
    pub data: Vec<String>,
    /// Files that steps read: data, prompts, texts, rankings.
    #[serde(default)]
    pub files: Vec<FileDigest>,
    pub machine: Machine,
    pub threads: usize,
    /// Seconds since 1970.
    pub started: u64,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_memory_bytes: u64,
    pub steps_done: usize,
    pub steps_reused: usize,
    pub failures: Vec<Failure>,
    /// Requests to language models and their cost, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
    pub finished: bool,
}

/// A file that steps read, as it was when the run was planned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileDigest {
    pub what: String,
    pub digest: Digest,
}

impl RunRecord {
    /// The name of the experiment's directories.
    pub fn slot(&self) -> &str {
        if self.slot.is_empty() { &self.experiment } else { &self.slot }
    }
}

/// Description of a run, for its record.
#[derive(Clone, Debug)]
pub struct RunHeader {
    pub experiment: String,
    /// Replacements of values of the experiment file, `path=value`.
    pub overrides: Vec<String>,
    /// The name of its directories.
    pub slot: String,
    /// The experiment file.
    pub file: String,
    /// The files of the experiment as they are, path and text.
    pub sources: Vec<(String, String)>,
    /// The experiment with all included files merged.
    pub resolved: serde_json::Value,
    /// Digest of the data's source files, by variant.
    pub data: Vec<String>,
    /// Directory of the experiment file.
    pub directory: std::path::PathBuf,
}
