//! Scores from 0 to 100 in batches: each item in several batches, in other places and other company.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Asking, Judged};
use crate::{llm::LlmError, model::neural::mix};

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let mut sums = vec![(0.0f64, 0usize); items.len()];
    let mut judged = Judged::default();
    for round in 0..asking.params.rounds {
        let seed = mix(asking.seed ^ mix(u64::from(asking.user.0) << 8 | round as u64));
        let mut places: Vec<usize> = (0..items.len()).collect();
        places.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        for batch in places.chunks(asking.params.batch) {
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
