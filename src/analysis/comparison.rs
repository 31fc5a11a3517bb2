//! Two systems measured on the same units: paired differences by metric and slice, with what chance among the
//! clusters (users) makes of them.
//!
//! A difference is the mean over folds of the mean over the fold's units of the difference of the two systems'
//! values, each a mean over seeds. A cluster (user) stands in several folds: its differences are added up before
//! anything is tested, so that there is one value a cluster, with the difference as the mean of all,
//! z_c = C/F Σ_f Σ_{u∈c} δ_uf / n_f, and its spread after the folds' own means were taken off (the variance of a
//! ratio, clustered: Davison and Hinkley 1997, section 3.8).

use std::collections::HashMap;

use super::{
    Bootstrap, FEWEST_UNITS, LEVEL, MEAN, Units, UserValues,
    significance::{Estimate, OverFolds, over_seeds_p, sign_flip_p, signed_rank_p},
    statistic::{how, is_mean},
    units::{Numbers, Row},
};
use crate::core::{MeasureKey, Measurements};

/// Whether a metric is a mean over users, which paired tests compare.
pub fn has_paired_test(key: &MeasureKey) -> bool {
    is_mean(how(key))
}

/// The difference of two systems in one cell: the second less the first.
#[derive(Clone, Debug)]
pub struct Paired {
    pub measure: MeasureKey,
    pub slice: String,
    /// Means of both over the units that both have.
    pub first: f64,
    pub second: f64,
    /// Clusters (users), and pairs of a unit and a fold.
    pub n: usize,
    pub pairs: usize,
    /// Units and folds that only one of the two has a value for.
    pub unpaired: usize,
    pub by_fold: Vec<(String, f64)>,
    /// The largest absolute difference of a unit in a fold.
    pub largest: f64,
    /// The ends of the interval, by the cluster bootstrap.
    pub interval: Option<(f64, f64)>,
    /// Of both, by seed: means over folds of the means over the units that both have. One value of a system that no seed
    /// changes; none if there are too few to tell.
    pub by_seed: [Vec<f64>; 2],
    /// By cluster: values whose mean is the difference.
    pub values: Vec<f64>,
    pub estimate: Option<Estimate>,
}

/// Which p-value counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Test {
    /// Student's paired t over clusters
    #[default]
    T,
    /// Wilcoxon's signed ranks over clusters
    SignedRank,
    /// Random flips of the signs of clusters
    SignFlip,
}

impl Test {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::T => "paired t test",
            Self::SignedRank => "Wilcoxon signed-rank test",
            Self::SignFlip => "sign-flip permutation test",
        }
    }
}

/// Seed of the sign flips.
const SEED: u64 = 42;

/// Over more clusters the interval is that of the t distribution: the ends of a bootstrap of 1000 resamples are less exact
/// than that, and drawing takes most of the time.
const MOST_DRAWN: usize = 100_000;

impl Paired {
    /// The second system's mean less the first's.
    pub fn difference(&self) -> f64 {
        self.second - self.first
    }

    /// Two-sided p of a test.
    pub fn p(&self, test: Test) -> Option<f64> {
        match test {
            Test::T => self.estimate?.p(),
            Test::SignedRank => signed_rank_p(&self.values),
            Test::SignFlip => sign_flip_p(&self.values, SEED),
        }
    }

    /// The difference in standard deviations of the clusters' differences.
    pub fn standardised(&self) -> Option<f64> {
        let Estimate { mean, error, n } = self.estimate?;
        (error > 0.0).then(|| mean / (error * (n as f64).sqrt()))
    }

    /// Clusters for which the second is better, equal, and worse.
    pub fn wins(&self) -> [usize; 3] {
        let count = |is: fn(&f64) -> bool| self.values.iter().filter(|value| is(value)).count();
        [count(|value| *value > 0.0), count(|value| *value == 0.0), count(|value| *value < 0.0)]
    }

    /// The differences of folds under the correction for training parts that overlap; `test_per_train` is the size
    /// of a test part in sizes of its training part.
    pub fn over_folds(&self, test_per_train: f64) -> Option<OverFolds> {
        let folds: Vec<f64> = self.by_fold.iter().map(|(_, difference)| *difference).collect();
        OverFolds::new(&folds, test_per_train)
    }

