//! Why a step did not finish.

use std::path::PathBuf;

use crate::{
    base::{
        arrays::ArrayError,
        exit::Exit,
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
    /// An input step is not done.
    #[error("its input, {step}, is not done yet\n  = help: run that step first")]
    NotReady { step: String },
    /// A file has changed since the experiment was planned.
    #[error(
        "{what}: {problem}\n  = help: run the experiment again to plan it with the current file"
    )]
    Changed { what: String, problem: String },
    /// A process of another machine has taken its lease, because this one did not run for a while.
    #[error(
        "another machine has taken this step over, because this process did not run for a while"
    )]
    Lost,
    /// It failed in another process.
    #[error("{0}")]
    Elsewhere(super::FailedElsewhere),
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
        if let Self::Elsewhere(failed) = self {
            return failed.exit == Exit::DiskFull as u8;
        }
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
        match self {
            Self::Elsewhere(failed) => failed.exit == Exit::ReplayMiss as u8,
            error => matches!(error, Self::Llm(LlmError::ReplayMisses(_) | LlmError::Budget(_))),
        }
    }

    /// Whether it is an error of assay, or no thread could be started.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Elsewhere(failed) => failed.exit == Exit::Bug as u8,
            error => matches!(error, Self::Internal(_) | Self::NoThreads(_)),
        }
    }

    /// Whether a file or a setting of the user cannot be used.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Elsewhere(failed) => failed.exit == Exit::Usage as u8,
            error => matches!(error, Self::BadInput(_)),
        }
    }

    /// Whether the step should be tried again as it is.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Interrupted(_) | Self::Lost)
    }

    /// The exit code of a process that ran only this step.
    pub fn exit(&self) -> Exit {
        match self {
            error if error.is_temporary() => Exit::Interrupted,
            error if error.is_disk_full() => Exit::DiskFull,
            error if error.is_internal() => Exit::Bug,
            error if error.is_bad_input() => Exit::Usage,
            error if error.lacks_responses() => Exit::ReplayMiss,
            _ => Exit::TrialsFailed,
        }
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
