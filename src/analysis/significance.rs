//! Tests of paired differences: one value a unit (user), whose mean is the difference that is shown.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal, StudentsT};

/// Draws of the sign-flip test.
pub const FLIPS: usize = 10_000;
/// With so few units all flips are tried.
const ALL_FLIPS: usize = 14;
/// With more units the distribution over flips is taken for normal.
const MOST_FLIPPED: usize = 10_000;
/// With so few units, and without ties, the distribution of the signed-rank sum is exact.
const EXACT_RANKS: usize = 50;

/// A mean of units with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    pub error: f64,
    pub n: usize,
}

impl Estimate {
    /// Of values that are drawn independently.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (n > 1).then(|| Self { mean, error: (squares / (n * (n - 1)) as f64).sqrt(), n })
    }

    fn t(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, (self.n.checked_sub(1)?) as f64).ok()
    }

    /// Two-sided p of Student's t test against 0. With no spread at all: 1 where the mean is 0, else 0.
    pub fn p(&self) -> Option<f64> {
        if self.error == 0.0 {
            return Some(if self.mean == 0.0 { 1.0 } else { 0.0 });
        }
        Some(2.0 * self.t()?.sf((self.mean / self.error).abs()))
    }

    /// p of two one-sided tests (Schuirmann 1987): small where the mean lies within ±`margin`.
    pub fn equivalence_p(&self, margin: f64) -> Option<f64> {
        if self.error == 0.0 {
            return Some(if self.mean.abs() < margin { 0.0 } else { 1.0 });
        }
        let t = self.t()?;
        let above = t.sf((self.mean + margin) / self.error);
        let below = t.cdf((self.mean - margin) / self.error);
        Some(above.max(below))
    }

    /// The interval of Student's t that covers the mean in the share `level` of cases.
    pub fn interval(&self, level: f64) -> Option<(f64, f64)> {
        let half = self.t()?.inverse_cdf(1.0 - (1.0 - level) / 2.0) * self.error;
        Some((self.mean - half, self.mean + half))
    }

    /// The smallest difference that the two-sided t test at `alpha` finds in the share `power` of cases.
    pub fn detectable(&self, alpha: f64, power: f64) -> Option<f64> {
        let t = self.t()?;
        Some((t.inverse_cdf(1.0 - alpha / 2.0) + t.inverse_cdf(power)) * self.error)
    }
}

/// Two-sided p of Wilcoxon's signed-rank test. Zeros are left out and ties get mean ranks; the distribution is
/// exact for up to 50 differences without ties, else normal without a continuity correction.
pub fn signed_rank_p(values: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| *value != 0.0).collect();
    let n = values.len();
    if n == 0 {
        return None;
    }
    values.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (mut positive, mut tie_sum, mut first) = (0.0, 0.0, 0);
    while first < n {
        let size = values[first..].iter().take_while(|of| of.abs() == values[first].abs()).count();
        let rank = first as f64 + (size as f64 + 1.0) / 2.0;
        let over_zero = values[first..first + size].iter().filter(|value| **value > 0.0).count();
        positive += rank * over_zero as f64;
        tie_sum += (size as f64).powi(3) - size as f64;
        first += size;
    }
    let count = n as f64;
    let all = count * (count + 1.0) / 2.0;
    let least = positive.min(all - positive);
    if n <= EXACT_RANKS && tie_sum == 0.0 {
        // ways[s]: sets of ranks with the sum s.
        let mut ways = vec![0.0f64; all as usize + 1];
        ways[0] = 1.0;
        for rank in 1..=n {
            for sum in (rank..ways.len()).rev() {
                ways[sum] += ways[sum - rank];
            }
        }
        let below: f64 = ways[..=least as usize].iter().sum();
        return Some((2.0 * below / 2f64.powi(n as i32)).min(1.0));
    }
    let variance = count * (count + 1.0) * (2.0 * count + 1.0) / 24.0 - tie_sum / 48.0;
    let z = (least - all / 2.0) / variance.sqrt();
    Some((2.0 * Normal::standard().cdf(z)).min(1.0))
}