    /// Two-sided p of the difference with seeds as units, by Welch's t test; `None` if too few are known.
    pub fn over_seeds(&self) -> Option<f64> {
        over_seeds_p(&self.by_seed[0], &self.by_seed[1])
    }
}

/// The units of a fold that some system has.
struct Fold<'a> {
    name: &'a str,
    /// By unit.
    clusters: Vec<u32>,
    /// Means over seeds of both systems, by column, then by unit; NaN where one of them has none.
    values: Vec<Vec<[f64; 2]>>,
    /// By column, units that one system alone has.
    unpaired: Vec<usize>,
    /// By system, seed and column: means over the units that both have; none where neither system has two seeds.
    by_seed: [Vec<Vec<f64>>; 2],
}

/// The differences of all columns that both have and that are wanted, in one slice; `fold` may be [`MEAN`]. Columns that
/// are no means over clusters have no differences by cluster, and are left out.
pub fn compare(
    [first, second]: [&Units; 2],
    (fold, slice): (&str, &str),
    is_wanted: &dyn Fn(&MeasureKey) -> bool,
    bootstrap: Bootstrap,
) -> Vec<Paired> {
    let of_second = |name: &str| second.folds.iter().find(|(of, _)| of == name);
    let shared: Vec<(&str, [&[Measurements]; 2])> = first
        .folds
        .iter()
        .filter(|(name, _)| fold == MEAN || name == fold)
        .filter_map(|(name, seeds)| Some((&**name, [&seeds[..], &of_second(name)?.1[..]])))
        .collect();
    let Some((_, [some, other])) = shared.first() else { return Vec::new() };
    let keys = some[0].columns.iter();
    let keys: Vec<&MeasureKey> = keys
        .filter(|key| is_mean(how(key)) && is_wanted(key) && other[0].columns.contains(key))
        .collect();
    let mut clusters: HashMap<&str, u32> = HashMap::new();
    let folds: Vec<Fold> = shared
        .iter()
        .map(|(name, systems)| Fold::new(name, *systems, slice, &keys, &mut clusters))
        .collect();
    if keys.is_empty() || clusters.is_empty() {
        return Vec::new();
    }
    let is_drawn = clusters.len() <= MOST_DRAWN;
    let resampled = (is_drawn && bootstrap.resamples > 0).then(|| {
        let of_folds: Vec<UserValues> = folds.iter().map(Fold::differences).collect();
        let of_folds: Vec<Vec<&UserValues>> = of_folds.iter().map(|fold| vec![fold]).collect();
        bootstrap.resample(clusters.len(), &of_folds)
    });
    let cells = keys.iter().enumerate();
    cells
        .map(|(at, measure)| {
            let fixed = [first.is_fixed, second.is_fixed];
            let paired = paired(&folds, (at, measure), slice, clusters.len(), fixed);
            let interval = match &resampled {
                Some(resampled) => resampled.interval(at),
                None if is_drawn => None,
                None => {
                    let estimate = paired.estimate.filter(|of| of.n >= FEWEST_UNITS);
                    estimate.and_then(|of| of.interval(LEVEL))
                }
            };
            Paired { interval, ..paired }
        })
        .collect()
}

