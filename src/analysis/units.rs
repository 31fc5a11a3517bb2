//! Values by unit (e.g. user) of one system: number of users of its means, intervals of the means, and intervals of
//! their differences to other systems.

use std::{collections::HashMap, sync::Arc};

use super::{
    Bootstrap, FEW_UNITS, FEWEST_UNITS, LEVEL, Resampled, ResultRow, UserValues, interval,
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

/// Numbers of names, in the order of their first occurrence.
#[derive(Default)]
pub(super) struct Numbers<'a> {
    numbers: HashMap<&'a str, u32>,
    pub(super) names: Vec<&'a str>,
    last: Option<Numbered>,
}

/// The last list of names, with the rows that belong to the slice, and what came of it: seeds of a fold mostly share both.
struct Numbered {
    names: Arc<[String]>,
    members: Arc<[bool]>,
    rows: Arc<[Row]>,
}

/// A row, and the number of its name.
pub(super) type Row = (usize, u32);

impl<'a> Numbers<'a> {
    /// The rows of a slice with the numbers of their names.
    pub(super) fn of_rows(&mut self, names: &'a Arc<[String]>, members: Arc<[bool]>) -> Arc<[Row]> {
        if let Some(last) = &self.last
            && Arc::ptr_eq(&last.names, names)
            && last.members == members
        {
            return last.rows.clone();
        }
        let rows = names.iter().zip(members.iter()).enumerate().filter(|(_, (_, is))| **is);
        let rows: Arc<[Row]> = rows.map(|(row, (name, _))| (row, self.number(name))).collect();
        self.last = Some(Numbered { names: names.clone(), members, rows: rows.clone() });
        rows
    }

    fn number(&mut self, name: &'a str) -> u32 {
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() as u32 - 1
        })
    }
}

/// Clusters (e.g. users) of a slice in some folds.
struct SliceClusters<'a> {
    names: Vec<&'a str>,
    /// By fold and seed: the units that belong to the slice.
    rows: Vec<Vec<Arc<[Row]>>>,
}

/// The means of every resample of some cells of a slice.
pub struct SliceDraws<'a> {
    slice: String,
    cells: Vec<&'a MeasureKey>,
    folds: Vec<&'a str>,
    clusters: Vec<&'a str>,
    resampled: Resampled,
}

impl Units {
    pub fn add(&mut self, fold: &str, measured: Measurements) {
        match self.folds.iter_mut().find(|(name, _)| name == fold) {
            Some((_, seeds)) => seeds.push(measured),
            None => self.folds.push((fold.to_owned(), vec![measured])),
        }
    }

    /// With some of the columns.
    pub fn narrowed(&self, kept: &[MeasureKey]) -> Self {
        let narrowed = |of: &Measurements| of.narrowed(&|key| kept.contains(key));
        let folds = self.folds.iter();
        let folds = folds.map(|(fold, seeds)| (fold.clone(), seeds.iter().map(narrowed).collect()));
        Self { folds: folds.collect(), is_fixed: self.is_fixed }
    }

    /// The folds of a row of the fold `fold`: all folds if it is [`MEAN`].
    pub(super) fn folds(&self, fold: &str) -> Vec<&(String, Vec<Measurements>)> {
        self.folds.iter().filter(|(name, _)| fold == MEAN || name == fold).collect()
    }