/// Two-sided p of the sign-flip permutation test of the mean: of all flips for up to 14 units, of [`FLIPS`] random
/// ones, the observed signs among them, for up to 10,000, and by the normal limit for more.
pub fn sign_flip_p(values: &[f64], seed: u64) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let observed = values.iter().sum::<f64>().abs();
    // Sums of the same numbers in other orders differ in their last digits.
    let size: f64 = values.iter().map(|value| value.abs()).sum();
    let reaches = |sum: f64| sum.abs() >= observed - 1e-12 * size;
    if n <= ALL_FLIPS {
        let sum = |signs: u32| -> f64 {
            let signed = values.iter().enumerate();
            signed.map(|(at, value)| if signs >> at & 1 == 1 { -value } else { *value }).sum()
        };
        let reached = (0..1u32 << n).filter(|signs| reaches(sum(*signs))).count();
        return Some(reached as f64 / f64::from(1u32 << n));
    }
    if n > MOST_FLIPPED {
        let spread = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let z = if spread == 0.0 { 0.0 } else { observed / spread };
        return Some(2.0 * Normal::standard().sf(z));
    }
    let reached: usize = (0..FLIPS)
        .into_par_iter()
        .filter(|draw| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(*draw as u64);
            let sum: f64 = values
                .chunks(64)
                .map(|values| {
                    let signs: u64 = random.random();
                    let signed = values.iter().enumerate();
                    signed
                        .map(|(at, value)| if signs >> at & 1 == 1 { -value } else { *value })
                        .sum::<f64>()
                })
                .sum();
            reaches(sum)
        })
        .count();
    Some((reached + 1) as f64 / (FLIPS + 1) as f64)
}

/// p of the one-sided binomial test: the chance of `found` or more of `n` where each has the chance `rate`.
pub fn binomial_p(found: usize, n: usize, rate: f64) -> Option<f64> {
    let of = Binomial::new(rate, n as u64).ok()?;
    Some(match found.checked_sub(1) {
        None => 1.0,
        Some(below) => of.sf(below as u64),
    })
}

/// p-values corrected for their number by Holm (1979), in the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut corrected = vec![0.0; p.len()];
    let mut highest = 0f64;
    for (at, place) in order.iter().enumerate() {
        highest = highest.max((p.len() - at) as f64 * p[*place]).min(1.0);
        corrected[*place] = highest;
    }
    corrected
}

/// p-values corrected by Benjamini and Hochberg (1995): at most the share q of those under q are false alarms.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut corrected = vec![0.0; p.len()];
    let mut lowest = 1f64;
    for (at, place) in order.iter().enumerate().rev() {
        lowest = lowest.min(p.len() as f64 / (at + 1) as f64 * p[*place]);
        corrected[*place] = lowest;
    }
    corrected
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order
}

/// How p-values are corrected for their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Correction {
    /// Holm: the chance of any false alarm
    #[default]
    Holm,
    /// Benjamini and Hochberg: the share of false alarms among the alarms
    Bh,
    /// Not at all
    None,
}

impl Correction {
    /// The corrected values, in the order given. A comparison without p is none that counts.
    pub fn apply(self, p: &[Option<f64>]) -> Vec<Option<f64>> {
        let known: Vec<f64> = p.iter().flatten().copied().collect();
        let corrected = match self {
            Self::Holm => holm(&known),
            Self::Bh => benjamini_hochberg(&known),
            Self::None => known,
        };
        let mut corrected = corrected.into_iter();
        p.iter().map(|p| p.and_then(|_| corrected.next())).collect()
    }

    /// `corrected by Holm for 3 comparisons`
    pub fn describe(self, n: usize) -> String {
        let comparisons = if n == 1 { "comparison" } else { "comparisons" };
        match self {
            Self::Holm => format!("corrected by Holm for {n} {comparisons}"),
            Self::Bh => format!("corrected by Benjamini-Hochberg for {n} {comparisons}"),
            Self::None => format!("not corrected for {n} {comparisons}"),
        }
    }
}

/// Differences of folds, whose training parts overlap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverFolds {
    estimate: Estimate,
}