impl<'a> Fold<'a> {
    fn new(
        name: &'a str,
        systems: [&'a [Measurements]; 2],
        slice: &str,
        keys: &[&MeasureKey],
        known: &mut HashMap<&'a str, u32>,
    ) -> Self {
        let rows = systems[0].first().map_or(0, |measured| measured.ids.len());
        let (mut units, mut clusters) = (Numbers::default(), Vec::with_capacity(rows));
        // By column, then by unit: sum and number of both systems.
        let mut sums: Vec<Vec<[(f64, u32); 2]>> = vec![Vec::with_capacity(rows); keys.len()];
        known.reserve(rows.saturating_sub(known.len()));
        for (system, seeds) in systems.iter().enumerate() {
            for measured in seeds.iter() {
                let of_rows = units.of_rows(&measured.ids, measured.members(slice));
                // A unit that is new has the next number.
                for (row, unit) in of_rows.iter() {
                    if *unit as usize == clusters.len() {
                        let next = known.len() as u32;
                        clusters.push(*known.entry(&measured.clusters()[*row]).or_insert(next));
                    }
                }
                for (key, sums) in keys.iter().zip(&mut sums) {
                    sums.resize(clusters.len(), [(0.0, 0); 2]);
                    let Some(values) = values_of(measured, key) else { continue };
                    for (row, unit) in of_rows.iter().filter(|(row, _)| !values[*row].is_nan()) {
                        let (sum, n) = &mut sums[*unit as usize][system];
                        *sum += values[*row];
                        *n += 1;
                    }
                }
            }
        }
        let mut unpaired = vec![0; keys.len()];
        let of_column = |(sums, unpaired): (&Vec<[(f64, u32); 2]>, &mut usize)| -> Vec<[f64; 2]> {
            let of_unit = |of: &[(f64, u32); 2]| match of {
                [(first, n), (second, m)] if *n > 0 && *m > 0 => {
                    [first / f64::from(*n), second / f64::from(*m)]
                }
                [(_, n), (_, m)] => {
                    *unpaired += usize::from(n + m > 0);
                    [f64::NAN; 2]
                }
            };
            sums.iter().map(of_unit).collect()
        };
        let values: Vec<Vec<[f64; 2]>> = sums.iter().zip(&mut unpaired).map(of_column).collect();
        let mut means = |measured: &'a Measurements| -> Vec<f64> {
            let of_rows = units.of_rows(&measured.ids, measured.members(slice));
            let of_column = |(key, of_both): (&&MeasureKey, &Vec<[f64; 2]>)| {
                let (mut sum, mut n) = (0.0, 0usize);
                if let Some(values) = values_of(measured, key) {
                    let of_rows = of_rows.iter();
                    let is_in_both = |(row, unit): &&Row| {
                        !values[*row].is_nan() && !of_both[*unit as usize][0].is_nan()
                    };
                    for (row, _) in of_rows.filter(is_in_both) {
                        sum += values[*row];
                        n += 1;
                    }
                }
                sum / n as f64
            };
            keys.iter().zip(&values).map(of_column).collect()
        };
        let by_seed = match systems.iter().any(|seeds| seeds.len() > 1) {
            true => systems.map(|seeds| seeds.iter().map(&mut means).collect()),
            false => Default::default(),
        };
        Self { name, clusters, values, unpaired, by_seed }
    }

    /// The pairs of a column: cluster, and the values of both.
    fn pairs(&self, at: usize) -> impl Iterator<Item = (u32, [f64; 2])> + Clone {
        let pairs = self.clusters.iter().copied().zip(self.values[at].iter().copied());
        pairs.filter(|(_, [first, _])| !first.is_nan())
    }

    fn differences(&self) -> UserValues {
        let differences = |of: &Vec<[f64; 2]>| of.iter().map(|[a, b]| b - a).collect();
        UserValues {
            users: self.clusters.clone(),
            cells: self.values.iter().map(differences).collect(),
        }
    }
}

/// The column of a key, by unit.
fn values_of<'a>(measured: &'a Measurements, key: &MeasureKey) -> Option<&'a [f64]> {
    let place = measured.columns.iter().position(|column| column == key)?;
    Some(&measured.values[place])
}

/// The values of a system by seed, as means over folds. None if folds have different numbers of seeds, and if there is one
/// training of a system that another may change.
fn by_seed(folds: &[(&Fold, f64)], at: usize, system: usize, is_fixed: bool) -> Vec<f64> {
    let n_seeds = folds.first().map_or(0, |(fold, _)| fold.by_seed[system].len());
    let is_known = folds.iter().all(|(fold, _)| fold.by_seed[system].len() == n_seeds);
    if !is_known || (n_seeds == 1 && !is_fixed) {
        return Vec::new();
    }
    let of_seed = |seed: usize| {
        let means = folds.iter().map(|(fold, _)| fold.by_seed[system][seed][at]);
        means.sum::<f64>() / folds.len() as f64
    };
    let values: Vec<f64> = (0..n_seeds).map(of_seed).collect();
    match values.iter().any(|value| value.is_nan()) {
        true => Vec::new(),
        false => values,
    }
}

