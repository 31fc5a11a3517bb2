//! One row of the tidy long table of results.

use serde::{Deserialize, Serialize};

use crate::eval::Summary;

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
    /// Whether the system is an oracle, which knows the test part: nothing is compared with it.
    #[serde(skip)]
    pub knows_test: bool,
    /// The slice whose users alone have lists of the system's own, where that is not everybody.
    #[serde(skip)]
    pub own_lists_of: Option<String>,
}

impl ResultRow {
    /// The row of a mean over the users of one fold.
    pub fn of_mean(
        experiment: &str,
        system: &str,
        (fold, seed): (&str, String),
        mean: &Summary,
        fingerprint: String,
    ) -> Self {
        Self {
            experiment: experiment.to_owned(),
            system: system.to_owned(),
            fold: fold.to_owned(),
            seed,
            protocol: mean.protocol.to_string(),
            convention: mean.convention.to_string(),
            slice: mean.slice.to_string(),
            metric: mean.metric.to_string(),
            k: mean.k,
            value: mean.value,
            sd: None,
            n_users: mean.n_users,
            fingerprint,
            low: None,
            high: None,
            knows_test: false,
            own_lists_of: None,
        }
    }
}
