//! Language models: requests over HTTP, and a journal of responses, so that no response is lost or paid for twice.
//!
//! `responses` is the store: a journal, which contains a response before it is used, and an index built from it.
//! `client` opens the store; other modules call `session`; the thread in `worker` sends requests and applies limits,
//! retries and the budget (`spent`). `endpoint` contains the settings of an experiment for all of this.

mod batch;
pub mod cassette;
mod claim;
pub mod client;
#[cfg(test)]
mod dialects;
mod endpoint;
pub mod explain;
mod index;
pub mod journal;
pub mod key;
mod keys;
mod limits;
pub mod reply;
pub mod responses;
mod session;
mod spent;
pub mod structured;
mod transport;
mod worker;

use std::path::Path;

pub use client::Llm;
pub use endpoint::{Budget, EndpointSpec, Failures, Mode, Price, ResponsesSpec, Structured};
pub use index::Counts;
pub use keys::{Allowed, KeyUse};
pub use responses::Responses;
pub use session::{Chat, LlmSession, LlmStats, Outcome, Response, Tally};
pub use spent::Spent;

/// The directory of responses in a workspace. Its name is older than the word *response*.
pub const DIRECTORY: &str = "answers";

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    #[error(transparent)]
    Interrupted(#[from] crate::base::interrupt::Interrupted),
    /// A replay needs a response that is not recorded.
    #[error("no recorded response for {}", .0.about)]
    ReplayMiss(Box<ReplayMiss>),
    /// All such responses of a step in one message.
    #[error("{0}")]
    ReplayMisses(String),
    /// The budget does not allow the next request.
    #[error("{0}")]
    Budget(String),
    /// A request failed after all retries; other requests may succeed.
    #[error("{0}")]
    Failed(String),
    /// No request to this endpoint can succeed.
    #[error("{0}")]
    Fatal(String),
    /// The journal or its index.
    #[error("{0}")]
    Store(String),
}

/// A request of a replay without a recorded response.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayMiss {
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

/// The first digits of a key, for messages.
pub fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}
