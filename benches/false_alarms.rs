//! How often each test calls two equally good systems different at α = .05, by simulation: 5 folds with the same
//! users in each, whose values correlate between folds.
//!
//! `cargo bench --bench false_alarms -- [SIMULATIONS]` prints JSON lines; `tools/interval_coverage.py` prints a table of them.

use std::env;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rec_assay::{
    analysis::{Bootstrap, MEAN, Paired, Test, Units, compare},
    core::{MeasureKey, Measurements},
};

const FOLDS: usize = 5;
/// Of a user's nDCG between two folds of MovieLens-100K.
const CORRELATION: f64 = 0.47;
const ALPHA: f64 = 0.05;
/// Of equivalence; also the true difference where a test of equivalence must not reject.
const MARGIN: f64 = 0.02;
/// Size of a test part in sizes of its training part, with 5 folds.
const TEST_PER_TRAIN: f64 = 0.25;

/// How the values of two systems with the same mean differ.
#[derive(Clone, Copy)]
enum Null {
    /// Half of the users have the same value, the others two values of one distribution.
    Alike,
    /// The second system is much better for a tenth of the users and a little worse for the others.
    Skewed,
}

impl Null {
    const ALL: [Self; 2] = [Self::Alike, Self::Skewed];

    fn name(self) -> &'static str {
        match self {
            Self::Alike => "alike",
            Self::Skewed => "skewed",
        }
    }

    /// The values of a user under both systems.
    fn draw(self, random: &mut ChaCha8Rng) -> [f64; 2] {
        let first = value(random);
        let second = match self {
            Self::Alike if random.random_bool(0.5) => first,
            Self::Alike => value(random),
            Self::Skewed if random.random_bool(0.1) => first + 0.27,
            Self::Skewed => first - 0.03,
        };
        [first, second]
    }
}

/// A value like a user's metric: 0 for two users in five, skewed for the others.
fn value(random: &mut ChaCha8Rng) -> f64 {
    if random.random_bool(0.4) { 0.0 } else { random.random::<f64>().powi(2) }
}

/// Both systems; `shift` is added to the second.
fn simulate(null: Null, users: usize, shift: f64, random: &mut ChaCha8Rng) -> [Units; 2] {
    let key = MeasureKey {
        protocol: "full".into(),
        convention: "standard".into(),
        metric: "ndcg".into(),
        k: 10,
    };
    let own: Vec<[f64; 2]> = (0..users).map(|_| null.draw(random)).collect();
    let ids: Vec<String> = (0..users).map(|user| user.to_string()).collect();
    let mut systems = [Units::default(), Units::default()];
    for fold in 0..FOLDS {
        // A user's values are their own with probability √ρ, and else of this fold alone: two folds correlate with ρ.
        let is_own = |random: &mut ChaCha8Rng| random.random_bool(CORRELATION.sqrt());
        let draw = |own: &[f64; 2]| if is_own(random) { *own } else { null.draw(random) };
        let pairs: Vec<[f64; 2]> = own.iter().map(draw).collect();
        for (at, units) in systems.iter_mut().enumerate() {
            let of = |pair: &[f64; 2]| pair[at] + if at == 1 { shift } else { 0.0 };
            let slices = vec![("all".into(), vec![true; users])];
            let values: Vec<f64> = pairs.iter().map(of).collect();
            let columns = vec![key.clone()];
            let of_fold = Measurements::of_rows("user", ids.clone(), slices, columns, &values);
            units.add(&fold.to_string(), of_fold);
        }
    }
    systems
}

fn paired(systems: &[Units; 2], seed: u64) -> Paired {
    let [first, second] = systems;
    let bootstrap = Bootstrap { seed, ..Bootstrap::default() };
    compare([first, second], (MEAN, "all"), &|_| true, bootstrap).remove(0)
}

const TESTS: [&str; 7] = [
    "t",
    "signed_rank",
    "sign_flip",
    "bootstrap",
    "folds_corrected",
    "folds_uncorrected",
    "equivalence",
];

/// Which tests reject.
fn alarms(null: Null, users: usize, seed: u64) -> [u64; TESTS.len()] {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let alike = paired(&simulate(null, users, 0.0, &mut random), seed);
    let apart = paired(&simulate(null, users, MARGIN, &mut random), seed);
    let rejects = |p: Option<f64>| p.is_some_and(|p| p < ALPHA);
    let over_folds = |test_per_train| alike.over_folds(test_per_train).and_then(|of| of.p());
    let equivalence = apart.estimate.and_then(|of| of.equivalence_p(MARGIN));
    [
        rejects(alike.p(Test::T)),
        rejects(alike.p(Test::SignedRank)),
        rejects(alike.p(Test::SignFlip)),
        alike.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0),
        rejects(over_folds(TEST_PER_TRAIN)),
        rejects(over_folds(0.0)),
        rejects(equivalence),
    ]
    .map(u64::from)
}

fn main() {
    let simulations: u64 = env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(4000);
    for null in Null::ALL {
        for users in [20, 100, 400] {
            let add = |a: [u64; TESTS.len()], b: [u64; TESTS.len()]| {
                std::array::from_fn(|at| a[at] + b[at])
            };
            let counts = (0..simulations)
                .into_par_iter()
                .map(|seed| alarms(null, users, seed))
                .reduce(|| [0; TESTS.len()], add);
            let rates: Vec<String> = TESTS
                .iter()
                .zip(counts)
                .map(|(test, n)| format!("\"{test}\": {:.4}", n as f64 / simulations as f64))
                .collect();
            println!(
                "{{\"null\": \"{}\", \"users\": {users}, \"simulations\": {simulations}, {}}}",
                null.name(),
                rates.join(", ")
            );
        }
    }
}
