//! Results of an evaluation step: values by unit, their means, and properties of metrics. Everything after evaluation
//! works on these, whatever the task.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Columns;

/// A column: e.g. `ndcg` at the cutoff 10 under a protocol and a convention.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeasureKey {
    pub protocol: String,
    pub convention: String,
    pub metric: String,
    pub k: usize,
}

/// Values of one system on one fold with one seed. Units and columns are shared between copies.
#[derive(Clone, Debug)]
pub struct Measurements {
    /// The kind of unit: `user`.
    pub unit: &'static str,
    /// By row.
    pub ids: Arc<[String]>,
    /// The cluster of each row, which may occur in several folds and rows; none if it is the unit itself. Intervals
    /// resample clusters, not rows.
    pub clusters: Option<Arc<[String]>>,
    /// Slices, and which rows belong to each.
    pub slices: Vec<(String, Arc<[bool]>)>,
    /// Columns of metrics that are means over units.
    pub columns: Vec<MeasureKey>,
    /// By column, then by row; NaN where a unit is not in a mean.
    pub values: Vec<Arc<[f64]>>,
    /// Metrics over all units together, without values by unit.
    pub pooled: Vec<MeasureKey>,
    /// Whether such a metric uses a unit, by metric, then by row.
    pub in_pooled: Vec<Arc<[bool]>>,
}

impl Measurements {
    /// Of units that are their own clusters, from values row by row, `[rows, columns]`.
    pub fn of_rows(
        unit: &'static str,
        ids: Vec<String>,
        slices: Vec<(String, Vec<bool>)>,
        columns: Vec<MeasureKey>,
        values: &[f64],
    ) -> Self {
        let column = |at: usize| values.iter().skip(at).step_by(columns.len()).copied().collect();
        Self {
            unit,
            values: (0..columns.len()).map(column).collect(),
            ids: ids.into(),
            clusters: None,
            slices: slices.into_iter().map(|(name, of)| (name, of.into())).collect(),
            columns,
            pooled: Vec::new(),
            in_pooled: Vec::new(),
        }
    }

    /// Which rows belong to a slice; none if the slice was not evaluated.
    pub fn members(&self, slice: &str) -> Arc<[bool]> {
        let known = self.slices.iter().find(|(name, _)| name == slice);
        known.map_or_else(|| vec![false; self.ids.len()].into(), |(_, members)| members.clone())
    }

    /// By row.
    pub fn clusters(&self) -> &Arc<[String]> {
        self.clusters.as_ref().unwrap_or(&self.ids)
    }

    /// In these columns. Pooled metrics have no values by unit, and come only with all.
    pub fn in_columns(&self, columns: Columns) -> Self {
        match columns {
            Columns::All => self.clone(),
            Columns::Of(_) => self.narrowed(&|key| columns.has(key)),
        }
    }

    /// Those columns that are wanted, without pooled metrics.
    pub fn narrowed(&self, is_wanted: &dyn Fn(&MeasureKey) -> bool) -> Self {
        let columns = self.columns.iter().zip(&self.values);
        let wanted = columns.filter(|(key, _)| is_wanted(key));
        let (columns, values) = wanted.map(|(key, of)| (key.clone(), of.clone())).unzip();
        Self {
            unit: self.unit,
            ids: self.ids.clone(),
            clusters: self.clusters.clone(),
            slices: self.slices.clone(),
            columns,
            values,
            pooled: Vec::new(),
            in_pooled: Vec::new(),
        }
    }
}

/// A mean over the units of a slice, or a value of all units together.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    pub key: MeasureKey,
    pub slice: String,
    /// None if no unit is in the mean.
    pub value: Option<f64>,
    /// Number of units of the value.
    pub n: usize,
    pub caveats: Caveats,
}

/// Counts of the users of a mean. They refer to users of the slice with a relevant item in the test part, whatever the
/// metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caveats {
    /// Users with a relevant item; on rows over several folds, pairs of a user and a fold.
    pub users: usize,
    /// Those of them whose candidates at the ranks k and k + 1 have equal scores, so that the tie rule decides which one
    /// is within the cutoff.
    pub tied_users: usize,
    /// Those of them without a rating in the training part.
    pub users_without_history: usize,
    /// The value under the tie rule `random`, if many lists are tied and the rule is another one.
    pub random_ties: Option<f64>,
}

impl Caveats {
    /// Share of users whose list is decided by a tie.
    pub fn tied_share(&self) -> f64 {
        self.tied_users as f64 / self.users.max(1) as f64
    }
}

/// Direction of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
    /// Descriptive: no value is better.
    Neither,
}

/// How a metric aggregates its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// The mean of the units' values.
    Mean,
    /// The mean divided by the standard deviation.
    MeanOverSd,
    /// One value over all units.
    Pooled,
}

/// What an interval resamples.
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

/// Properties of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MetricInfo {
    /// Its name in experiment files.
    pub name: &'static str,
    /// Its name in papers.
    pub title: &'static str,
    pub better: Better,
    pub aggregate: Aggregate,
    pub resample: Resample,
}

impl MetricInfo {
    /// A mean over units where higher is better; intervals resample clusters.
    pub const fn mean(name: &'static str, title: &'static str) -> Self {
        let (better, aggregate) = (Better::Higher, Aggregate::Mean);
        Self { name, title, better, aggregate, resample: Resample::Clusters }
    }

    /// A descriptive mean over units.
    pub const fn described(self) -> Self {
        Self { better: Better::Neither, ..self }
    }

    /// One value over all units, without an interval.
    pub const fn pooled(self) -> Self {
        Self { aggregate: Aggregate::Pooled, resample: Resample::Nothing, ..self }
    }

    /// The best of some values; none for descriptive metrics.
    pub fn best(&self, values: impl Iterator<Item = f64>) -> Option<f64> {
        match self.better {
            Better::Higher => values.reduce(f64::max),
            Better::Lower => values.reduce(f64::min),
            Better::Neither => None,
        }
    }
}
