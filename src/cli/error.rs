//! Every error a command can end with, and its exit code.

use crate::{
    base::{
        exit::Exit,
        files::{FileError, is_disk_full},
        yaml::Diagnostic,
    },
    core::StepError,
    data::DataError,
    llm::LlmError,
    ranking::EvalError,
    report::ReportError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Spec(#[from] Diagnostic),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Store(#[from] FileError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// Of a step, before it was run.
    #[error(transparent)]
    Step(#[from] StepError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NoResults(String),
    #[error("internal error: {0}")]
    Internal(String),
    /// HyperQueue cannot be used.
    #[error("HyperQueue: {0}")]
    Queue(String),
    /// The program with libtorch is missing or of another build.
    #[error(
        "{0}\n  = help: a second program, `assay-tensors`, fits networks and encodes texts; build both \
         with `cargo build --release`, and keep them in one directory"
    )]
    NoProgram(String),
    /// The program with libtorch does not find it.
    #[error(
        "a step fits a network or encodes texts; this needs the libraries of PyTorch 2.11.0: {said}\n  = help: \
         {help}"
    )]
    NoLibtorch { said: String, help: String },
    #[error(
        "{table} is not comparable with the results\n  {}\n  = help: correct the description of the published table, \
         or compare anyway with --anyway",
        .differs.join("\n  ")
    )]
    NotComparable { table: String, differs: Vec<String> },
}

impl CliError {
    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            _ if is_disk_full(self) => Exit::DiskFull,
            Self::Data(DataError::Interrupted(_)) | Self::Step(StepError::Interrupted(_)) => {
                Exit::Interrupted
            }
            Self::Internal(_) => Exit::Bug,
            Self::Step(StepError::Internal(_) | StepError::NoThreads(_)) => Exit::Bug,
            Self::NoResults(_) | Self::NotComparable { .. } => Exit::Inconclusive,
            Self::Report(ReportError::Template(_) | ReportError::Json(_)) | Self::Json(_) => {
                Exit::Bug
            }
            _ => Exit::Usage,
        }
    }
}
