//! What is written down beside a result: everything it depends on, and what it cost.

use serde::{Deserialize, Serialize};

use crate::base::hash::Digest;

/// The record of one finished step (`record.json`). The only file of a step that differs between
/// two runs of the same step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub kind: String,
    pub key: Digest,
    pub label: String,
    /// What the key is the hash of.
    pub material: serde_json::Value,
    /// Counts and hashes found while working, e.g. the number of users.
    pub facts: serde_json::Value,
    pub files: Vec<FileRecord>,
    pub wall_seconds: f64,
    /// Processor time of all threads of the step.
    pub cpu_seconds: f64,
    /// Most memory the process had held by the end of the step.
    pub peak_memory_bytes: u64,
    pub threads: usize,
    /// Seconds since 1970.
    pub finished: u64,
    pub machine: Machine,
    /// Hash of all of the above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Digest>,
}

/// One file of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub name: String,
    pub bytes: u64,
    pub blake3: Digest,
}

/// Where and with what a step was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub host: String,
    pub os: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub assay: String,
    /// Hash of the program itself.
    pub program: String,
    /// Versions of the libraries numbers go through, from Cargo.lock.
    pub libraries: Vec<(String, String)>,
    /// Git revision of the directory the experiment file lies in, where it is in a repository.
    pub revision: Option<String>,
    /// Whether files there differed from that revision.
    pub dirty: Option<bool>,
}
