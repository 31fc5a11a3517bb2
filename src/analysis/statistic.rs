//! Intervals of statistics that are no plain means over clusters: a mean divided by a standard deviation, and units that
//! follow each other in time. Each metric names how it aggregates and what is resampled ([`crate::core::MetricInfo`]).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Bootstrap, FEWEST_UNITS, interval};
use crate::{
    core::{Aggregate, MeasureKey, Resample},
    tasks::metric,
};

/// How a column aggregates, and what its interval resamples.
pub type How = (Aggregate, Resample);

/// That of a column, by its metric.
pub fn how(key: &MeasureKey) -> How {
    // A metric that no task names is in records of other versions alone: a mean, as all were.
    metric(&key.metric)
        .map_or((Aggregate::Mean, Resample::Clusters), |of| (of.aggregate, of.resample))
}

/// Whether a column is a mean over clusters: the only kind with paired differences by cluster, and with tests of them.
pub fn is_mean(how: How) -> bool {
    how == (Aggregate::Mean, Resample::Clusters)
}

/// The values of one column with one seed, in the order of its rows; NaN where a unit is not in the statistic.
#[derive(Clone, Debug)]
pub struct Rows {
    pub clusters: Vec<u32>,
    pub values: Vec<f64>,
}

/// The statistic of values that count so many times; none where there is none.
fn statistic(
    aggregate: Aggregate,
    weighted: impl Iterator<Item = (f64, f64)> + Clone,
) -> Option<f64> {
    let of_units = || weighted.clone().filter(|(value, times)| !value.is_nan() && *times > 0.0);
    let n: f64 = of_units().map(|(_, times)| times).sum();
    let mean = of_units().map(|(value, times)| value * times).sum::<f64>() / n;
    match aggregate {
        _ if n == 0.0 => None,
        Aggregate::Mean => Some(mean),
        Aggregate::MeanOverSd => {
            let squares: f64 =
                of_units().map(|(value, times)| (value - mean).powi(2) * times).sum();
            let sd = (squares / (n - 1.0)).sqrt();
            (n > 1.0 && sd > 0.0).then(|| mean / sd)
        }
        // Has no values by unit.
        Aggregate::Pooled => None,
    }
}

/// The length of a block of `n` rows: n^(1/3), rounded up, the order at which the bootstrap of blocks does best (Hall,
/// Horowitz and Jing 1995).
fn block_length(n: usize) -> usize {
    (n as f64).cbrt().ceil().max(1.0) as usize
}

/// How often each cluster is drawn.
fn draw_clusters(random: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let mut times = vec![0.0; n];
    (0..n).for_each(|_| times[random.random_range(0..n)] += 1.0);
    times
}

/// How often each row is drawn, in runs of rows that follow each other; the first follows the last, so that each has the
/// same chance (Politis and Romano 1992).
fn draw_blocks(random: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let length = block_length(n);
    let mut times = vec![0.0; n];
    let mut drawn = 0;
    while drawn < n {
        let first = random.random_range(0..n);
        for at in 0..length.min(n - drawn) {
            times[(first + at) % n] += 1.0;
        }
        drawn += length;
    }
    times
}

