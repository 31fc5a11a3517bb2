//! The kinds of steps of the task: `split ─► (profiles ─► embeddings ─►) (pretrain ─►) fit ─► predict ─► evaluate`. Evaluation, and rankings from files, are those
//! of every task that ranks (`tasks/shared/steps/`).

mod fit;
mod predict;
mod pretrain;
mod split;
mod texts;

pub use fit::{FitStats, FitStep};
pub use predict::{PredictStats, PredictStep};
pub use pretrain::{PretrainStep, Pretrained};
pub use split::{SplitStep, check_split};
pub use texts::ItemTextsStep;

/// Kinds of steps, in the order in which they run.
pub const KINDS: [&str; 7] =
    ["split", "profiles", "embeddings", "pretrain", "fit", "predict", "evaluate"];
