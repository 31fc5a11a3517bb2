//! Search of settings on a validation part taken from the training part, without access to the test part.

mod candidates;
mod run;
mod spec;
mod trials;

use serde::Serialize;

pub(super) use self::trials::{choose, chosen_of};
pub use self::{
    spec::{Levels, Over, Range, SearchSpec},
    trials::{SearchBest, SearchSummary, SearchTrial, TRIALS, read_trials, write_trials},
};
use super::models::ModelSpec;

/// A search with the model of every trial.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// With the names that settings have in keys of steps.
    pub spec: SearchSpec,
    /// What was asked for in each trial, as text, with the same names.
    pub labels: Vec<String>,
    /// All are the same model, with the same texts; there is at least one.
    pub candidates: Vec<ModelSpec>,
    /// The labels with the names of files.
    #[serde(skip)]
    pub shown: Vec<String>,
    /// What has to be said of the trials.
    #[serde(skip)]
    pub note: Option<String>,
}

impl Search {
    /// Any of the models, for properties that all share.
    pub(super) fn first(&self) -> &ModelSpec {
        // invariant: a validated search has a trial
        &self.candidates[0]
    }
}
