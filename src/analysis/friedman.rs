//! Several systems over several data sets: the Friedman test of their ranks, and which of them Nemenyi's test tells
//! apart (Demšar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets).

use std::collections::HashMap;

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor};

/// The tests need so many systems: two are compared by paired differences.
pub const FEWEST_SYSTEMS: usize = 3;
/// The tests need so many data sets.
pub const FEWEST_BLOCKS: usize = 2;

/// Ranks of systems over data sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Friedman {
    /// Number of data sets.
    pub blocks: usize,
    /// By system: the mean of its ranks, where 1 is the best; equal values have the mean of their ranks.
    pub ranks: Vec<f64>,
    /// The statistic, corrected for ties, and its p by the χ² distribution.
    pub chi_square: f64,
    pub p: f64,
    /// The statistic of Iman and Davenport (1980), which is less conservative, and its p; none where all data sets give
    /// the same order, where it is infinite.
    pub f: Option<f64>,
    pub p_f: Option<f64>,
    /// p by all orders of the ranks of each data set, which are equally likely if the systems are equal; none where there
    /// are too many of them to count.
    pub p_exact: Option<f64>,
}

/// Which systems differ in their average ranks by more than chance: what a critical-difference diagram shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CriticalDifference {
    /// By average rank, the best first.
    pub systems: Vec<String>,
    /// Average ranks, in the order of `systems`.
    pub ranks: Vec<f64>,
    /// Systems whose ranks differ by more are told apart.
    pub cd: f64,
    /// Runs of `systems` (first, last) that are not told apart, none within another.
    pub groups: Vec<(usize, usize)>,
}

impl Friedman {
    /// Of values `[blocks][systems]`, of which higher ones are better. None for too few systems or blocks, for a value
    /// that is not a number, and where every block has equal values only.
    pub fn new(values: &[Vec<f64>]) -> Option<Self> {
        let (n, k) = (values.len(), values.first()?.len());
        let is_number = |of: &Vec<f64>| of.len() == k && of.iter().all(|value| !value.is_nan());
        if n < FEWEST_BLOCKS || k < FEWEST_SYSTEMS || !values.iter().all(is_number) {
            return None;
        }
        let mut sums = vec![0.0; k];
        let mut tied = 0.0;
        let mut of_blocks = Vec::with_capacity(n);
        for block in values {
            let (ranks, ties) = ranks(block);
            sums.iter_mut().zip(&ranks).for_each(|(sum, rank)| *sum += rank);
            tied += ties;
            of_blocks.push(ranks);
        }
        let (blocks, systems) = (n as f64, k as f64);
        let correction = 1.0 - tied / (blocks * systems * (systems * systems - 1.0));
        if correction <= 0.0 {
            return None;
        }
        let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
        let plain =
            12.0 / (blocks * systems * (systems + 1.0)) * squares - 3.0 * blocks * (systems + 1.0);
        let chi_square = (plain / correction).max(0.0);
        let p = ChiSquared::new(systems - 1.0).ok()?.sf(chi_square);
        let rest = blocks * (systems - 1.0) - chi_square;
        let f = (rest > 1e-9).then(|| (blocks - 1.0) * chi_square / rest);
        let of_f = FisherSnedecor::new(systems - 1.0, (systems - 1.0) * (blocks - 1.0)).ok()?;
        Some(Self {
            blocks: n,
            ranks: sums.iter().map(|sum| sum / blocks).collect(),
            chi_square,
            p,
            p_f: f.map(|f| of_f.sf(f)),
            f,
            p_exact: exact_p(&of_blocks),
        })
    }

    /// The exact p where there is one, or that of the χ² distribution.
    pub fn exact_or_approximate(&self) -> f64 {
        self.p_exact.unwrap_or(self.p)
    }

    /// The standard error of a difference of two average ranks.
    fn error(&self) -> f64 {
        let k = self.ranks.len() as f64;
        (k * (k + 1.0) / (6.0 * self.blocks as f64)).sqrt()
    }

