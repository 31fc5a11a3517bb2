//! Values by unit (e.g. user) of one system: number of users of its means, intervals of the means, and intervals of
//! their differences to other systems.

use std::collections::HashMap;

use super::{
    Bootstrap, FEW_UNITS, FEWEST_UNITS, LEVEL, ResultRow, UserValues, interval,
    statistic::{How, Rows, how, is_mean, statistic_interval},
};
use crate::{
    base::{
        hash::Digest,
        text::{distinct, users_text},
    },
    core::{MeasureKey, Measurements},
};

/// The fold name of rows over several folds.
pub const MEAN: &str = "mean";

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CellKey {
    measure: MeasureKey,
    slice: String,
}

impl CellKey {
    pub(super) fn new(measure: &MeasureKey, slice: &str) -> Self {
        Self { measure: measure.clone(), slice: slice.to_owned() }
    }

    /// The cell of a row.
    pub fn of(row: &ResultRow) -> Self {
        let measure = MeasureKey {
            protocol: row.protocol.clone(),
            convention: row.convention.clone(),
            metric: row.metric.clone(),
            k: row.k,
        };
        Self { measure, slice: row.slice.clone() }
    }
}

/// A confidence interval.
pub type Interval = (f64, f64);

/// Every trial of one system: by fold, the values of each seed.
#[derive(Default)]
pub struct Units {
    pub(super) folds: Vec<(String, Vec<Measurements>)>,
    /// Whether it is known that another training would give the same values.
    pub is_fixed: bool,
}

/// Clusters (e.g. users) of a slice in some folds, numbered in the order of their first occurrence.
struct SliceClusters<'a> {
    names: Vec<&'a str>,
    /// By fold and seed: the row, and its cluster's number, of each unit that belongs to the slice.
    rows: Vec<Vec<Vec<(usize, u32)>>>,
}

impl Units {
    pub fn add(&mut self, fold: &str, measured: Measurements) {
        match self.folds.iter_mut().find(|(name, _)| name == fold) {
            Some((_, seeds)) => seeds.push(measured),
            None => self.folds.push((fold.to_owned(), vec![measured])),
        }
    }

    /// The folds of a row of the fold `fold`: all folds if it is [`MEAN`].
    pub(super) fn folds(&self, fold: &str) -> Vec<&(String, Vec<Measurements>)> {
        self.folds.iter().filter(|(name, _)| fold == MEAN || name == fold).collect()
    }