/// What the pairs of one column say, but for the interval.
fn paired(
    folds: &[Fold],
    (at, measure): (usize, &MeasureKey),
    slice: &str,
    n_clusters: usize,
    fixed: [bool; 2],
) -> Paired {
    let counts: Vec<usize> = folds.iter().map(|fold| fold.pairs(at).count()).collect();
    let folds: Vec<(&Fold, f64)> = folds
        .iter()
        .zip(&counts)
        .filter(|(_, n)| **n > 0)
        .map(|(fold, n)| (fold, *n as f64))
        .collect();
    let n_folds = folds.len() as f64;
    let of_system = |system: usize| -> f64 {
        let means = folds
            .iter()
            .map(|(fold, n)| fold.pairs(at).map(|(_, values)| values[system]).sum::<f64>() / n);
        means.sum::<f64>() / n_folds
    };
    let by_fold: Vec<(String, f64)> = folds
        .iter()
        .map(|(fold, n)| {
            let sum: f64 = fold.pairs(at).map(|(_, [first, second])| second - first).sum();
            (fold.name.to_owned(), sum / n)
        })
        .collect();
    // By cluster: what it adds to the difference, and that less what it would add were all alike.
    let mut added = vec![(0.0, 0.0, false); n_clusters];
    for ((fold, n), (_, of_fold)) in folds.iter().zip(&by_fold) {
        for (cluster, [first, second]) in fold.pairs(at) {
            let (value, residual, is_in) = &mut added[cluster as usize];
            *value += (second - first) / n / n_folds;
            *residual += (second - first - of_fold) / n / n_folds;
            *is_in = true;
        }
    }
    added.retain(|(_, _, is_in)| *is_in);
    let n = added.len();
    let squares: f64 = added.iter().map(|(_, residual, _)| (residual * n as f64).powi(2)).sum();
    let (first, second) = (of_system(0), of_system(1));
    Paired {
        measure: measure.clone(),
        slice: slice.to_owned(),
        first,
        second,
        n,
        pairs: counts.iter().sum(),
        unpaired: folds.iter().map(|(fold, _)| fold.unpaired[at]).sum(),
        largest: folds
            .iter()
            .flat_map(|(fold, _)| fold.pairs(at))
            .map(|(_, [first, second])| (second - first).abs())
            .fold(0.0, f64::max),
        interval: None,
        by_fold,
        by_seed: [0, 1].map(|system| by_seed(&folds, at, system, fixed[system])),
        values: added.iter().map(|(value, ..)| value * n as f64).collect(),
        estimate: (n > 1).then(|| Estimate {
            mean: second - first,
            error: (squares / (n * (n - 1)) as f64).sqrt(),
            n,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MeasureKey {
        MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: "ndcg".into(),
            k: 10,
        }
    }

    /// One column; NaN where a user is not in the mean.
    fn measured(users: &[(&str, f64)]) -> Measurements {
        let ids = users.iter().map(|(user, _)| (*user).to_owned()).collect();
        let slices = vec![("all".into(), vec![true; users.len()])];
        let values: Vec<f64> = users.iter().map(|(_, value)| *value).collect();
        Measurements::of_rows("user", ids, slices, vec![key()], &values)
    }

    fn units(folds: &[(&str, &[(&str, f64)])]) -> Units {
        let mut units = Units::default();
        folds.iter().for_each(|(fold, users)| units.add(fold, measured(users)));
        units
    }

    #[test]
    fn one_fold_is_the_plain_paired_t_test() {
        let first = units(&[("f", &[("a", 0.1), ("b", 0.5), ("c", 0.3), ("d", f64::NAN)])]);
        let second = units(&[("f", &[("c", 0.5), ("b", 0.6), ("a", 0.1), ("d", 0.9)])]);
        let found = &compare([&first, &second], (MEAN, "all"), &|_| true, Bootstrap::default())[0];
        assert_eq!((found.n, found.pairs, found.unpaired), (3, 3, 1));
        assert!((found.first - 0.3).abs() < 1e-12 && (found.second - 0.4).abs() < 1e-12);
        assert_eq!(found.wins(), [2, 1, 0]);
        // scipy.stats.ttest_1samp([0, .1, .2], 0).pvalue
        assert!((found.p(Test::T).unwrap() - 0.225_403_330_758_516_8).abs() < 1e-12);
    }

    /// Skewed values of 3,000 users in two folds.
    #[test]
    fn the_interval_of_many_users_is_that_of_the_bootstrap() {
        let users: Vec<String> = (0..3000).map(|at| format!("u{at}")).collect();
        let of = |shift: f64| -> Vec<(&str, f64)> {
            let value = |at: usize| ((at as f64 + shift) * 0.7).sin().powi(4) + shift;
            users.iter().enumerate().map(|(at, user)| (user.as_str(), value(at))).collect()
        };
        let first = units(&[("f", &of(0.0)), ("g", &of(0.1))]);
        let second = units(&[("f", &of(0.2)), ("g", &of(0.5))]);
        let found = &compare([&first, &second], (MEAN, "all"), &|_| true, Bootstrap::default())[0];
        let (drawn, limit) =
            (found.interval.unwrap(), found.estimate.unwrap().interval(LEVEL).unwrap());
        let most = 0.05 * (drawn.1 - drawn.0);
        assert!(
            most > 0.0 && (drawn.0 - limit.0).abs() < most && (drawn.1 - limit.1).abs() < most,
            "{drawn:?} {limit:?}"
        );
    }

    #[test]
    fn users_of_several_folds_count_once_and_seeds_are_averaged() {
        let one: &[(&str, f64)] = &[("a", 0.2), ("b", 0.4), ("c", 0.0)];
        let two: &[(&str, f64)] = &[("a", 0.3), ("b", 0.9), ("d", 0.1)];
        let zero: &[(&str, f64)] = &[("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 0.0)];
        let first = units(&[("f", zero), ("g", zero)]);
        let second = units(&[("f", one), ("g", two)]);
        let found = &compare([&first, &second], (MEAN, "all"), &|_| true, Bootstrap::default())[0];
        assert_eq!((found.n, found.pairs, found.unpaired), (4, 6, 2));
        let expected = (0.6 / 3.0 + 1.3 / 3.0) / 2.0;
        assert!((found.difference() - expected).abs() < 1e-12);
        assert!((found.values.iter().sum::<f64>() / 4.0 - expected).abs() < 1e-12);
        // The same fold twice says no more than once.
        let once = units(&[("f", one)]);
        let twice = units(&[("f", one), ("g", one)]);
        let zeros = units(&[("f", zero), ("g", zero)]);
        let p = |units: &Units| {
            compare([&zeros, units], (MEAN, "all"), &|_| true, Bootstrap::default())[0].p(Test::T)
        };
        assert!((p(&once).unwrap() - p(&twice).unwrap()).abs() < 1e-12);
        // Two seeds are their mean.
        let mut seeds = units(&[("f", &[("a", 0.1), ("b", 0.3), ("c", 0.0)])]);
        seeds.add("f", measured(&[("a", 0.3), ("b", 0.5), ("c", 0.0)]));
        assert!((p(&seeds).unwrap() - p(&once).unwrap()).abs() < 1e-12);
    }

    /// Worked out by hand. The user d has a value of the second system alone.
    #[test]
    fn seeds_are_units_over_the_users_that_both_have() {
        let mut first =
            units(&[("f", &[("a", 0.1), ("b", 0.3)]), ("g", &[("a", 0.2), ("b", 0.4)])]);
        first.add("f", measured(&[("a", 0.3), ("b", 0.5)]));
        first.add("g", measured(&[("a", 0.2), ("b", 0.4)]));
        let mut second = units(&[
            ("f", &[("a", 0.6), ("b", 0.8), ("d", 0.9)]),
            ("g", &[("a", 0.5), ("b", 0.7)]),
        ]);
        let compared = |first: &Units, second: &Units| {
            compare([first, second], (MEAN, "all"), &|_| true, Bootstrap::default()).remove(0)
        };
        // One training of a system that others may change says nothing of them.
        assert_eq!(compared(&first, &second).over_seeds(), None);
        second.is_fixed = true;
        let found = compared(&first, &second);
        let near = |found: &[f64], expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
        };
        near(&found.by_seed[0], &[0.25, 0.35]);
        near(&found.by_seed[1], &[0.65]);
        // t = 7 with one degree of freedom: 1 - 2 atan(7) / π
        near(&[found.over_seeds().unwrap()], &[1.0 - 2.0 * 7f64.atan() / std::f64::consts::PI]);
        // A training is missing in a fold.
        first.add("g", measured(&[("a", 0.2), ("b", 0.4)]));
        assert_eq!(compared(&first, &second).over_seeds(), None);
    }
}
