//! Pairs, sorted by a search tree that is perfectly balanced at every insertion: the rank of each item
//! among those before it is found by halving. No more than n·⌈log2 n⌉ comparisons.
//!
//! Which item of a pair is named first is drawn by seed, user and pair. If it were the base's better one, a
//! judge that favours the first-named would pass for one that agrees with the base.

use super::{Asking, Judged};
use crate::{base::random::mix, llm::LlmError};

pub(super) fn judge(asking: &Asking, items: &[u32]) -> Result<Judged, LlmError> {
    let mut judged = Judged::default();
    for &item in items {
        let (mut low, mut high) = (0, judged.order.len());
        while low < high {
            let middle = low + (high - low) / 2;
            // What is in the tree came before in the base's order, and stays before the other where the
            // judge does not say.
            let node_wins = compare(asking, judged.order[middle], item, &mut judged)?;
            match node_wins.unwrap_or(true) {
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

/// Whether `node` is better than `item`; none where the judge does not say.
fn compare(
    asking: &Asking,
    node: u32,
    item: u32,
    judged: &mut Judged,
) -> Result<Option<bool>, LlmError> {
    let pair = u64::from(node.min(item)) << 32 | u64::from(node.max(item));
    let of_pair = mix(mix(asking.seed ^ mix(u64::from(asking.user.0) + 1)) ^ pair);
    let node_first = (mix(of_pair) & 1 == 0) == (node < item);
    let (first, second) = if node_first { (node, item) } else { (item, node) };
    let said = asking.judge.prefers(asking.user, first, second)?;
    judged.asked += 1;
    if let Some(first_wins) = said {
        judged.decided += 1;
        judged.first_wins += usize::from(first_wins);
    }
    if is_rechecked(asking, of_pair) {
        judged.asked += 1;
        let swapped = asking.judge.prefers(asking.user, second, first)?;
        if let (Some(said), Some(swapped)) = (said, swapped) {
            judged.swapped += 1;
            judged.first_twice += usize::from(said && swapped);
            judged.second_twice += usize::from(!said && !swapped);
        }
    }
    Ok(said.map(|first_wins| first_wins == node_first))
}

/// Whether a comparison belongs to the share that is asked again.
fn is_rechecked(asking: &Asking, of_pair: u64) -> bool {
    ((of_pair >> 11) as f64) < asking.params.recheck * (1u64 << 53) as f64
}
