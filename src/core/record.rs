//! What is written down beside a result: everything it depends on, and what it cost.

use serde::{Deserialize, Serialize};

use super::StepStats;
use crate::base::hash::Digest;

/// The record of one finished step (`record.json`). The only file of a step that differs between
/// two runs of the same step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub kind: String,
    pub key: Digest,
    pub label: String,
    /// What the key is the hash of.
    pub key_inputs: serde_json::Value,
    /// The steps it was made from, and what they held then.
    pub inputs: Vec<InputRecord>,
    /// The steps that those were made from, and so on: where one in between is gone, these still say whether
    /// the result is that of what is there now.
    #[serde(default)]
    pub earlier: Vec<InputRecord>,
    /// Version and fields of what it counted, e.g. the number of users.
    pub stats_version: u32,
    pub stats: serde_json::Value,
    /// What readers of the results must know, a sentence each.
    pub warnings: Vec<String>,
    pub files: Vec<FileRecord>,
    pub wall_seconds: f64,
    /// CPU time of all threads of the step.
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

impl Record {
    /// What the step counted.
    pub fn stats<S: StepStats>(&self) -> Result<S, String> {
        if self.stats_version != S::VERSION {
            return Err(format!(
                "its statistics have version {}; this program reads version {}",
                self.stats_version,
                S::VERSION
            ));
        }
        serde_json::from_value(self.stats.clone()).map_err(|error| error.to_string())
    }

    /// What a step held when this one was made from it, directly or through others.
    pub fn made_from(&self, key: Digest) -> Option<Digest> {
        let steps = self.inputs.iter().chain(&self.earlier);
        steps.into_iter().find(|of| of.key == key).map(|of| of.content)
    }

    /// Digest of its files: what steps that read it depend on.
    pub fn content(&self) -> Digest {
        let files: Vec<_> = self.files.iter().map(|file| (&file.name, file.blake3)).collect();
        Digest::of_json(&files)
    }
}

/// A step that another one was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputRecord {
    pub name: String,
    pub kind: String,
    pub key: Digest,
    /// Digest of its files when it was read.
    pub content: Digest,
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
    /// Which build of assay it was: a hash of its sources, dependencies, compiler and flags.
    pub program: String,
    /// Versions of the libraries numbers go through, from Cargo.lock.
    pub libraries: Vec<(String, String)>,
    /// Git revision of the directory the experiment file lies in, where it is in a repository.
    pub revision: Option<String>,
    /// Whether files there differed from that revision.
    pub dirty: Option<bool>,
}