impl OverFolds {
    /// The variance corrected by Nadeau and Bengio (2003): 1/J + `test_per_train` in the place of 1/J.
    pub fn new(differences: &[f64], test_per_train: f64) -> Option<Self> {
        let plain = Estimate::of(differences)?;
        let inflate = (1.0 + plain.n as f64 * test_per_train).sqrt();
        Some(Self { estimate: Estimate { error: plain.error * inflate, ..plain } })
    }

    /// Two-sided p of the corrected resampled t test.
    pub fn p(&self) -> Option<f64> {
        self.estimate.p()
    }

    /// Probabilities that the difference is under −`rope`, within ±`rope`, and over it, by the Bayesian correlated
    /// t test (Benavoli et al. 2017).
    pub fn posterior(&self, rope: f64) -> Option<[f64; 3]> {
        let Estimate { mean, error, n } = self.estimate;
        if error == 0.0 {
            let is = |holds: bool| f64::from(u8::from(holds));
            return Some([is(mean < -rope), is(mean.abs() <= rope), is(mean > rope)]);
        }
        let t = StudentsT::new(mean, error, (n - 1) as f64).ok()?;
        let (under, over) = (t.cdf(-rope), t.sf(rope));
        Some([under, 1.0 - under - over, over])
    }
}

/// Two-sided p of Welch's t test of two systems' values by seed: whether the difference is more than trainings with other seeds
/// make of it. One value is that of a system that does not vary. `None` if neither has two, or one has none.
pub fn over_seeds_p(first: &[f64], second: &[f64]) -> Option<f64> {
    let [first, second] = [first, second].map(|values| match values {
        [only] => Some(Estimate { mean: *only, error: 0.0, n: 1 }),
        _ => Estimate::of(values),
    });
    let (first, second) = (first?, second?);
    let error = first.error.hypot(second.error);
    if first.n == 1 && second.n == 1 {
        return None;
    }
    let difference = second.mean - first.mean;
    if error == 0.0 {
        return Some(if difference == 0.0 { 1.0 } else { 0.0 });
    }
    let part = |of: Estimate| match of.n {
        1 => 0.0,
        n => of.error.powi(4) / (n - 1) as f64,
    };
    let freedom = error.powi(4) / (part(first) + part(second));
    Some(2.0 * StudentsT::new(0.0, 1.0, freedom).ok()?.sf((difference / error).abs()))
}

