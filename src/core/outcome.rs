//! How a run ended.

use serde::{Deserialize, Serialize};

use super::Machine;
use crate::llm::Spent;

/// A trial that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub trial: String,
    /// The step that failed: `fit als u1 seed 1`
    pub step: String,
    pub cause: String,
}

/// What a run leaves behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub record: RunRecord,
    pub interrupted: bool,
    /// A step ended for want of a recorded response, or of money.
    pub unanswered: bool,
    /// Every failure is that of data or files that the user gave.
    pub bad_input: bool,
    /// A step ended for want of space on a disk.
    pub disk_full: bool,
    /// A step ended by an internal error, or for want of threads.
    pub internal: bool,
    /// The run ended although steps were left to do: an internal error.
    pub undone: bool,
}

/// The record of a run (`run.json`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    pub run: String,
    pub experiment: String,
    /// The files of the experiment as they were, path and text.
    pub sources: Vec<(String, String)>,
    /// The experiment with everything included filled in.
    pub resolved: serde_json::Value,
    /// Hash of the data's source files, by setting.
    pub data: Vec<String>,
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
    /// What language models were asked and cost, where any was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
    pub finished: bool,
}

/// What a run is of, for its record.
#[derive(Clone, Debug)]
pub struct RunHeader {
    pub experiment: String,
    /// The files of the experiment as they are, path and text.
    pub sources: Vec<(String, String)>,
    /// The experiment with everything included filled in.
    pub resolved: serde_json::Value,
    /// Digest of the data's source files, by variant.
    pub data: Vec<String>,
    /// Where the experiment file lies.
    pub directory: std::path::PathBuf,
}
