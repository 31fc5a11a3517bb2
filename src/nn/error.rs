//! Why tensors could not be had or computed.

use crate::{
    base::{interrupt::Interrupted, programs::NoTensors},
    data::DataError,
};

/// Why tensors could not be had or computed.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("{path}: {source}")]
    Io { path: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    NoTensors(#[from] NoTensors),
    #[error("{0}")]
    Unsuitable(String),
    /// A number left the range of floats.
    #[error("{0}")]
    Diverged(String),
}