    /// p of Nemenyi's test of two systems: it holds for all pairs together.
    pub fn nemenyi_p(&self, first: usize, second: usize) -> f64 {
        let q = (self.ranks[first] - self.ranks[second]).abs() / self.error();
        studentized_range_sf(q * std::f64::consts::SQRT_2, self.ranks.len())
    }

    /// Which systems are told apart at `alpha`.
    pub fn critical_difference(&self, names: &[String], alpha: f64) -> CriticalDifference {
        let k = self.ranks.len();
        let q = studentized_range_quantile(alpha, k) / std::f64::consts::SQRT_2;
        let cd = q * self.error();
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|a, b| self.ranks[*a].total_cmp(&self.ranks[*b]));
        let ranks: Vec<f64> = order.iter().map(|at| self.ranks[*at]).collect();
        let mut groups: Vec<(usize, usize)> = Vec::new();
        for first in 0..k {
            let within = ranks[first..].iter().take_while(|rank| **rank - ranks[first] <= cd);
            let last = first + within.count() - 1;
            let is_new = groups.last().is_none_or(|(_, end)| last > *end);
            if last > first && is_new {
                groups.push((first, last));
            }
        }
        let systems = order.iter().map(|at| names[*at].clone()).collect();
        CriticalDifference { systems, ranks, cd, groups }
    }
}

/// Ranks of values, the highest first, with mean ranks for equal ones; and Σ (t³ − t) over runs of equal values.
fn ranks(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let (mut ranks, mut tied, mut first) = (vec![0.0; values.len()], 0.0, 0);
    while first < order.len() {
        let value = values[order[first]];
        let size = order[first..].iter().take_while(|at| values[**at] == value).count();
        let rank = first as f64 + (size as f64 + 1.0) / 2.0;
        order[first..first + size].iter().for_each(|at| ranks[*at] = rank);
        tied += (size as f64).powi(3) - size as f64;
        first += size;
    }
    (ranks, tied)
}

/// Orders that are counted at most: of 3 systems on 40 data sets, of 5 on 10, of 6 on 4.
const MOST_ORDERS: usize = 3_000_000;

/// The chance of a Friedman statistic at least as large as that of `blocks` (ranks, `[blocks][systems]`), if all orders of the
/// ranks within a block are equally likely. Rank sums are counted block by block, up to the order of systems.
fn exact_p(blocks: &[Vec<f64>]) -> Option<f64> {
    let k = blocks.first()?.len();
    // Twice the ranks are whole numbers.
    let doubled: Vec<Vec<u32>> =
        blocks.iter().map(|of| of.iter().map(|rank| (2.0 * rank) as u32).collect()).collect();
    let squares = |sums: &[u32]| sums.iter().map(|sum| u64::from(*sum).pow(2)).sum::<u64>();
    let sums: Vec<u32> = (0..k).map(|at| doubled.iter().map(|of| of[at]).sum()).collect();
    let observed = squares(&sums);
    let mut chances: HashMap<Vec<u32>, f64> = HashMap::from([(vec![0; k], 1.0)]);
    let mut counted = 0;
    for (at, ranks) in doubled.iter().enumerate() {
        // The sums of the first block are its ranks in one order.
        let orders = if at == 0 { vec![ranks.clone()] } else { orders(ranks)? };
        counted += chances.len() * orders.len();
        if counted > MOST_ORDERS {
            return None;
        }
        let mut next: HashMap<Vec<u32>, f64> = HashMap::new();
        // In order, so that the last digit does not depend on the order of the map.
        let mut known: Vec<(&Vec<u32>, &f64)> = chances.iter().collect();
        known.sort_unstable_by_key(|(sums, _)| *sums);
        for (sums, chance) in known {
            for order in &orders {
                let mut sums: Vec<u32> = sums.iter().zip(order).map(|(a, b)| a + b).collect();
                sums.sort_unstable();
                *next.entry(sums).or_default() += chance / orders.len() as f64;
            }
        }
        chances = next;
    }
    let mut extreme: Vec<f64> =
        chances.iter().filter(|(sums, _)| squares(sums) >= observed).map(|(_, of)| *of).collect();
    extreme.sort_unstable_by(f64::total_cmp);
    Some(extreme.iter().sum::<f64>().min(1.0))
}

