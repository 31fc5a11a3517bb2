//! Why a step did not finish.

use std::path::PathBuf;

use crate::{
    base::{
        arrays::ArrayError,
        files::{FileError, is_disk_full},
        interrupt::Interrupted,
        panics::{is_lack_of_threads, no_threads},
    },
    llm::LlmError,
};

/// Why a step did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Llm(LlmError),
    #[error(transparent)]
    File(#[from] FileError),
    /// An error of a task.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// A file or setting of the user cannot be used; the same for every trial.
    #[error(transparent)]
    BadInput(Box<dyn std::error::Error + Send + Sync>),
    #[error("it needs about {}, but the memory limit is {}\n  = help: raise it with `--memory`", gib(*needed), gib(*budget))]
    Memory { needed: u64, budget: u64 },
    /// An input cannot be used.
    #[error("{step} is damaged: {problem}\n  = help: remove {} and run again to rebuild it", dir.display())]
    Input { step: String, problem: String, dir: PathBuf },
    /// A file has changed since the experiment was planned.
    #[error(
        "{what}: {problem}\n  = help: run the experiment again to plan it with the current file"
    )]
    Changed { what: String, problem: String },
    #[error("internal error: {0}\n  = help: please report it with the log of this trial")]
    Internal(String),
    #[error("{}", no_threads(.0))]
    NoThreads(String),
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

impl StepError {
    /// A panic or another bug of assay.
    pub fn internal(problem: String) -> Self {
        match is_lack_of_threads(&problem) {
            true => Self::NoThreads(problem),
            false => Self::Internal(problem),
        }
    }

    /// An error of a task.
    pub fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(error))
    }

    /// Whether it failed because a disk is full. The journal's thread reports errors as text.
    pub fn is_disk_full(&self) -> bool {
        let codes = [libc::ENOSPC, libc::EFBIG, libc::EDQUOT];
        match self {
            Self::Llm(LlmError::Store(text)) => {
                codes.iter().any(|code| text.contains(&format!("(os error {code})")))
            }
            error => is_disk_full(error),
        }
    }

    /// Whether it failed because a response is not recorded or the budget is used up.
    pub fn lacks_responses(&self) -> bool {
        matches!(self, Self::Llm(LlmError::ReplayMisses(_) | LlmError::Budget(_)))
    }
}

impl From<LlmError> for StepError {
    fn from(error: LlmError) -> Self {
        match error {
            LlmError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Llm(error),
        }
    }
}

impl From<ArrayError> for StepError {
    fn from(error: ArrayError) -> Self {
        Self::failed(error)
    }
}
