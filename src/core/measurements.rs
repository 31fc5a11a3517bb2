//! What a step that evaluates leaves: values by unit, their means, and what there is to know of a metric. All
//! that comes after evaluation works on these, whatever the task.

use serde::{Deserialize, Serialize};

/// What one column is of: `ndcg` at the cutoff 10 under a protocol and a convention.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeasureKey {
    pub protocol: String,
    pub convention: String,
    pub metric: String,
    pub k: usize,
}

/// Values of one system on one fold with one seed.
#[derive(Clone, Debug)]
pub struct Measurements {
    /// What a row is: `user`.
    pub unit: &'static str,
    /// By row.
    pub ids: Vec<String>,
    /// What repeats over folds and may repeat within one, by row; none where that is the unit itself. Chance is
    /// among clusters: intervals draw them, not rows.
    pub clusters: Option<Vec<String>>,
    /// Slices, and which rows belong to each.
    pub slices: Vec<(String, Vec<bool>)>,
    /// Of metrics that are means over units.
    pub columns: Vec<MeasureKey>,
    /// Row-major `[rows, columns]`; NaN where a unit is not in a mean.
    pub values: Vec<f64>,
    /// Metrics of all units together, which no single unit has.
    pub pooled: Vec<MeasureKey>,
    /// Whether a unit is among those that such a metric rests on, row-major `[rows, pooled]`.
    pub in_pooled: Vec<bool>,
}

impl Measurements {
    /// Which rows belong to a slice; none do where the slice was not measured.
    pub fn members(&self, slice: &str) -> Vec<bool> {
        let known = self.slices.iter().find(|(name, _)| name == slice);
        known.map_or_else(|| vec![false; self.ids.len()], |(_, members)| members.clone())
    }

    /// By row.
    pub fn clusters(&self) -> &[String] {
        self.clusters.as_ref().unwrap_or(&self.ids)
    }

    /// The values of a row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns.len()..][..self.columns.len()]
    }
}

/// One mean over the units of a slice, or one value of all of them together.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    pub key: MeasureKey,
    pub slice: String,
    /// None where no unit is in the mean.
    pub value: Option<f64>,
    /// How many units the value rests on.
    pub n: usize,
    pub caveats: Caveats,
}

/// What readers of a mean must know of the users behind it. Counts are of the slice's users with a relevant item in
/// the test part, whatever the metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caveats {
    /// Users with a relevant item; on rows over several folds, pairs of a user and a fold.
    pub users: usize,
    /// Those of them whose candidates at the ranks k and k + 1 have equal scores: which one is within the cutoff is
    /// the tie rule's doing.
    pub tied_users: usize,
    /// Those of them without a rating in the training part.
    pub users_without_history: usize,
    /// The value that the tie rule `random` would give, where a telling share of lists is tied and the rule is
    /// another one.
    pub random_ties: Option<f64>,
}

impl Caveats {
    /// The share of users whose list was decided by a tie.
    pub fn tied_share(&self) -> f64 {
        self.tied_users as f64 / self.users.max(1) as f64
    }
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
    /// It describes; nothing is best.
    Neither,
}

/// How a metric comes from its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// The mean of the units' values.
    Mean,
    /// That divided by their standard deviation.
    MeanOverSd,
    /// One value of all units together.
    Pooled,
}

/// What is drawn for an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resample {
    /// Clusters, each with all its rows.
    Clusters,
    /// Runs of rows that follow each other in time.
    Blocks,
    /// Nothing: there is no interval.
    Nothing,
}

/// What there is to know of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MetricInfo {
    /// What experiment files call it.
    pub name: &'static str,
    /// What papers call it.
    pub title: &'static str,
    pub better: Better,
    pub aggregate: Aggregate,
    pub resample: Resample,
}

impl MetricInfo {
    /// A mean over units of which more is better; intervals draw clusters.
    pub const fn mean(name: &'static str, title: &'static str) -> Self {
        let (better, aggregate) = (Better::Higher, Aggregate::Mean);
        Self { name, title, better, aggregate, resample: Resample::Clusters }
    }

    /// The same, of which neither more nor less is better.
    pub const fn described(self) -> Self {
        Self { better: Better::Neither, ..self }
    }

    /// One value of all units, without an interval.
    pub const fn pooled(self) -> Self {
        Self { aggregate: Aggregate::Pooled, resample: Resample::Nothing, ..self }
    }

    /// The best of some values; none where no value is better than another.
    pub fn best(&self, values: impl Iterator<Item = f64>) -> Option<f64> {
        match self.better {
            Better::Higher => values.reduce(f64::max),
            Better::Lower => values.reduce(f64::min),
            Better::Neither => None,
        }
    }
}
