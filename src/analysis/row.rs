//! A row of the tidy table of results.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::{Caveats, Mean};

/// What all numbers of a setting go by, for the notes under tables; each empty where there is nothing to
/// say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Basis {
    /// What each filter of the data removed.
    pub filter: String,
    /// `rating >= 4 (the data set's rule)`
    pub relevant: String,
    /// `lower item id first`
    pub ties: String,
    /// What users without history are recommended.
    pub fallback: String,
    /// A note on the split.
    pub split: String,
}

/// One value of one metric. `fold` is a fold's name or `mean`; `n_users` is how many users the value is
/// a mean over, each counted once, and `n_pairs` how many pairs of a user and a fold.
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
    /// `None` if no user qualifies.
    pub value: Option<f64>,
    /// For metrics of all lists, such as gini: users with a list.
    pub n_users: usize,
    pub n_pairs: usize,
    /// Standard deviation over folds (of means over seeds), on rows of two folds or more.
    pub sd_folds: Option<f64>,
    /// Standard deviation over seeds within a fold, pooled over folds, on rows of two seeds or more.
    pub sd_seeds: Option<f64>,
    /// Short fingerprint of data, split and rules of the number.
    pub fingerprint: String,
    /// The ends of the 95 % bootstrap interval over users, where it was asked for and there is one.
    pub low: Option<f64>,
    pub high: Option<f64>,
    #[serde(flatten)]
    pub caveats: Caveats,
    #[serde(skip)]
    pub basis: Arc<Basis>,
    /// Whether the system is an oracle, which uses the test part and is excluded from comparisons.
    #[serde(skip)]
    pub knows_test: bool,
    /// Whether no response of its language model could be used, so that its lists are its base's; excluded from
    /// comparisons.
    #[serde(skip)]
    pub lacks_responses: bool,
    /// The slice of users with lists of the system itself, if not all users.
    #[serde(skip)]
    pub own_lists_of: Option<String>,
    /// The training data of the system, if it differs from the experiment's.
    #[serde(skip)]
    pub learns_from: Option<String>,
    /// Whether there is a row with the seed `mean` for its fold, which tables show instead.
    #[serde(skip)]
    pub one_of_several: bool,
    /// Whether the system depends on the seed.
    #[serde(skip)]
    pub is_seeded: bool,
    /// Whether an interval was asked for; with too few users there is none.
    #[serde(skip)]
    pub interval_asked: bool,
}

impl ResultRow {
    /// The row of a mean over the users of one fold.
    pub fn of_mean(
        experiment: &str,
        system: &str,
        (fold, seed): (&str, String),
        mean: &Mean,
        fingerprint: String,
    ) -> Self {
        Self {
            experiment: experiment.to_owned(),
            system: system.to_owned(),
            fold: fold.to_owned(),
            seed,
            protocol: mean.key.protocol.clone(),
            convention: mean.key.convention.clone(),
            slice: mean.slice.clone(),
            metric: mean.key.metric.clone(),
            k: mean.key.k,
            value: mean.value,
            n_users: mean.n,
            n_pairs: mean.n,
            sd_folds: None,
            sd_seeds: None,
            fingerprint,
            low: None,
            high: None,
            caveats: mean.caveats,
            basis: Arc::default(),
            knows_test: false,
            lacks_responses: false,
            own_lists_of: None,
            learns_from: None,
            one_of_several: false,
            is_seeded: false,
            interval_asked: false,
        }
    }

    /// A template for tests.
    #[cfg(test)]
    pub fn example() -> Self {
        Self {
            experiment: "e".into(),
            system: "s".into(),
            fold: "u1".into(),
            seed: "1".into(),
            protocol: "full".into(),
            convention: "standard".into(),
            slice: "all".into(),
            metric: "ndcg".into(),
            k: 10,
            value: None,
            n_users: 0,
            n_pairs: 0,
            sd_folds: None,
            sd_seeds: None,
            fingerprint: "f".into(),
            low: None,
            high: None,
            caveats: Caveats::default(),
            basis: Arc::default(),
            knows_test: false,
            lacks_responses: false,
            own_lists_of: None,
            learns_from: None,
            one_of_several: false,
            is_seeded: true,
            interval_asked: false,
        }
    }
}