    fn slice<'a>(folds: &[&'a (String, Vec<Measurements>)], slice: &str) -> SliceClusters<'a> {
        let (mut names, mut numbers) = (Vec::new(), HashMap::new());
        let mut of_seed = |measured: &'a Measurements| -> Vec<(usize, u32)> {
            let members = measured.members(slice);
            let rows = measured.clusters().iter().zip(members).enumerate();
            rows.filter(|(_, (_, is_member))| *is_member)
                .map(|(row, (cluster, _))| {
                    let number = *numbers.entry(cluster.as_str()).or_insert_with(|| {
                        names.push(cluster.as_str());
                        names.len() as u32 - 1
                    });
                    (row, number)
                })
                .collect()
        };
        let rows =
            folds.iter().map(|(_, seeds)| seeds.iter().map(&mut of_seed).collect()).collect();
        SliceClusters { names, rows }
    }

    /// How many units, and how many pairs of a unit and a fold, are in each cell's mean with some seed. What two
    /// folds have in common is one unit where it has one id.
    pub fn counts(&self, fold: &str, slice: &str) -> HashMap<CellKey, (usize, usize)> {
        let folds = self.folds(fold);
        let Some((_, first)) = folds.first() else { return HashMap::new() };
        let first = &first[0];
        let (n_values, n_pooled) = (first.columns.len(), first.pooled.len());
        let n = n_values + n_pooled;
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut in_some_fold: Vec<bool> = Vec::new();
        let mut n_pairs = vec![0; n];
        for (_, seeds) in &folds {
            let mut in_fold = vec![false; in_some_fold.len()];
            for measured in seeds {
                let members = measured.members(slice);
                for (row, id) in measured.ids.iter().enumerate().filter(|(row, _)| members[*row]) {
                    let next = numbers.len();
                    let unit = *numbers.entry(id).or_insert(next);
                    in_fold.resize(numbers.len() * n, false);
                    let values = measured.row(row).iter().map(|value| !value.is_nan());
                    let pooled = &measured.in_pooled[row * n_pooled..][..n_pooled];
                    let carried = values.chain(pooled.iter().copied());
                    let of_unit = &mut in_fold[unit * n..][..n];
                    of_unit.iter_mut().zip(carried).for_each(|(known, is)| *known |= is);
                }
            }
            in_some_fold.resize(in_fold.len(), false);
            for (at, (known, is)) in in_some_fold.iter_mut().zip(&in_fold).enumerate() {
                *known |= is;
                n_pairs[at % n] += usize::from(*is);
            }
        }
        let mut n_units = vec![0; n];
        in_some_fold.iter().enumerate().for_each(|(at, is)| n_units[at % n] += usize::from(*is));
        let keys = first.columns.iter().chain(&first.pooled).enumerate();
        keys.map(|(at, key)| (CellKey::new(key, slice), (n_units[at], n_pairs[at]))).collect()
    }

    /// The means of every resample, for those cells that are wanted.
    fn resample(
        &self,
        bootstrap: Bootstrap,
        fold: &str,
        slice: &str,
        is_wanted: &dyn Fn(&MeasureKey) -> bool,
    ) -> Option<(Vec<&MeasureKey>, Digest, crate::analysis::Resampled)> {
        let folds = self.folds(fold);
        let first = &folds.first()?.1[0];
        let cells = first.columns.iter().enumerate().filter(|(_, cell)| is_wanted(cell));
        let (places, cells): (Vec<usize>, Vec<&MeasureKey>) = cells.unzip();
        if cells.is_empty() {
            return None;
        }
        let clusters = Self::slice(&folds, slice);
        let values: Vec<Vec<UserValues>> = folds
            .iter()
            .zip(&clusters.rows)
            .map(|((_, seeds), rows)| {
                let each = seeds.iter().zip(rows).map(|(of_seed, rows)| UserValues {
                    n_cells: cells.len(),
                    users: rows.iter().map(|(_, user)| *user).collect(),
                    values: rows
                        .iter()
                        .flat_map(|(row, _)| {
                            let row = of_seed.row(*row);
                            places.iter().map(|place| row[*place])
                        })
                        .collect(),
                });
                each.collect()
            })
            .collect();
        let values: Vec<Vec<&UserValues>> =
            values.iter().map(|seeds| seeds.iter().collect()).collect();
        let names: Vec<&String> = folds.iter().map(|(name, _)| name).collect();
        let drawn_from = Digest::of_json(&(names, &clusters.names));
        let resampled = bootstrap.resample(clusters.names.len(), &values);
        Some((cells, drawn_from, resampled))
    }

    /// The interval of each value of the slice, by what its metric says is resampled.
    pub fn intervals(
        &self,
        bootstrap: Bootstrap,
        fold: &str,
        slice: &str,
    ) -> HashMap<CellKey, Interval> {
        self.intervals_by(&how, bootstrap, fold, slice)
    }

    fn intervals_by(
        &self,
        how: &dyn Fn(&MeasureKey) -> How,
        bootstrap: Bootstrap,
        fold: &str,
        slice: &str,
    ) -> HashMap<CellKey, Interval> {
        let mut found = HashMap::new();
        let is_wanted = |key: &MeasureKey| is_mean(how(key));
        if let Some((cells, _, resampled)) = self.resample(bootstrap, fold, slice, &is_wanted) {
            use rayon::prelude::*;
            let intervals: Vec<Option<Interval>> =
                (0..cells.len()).into_par_iter().map(|at| resampled.interval(at)).collect();
            let each = cells.iter().zip(intervals);
            found.extend(each.filter_map(|(key, of)| Some((CellKey::new(key, slice), of?))));
        }
        let folds = self.folds(fold);
        let Some((_, first)) = folds.first() else { return found };
        let columns = first[0].columns.iter().enumerate();
        let others: Vec<(usize, &MeasureKey)> =
            columns.filter(|(_, key)| !is_mean(how(key))).collect();
        if others.is_empty() {
            return found;
        }
        let clusters = Self::slice(&folds, slice);
        for (column, key) in others {
            let rows = folds.iter().zip(&clusters.rows).map(|((_, seeds), rows)| {
                let of_seed = |(measured, rows): (&Measurements, &Vec<(usize, u32)>)| Rows {
                    clusters: rows.iter().map(|(_, cluster)| *cluster).collect(),
                    values: rows.iter().map(|(row, _)| measured.row(*row)[column]).collect(),
                };
                seeds.iter().zip(rows).map(of_seed).collect()
            });
            let rows: Vec<Vec<Rows>> = rows.collect();
            let of = statistic_interval(how(key), bootstrap, clusters.names.len(), &rows);
            found.extend(of.map(|of| (CellKey::new(key, slice), of)));
        }
        found
    }
}

