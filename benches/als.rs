//! ALS on its own: seconds for each number of threads, data set and solver, as JSON lines.
//!
//! `cargo bench --bench als` measures with criterion; `tools/bench.py` runs this program with
//! `--seconds` beside the peer library, in turns, and compares medians.

use std::{env, fs, hint::black_box, path::PathBuf, time::Instant};

use criterion::Criterion;
use rec_assay::{
    base::interrupt::Interrupt,
    data::{Interaction, Interactions, ItemIx, UserIx},
    tasks::top_n::models::{
        AlsParams, FitContext,
        als::{Confidence, Solver},
    },
};

/// MovieLens-100K's u1 positives and MovieLens-1M's pairs, as far as ASSAY_DATA holds them.
fn matrices() -> Vec<(&'static str, Interactions)> {
    let root = PathBuf::from(env::var_os("ASSAY_DATA").unwrap_or_else(|| "datasets".into()));
    let mut matrices = Vec::new();
    for (name, file, rated) in
        [("100k", "ml-100k/u1.base", true), ("1m", "ml-1m-partial/ml-1m.seq.tsv", false)]
    {
        let Ok(text) = fs::read_to_string(root.join(file)) else {
            eprintln!("not run: {name} (no {file} under ASSAY_DATA)");
            continue;
        };
        let rows: Vec<Interaction> = text
            .lines()
            .filter_map(|line| {
                let fields: Vec<u32> =
                    line.split('\t').filter_map(|field| field.parse().ok()).collect();
                (!rated || fields[2] >= 4).then(|| Interaction {
                    user: UserIx(fields[0] - 1),
                    item: ItemIx(fields[1] - 1),
                    rating: 1.0,
                    timestamp: Default::default(),
                })
            })
            .collect();
        let n_users = rows.iter().map(|row| row.user.at() + 1).max().unwrap_or(0);
        let n_items = rows.iter().map(|row| row.item.at() + 1).max().unwrap_or(0);
        matrices.push((name, Interactions::new(n_users, n_items, &rows)));
    }
    matrices
}

fn params(solver: Solver) -> AlsParams {
    AlsParams {
        factors: 64,
        iterations: 5,
        regularization: 10.0,
        confidence: Confidence::AlphaR,
        alpha: 20.0,
        solver,
        cg_steps: 3,
        ..AlsParams::default()
    }
}

fn fit(matrix: &Interactions, solver: Solver) {
    let interrupt = Interrupt::default();
    let context = FitContext::silent(1, &interrupt);
    if let Err(error) = params(solver).factorise(black_box(matrix), &context) {
        eprintln!("{error}");
    }
}

const SOLVERS: [(&str, Solver); 2] = [("cg", Solver::Cg), ("cholesky", Solver::Cholesky)];

fn main() {
    let matrices = matrices();
    let cases = matrices.iter().flat_map(|(name, matrix)| {
        SOLVERS.iter().flat_map(move |(solver_name, solver)| {
            [1, 2].map(|threads| {
                (format!("{name}/{solver_name}/{threads}"), matrix, *solver, threads)
            })
        })
    });
    let seconds = env::args().any(|argument| argument == "--seconds");
    // Criterion reads the arguments too, and does not know ours.
    let mut criterion =
        (!seconds).then(|| Criterion::default().sample_size(10).configure_from_args());
    for (name, matrix, solver, threads) in cases {
        let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() else {
            continue;
        };
        let Some(criterion) = &mut criterion else {
            let started = Instant::now();
            pool.install(|| fit(matrix, solver));
            println!(
                "{{\"case\": \"als/{name}\", \"seconds\": {}}}",
                started.elapsed().as_secs_f64()
            );
            continue;
        };
        criterion.bench_function(&format!("als/{name}"), |bencher| {
            bencher.iter(|| pool.install(|| fit(matrix, solver)));
        });
    }
    if let Some(criterion) = criterion {
        criterion.final_summary();
    }
}
