//! The kinds of steps of the task: `split ─► (pretrain ─►) fit ─► predict ─► evaluate`. Evaluation, and rankings from files, are those
//! of every task that ranks (`tasks/shared/steps/`).

mod fit;
mod predict;
mod pretrain;
mod split;

pub use fit::{FitStats, FitStep};
pub use predict::{PredictStats, PredictStep};
pub use pretrain::{PretrainStep, Pretrained};
pub use split::{SplitStep, check_split};

/// Kinds of steps, in the order in which they run.
pub const KINDS: [&str; 5] = ["split", "pretrain", "fit", "predict", "evaluate"];