/// A warning about intervals of rows over few users.
pub fn few_users_of(rows: &[ResultRow]) -> Option<String> {
    let few = rows.iter().filter(|row| row.low.is_some() && row.n_users < FEW_UNITS);
    few_users(&distinct(
        few.map(|row| format!("slice {} ({})", row.slice, users_text(row.n_users, row.n_users))),
    ))
}

/// A warning about intervals over few users, if there are any; `of` names them.
pub fn few_users(of: &[String]) -> Option<String> {
    (!of.is_empty()).then(|| {
        format!(
            "intervals over fewer than {FEW_UNITS} users cover the mean less often than {:.0} %: {}",
            100.0 * LEVEL,
            of.join(", ")
        )
    })
}

/// Resampled means of several systems, with the same resamples of users.
#[derive(Default)]
pub struct PairedDraws {
    of: HashMap<(String, CellKey), Drawn>,
}

struct Drawn {
    /// Folds and users; draws from the same are the same draws.
    from: Digest,
    units: usize,
    means: Vec<f64>,
}

impl PairedDraws {
    /// Resampled means for the requested cells of a system.
    pub fn add(
        &mut self,
        system: &str,
        units: &Units,
        bootstrap: Bootstrap,
        (fold, slice): (&str, &str),
        is_wanted: &dyn Fn(&MeasureKey) -> bool,
    ) {
        // The bootstrap of clusters is that of means alone.
        let is_wanted = |key: &MeasureKey| is_mean(how(key)) && is_wanted(key);
        let Some((cells, from, resampled)) = units.resample(bootstrap, fold, slice, &is_wanted)
        else {
            return;
        };
        for (at, cell) in cells.iter().enumerate() {
            let means = resampled.column(at).collect();
            let drawn = Drawn { from, units: resampled.units(at), means };
            self.of.insert((system.to_owned(), CellKey::new(cell, slice)), drawn);
        }
    }

    /// The interval of `better`'s mean less `worse`'s in the cell of `row`. None where they do not rest on the
    /// same folds and users, or on too few.
    pub fn difference(&self, better: &str, worse: &str, row: &ResultRow) -> Option<Interval> {
        let of = |system: &str| self.of.get(&(system.to_owned(), CellKey::of(row)));
        let (a, b) = (of(better)?, of(worse)?);
        if a.from != b.from || a.units.min(b.units) < FEWEST_UNITS {
            return None;
        }
        interval(a.means.iter().zip(&b.means).map(|(a, b)| a - b).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Aggregate, Resample};

    /// Three columns of one series of days: each has the interval that its metric names, and the mean over days that of
    /// the bootstrap of clusters, to the last digit.
    #[test]
    fn each_column_is_resampled_as_its_metric_says() {
        let key = |metric: &str| MeasureKey {
            protocol: "p".into(),
            convention: "c".into(),
            metric: metric.into(),
            k: 1,
        };
        let names = ["mean", "ratio", "in-time", "fixed"];
        let n = 60;
        let values = |at: usize| ((at as f64) * 0.7).sin() + 0.2;
        let measured = Measurements {
            unit: "day",
            ids: (0..n).map(|at| format!("day {at}")).collect(),
            clusters: None,
            slices: vec![("all".into(), vec![true; n])],
            columns: names.iter().map(|name| key(name)).collect(),
            values: (0..n).flat_map(|at| [values(at); 4]).collect(),
            pooled: vec![],
            in_pooled: vec![],
        };
        let mut units = Units::default();
        units.add("f", measured);
        let how = |key: &MeasureKey| match key.metric.as_str() {
            "ratio" => (Aggregate::MeanOverSd, Resample::Clusters),
            "in-time" => (Aggregate::Mean, Resample::Blocks),
            "fixed" => (Aggregate::Mean, Resample::Nothing),
            _ => (Aggregate::Mean, Resample::Clusters),
        };
        let bootstrap = Bootstrap::default();
        let found = units.intervals_by(&how, bootstrap, MEAN, "all");
        let of = |name: &str| found.get(&CellKey::new(&key(name), "all")).copied();
        let rows = || {
            let values = (0..n).map(values).collect();
            [vec![Rows { clusters: (0..n as u32).collect(), values }]]
        };
        for name in ["ratio", "in-time"] {
            let expected = statistic_interval(how(&key(name)), bootstrap, n, &rows());
            assert!(expected.is_some() && of(name) == expected, "{name}");
        }
        assert_eq!(of("fixed"), None);
        let (low, high) = of("mean").unwrap();
        let clusters = (Aggregate::Mean, Resample::Clusters);
        let expected = statistic_interval(clusters, bootstrap, n, &rows()).unwrap();
        assert!((low - expected.0).abs() < 1e-12 && (high - expected.1).abs() < 1e-12);
        assert_ne!(of("mean"), of("in-time"));
    }
}
