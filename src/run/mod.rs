//! Runs a plan: order, workers, locks between processes, interrupts, events.

pub mod event;
mod executor;
mod machine;
mod measure;
mod outcome;
mod rerank;
mod steps;
mod task;
mod texts;

pub use event::{Event, Reporter};
pub use executor::{Options, run};
pub use machine::machine;
pub use outcome::{Failure, Outcome, RunRecord};
pub use texts::ANSWERS;

/// Why a step did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Interrupted(#[from] crate::interrupt::Interrupted),
    #[error(transparent)]
    Data(crate::data::DataError),
    #[error(transparent)]
    Model(crate::model::ModelError),
    #[error(transparent)]
    Text(crate::text::TextError),
    #[error(transparent)]
    Llm(crate::llm::LlmError),
    #[error(transparent)]
    Eval(crate::eval::EvalError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("it needs about {} and the budget is {}\n  = help: raise it with `--memory`", gib(*needed), gib(*budget))]
    Memory { needed: u64, budget: u64 },
    /// What it reads cannot be used.
    #[error("{step} is damaged: {problem}\n  = help: remove {} and run again: it is made anew", dir.display())]
    Input { step: String, problem: String, dir: std::path::PathBuf },
    #[error("internal error: {0}\n  = help: please report it with the log of this trial")]
    Panic(String),
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

impl From<crate::data::DataError> for StepError {
    fn from(error: crate::data::DataError) -> Self {
        match error {
            crate::data::DataError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Data(error),
        }
    }
}

impl From<crate::model::ModelError> for StepError {
    fn from(error: crate::model::ModelError) -> Self {
        match error {
            crate::model::ModelError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            crate::model::ModelError::Data(error) => error.into(),
            error => Self::Model(error),
        }
    }
}

impl From<crate::eval::EvalError> for StepError {
    fn from(error: crate::eval::EvalError) -> Self {
        match error {
            crate::eval::EvalError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Eval(error),
        }
    }
}

impl From<crate::text::TextError> for StepError {
    fn from(error: crate::text::TextError) -> Self {
        match error {
            crate::text::TextError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            crate::text::TextError::Data(error) => error.into(),
            error => Self::Text(error),
        }
    }
}

impl From<crate::llm::LlmError> for StepError {
    fn from(error: crate::llm::LlmError) -> Self {
        match error {
            crate::llm::LlmError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Llm(error),
        }
    }
}
