//! One row of the tidy long table of results.

use serde::{Deserialize, Serialize};

/// One value of one metric. `fold` is a fold's name or `mean`; `n_users` is how many users
/// the value is a mean over (for `mean` rows: the sum over folds).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    pub experiment: String,
    pub system: String,
    pub fold: String,
    /// The seed as text; `mean` on rows that are means over seeds.
    pub seed: String,
    pub protocol: String,
    pub convention: String,
    pub slice: String,
    pub metric: String,
    pub k: usize,
    /// `None` where no user qualifies.
    pub value: Option<f64>,
    /// Standard deviation over folds and seeds; only on `mean` rows of two values or more.
    pub sd: Option<f64>,
    pub n_users: usize,
    /// Short fingerprint of everything the number's meaning rests on.
    pub fingerprint: String,
    /// The ends of the 95 % bootstrap interval over users, where it was asked for and there is one.
    pub low: Option<f64>,
    pub high: Option<f64>,
}
