//! Rankings and what they are worth: top-k, files of rankings, protocols, conventions, metrics, slices.

pub mod convention;
pub mod files;
pub mod fingerprint;
pub mod metric;
pub mod open;
pub mod predictions;
pub mod protocol;
mod rankings;
pub mod score;
pub mod score_files;
mod scorer;
pub mod scores;
pub mod slice;
pub mod spec;
pub mod stored;
pub mod ties;
pub mod topk;

pub use convention::Convention;
pub use fingerprint::Fingerprint;
pub use metric::{METRICS, Metric, Spelling};
pub use open::{
    OpenFold, Opening, OracleJudgement, evaluate_fold, open_for_candidates, open_for_oracle,
    score_fold,
};
pub use predictions::{Candidates, PredictSpec, Prediction, Predictions, PredictionsWriter};
pub use protocol::Protocol;
pub use rankings::{List, Rankings, UNKNOWN};
pub use score::{Labels, Source, score, score_finite};
pub use scorer::Scorer;
pub use scores::{EvalError, Scores, Summary};
pub use slice::Slice;
pub use spec::{Fallback, LAST_CUTOFF, ScoreSpec};
pub use ties::{TELLING_SHARE, Ties};
pub use topk::top_k_by;