/// All different orders of `ranks`; equally likely, as each of them stands for the same number of permutations. None for
/// more than [`MOST_ORDERS`].
fn orders(ranks: &[u32]) -> Option<Vec<Vec<u32>>> {
    let mut next = ranks.to_vec();
    next.sort_unstable();
    let mut all = vec![next.clone()];
    // The next one in lexicographic order (Knuth, The Art of Computer Programming 4A, algorithm L).
    while let Some(at) = (1..next.len()).rev().find(|at| next[at - 1] < next[*at]) {
        let larger = (at..next.len()).rev().find(|of| next[*of] > next[at - 1])?;
        next.swap(at - 1, larger);
        next[at..].reverse();
        all.push(next.clone());
        if all.len() > MOST_ORDERS {
            return None;
        }
    }
    Some(all)
}

fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The chance that a standard normal value is over `z`, to the last digits: that of statrs is exact to 1e-11, which the
/// integral below would carry on. Near 0 the series of Marsaglia (2004), in the tail the continued fraction.
fn upper_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - upper_tail(-z);
    }
    if z < 3.0 {
        let (mut term, mut sum, mut odd) = (z, z, 1.0);
        while term > 1e-18 {
            odd += 2.0;
            term *= z * z / odd;
            sum += term;
        }
        return 0.5 - density(z) * sum;
    }
    let below = (1..=100).rev().fold(z, |below, at| z + f64::from(at) / below);
    density(z) / below
}

/// Steps of the integral, and the half-width of its range in standard deviations. The integrand and all its derivatives
/// vanish at both ends, so that the trapezoidal rule is exact to the last digits.
const STEPS: usize = 600;
const REACH: f64 = 9.0;

/// The chance that the range of `k` standard normal values is over `q`: the studentized range with infinite degrees of
/// freedom.
pub fn studentized_range_sf(q: f64, k: usize) -> f64 {
    if q <= 0.0 {
        return 1.0;
    }
    let n = k as f64;
    // With the least value at z: k φ(z) [(1 − Φ(z))^(k−1) − (Φ(z + q) − Φ(z))^(k−1)]. Differences of upper tails
    // where z is over 0 keep their digits.
    let term = |z: f64| {
        let above = upper_tail(z);
        let between = match z > 0.0 {
            true => above - upper_tail(z + q),
            false => upper_tail(-z - q) - upper_tail(-z),
        };
        n * density(z) * (above.powf(n - 1.0) - between.powf(n - 1.0))
    };
    let step = 2.0 * REACH / STEPS as f64;
    let sum: f64 = (0..=STEPS).map(|at| term(-REACH + at as f64 * step)).sum();
    (sum * step).clamp(0.0, 1.0)
}