    fn slice<'a>(folds: &[&'a (String, Vec<Measurements>)], slice: &str) -> SliceClusters<'a> {
        let mut numbers = Numbers::default();
        let mut of_seed = |measured: &'a Measurements| {
            numbers.of_rows(measured.clusters(), measured.members(slice))
        };
        let rows =
            folds.iter().map(|(_, seeds)| seeds.iter().map(&mut of_seed).collect()).collect();
        SliceClusters { names: numbers.names, rows }
    }

    /// How many units, and how many pairs of a unit and a fold, are in each cell's mean with some seed. What two
    /// folds have in common is one unit where it has one id.
    pub fn counts(&self, fold: &str, slice: &str) -> HashMap<CellKey, (usize, usize)> {
        let folds = self.folds(fold);
        let Some((_, first)) = folds.first() else { return HashMap::new() };
        let first = &first[0];
        let n = first.columns.len() + first.pooled.len();
        let mut numbers = Numbers::default();
        let mut rows: Vec<Vec<Arc<[Row]>>> = Vec::new();
        for (_, seeds) in &folds {
            let each = seeds.iter().map(|of| numbers.of_rows(&of.ids, of.members(slice)));
            rows.push(each.collect());
        }
        let n_names = numbers.names.len();
        let mut counts = Vec::with_capacity(n);
        let (mut in_fold, mut in_some) = (vec![false; n_names], vec![false; n_names]);
        for at in 0..n {
            in_some.fill(false);
            let mut n_pairs = 0;
            for ((_, seeds), rows) in folds.iter().zip(&rows) {
                in_fold.fill(false);
                for (measured, rows) in seeds.iter().zip(rows) {
                    match measured.values.get(at) {
                        Some(values) => rows
                            .iter()
                            .for_each(|(row, of)| in_fold[*of as usize] |= !values[*row].is_nan()),
                        None => {
                            let uses = &measured.in_pooled[at - measured.values.len()];
                            rows.iter().for_each(|(row, of)| in_fold[*of as usize] |= uses[*row]);
                        }
                    }
                }
                n_pairs += in_fold.iter().filter(|is| **is).count();
                in_some.iter_mut().zip(&in_fold).for_each(|(known, is)| *known |= is);
            }
            counts.push((in_some.iter().filter(|is| **is).count(), n_pairs));
        }
        let keys = first.columns.iter().chain(&first.pooled).zip(counts);
        keys.map(|(key, counts)| (CellKey::new(key, slice), counts)).collect()
    }

    /// The means of every resample, for those cells that are wanted and are means over clusters; none if there are none.
    pub fn draw(
        &self,
        bootstrap: Bootstrap,
        (fold, slice): (&str, &str),
        is_wanted: &dyn Fn(&MeasureKey) -> bool,
    ) -> Option<SliceDraws<'_>> {
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
                let each = seeds.iter().zip(rows).map(|(of_seed, rows)| {
                    let values = |place: &usize| {
                        let of_rows = &of_seed.values[*place];
                        rows.iter().map(|(row, _)| of_rows[*row]).collect()
                    };
                    UserValues {
                        users: rows.iter().map(|(_, user)| *user).collect(),
                        cells: places.iter().map(values).collect(),
                    }
                });
                each.collect()
            })
            .collect();
        let values: Vec<Vec<&UserValues>> =
            values.iter().map(|seeds| seeds.iter().collect()).collect();
        let resampled = bootstrap.resample(clusters.names.len(), &values);
        Some(SliceDraws {
            slice: slice.to_owned(),
            cells,
            folds: folds.iter().map(|(name, _)| name.as_str()).collect(),
            clusters: clusters.names,
            resampled,
        })
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
        let draws = self.draw(bootstrap, (fold, slice), &|key| is_mean(how(key)));
        let mut found = draws.map(|draws| draws.intervals()).unwrap_or_default();
        found.extend(self.other_intervals(how, bootstrap, fold, slice));
        found
    }

    /// Intervals of the values that are no means over clusters.
    pub fn intervals_of_others(
        &self,
        bootstrap: Bootstrap,
        fold: &str,
        slice: &str,
    ) -> HashMap<CellKey, Interval> {
        self.other_intervals(&how, bootstrap, fold, slice)
    }

    fn other_intervals(
        &self,
        how: &dyn Fn(&MeasureKey) -> How,
        bootstrap: Bootstrap,
        fold: &str,
        slice: &str,
    ) -> HashMap<CellKey, Interval> {
        let mut found = HashMap::new();
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
                let of_seed = |(measured, rows): (&Measurements, &Arc<[Row]>)| Rows {
                    clusters: rows.iter().map(|(_, cluster)| *cluster).collect(),
                    values: rows.iter().map(|(row, _)| measured.values[column][*row]).collect(),
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

impl SliceDraws<'_> {
    /// The interval of each cell's mean.
    pub fn intervals(&self) -> HashMap<CellKey, Interval> {
        use rayon::prelude::*;
        let intervals: Vec<Option<Interval>> =
            (0..self.cells.len()).into_par_iter().map(|at| self.resampled.interval(at)).collect();
        let each = self.cells.iter().zip(intervals);
        each.filter_map(|(key, of)| Some((CellKey::new(key, &self.slice), of?))).collect()
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
        place: (&str, &str),
        is_wanted: &dyn Fn(&MeasureKey) -> bool,
    ) {
        // The bootstrap of clusters is that of means alone.
        let is_wanted = |key: &MeasureKey| is_mean(how(key)) && is_wanted(key);
        if let Some(draws) = units.draw(bootstrap, place, &is_wanted) {
            self.add_drawn(system, &draws, &is_wanted);
        }
    }

    /// The same from what was drawn for other cells, too.
    pub fn add_drawn(
        &mut self,
        system: &str,
        draws: &SliceDraws,
        is_wanted: &dyn Fn(&MeasureKey) -> bool,
    ) {
        let wanted = draws.cells.iter().enumerate().filter(|(_, cell)| is_wanted(cell));
        let mut from = None;
        for (at, cell) in wanted {
            let of_folds = || Digest::of_json(&(&draws.folds, &draws.clusters));
            let from = *from.get_or_insert_with(of_folds);
            let means = draws.resampled.column(at).collect();
            let drawn = Drawn { from, units: draws.resampled.units(at), means };
            self.of.insert((system.to_owned(), CellKey::new(cell, &draws.slice)), drawn);
        }
    }

    /// Adds those of other systems.
    pub fn extend(&mut self, other: Self) {
        self.of.extend(other.of);
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
        let columns = names.iter().map(|name| key(name)).collect();
        let ids = (0..n).map(|at| format!("day {at}")).collect();
        let slices = vec![("all".into(), vec![true; n])];
        let of_rows: Vec<f64> = (0..n).flat_map(|at| [values(at); 4]).collect();
        let measured = Measurements::of_rows("day", ids, slices, columns, &of_rows);
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
