//! How the values of a metric are distributed over users.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::units::{CellKey, Numbers, Row, Units};
use crate::core::Measurements;

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
        values.sort_unstable_by(f64::total_cmp);
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
        let mut numbers = Numbers::default();
        let seeds: Vec<(&Measurements, Arc<[Row]>)> = folds
            .iter()
            .flat_map(|(_, seeds)| seeds)
            .map(|of| (of, numbers.of_rows(of.clusters(), of.members(slice))))
            .collect();
        let mut sums: Vec<(f64, u32)> = Vec::new();
        let mut of_column = |at: usize| {
            sums.clear();
            sums.resize(numbers.names.len(), (0.0, 0));
            for (measured, rows) in &seeds {
                let values = &measured.values[at];
                for (row, user) in rows.iter().filter(|(row, _)| !values[*row].is_nan()) {
                    let (sum, count) = &mut sums[*user as usize];
                    *sum += values[*row];
                    *count += 1;
                }
            }
            let of = sums.iter().filter(|(_, count)| *count > 0);
            Distribution::of(of.map(|(sum, count)| sum / f64::from(*count)).collect())
        };
        let columns = first[0].columns.iter().enumerate();
        columns.filter_map(|(at, key)| Some((CellKey::new(key, slice), of_column(at)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::MeasureKey;

    /// By hand: a: (.2 + .4) / 2 = .3, b: 0, c: 1.
    #[test]
    fn users_of_several_folds_count_once() {
        let key = MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: "ndcg".into(),
            k: 10,
        };
        let measured = |users: &[(&str, f64)]| {
            let ids = users.iter().map(|(user, _)| (*user).to_owned()).collect();
            let slices = vec![("all".into(), vec![true; users.len()])];
            let values: Vec<f64> = users.iter().map(|(_, value)| *value).collect();
            Measurements::of_rows("user", ids, slices, vec![key.clone()], &values)
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