/// The value that the range of `k` standard normal values exceeds with the chance `alpha`.
pub fn studentized_range_quantile(alpha: f64, k: usize) -> f64 {
    let (mut low, mut high) = (0.0, 100.0);
    // Each step halves the interval: the width after 60 is below the spacing of numbers.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match studentized_range_sf(middle, k) > alpha {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        friedman: Vec<OfBlocks>,
        ranges: Vec<OfRange>,
    }

    #[derive(Deserialize)]
    struct OfBlocks {
        name: String,
        values: Vec<Vec<f64>>,
        ranks: Vec<f64>,
        chi_square: f64,
        p: f64,
        f: f64,
        p_f: f64,
        cd: f64,
        nemenyi: Vec<Vec<f64>>,
    }

    #[derive(Deserialize)]
    struct OfRange {
        k: usize,
        q: f64,
        sf: f64,
        alpha: f64,
        quantile: f64,
    }

    fn near(found: f64, expected: f64, what: &str) {
        assert!((found - expected).abs() < 1e-10, "{what}: {found}, not {expected}");
    }

    /// tools/pin_significance.py
    #[test]
    fn ranks_p_and_critical_differences_are_those_of_scipy() {
        let text = include_str!("../../tests/golden/significance.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        for of in &golden.friedman {
            let found = Friedman::new(&of.values).unwrap();
            let name = of.name.as_str();
            found.ranks.iter().zip(&of.ranks).for_each(|(a, b)| near(*a, *b, name));
            near(found.chi_square, of.chi_square, name);
            near(found.p, of.p, name);
            near(found.f.unwrap(), of.f, name);
            near(found.p_f.unwrap(), of.p_f, name);
            let names: Vec<String> = (0..of.ranks.len()).map(|at| at.to_string()).collect();
            near(found.critical_difference(&names, 0.05).cd, of.cd, name);
            for (first, row) in of.nemenyi.iter().enumerate() {
                for (second, p) in row.iter().enumerate() {
                    near(found.nemenyi_p(first, second), *p, name);
                }
            }
        }
        for of in &golden.ranges {
            near(studentized_range_sf(of.q, of.k), of.sf, "studentized range");
            near(studentized_range_quantile(of.alpha, of.k), of.quantile, "its quantile");
        }
        assert!(golden.friedman.len() >= 4 && golden.ranges.len() >= 12);
    }

    /// Values of SciPy (norm.sf).
    #[test]
    fn the_normal_tail_is_exact() {
        for (z, expected) in TAILS {
            let found = upper_tail(z);
            assert!((found / expected - 1.0).abs() < 1e-13, "{z}: {found}, not {expected}");
            assert!((upper_tail(-z) - (1.0 - expected)).abs() < 1e-15);
        }
    }

    /// Demšar 2006, table 5 (a): q at α = .05 and .10, divided by √2.
    #[test]
    fn critical_values_are_the_published_ones() {
        let published = [2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164];
        for (at, expected) in published.iter().enumerate() {
            let found = studentized_range_quantile(0.05, at + 3) / std::f64::consts::SQRT_2;
            // They are cut, not rounded, in places.
            assert!((found - expected).abs() < 1.1e-3, "k = {}: {found}", at + 3);
        }
    }

    #[test]
    fn groups_are_the_longest_runs_within_the_critical_difference() {
        let names: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        let of = |ranks: [f64; 4], blocks: usize| {
            let test = Friedman {
                blocks,
                ranks: ranks.to_vec(),
                chi_square: 0.0,
                p: 1.0,
                f: None,
                p_f: None,
                p_exact: None,
            };
            test.critical_difference(&names, 0.05)
        };
        // With 20 blocks of 4 systems the difference is 2.569 √(20/120) = 1.0488.
        let found = of([3.0, 1.0, 2.0, 4.0], 20);
        assert!((found.cd - 1.0488).abs() < 1e-3, "{}", found.cd);
        assert_eq!(found.systems, ["b", "c", "a", "d"]);
        assert_eq!(found.groups, [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(of([1.0, 1.5, 2.0, 4.0], 20).groups, [(0, 2)]);
        assert!(of([1.0, 2.1, 3.2, 4.3], 20).groups.is_empty());
    }

    /// Friedman 1937, tables V and VI: exact p of χ² for three and four systems.
    #[test]
    fn exact_p_is_that_of_the_published_tables() {
        let of = |orders: &[[f64; 3]]| {
            let blocks: Vec<Vec<f64>> = orders.iter().map(|of| of.to_vec()).collect();
            let found = Friedman::new(&blocks).unwrap();
            ((found.chi_square * 1000.0).round() / 1000.0, found.p_exact.unwrap())
        };
        let (up, swapped, turned) = ([3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [2.0, 3.0, 1.0]);
        for (blocks, chi_square, p) in [
            (&[up; 2][..], 4.0, 0.167),
            (&[up; 3], 6.0, 0.028),
            (&[up, up, swapped], 4.667, 0.194),
            (&[up; 4], 8.0, 0.0046),
            (&[up, up, up, swapped], 6.5, 0.042),
            (&[up, up, swapped, swapped], 6.0, 0.069),
            (&[up, up, swapped, turned], 4.5, 0.125),
            (&[up; 5], 10.0, 0.00077),
        ] {
            let found = of(blocks);
            assert_eq!(found.0, chi_square);
            assert!((found.1 - p).abs() < 6e-4, "{chi_square}: {}, not {p}", found.1);
        }
        let four = |n: usize| Friedman::new(&vec![vec![4.0, 3.0, 2.0, 1.0]; n]).unwrap();
        assert!((four(2).p_exact.unwrap() - 1.0 / 24.0).abs() < 1e-12);
        assert!((four(4).p_exact.unwrap() - 24f64.powi(-3)).abs() < 1e-12);
    }

    #[test]
    fn exact_p_with_ties_is_that_of_all_permutations() {
        let values = [
            vec![0.3, 0.2, 0.2, 0.1],
            vec![0.9, 0.9, 0.5, 0.5],
            vec![0.1, 0.4, 0.3, 0.2],
            vec![0.8, 0.7, 0.7, 0.7],
        ];
        let found = Friedman::new(&values).unwrap();
        let blocks: Vec<Vec<f64>> = values.iter().map(|of| ranks(of).0).collect();
        // Every permutation of the places, equal ranks included.
        let mut permutations: Vec<Vec<usize>> = vec![vec![]];
        for _ in 0..4 {
            permutations = permutations
                .iter()
                .flat_map(|of| {
                    let free = (0..4).filter(|at| !of.contains(at));
                    free.map(|at| [&of[..], &[at]].concat()).collect::<Vec<_>>()
                })
                .collect();
        }
        let squares = |sums: &[f64]| sums.iter().map(|sum| sum * sum).sum::<f64>();
        let observed: Vec<f64> = (0..4).map(|at| blocks.iter().map(|of| of[at]).sum()).collect();
        let (mut extreme, mut all) = (0, 0);
        for code in 0..24usize.pow(4) {
            let mut sums = vec![0.0; 4];
            for (at, block) in blocks.iter().enumerate() {
                let order = &permutations[code / 24usize.pow(at as u32) % 24];
                sums.iter_mut().zip(order).for_each(|(sum, place)| *sum += block[*place]);
            }
            all += 1;
            extreme += usize::from(squares(&sums) >= squares(&observed) - 1e-9);
        }
        near(found.p_exact.unwrap(), f64::from(extreme as u32) / f64::from(all), "ties");
    }

    #[test]
    fn exact_p_is_near_the_approximations_for_many_data_sets_and_none_for_too_many_orders() {
        let values = |n: usize, k: usize| -> Vec<Vec<f64>> {
            (0..n)
                .map(|at| (0..k).map(|of| ((at * 7 + of * of * 3) % 11) as f64).collect())
                .collect()
        };
        let found = Friedman::new(&values(20, 3)).unwrap();
        assert!((found.p_exact.unwrap() - found.p).abs() < 0.02, "{found:?}");
        assert_eq!(Friedman::new(&values(20, 9)).unwrap().p_exact, None);
    }

    #[test]
    fn what_cannot_be_tested_has_no_test() {
        assert_eq!(Friedman::new(&[]), None);
        assert_eq!(Friedman::new(&[vec![1.0, 2.0, 3.0]]), None);
        assert_eq!(Friedman::new(&[vec![1.0, 2.0], vec![1.0, 2.0]]), None);
        assert_eq!(Friedman::new(&[vec![1.0; 3], vec![1.0; 3]]), None);
        assert_eq!(Friedman::new(&[vec![1.0, f64::NAN, 0.0], vec![1.0, 2.0, 3.0]]), None);
        // One order everywhere: χ² is at its largest, N (k − 1), and F infinite.
        let same = Friedman::new(&[vec![3.0, 2.0, 1.0], vec![9.0, 8.0, 7.0]]).unwrap();
        assert_eq!((same.chi_square, same.f, same.ranks), (4.0, None, vec![1.0, 2.0, 3.0]));
    }

    const TAILS: [(f64, f64); 9] = [
        (0.0, 0.5),
        (0.5, 0.3085375387259869),
        (1.0, 0.15865525393145707),
        (1.96, 0.024997895148220435),
        (2.99, 0.0013948872354922468),
        (3.0, 0.0013498980316300933),
        (3.5, 0.00023262907903552502),
        (6.0, 9.865876450376946e-10),
        (9.0, 1.1285884059538324e-19),
    ];
}
