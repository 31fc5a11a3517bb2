//! Texts about items and users: profiles, their embeddings, and features of nodes.
//!
//! Profiles of items are the same in every fold; profiles of users are made from a fold's training part.

mod features;
mod import;
mod integrated;
mod make;
mod metadata;
mod profile;
mod profiles;
mod prompt;
mod reviewed;
mod sandbox;
mod spec;
mod stats;
mod template;
mod tmdb;
mod written;

pub use features::{Embeddings, Features, ReviewVectors};
pub use import::FileSpec;
pub use make::{GeneratedProfiles, GenerationContext, profiles_of_items, profiles_of_users};
pub use metadata::{ItemFacts, MetadataSpec};
pub use profile::{Profile, Repair};
pub use profiles::{FILE as PROFILES, Profiles, Source};
pub use prompt::{Prompt, PromptFile, number};
pub use reviewed::{ItemReviews, ReviewedItems};
pub use spec::{ItemProfiles, ProfilesSpec, TextSpec, UserProfiles};
pub use stats::{TextStats, TmdbStats, WritingStats};

use crate::{base::interrupt::Interrupted, data::DataError, llm::LlmError, nn::NnError};

/// Why texts could not be generated or encoded.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Data(DataError),
    #[error(transparent)]
    Llm(LlmError),
    #[error("{path}: {source}")]
    Io { path: std::path::PathBuf, source: std::io::Error },
    #[error("{0}")]
    Unsuitable(String),
}

impl From<DataError> for TextError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Data(error),
        }
    }
}

impl From<LlmError> for TextError {
    fn from(error: LlmError) -> Self {
        match error {
            LlmError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Llm(error),
        }
    }
}

impl From<NnError> for TextError {
    fn from(error: NnError) -> Self {
        match error {
            NnError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            NnError::Data(error) => error.into(),
            NnError::Io { path, source } => Self::Io { path, source },
            NnError::NoTensors(error) => Self::Unsuitable(error.to_string()),
            NnError::Unsuitable(problem) | NnError::Diverged(problem) => Self::Unsuitable(problem),
        }
    }
}

impl From<TextError> for crate::core::StepError {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            TextError::Llm(error) => error.into(),
            TextError::Data(error) => error.into(),
            error => Self::failed(error),
        }
    }
}
