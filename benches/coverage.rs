//! How often a "95 %" interval of a mean over folds holds the true mean, by simulation, when the same
//! users are in every fold: users drawn once for all folds, as assay draws them, and drawn within each
//! fold, as is often done.
//!
//! `cargo bench --bench coverage -- [SIMULATIONS]` prints JSON lines; `tools/interval_coverage.py` checks them.

use std::env;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rec_assay::analysis::{Bootstrap, UserValues, interval};

const FOLDS: usize = 5;
/// Of a user's nDCG between two folds of MovieLens-100K.
const CORRELATION: f64 = 0.47;

/// What is simulated.
struct Case {
    name: &'static str,
    /// Users in all folds together.
    users: usize,
    /// Each is in a fold with this probability.
    in_fold: f64,
}

const CASES: [Case; 4] = [
    Case { name: "400 users in every fold", users: 400, in_fold: 1.0 },
    Case { name: "500 users, each in a fold with probability 0.8", users: 500, in_fold: 0.8 },
    Case { name: "10 users in every fold", users: 10, in_fold: 1.0 },
    Case { name: "6 users in every fold", users: 6, in_fold: 1.0 },
];

/// A value like a user's metric: 0 for two users in five, skewed for the others. The mean is 0.2.
fn value(random: &mut ChaCha8Rng) -> f64 {
    if random.random_bool(0.4) { 0.0 } else { random.random::<f64>().powi(2) }
}

const MEAN: f64 = 0.6 / 3.0;

/// By fold, the users in it with their values. A value is the user's own with probability √ρ, and
/// else one of this fold alone: then two folds correlate with ρ, whatever the values' distribution.
fn simulate(case: &Case, random: &mut ChaCha8Rng) -> Vec<UserValues> {
    let own: Vec<f64> = (0..case.users).map(|_| value(random)).collect();
    let fold = |_| {
        let (mut users, mut values) = (Vec::new(), Vec::new());
        for (user, own) in own.iter().enumerate() {
            let of_fold = value(random);
            let of_fold = if random.random_bool(CORRELATION.sqrt()) { *own } else { of_fold };
            if random.random_bool(case.in_fold) {
                users.push(user as u32);
                values.push(of_fold);
            }
        }
        UserValues { users, cells: vec![values] }
    };
    (0..FOLDS).map(fold).collect()
}

/// The interval with users drawn within each fold, all folds by themselves.
fn drawn_within_folds(folds: &[UserValues], bootstrap: Bootstrap) -> Option<(f64, f64)> {
    let columns: Vec<Vec<f64>> = folds
        .iter()
        .enumerate()
        .map(|(at, fold)| {
            let users = (0..fold.users.len() as u32).collect();
            let fold = UserValues { users, ..fold.clone() };
            let seed = bootstrap.seed ^ ((at as u64 + 1) << 32);
            let resampled =
                Bootstrap { seed, ..bootstrap }.resample(fold.users.len(), &[vec![&fold]]);
            resampled.column(0).collect()
        })
        .collect();
    let mean = |at: usize| columns.iter().map(|of| of[at]).sum::<f64>() / columns.len() as f64;
    interval((0..bootstrap.resamples).map(mean).collect())
}

fn main() {
    let simulations: u64 = env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(4000);
    for case in &CASES {
        let held = |seed: u64| -> [u64; 2] {
            let folds = simulate(case, &mut ChaCha8Rng::seed_from_u64(seed));
            let bootstrap = Bootstrap { seed, ..Bootstrap::default() };
            let by_fold: Vec<Vec<&UserValues>> = folds.iter().map(|fold| vec![fold]).collect();
            let drawn_once = bootstrap.intervals(case.users, &by_fold)[0];
            [drawn_once, drawn_within_folds(&folds, bootstrap)].map(|interval| {
                u64::from(interval.is_some_and(|(low, high)| low <= MEAN && MEAN <= high))
            })
        };
        let [once, within] = (0..simulations)
            .into_par_iter()
            .map(held)
            .reduce(|| [0, 0], |a, b| [a[0] + b[0], a[1] + b[1]]);
        let share = |n: u64| n as f64 / simulations as f64;
        println!(
            "{{\"case\": \"{}\", \"simulations\": {simulations}, \"drawn_once\": {:.4}, \
             \"drawn_within_folds\": {:.4}}}",
            case.name,
            share(once),
            share(within)
        );
    }
}
