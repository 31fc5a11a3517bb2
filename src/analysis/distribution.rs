//! How the values of a metric are distributed over users.

use std::collections::HashMap;

use serde::Serialize;

use super::units::{CellKey, Units};
use crate::core::{MeasureKey, Measurements};

/// Number of bins of equal width.
const BINS: usize = 10;

/// Values of users, each the mean of what the user has in all folds and with all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Users.
    pub n: usize,
    /// Those with the value 0.
    pub zeros: usize,
    pub median: f64,
    /// The ends of the bins: 0 and 1 unless a value is beyond.
    pub low: f64,
    pub high: f64,
    /// Users by bin; the last bin contains its upper end.
    pub counts: [usize; BINS],
}

impl Distribution {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let (low, high) = (first.min(0.0), last.max(1.0));
        let mut counts = [0; BINS];
        for value in &values {
            let at = ((value - low) / (high - low) * BINS as f64) as usize;
            counts[at.min(BINS - 1)] += 1;
        }
        let n = values.len();
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        let median = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
        Some(Self { n, zeros, median, low, high, counts })
    }
}

impl Units {
    /// Of each column, over the users of a slice in the folds of `fold`, which may be `mean`.
    pub fn distributions(&self, fold: &str, slice: &str) -> HashMap<CellKey, Distribution> {
        let folds = self.folds(fold);
        let Some((_, first)) = folds.first() else { return HashMap::new() };
        let columns = &first[0].columns;
        let n = columns.len();
        let mut users: HashMap<&str, usize> = HashMap::new();
        let mut sums: Vec<(f64, u32)> = Vec::new();
        for measured in folds.iter().flat_map(|(_, seeds)| seeds) {
            let members = measured.members(slice);
            let rows = measured.clusters().iter().enumerate();
            for (row, user) in rows.filter(|(row, _)| members[*row]) {
                let next = users.len();
                let user = *users.entry(user).or_insert(next);
                sums.resize(users.len() * n, (0.0, 0));
                for (at, value) in measured.row(row).iter().enumerate() {
                    if !value.is_nan() {
                        let (sum, count) = &mut sums[user * n + at];
                        *sum += value;
                        *count += 1;
                    }
                }
            }
        }
        let of_column = |at: usize| {
            let of = sums.iter().skip(at).step_by(n).filter(|(_, count)| *count > 0);
            Distribution::of(of.map(|(sum, count)| sum / f64::from(*count)).collect())
        };
        let columns = columns.iter().enumerate();
        columns.filter_map(|(at, key)| Some((CellKey::new(key, slice), of_column(at)?))).collect()
    }

    /// With some of the columns.
    pub fn narrowed(self, kept: &[MeasureKey]) -> Self {
        let narrow = |of: Measurements| {
            let columns = of.columns.iter().enumerate();
            let places: Vec<usize> =
                columns.filter(|(_, key)| kept.contains(key)).map(|(place, _)| place).collect();
            let rows = 0..of.ids.len();
            let values = rows.flat_map(|row| {
                let row = of.row(row);
                places.iter().map(|place| row[*place])
            });
            Measurements {
                values: values.collect(),
                columns: places.iter().map(|place| of.columns[*place].clone()).collect(),
                pooled: Vec::new(),
                in_pooled: Vec::new(),
                ..of
            }
        };
        let folds = self.folds.into_iter();
        let folds = folds.map(|(fold, seeds)| (fold, seeds.into_iter().map(narrow).collect()));
        Self { folds: folds.collect(), is_fixed: self.is_fixed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: a: (.2 + .4) / 2 = .3, b: 0, c: 1.
    #[test]
    fn users_of_several_folds_count_once() {
        let key = MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: "ndcg".into(),
            k: 10,
        };
        let measured = |users: &[(&str, f64)]| Measurements {
            unit: "user",
            ids: users.iter().map(|(user, _)| (*user).to_owned()).collect(),
            clusters: None,
            slices: vec![("all".into(), vec![true; users.len()])],
            columns: vec![key.clone()],
            values: users.iter().map(|(_, value)| *value).collect(),
            pooled: vec![],
            in_pooled: vec![],
        };
        let mut units = Units::default();
        units.add("f", measured(&[("a", 0.2), ("b", 0.0), ("d", f64::NAN)]));
        units.add("g", measured(&[("a", 0.4), ("c", 1.0)]));
        let found = &units.distributions("mean", "all")[&CellKey::new(&key, "all")];
        assert_eq!((found.n, found.zeros, found.low, found.high), (3, 1, 0.0, 1.0));
        assert!((found.median - 0.3).abs() < 1e-12);
        assert_eq!(found.counts, [1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    }
}
