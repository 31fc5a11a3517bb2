//! The kinds of steps of the task, one file each.
//!
//! ```text
//! split ─► (profiles ─► embeddings ─►) (search ─►) fit ─► predict ──────────► evaluate
//!                                                   └───► rerank ─► explain     ▲
//!                                                            └──────────────────┘
//! ```

mod command;
mod embeddings;
mod evaluate;
mod explain;
mod external;
mod fit;
mod learning;
mod predict;
mod profiles;
mod rerank;
mod search;
mod split;

pub use command::{CommandRun, CommandSearchStep, CommandStats, CommandStep};
pub use embeddings::{EmbeddingsStats, EmbeddingsStep};
pub use evaluate::{EvaluateStats, EvaluateStep};
pub use explain::{ExplainStats, ExplainStep};
pub use external::{ExternalStats, ExternalStep};
pub use fit::{FitStats, FitStep};
pub use learning::Learning;
pub use predict::{FittedModel, PredictStats, PredictStep};
pub use profiles::{Asked, Authors, ItemProfilesStep, ProfilesStats, UserProfilesStep, Written};
pub use rerank::{JudgeInputs, RerankStats, RerankStep};
pub use search::{SearchStats, SearchStep};
pub use split::{CutStep, SplitStats, SplitStep, check_split, filter_notes};

/// Kinds of steps, in the order in which they run.
pub const KINDS: [&str; 9] = [
    "split",
    "profiles",
    "embeddings",
    "search",
    "fit",
    "predict",
    "rerank",
    "explain",
    "evaluate",
];

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

/// Keys of the responses of language models that a step used.
pub const RESPONSES: &str = "answers.json";