/// The interval of a statistic: the mean over folds of the mean over seeds. None if nothing is resampled, or there are
/// fewer than [`FEWEST_UNITS`] clusters, or rows in time, with a value.
pub fn statistic_interval(
    (aggregate, resample): How,
    bootstrap: Bootstrap,
    n_clusters: usize,
    folds: &[Vec<Rows>],
) -> Option<(f64, f64)> {
    let with_value = |rows: &Rows| -> Vec<u32> {
        let pairs = rows.clusters.iter().zip(&rows.values);
        pairs.filter(|(_, value)| !value.is_nan()).map(|(cluster, _)| *cluster).collect()
    };
    let mut units: Vec<u32> = folds.iter().flatten().flat_map(with_value).collect();
    if resample == Resample::Clusters {
        units.sort_unstable();
        units.dedup();
    }
    if resample == Resample::Nothing || units.len() < FEWEST_UNITS {
        return None;
    }
    let one = |draw: usize| {
        let random = |fold: usize| {
            let mut random = ChaCha8Rng::seed_from_u64(bootstrap.seed);
            random.set_stream(((fold as u64) << 32) | draw as u64);
            random
        };
        let of_clusters = match resample {
            Resample::Clusters => draw_clusters(&mut random(0), n_clusters),
            _ => Vec::new(),
        };
        let of_fold = |(at, seeds): (usize, &Vec<Rows>)| {
            // Seeds have the same rows, and so the same draw.
            let of_seed = |rows: &Rows| {
                let times: Vec<f64> = match resample {
                    Resample::Blocks => draw_blocks(&mut random(at), rows.values.len()),
                    _ => rows.clusters.iter().map(|of| of_clusters[*of as usize]).collect(),
                };
                statistic(aggregate, rows.values.iter().copied().zip(times.iter().copied()))
            };
            mean(seeds.iter().filter_map(of_seed))
        };
        mean(folds.iter().enumerate().filter_map(of_fold)).unwrap_or(f64::NAN)
    };
    interval((0..bootstrap.resamples).into_par_iter().map(one).collect())
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the Python below has it.
    fn series() -> Vec<f64> {
        let mut last = 0.0;
        let step = |at: u32| {
            last = 0.6 * last + (f64::from(at) * 12.9898).sin() + 0.3;
            last
        };
        (0..120).map(step).collect()
    }

    fn of(how: How, clusters: Vec<u32>) -> (f64, f64) {
        let n = clusters.iter().max().map_or(0, |most| *most as usize + 1);
        let folds = [vec![Rows { clusters, values: series() }]];
        let bootstrap = Bootstrap { resamples: 20_000, seed: 1 };
        statistic_interval(how, bootstrap, n, &folds).unwrap()
    }

    /// Ends are those of NumPy with other random numbers, 200,000 resamples (tools/pin_resampling.py); both are random, so
    /// they agree to a fiftieth of the width.
    fn near(found: (f64, f64), expected: (f64, f64)) {
        let most = 0.02 * (expected.1 - expected.0);
        assert!(
            (found.0 - expected.0).abs() < most && (found.1 - expected.1).abs() < most,
            "{found:?}, not {expected:?}"
        );
    }

    #[test]
    fn a_mean_over_its_deviation_is_resampled_by_clusters_or_blocks_as_its_metric_says() {
        let text = include_str!("../../tests/golden/resampling.json");
        let golden: Vec<(f64, f64)> = serde_json::from_str(text).unwrap();
        assert_eq!(golden.len(), 5);
        let own: Vec<u32> = (0..120).collect();
        let in_threes: Vec<u32> = (0..120).map(|at| at / 3).collect();
        near(of((Aggregate::MeanOverSd, Resample::Clusters), own.clone()), golden[0]);
        near(of((Aggregate::MeanOverSd, Resample::Clusters), in_threes), golden[1]);
        near(of((Aggregate::MeanOverSd, Resample::Blocks), own.clone()), golden[2]);
        near(of((Aggregate::Mean, Resample::Blocks), own.clone()), golden[3]);
        near(of((Aggregate::Mean, Resample::Clusters), own), golden[4]);
    }

    #[test]
    fn what_is_not_resampled_or_has_no_values_has_no_interval() {
        let rows = |values: Vec<f64>| Rows { clusters: (0..values.len() as u32).collect(), values };
        let of = |how: How, values: Vec<f64>| {
            let n = values.len();
            statistic_interval(how, Bootstrap::default(), n, &[vec![rows(values)]])
        };
        let values = vec![0.1, 0.2, 0.5, 0.9];
        assert_eq!(of((Aggregate::Mean, Resample::Nothing), values.clone()), None);
        assert_eq!(of((Aggregate::Pooled, Resample::Clusters), values.clone()), None);
        assert_eq!(of((Aggregate::MeanOverSd, Resample::Blocks), vec![0.1, f64::NAN, 0.4]), None);
        // No deviation: no value.
        assert_eq!(of((Aggregate::MeanOverSd, Resample::Clusters), vec![0.5; 9]), None);
        assert!(of((Aggregate::MeanOverSd, Resample::Clusters), values).is_some());
    }

    /// Folds weigh the same and seeds are averaged: two folds whose mean is constant give that constant.
    #[test]
    fn folds_and_seeds_are_averaged() {
        let rows = |value: f64, n: u32| Rows {
            clusters: (0..n).collect(),
            values: vec![value; n as usize],
        };
        let folds = [vec![rows(1.0, 10), rows(2.0, 10)], vec![rows(4.0, 30)]];
        for resample in [Resample::Clusters, Resample::Blocks] {
            let how = (Aggregate::Mean, resample);
            let found = statistic_interval(how, Bootstrap::default(), 30, &folds).unwrap();
            assert!((found.0 - 2.75).abs() < 1e-12 && (found.1 - 2.75).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn blocks_give_every_row_the_same_chance() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut sums = vec![0.0; 10];
        for _ in 0..20_000 {
            let times = draw_blocks(&mut random, 10);
            assert_eq!(times.iter().sum::<f64>(), 10.0);
            sums.iter_mut().zip(&times).for_each(|(sum, times)| *sum += times);
        }
        assert!(sums.iter().all(|sum| (sum / 20_000.0 - 1.0).abs() < 0.05), "{sums:?}");
        assert_eq!([1, 8, 9, 27, 28, 1000].map(block_length), [1, 2, 3, 3, 4, 10]);
    }
}
