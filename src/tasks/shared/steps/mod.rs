//! Steps that rank and evaluate, whatever the task.

mod embeddings;
mod evaluate;
mod external;

use serde::{Deserialize, Serialize};

pub use embeddings::{EmbeddingsStats, EmbeddingsStep};
pub use evaluate::{EvaluateStats, EvaluateStep};
pub use external::{ExternalStats, ExternalStep, Folds};

use crate::{base::hash::Digest, core::StepStats, data::FilterEffect};

/// Outputs of steps.
pub mod output {
    /// A fold: training, validation and the sealed test part.
    pub enum Split {}
    /// Texts of items or of users.
    pub enum Profiles {}
    /// Embeddings of such texts.
    pub enum Vectors {}
    /// Trials of a search.
    pub enum SearchTrials {}
    /// A fitted model.
    pub enum Model {}
    /// [`crate::ranking::Predictions`].
    pub enum Predictions {}
    /// Explanations of reranked lists.
    pub enum Explanations {}
    /// Values per user, and their means.
    pub enum Values {}
}

/// Sizes and digests of a fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitStats {
    pub users: usize,
    pub items: usize,
    pub train: usize,
    pub validation: usize,
    pub test: usize,
    /// Of the data set; none of a cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_hash: Option<Digest>,
    pub split_hash: Option<Digest>,
    pub names_hash: Option<Digest>,
    /// What each filter removed before the split, in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEffect>,
    /// Irregularities of the data set's files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Notes on the split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split_notes: Vec<String>,
}

impl StepStats for SplitStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.split_notes.clone()
    }
}

/// What each filter removed, a line each.
pub fn filter_notes(effects: &[FilterEffect]) -> Vec<String> {
    effects.iter().map(|effect| format!("filter {effect}")).collect()
}
