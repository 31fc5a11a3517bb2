//! Scoring on its own: 6,040 users × 3,706 items, six metrics at five cutoffs, the selection of the
//! first 20 of a matrix of scores included.
//!
//! With `--write DIR` it writes the same rankings and relevant items as TREC run and qrels files, for
//! `tools/bench.py` to give to the peer libraries.

use std::{env, fmt::Write, fs, path::Path, time::Instant};

use criterion::Criterion;
use rec_assay::{
    base::interrupt::Interrupt,
    data::{Interaction, Interactions, ItemIx, Relevance, UserIx},
    ranking::{Metric, ScoreSpec, Scorer, Source, score, score::Labels},
    tasks::top_n::models::{ModelError, Recommender},
};

const USERS: u32 = 6040;
const ITEMS: u32 = 3706;

/// A made-up matrix of scores; copying a row stands for computing it.
struct Matrix(Vec<f32>);

impl Scorer for Matrix {
    fn n_items(&self) -> usize {
        ITEMS as usize
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        for (user, row) in users.iter().zip(scores.chunks_mut(ITEMS as usize)) {
            row.copy_from_slice(&self.0[user.at() * ITEMS as usize..][..ITEMS as usize]);
        }
    }
}

impl Recommender for Matrix {
    fn save(&self, _: &Path) -> Result<(), ModelError> {
        Ok(())
    }
}

fn mix(value: u64) -> u64 {
    let z = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}

fn pick(salt: u64, n: u32) -> Interactions {
    let rows: Vec<Interaction> = (0..USERS)
        .flat_map(|user| {
            (0..n).map(move |at| Interaction {
                user: UserIx(user),
                // Skewed to low indices, as popular items are.
                item: ItemIx({
                    let r = mix((salt << 50) ^ (u64::from(user) << 20) ^ u64::from(at)) % (1 << 24);
                    let r = r as f64 / f64::from(1 << 24);
                    (r * r * f64::from(ITEMS)) as u32
                }),
                rating: 5.0,
                timestamp: Default::default(),
            })
        })
        .collect();
    Interactions::new(USERS as usize, ITEMS as usize, &rows)
}

fn main() {
    let (train, test) = (pick(1, 130), pick(2, 30));
    let test = test.filter(|row| !train.contains(row.user, row.item));
    let scores = (0..USERS as u64 * ITEMS as u64)
        .map(|at| {
            let popularity = 1.0 - (at % u64::from(ITEMS)) as f32 / ITEMS as f32;
            popularity + (mix(at) >> 40) as f32 / (1u64 << 24) as f32
        })
        .collect();
    let matrix = Matrix(scores);
    let spec = ScoreSpec {
        k: vec![1, 5, 10, 15, 20],
        metrics: vec![
            Metric::Precision,
            Metric::Recall,
            Metric::Ndcg,
            Metric::MapRel,
            Metric::Mrr,
            Metric::HitRate,
        ],
        depth: 20,
        ..ScoreSpec::default()
    };
    let labels = Labels {
        train: &train,
        seen: &train,
        test: &test,
        relevant: Relevance::Any,
        is_qrels: false,
    };
    let run = || score(&spec, &labels, &Source::Model(&matrix), &Interrupt::default(), &|_, _| {});
    let arguments: Vec<String> = env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--write") {
        let dir = Path::new(&arguments[at + 1]);
        if let Err(error) = write(&run(), &test, dir) {
            eprintln!("{error}");
            std::process::exit(1);
        }
        return;
    }
    let seconds = arguments.iter().any(|argument| argument == "--seconds");
    // Criterion reads the arguments too, and does not know ours.
    let mut criterion =
        (!seconds).then(|| Criterion::default().sample_size(10).configure_from_args());
    for threads in [1, 2] {
        let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() else {
            continue;
        };
        let Some(criterion) = &mut criterion else {
            let started = Instant::now();
            let scored = pool.install(run);
            let elapsed = started.elapsed().as_secs_f64();
            println!(
                "{{\"case\": \"scoring/{threads}\", \"seconds\": {elapsed}, \"ok\": {}}}",
                scored.is_ok()
            );
            continue;
        };
        criterion.bench_function(&format!("scoring/{threads}"), |bencher| {
            bencher.iter(|| pool.install(run).map(|scores| scores.rows.len()));
        });
    }
    if let Some(criterion) = criterion {
        criterion.final_summary();
    }
}

fn write(
    scored: &Result<rec_assay::ranking::Scores, rec_assay::ranking::EvalError>,
    test: &Interactions,
    dir: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let scored = scored.as_ref().map_err(ToString::to_string)?;
    let (mut run, mut qrels, mut means) = (String::new(), String::new(), String::new());
    for row in &scored.rows {
        for (at, (_, item)) in row.ranking.iter().enumerate() {
            writeln!(run, "{} Q0 {item} {} {} assay", row.user.0, at + 1, 1000 - at)?;
        }
    }
    for row in test.iter() {
        writeln!(qrels, "{} 0 {} 1", row.user.0, row.item.0)?;
    }
    for mean in &scored.summary {
        writeln!(means, "{} {} {}", mean.metric, mean.k, mean.value.unwrap_or(f64::NAN))?;
    }
    fs::write(dir.join("run.txt"), run)?;
    fs::write(dir.join("qrels.txt"), qrels)?;
    fs::write(dir.join("means.txt"), means)?;
    Ok(())
}
