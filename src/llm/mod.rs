//! Language models: asked over HTTP, answers kept in a journal, never lost and never paid for twice.
//!
//! `answers` is the store: a journal that is on disk before an answer is used, and an index made of it.
//! `client` opens all that, `asker` is what others call, `worker` the thread that asks: limits, retries, budget (`spent`). `judge` is what an experiment says of both.

pub mod answers;
mod asker;
mod batch;
pub mod cassette;
mod claim;
pub mod client;
#[cfg(test)]
mod dialects;
pub mod explain;
mod index;
pub mod journal;
mod judge;
pub mod key;
mod keys;
mod limits;
pub mod reply;
mod spent;
pub mod structured;
mod transport;
mod worker;

use std::path::Path;

pub use answers::Answers;
pub use asker::{Answer, Asker, Chat, LlmStats, Outcome, Tally};
pub use client::Llm;
pub use index::Counts;
pub use judge::{AnswersSpec, Budget, Failures, JudgeSpec, Mode, Price, Structured};
pub use keys::{Allowed, KeyUse};
pub use spent::Spent;

/// Where answers are kept in a workspace.
pub const DIRECTORY: &str = "answers";

/// Why an answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    #[error(transparent)]
    Interrupted(#[from] crate::base::interrupt::Interrupted),
    /// An answer that a replay wanted and did not find.
    #[error("no recorded answer for {}", .0.about)]
    Miss(Box<Miss>),
    /// All of a step's, told together.
    #[error("{0}")]
    Missing(String),
    /// The budget does not allow the next request.
    #[error("{0}")]
    Budget(String),
    /// A request failed for good; others may not.
    #[error("{0}")]
    Failed(String),
    /// No request to this endpoint will do.
    #[error("{0}")]
    Hopeless(String),
    /// The journal or its index.
    #[error("{0}")]
    Store(String),
}

/// A request that a replay found no answer to.
#[derive(Clone, Debug, PartialEq)]
pub struct Miss {
    pub key: String,
    pub about: String,
    /// The canonical request.
    pub request: serde_json::Value,
}

impl LlmError {
    pub(crate) fn store(path: &Path, error: std::io::Error) -> Self {
        Self::Store(format!("{}: {error}", path.display()))
    }
}

/// The first digits of a key, for people.
pub fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}
