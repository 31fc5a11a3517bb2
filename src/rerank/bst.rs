//! Pairs, sorted by a search tree that is perfectly balanced at every insertion: the place of each item
//! among those before it is found by halving. No more than n·⌈log2 n⌉ comparisons.

use super::{Asking, Judged};
use crate::{llm::LlmError, model::neural::mix};

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let mut judged = Judged::default();
    for &item in items {
        let (mut low, mut high) = (0, judged.order.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let node = judged.order[middle];
            // What is in the tree came before in the base's order: it is named first, and stays before
            // the other where the judge does not say.
            let said = asking.judge.prefers(asking.user, node, item)?;
            let node_wins = said.unwrap_or(true);
            judged.asked += 1;
            if is_rechecked(asking, node, item) {
                judged.asked += 1;
                let swapped = asking.judge.prefers(asking.user, item, node)?;
                if let (Some(said), Some(swapped)) = (said, swapped) {
                    judged.swapped += 1;
                    judged.inconsistent += usize::from(swapped == said);
                }
            }
            match node_wins {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        judged.order.insert(low, item);
    }
    let n = judged.order.len();
    judged.merit = (0..n).map(|at| (n - at) as f64).collect();
    Ok(judged)
}

/// Whether a comparison belongs to the share that is asked again, by seed, user and pair.
fn is_rechecked(asking: &Asking, a: u32, b: u32) -> bool {
    let pair = u64::from(a.min(b)) << 32 | u64::from(a.max(b));
    let draw = mix(mix(asking.seed ^ mix(u64::from(asking.user.0) + 1)) ^ pair);
    ((draw >> 11) as f64) < asking.params.recheck * (1u64 << 53) as f64
}
