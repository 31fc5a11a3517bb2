//! The kinds of steps of the task, one file each.
//!
//! ```text
//! split ─► (reviews ─►) (profiles ─► embeddings ─►) (search ─►) fit ─► predict ──────────► evaluate
//!                                                                └───► rerank ─► explain     ▲
//!                                                                         └──────────────────┘
//! ```

mod command;
mod explain;
mod fit;
mod learning;
mod predict;
mod profiles;
mod rerank;
mod reviews;
mod search;
mod split;

pub use command::{CommandRun, CommandSearchStep, CommandStats, CommandStep};
pub use explain::{ExplainStats, ExplainStep};
pub use fit::{FitStats, FitStep};
pub use learning::Learning;
pub use predict::{FittedModel, PredictStats, PredictStep};
pub use profiles::{
    Authors, ItemProfilesStep, ProfilesStats, PromptedEndpoint, UserProfilesStep, Written,
};
pub use rerank::{JudgeInputs, RerankStats, RerankStep};
pub use reviews::{ReviewsStats, ReviewsStep};
pub use search::{SearchStats, SearchStep};
pub use split::{CutStep, FoldsOf, SplitStep, check_split};

/// Kinds of steps, in the order in which they run.
pub const KINDS: [&str; 10] = [
    "split",
    "reviews",
    "profiles",
    "embeddings",
    "search",
    "fit",
    "predict",
    "rerank",
    "explain",
    "evaluate",
];

pub use crate::tasks::shared::steps::{
    EmbeddingsStats, EmbeddingsStep, EvaluateStats, EvaluateStep, ExternalStats, ExternalStep,
    SplitStats, output,
};

/// Keys of the responses of language models that a step used.
pub const RESPONSES: &str = "answers.json";
