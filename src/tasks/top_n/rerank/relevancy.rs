//! Scores in batches. As in the paper: from 0 to 100, each item in several batches, at different ranks and with different
//! other items. As in the code: from 1 to 100, batches in the base's order.

use std::collections::HashSet;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Judged, RerankRequest, Variant, batch::in_no_batch};
use crate::{base::random::mix, llm::LlmError};

/// Draws of a round before a batch of an earlier round is accepted.
const MAX_DRAWS: u64 = 20;

/// The batches of every round: sizes differ by at most one, and no batch has the same items as an earlier one, if the
/// pool is large enough.
fn rounds(request: &RerankRequest, n: usize) -> Vec<Vec<Vec<usize>>> {
    let (user, size) = (u64::from(request.user.0), request.params.batch);
    let n_batches = n.div_ceil(size).max(1);
    let mut seen: HashSet<Vec<usize>> = HashSet::new();
    let draw = |round: usize, attempt: u64| -> Vec<Vec<usize>> {
        let seed = mix(request.seed ^ mix(attempt << 48 | user << 8 | round as u64));
        let mut ranks: Vec<usize> = (0..n).collect();
        ranks.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let start = |batch: usize| batch * n / n_batches;
        (0..n_batches).map(|batch| ranks[start(batch)..start(batch + 1)].to_vec()).collect()
    };
    let sorted = |batch: &Vec<usize>| {
        let mut sorted = batch.clone();
        sorted.sort_unstable();
        sorted
    };
    (0..request.params.rounds())
        .map(|round| {
            let fresh = |batches: &Vec<Vec<usize>>| {
                batches.iter().all(|batch| !seen.contains(&sorted(batch)))
            };
            let found = (0..MAX_DRAWS).map(|attempt| draw(round, attempt)).find(fresh);
            let batches = found.unwrap_or_else(|| draw(round, 0));
            seen.extend(batches.iter().map(sorted));
            batches
        })
        .collect()
}

pub(super) fn judge(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    match request.params.variant {
        Variant::Paper => in_rounds(request, items),
        Variant::Code => in_sequence(request, items),
    }
}

/// The score, in the variant `code`, of items of a batch without a usable response, and of an item in no batch.
const LOWEST: f64 = 1.0;

fn in_sequence(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    let windows = request.params.windows(items.len());
    let mut sums = vec![(0.0f64, 0usize); items.len()];
    for &(start, end) in &windows {
        let scores = request.judge.relevance(request.user, &items[start..end], 0)?;
        // One missing score makes the whole batch unusable, as in the code.
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
    let mut ranks: Vec<usize> = (0..items.len()).collect();
    ranks.sort_by(|a, b| mean(*b).total_cmp(&mean(*a)).then(a.cmp(b)));
    Ok(Judged {
        order: ranks.iter().map(|at| items[*at]).collect(),
        merit: ranks.iter().map(|at| mean(*at)).collect(),
        questions: windows.len(),
        in_no_batch: in_no_batch(items.len(), &windows),
        ..Judged::default()
    })
}

fn in_rounds(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    let mut sums = vec![(0.0f64, 0usize); items.len()];
    let mut judged = Judged::default();
    for (round, batches) in rounds(request, items.len()).iter().enumerate() {
        for batch in batches {
            let of: Vec<u32> = batch.iter().map(|rank| items[*rank]).collect();
            let scores = request.judge.relevance(request.user, &of, round)?;
            judged.questions += 1;
            for (rank, score) in batch.iter().zip(scores) {
                if let Some(score) = score {
                    sums[*rank].0 += score;
                    sums[*rank].1 += 1;
                }
            }
        }
    }
    // An item without a score gets the mean of the others.
    let scored: Vec<f64> =
        sums.iter().filter(|(_, n)| *n > 0).map(|(sum, n)| sum / *n as f64).collect();
    let middle = scored.iter().sum::<f64>() / scored.len().max(1) as f64;
    let mean = |rank: usize| match sums[rank] {
        (_, 0) => middle,
        (sum, n) => sum / n as f64,
    };
    let mut ranks: Vec<usize> = (0..items.len()).collect();
    ranks.sort_by(|a, b| mean(*b).total_cmp(&mean(*a)).then(a.cmp(b)));
    judged.order = ranks.iter().map(|rank| items[*rank]).collect();
    judged.merit = ranks.iter().map(|rank| mean(*rank)).collect();
    Ok(judged)
}
