//! Means of a run, kept with its record, and what differs between two runs.

use serde::{Deserialize, Serialize};

use super::{MEAN, ResultRow};

/// The file of a run that holds its means.
pub const MEANS: &str = "means.json";

/// One mean over folds and seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunMean {
    pub system: String,
    pub protocol: String,
    pub convention: String,
    pub slice: String,
    pub metric: String,
    pub k: usize,
    pub value: Option<f64>,
    pub n_users: usize,
    pub fingerprint: String,
}

impl RunMean {
    /// Those of a table of results.
    pub fn all(rows: &[ResultRow]) -> Vec<Self> {
        let means = rows.iter().filter(|row| row.fold == MEAN);
        let mean = |row: &ResultRow| Self {
            system: row.system.clone(),
            protocol: row.protocol.clone(),
            convention: row.convention.clone(),
            slice: row.slice.clone(),
            metric: row.metric.clone(),
            k: row.k,
            value: row.value,
            n_users: row.n_users,
            fingerprint: row.fingerprint.clone(),
        };
        means.map(mean).collect()
    }

    /// What it is the mean of.
    pub fn label(&self) -> String {
        let Self { system, protocol, convention, slice, metric, k, .. } = self;
        format!("{system} {protocol} {convention} {slice} {metric}@{k}")
    }
}

/// Labels of recorded means that are not there `now`, or have another value.
pub fn changed_means(recorded: &[RunMean], now: &[RunMean]) -> Vec<String> {
    let by_label: std::collections::HashMap<String, &RunMean> =
        now.iter().map(|mean| (mean.label(), mean)).collect();
    let is_same = |mean: &RunMean| {
        by_label.get(&mean.label()).is_some_and(|now| match (mean.value, now.value) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 && mean.n_users == now.n_users,
            (a, b) => a == b,
        })
    };
    recorded.iter().filter(|mean| !is_same(mean)).map(RunMean::label).collect()
}

/// A mean that differs between two runs; none in one of them if it was not computed there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeanDifference {
    pub label: String,
    pub first: Option<RunMean>,
    pub second: Option<RunMean>,
}

impl MeanDifference {
    /// Every mean that differs, in the order of the first run, then those of the second alone.
    pub fn all(first: &[RunMean], second: &[RunMean]) -> Vec<Self> {
        use std::collections::HashMap;
        let by_label = |means: &[RunMean]| -> HashMap<String, RunMean> {
            means.iter().map(|mean| (mean.label(), mean.clone())).collect()
        };
        let (of_first, of_second) = (by_label(first), by_label(second));
        let alone = second.iter().filter(|mean| !of_first.contains_key(&mean.label()));
        let labels = first.iter().chain(alone).map(RunMean::label);
        labels
            .filter_map(|label| {
                let (first, second) = (of_first.get(&label), of_second.get(&label));
                (first != second).then(|| Self {
                    first: first.cloned(),
                    second: second.cloned(),
                    label,
                })
            })
            .collect()
    }
}
