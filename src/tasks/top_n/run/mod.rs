//! Runs a plan: order, workers, locks between processes, interrupts, events.

mod executor;
mod rerank;
mod steps;
mod task;
mod texts;

pub use executor::{Options, run};
pub use texts::ANSWERS;

/// Why a step did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Interrupted(#[from] crate::base::interrupt::Interrupted),
    #[error(transparent)]
    Data(crate::data::DataError),
    #[error(transparent)]
    Model(crate::tasks::top_n::models::ModelError),
    #[error(transparent)]
    Text(crate::text::TextError),
    #[error(transparent)]
    Llm(crate::llm::LlmError),
    #[error(transparent)]
    Eval(crate::ranking::EvalError),
    #[error(transparent)]
    Store(#[from] crate::base::files::FileError),
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

impl From<crate::tasks::top_n::models::ModelError> for StepError {
    fn from(error: crate::tasks::top_n::models::ModelError) -> Self {
        match error {
            crate::tasks::top_n::models::ModelError::Interrupted(interrupted) => {
                Self::Interrupted(interrupted)
            }
            crate::tasks::top_n::models::ModelError::Data(error) => error.into(),
            error => Self::Model(error),
        }
    }
}

impl From<crate::ranking::EvalError> for StepError {
    fn from(error: crate::ranking::EvalError) -> Self {
        match error {
            crate::ranking::EvalError::Interrupted(interrupted) => Self::Interrupted(interrupted),
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

impl From<crate::base::arrays::ArrayError> for StepError {
    fn from(error: crate::base::arrays::ArrayError) -> Self {
        Self::Model(error.into())
    }
}

impl From<crate::nn::NnError> for StepError {
    fn from(error: crate::nn::NnError) -> Self {
        crate::text::TextError::from(error).into()
    }
}