/// The least two-sided p that flips of the signs of so many folds can give.
pub fn least_sign_flip_p(folds: usize) -> f64 {
    2.0 / 2f64.powi(folds as i32)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        units: Vec<OfUnits>,
        corrections: Vec<Corrected>,
        folds: Vec<OfFolds>,
        seeds: Vec<OfSeeds>,
    }

    #[derive(Deserialize)]
    struct OfSeeds {
        first: Vec<f64>,
        second: Vec<f64>,
        p: f64,
    }

    #[derive(Deserialize)]
    struct OfUnits {
        name: String,
        values: Vec<f64>,
        t: f64,
        signed_rank: f64,
        margin: f64,
        equivalence: f64,
        detectable: f64,
        sign_flip: Option<f64>,
    }

    #[derive(Deserialize)]
    struct Corrected {
        p: Vec<f64>,
        holm: Vec<f64>,
        bh: Vec<f64>,
    }

    #[derive(Deserialize)]
    struct OfFolds {
        differences: Vec<f64>,
        test_per_train: f64,
        rope: f64,
        p: f64,
        /// That the first of two is better, which is a difference under 0; that both are equal; the second.
        posterior: [f64; 3],
    }

    fn golden() -> Golden {
        let text = include_str!("../../tests/golden/significance.json");
        serde_json::from_str(text).unwrap()
    }

    fn near(found: f64, expected: f64, what: &str) {
        assert!((found - expected).abs() < 1e-10, "{what}: {found}, not {expected}");
    }

    /// tools/pin_significance.py
    #[test]
    fn p_values_are_those_of_scipy_statsmodels_and_baycomp() {
        let golden = golden();
        for of in &golden.units {
            let estimate = Estimate::of(&of.values).unwrap();
            near(estimate.p().unwrap(), of.t, &of.name);
            near(signed_rank_p(&of.values).unwrap(), of.signed_rank, &of.name);
            near(estimate.equivalence_p(of.margin).unwrap(), of.equivalence, &of.name);
            near(estimate.detectable(0.05, 0.8).unwrap(), of.detectable, &of.name);
            let flipped = sign_flip_p(&of.values, 1).unwrap();
            match of.sign_flip {
                Some(exact) => near(flipped, exact, &of.name),
                // Random flips of values without outliers agree with t.
                None => assert!((flipped - of.t).abs() < 0.05, "{}: {flipped} {}", of.name, of.t),
            }
        }
        for of in &golden.corrections {
            let all = |found: Vec<f64>, expected: &[f64]| {
                found.iter().zip(expected).for_each(|(a, b)| near(*a, *b, "corrected"));
            };
            all(holm(&of.p), &of.holm);
            all(benjamini_hochberg(&of.p), &of.bh);
        }
        for of in &golden.folds {
            let folds = OverFolds::new(&of.differences, of.test_per_train).unwrap();
            near(folds.p().unwrap(), of.p, "Nadeau and Bengio");
            let [under, within, over] = folds.posterior(of.rope).unwrap();
            for (found, expected) in [under, within, over].iter().zip(of.posterior) {
                near(*found, expected, "posterior");
            }
        }
        for of in &golden.seeds {
            near(over_seeds_p(&of.first, &of.second).unwrap(), of.p, "Welch");
            near(over_seeds_p(&of.second, &of.first).unwrap(), of.p, "Welch");
        }
        assert_eq!((golden.units.len(), golden.folds.len(), golden.seeds.len()), (5, 2, 3));
        assert_eq!(over_seeds_p(&[0.1], &[0.2]), None);
    }

    /// Exact sums with Python's math.comb.
    #[test]
    fn the_binomial_test_is_that_of_exact_sums() {
        near(binomial_p(7, 10, 0.5).unwrap(), 0.171875, "7 of 10");
        near(binomial_p(3, 100, 0.01).unwrap(), 0.079_373_202_252_181, "3 of 100");
        assert_eq!(binomial_p(0, 10, 0.2), Some(1.0));
        near(binomial_p(10, 10, 0.2).unwrap(), 0.2f64.powi(10), "all");
    }

    #[test]
    fn equal_systems_and_constant_differences_have_the_p_values_that_they_must() {
        let zero = Estimate::of(&[0.0; 9]).unwrap();
        assert_eq!((zero.p(), signed_rank_p(&[0.0; 9])), (Some(1.0), None));
        assert_eq!(sign_flip_p(&[0.0; 30], 1), Some(1.0));
        assert_eq!(Estimate::of(&[0.5; 9]).unwrap().p(), Some(0.0));
        assert!(Estimate::of(&[0.5]).is_none() && Estimate::of(&[]).is_none());
        assert_eq!(least_sign_flip_p(5), 0.0625);
        // All flips of four equal differences: two of sixteen.
        assert_eq!(sign_flip_p(&[1.0; 4], 1), Some(0.125));
    }

    #[test]
    fn comparisons_without_p_are_not_corrected_for() {
        let p = [Some(0.02), None, Some(0.03)];
        assert_eq!(Correction::Holm.apply(&p), [Some(0.04), None, Some(0.04)]);
        assert_eq!(Correction::Bh.apply(&p), [Some(0.03), None, Some(0.03)]);
        assert_eq!(Correction::None.apply(&p), p);
    }

    /// The normal limit against random flips where both can be had.
    #[test]
    fn the_limit_for_many_units_agrees_with_flips() {
        let values: Vec<f64> = (0..10_000).map(|at| (f64::from(at) * 0.7).sin() + 0.015).collect();
        let flipped = sign_flip_p(&values, 3).unwrap();
        let repeated: Vec<f64> = values.iter().copied().chain([0.0]).collect();
        let limit = sign_flip_p(&repeated, 3).unwrap();
        assert!((flipped - limit).abs() < 0.01, "{flipped} {limit}");
    }
}
