//! Scores in batches. As the paper: from 0 to 100, each item in several batches, at other ranks and in other
//! company. As the code: from 1 to 100, batches in the base's order.

use std::collections::HashSet;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Asking, Judged, Variant, batch::in_no_batch};
use crate::{base::random::mix, llm::LlmError};

/// Draws of a round before a company of old is put up with.
const TRIES: u64 = 20;

/// The batches of every round: as even in size as can be, none with the same items as one before, where
/// the pool is large enough for that.
fn rounds(asking: &Asking, n: usize) -> Vec<Vec<Vec<usize>>> {
    let (user, size) = (u64::from(asking.user.0), asking.params.batch);
    let n_batches = n.div_ceil(size).max(1);
    let mut known: HashSet<Vec<usize>> = HashSet::new();
    let draw = |round: usize, attempt: u64| -> Vec<Vec<usize>> {
        let seed = mix(asking.seed ^ mix(attempt << 48 | user << 8 | round as u64));
        let mut places: Vec<usize> = (0..n).collect();
        places.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let start = |batch: usize| batch * n / n_batches;
        (0..n_batches).map(|batch| places[start(batch)..start(batch + 1)].to_vec()).collect()
    };
    let company = |batch: &Vec<usize>| {
        let mut company = batch.clone();
        company.sort_unstable();
        company
    };
    (0..asking.params.rounds())
        .map(|round| {
            let fresh = |batches: &Vec<Vec<usize>>| {
                batches.iter().all(|batch| !known.contains(&company(batch)))
            };
            let found = (0..TRIES).map(|attempt| draw(round, attempt)).find(fresh);
            let batches = found.unwrap_or_else(|| draw(round, 0));
            known.extend(batches.iter().map(company));
            batches
        })
        .collect()
}

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    match asking.params.variant {
        Variant::Paper => in_rounds(asking, items),
        Variant::Code => in_sequence(asking, items),
    }
}

/// What the code takes for a batch without a usable answer, and for an item in no batch.
const LOWEST: f64 = 1.0;

fn in_sequence(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let windows = asking.params.windows(items.len());
    let mut sums = vec![(0.0f64, 0usize); items.len()];
    for &(start, end) in &windows {
        let scores = asking.judge.relevance(asking.user, &items[start..end], 0)?;
        // One score that is missing spoils the whole batch.
        let scores: Option<Vec<f64>> = scores.into_iter().collect();
        for (at, sum) in sums[start..end].iter_mut().enumerate() {
            let score = scores.as_ref().map_or(LOWEST, |scores| scores[at]);
            *sum = (sum.0 + score.clamp(LOWEST, 100.0), sum.1 + 1);
        }
    }
    let mean = |at: usize| match sums[at] {
        (_, 0) => LOWEST,
        (sum, n) => sum / n as f64,
    };
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|a, b| mean(*b).total_cmp(&mean(*a)).then(a.cmp(b)));
    Ok(Judged {
        order: places.iter().map(|at| items[*at]).collect(),
        merit: places.iter().map(|at| mean(*at)).collect(),
        asked: windows.len(),
        in_no_batch: in_no_batch(items.len(), &windows),
        ..Judged::default()
    })
}

fn in_rounds(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let mut sums = vec![(0.0f64, 0usize); items.len()];
    let mut judged = Judged::default();
    for (round, batches) in rounds(asking, items.len()).iter().enumerate() {
        for batch in batches {
            let of: Vec<u32> = batch.iter().map(|place| items[*place]).collect();
            let scores = asking.judge.relevance(asking.user, &of, round)?;
            judged.asked += 1;
            for (place, score) in batch.iter().zip(scores) {
                if let Some(score) = score {
                    sums[*place].0 += score;
                    sums[*place].1 += 1;
                }
            }
        }
    }
    // An item that no answer says anything of is worth the middle of the others.
    let said: Vec<f64> =
        sums.iter().filter(|(_, n)| *n > 0).map(|(sum, n)| sum / *n as f64).collect();
    let middle = said.iter().sum::<f64>() / said.len().max(1) as f64;
    let mean = |place: usize| match sums[place] {
        (_, 0) => middle,
        (sum, n) => sum / n as f64,
    };
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|a, b| mean(*b).total_cmp(&mean(*a)).then(a.cmp(b)));
    judged.order = places.iter().map(|place| items[*place]).collect();
    judged.merit = places.iter().map(|place| mean(*place)).collect();
    Ok(judged)
}
