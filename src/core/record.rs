//! Records of finished steps: everything a result depends on, and its cost.

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
    /// The key is the hash of these.
    pub key_inputs: serde_json::Value,
    /// Its input steps, with digests of their content.
    pub inputs: Vec<InputRecord>,
    /// The inputs of those steps, and so on: if a step in between is missing, these still tell whether the result is
    /// current.
    #[serde(default)]
    pub earlier: Vec<InputRecord>,
    /// Version and fields of its statistics, e.g. the number of users.
    pub stats_version: u32,
    pub stats: serde_json::Value,
    /// Warnings for readers of the results, a sentence each.
    pub warnings: Vec<String>,
    pub files: Vec<FileRecord>,
    pub wall_seconds: f64,
    /// CPU time of all threads of the step.
    pub cpu_seconds: f64,
    /// Peak memory of the process at the end of the step.
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
    /// Statistics of the step.
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

    /// Digest of the content of a direct or indirect input when this step ran.
    pub fn made_from(&self, key: Digest) -> Option<Digest> {
        let steps = self.inputs.iter().chain(&self.earlier);
        steps.into_iter().find(|of| of.key == key).map(|of| of.content)
    }

    /// Digest of its files, which dependent steps record.
    pub fn content(&self) -> Digest {
        let files: Vec<_> = self.files.iter().map(|file| (&file.name, file.blake3)).collect();
        Digest::of_json(&files)
    }
}

/// An input step.
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

/// Machine and program that ran a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub host: String,
    pub os: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub assay: String,
    /// The build of assay: a hash of its sources, dependencies, compiler and flags.
    pub program: String,
    /// Versions of the libraries that affect numbers, from Cargo.lock.
    pub libraries: Vec<(String, String)>,
    /// Git revision of the directory of the experiment file, if it is in a repository.
    pub revision: Option<String>,
    /// Whether files there differed from that revision.
    pub dirty: Option<bool>,
}
