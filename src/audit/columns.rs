//! The columns that conclusions are drawn from, and users' values in them.

use std::sync::Arc;

use super::{Subject, threads};
use crate::{
    analysis::{
        Bootstrap, MEAN, Paired, ResultRow, Units, compare, differences, main_cutoff,
        trials_by_system,
    },
    core::{Better, Columns, MeasureKey},
    tasks::{PublishedTable, SystemRecord, TrialRecord, VariantRecord, metric},
};

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub key: MeasureKey,
    pub slice: String,
    /// A fold's name, or `mean`.
    pub fold: String,
}

impl Column {
    /// The column that `assay table` and `assay compare` show first: the first protocol, convention and slice, nDCG or
    /// the first metric of which more or less is better, at the cutoff 10 or the largest. None without such a metric.
    pub fn main(variant: &VariantRecord) -> Option<Self> {
        let of = || variant.evaluations.iter();
        let k = main_cutoff(of().map(|of| of.k))?;
        let first = of().find(|of| of.k == k)?;
        let ranked: Vec<&String> = variant.metrics.iter().filter(|name| is_ranked(name)).collect();
        let metric = ranked.iter().find(|name| **name == "ndcg").or(ranked.first())?;
        let key = MeasureKey {
            protocol: first.protocol.clone(),
            convention: first.convention.clone(),
            metric: (*metric).clone(),
            k,
        };
        Some(Self { key, slice: variant.slices.first()?.clone(), fold: MEAN.into() })
    }

    /// The columns of a published table.
    pub fn of_published(table: &PublishedTable) -> Vec<Self> {
        let about = &table.about;
        let mut columns: Vec<Self> = Vec::new();
        for (metric, _) in table.rows.iter().flat_map(|row| &row.values) {
            let key = MeasureKey {
                protocol: about.protocol.name().into(),
                convention: about.convention.name().into(),
                metric: metric.name().into(),
                k: about.k,
            };
            let column = Self { key, slice: about.slice.to_string(), fold: about.fold.clone() };
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Whether a row shows it.
    pub fn is_of(&self, row: &ResultRow) -> bool {
        (&row.protocol, &row.convention, &row.metric, row.k, &row.slice)
            == (&self.key.protocol, &self.key.convention, &self.key.metric, self.key.k, &self.slice)
    }

    /// `ndcg@10 (full, standard, all)`
    pub fn name(&self) -> String {
        let MeasureKey { protocol, convention, metric, k } = &self.key;
        format!("{metric}@{k} ({protocol}, {convention}, {})", self.slice)
    }

    /// Whether less is better.
    pub fn is_lower_better(&self) -> bool {
        metric(&self.key.metric).is_some_and(|of| of.better == Better::Lower)
    }
}

/// Whether a value of a metric is better than another.
pub fn is_ranked(name: &str) -> bool {
    metric(name).is_some_and(|of| of.better != Better::Neither)
}

/// Of a paired comparison; the paired means need no intervals here.
const FEW_RESAMPLES: Bootstrap = Bootstrap { resamples: 8, seed: 42 };

/// A system of a variant with its finished trials.
#[derive(Clone, Debug)]
pub struct Arm<'a> {
    pub name: &'a str,
    pub record: &'a SystemRecord,
    pub trials: Vec<&'a TrialRecord>,
}

impl<'a> Subject<'a> {
    /// Systems with finished trials, in the order of the experiment file.
    pub fn arms(&self) -> Vec<Arm<'a>> {
        self.systems().into_iter().map(|trials| self.arm(trials)).collect()
    }

    /// All systems with all of their trials, whether they are finished or not.
    pub fn planned_arms(&self) -> Vec<Arm<'a>> {
        let all: Vec<&'a TrialRecord> = self.experiment.trials.iter().collect();
        trials_by_system(&all).into_iter().map(|trials| self.arm(trials)).collect()
    }

    fn arm(&self, trials: Vec<&'a TrialRecord>) -> Arm<'a> {
        Arm { name: &trials[0].name, record: self.system(trials[0]), trials }
    }

    /// Those of a variant.
    pub fn arms_of(&self, variant: usize) -> Vec<Arm<'a>> {
        self.arms().into_iter().filter(|arm| arm.trials[0].variant == variant).collect()
    }

    /// Published tables whose data and settings are those of the results.
    pub fn published(&self) -> Vec<&'a PublishedTable> {
        let experiment = self.experiment;
        let tables = experiment.published.iter();
        tables.filter(|table| differences(table, experiment).is_empty()).collect()
    }

    /// Values of a system's users: every metric beside its variant's main column, and the published columns.
    pub fn units(&self, arm: &Arm) -> Result<Arc<Units>, String> {
        let first = arm.trials[0];
        self.units.get((first.variant, arm.name.to_owned()), || {
            let variant = &self.experiment.variants[first.variant];
            let mut keys: Vec<MeasureKey> = self
                .published()
                .into_iter()
                .flat_map(Column::of_published)
                .map(|column| column.key)
                .collect();
            if let Some(main) = Column::main(variant) {
                let of_metric =
                    |metric: &String| MeasureKey { metric: metric.clone(), ..main.key.clone() };
                keys.extend(variant.metrics.iter().map(of_metric));
            }
            let read = |trial: &TrialRecord| {
                let columns = Columns::Of(&keys);
                let measured = self.experiment.measurements(self.workspace, trial, columns);
                measured.map_err(|error| error.to_string())
            };
            let measured = threads::each(&arm.trials, |trial| read(trial));
            let mut units = Units::default();
            for (trial, measured) in arm.trials.iter().zip(measured) {
                units.add(&trial.fold, measured?);
            }
            Ok(units)
        })
    }

    /// The differences of two systems in a column; none where they have no user in common.
    pub fn paired(&self, arms: [&Arm; 2], column: &Column) -> Result<Option<Paired>, String> {
        let units = [self.units(arms[0])?, self.units(arms[1])?];
        let place = (column.fold.as_str(), column.slice.as_str());
        let found =
            compare([&units[0], &units[1]], place, &|key| *key == column.key, FEW_RESAMPLES);
        Ok(found.into_iter().next())
    }

    /// The mean of a system in a column, over seeds, and over folds where the column is of the fold `mean`.
    pub fn mean(&self, arm: &Arm, column: &Column) -> Option<f64> {
        let is_it = |row: &&ResultRow| {
            row.system == arm.name
                && row.fold == column.fold
                && !row.one_of_several
                && column.is_of(row)
        };
        self.collected.rows.iter().find(is_it)?.value
    }

    /// The best of some systems in a column; oracles are none of them.
    pub fn best<'b>(&self, arms: &[&'b Arm<'a>], column: &Column) -> Option<&'b Arm<'a>> {
        let values = arms.iter().filter(|arm| !arm.record.knows_test);
        let values: Vec<(&'b Arm, f64)> =
            values.filter_map(|arm| Some((*arm, self.mean(arm, column)?))).collect();
        let best = metric(&column.key.metric)?.best(values.iter().map(|(_, value)| *value))?;
        values.into_iter().find(|(_, value)| *value == best).map(|(arm, _)| arm)
    }
}
