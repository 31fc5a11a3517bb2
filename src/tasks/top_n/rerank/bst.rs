//! Pairwise comparisons, sorted by a search tree that is perfectly balanced at every insertion: the rank of each item among
//! the earlier ones is found by binary search. At most n·⌈log2 n⌉ comparisons.
//!
//! Which item of a pair is named first is drawn from seed, user and pair. If it were always the one that the base ranks
//! higher, a judge with a bias for the first position would seem to agree with the base.

use super::{Judged, RerankRequest};
use crate::{base::random::mix, llm::LlmError};

pub(super) fn judge(request: &RerankRequest, items: &[u32]) -> Result<Judged, LlmError> {
    let mut judged = Judged::default();
    for &item in items {
        let (mut low, mut high) = (0, judged.order.len());
        while low < high {
            let middle = low + (high - low) / 2;
            // An item in the tree is earlier in the base's order, and stays first if the judge does not decide.
            let node_wins = compare(request, judged.order[middle], item, &mut judged)?;
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

/// Whether `node` is better than `item`; none if the judge does not decide.
fn compare(
    request: &RerankRequest,
    node: u32,
    item: u32,
    judged: &mut Judged,
) -> Result<Option<bool>, LlmError> {
    let pair = u64::from(node.min(item)) << 32 | u64::from(node.max(item));
    let of_pair = mix(mix(request.seed ^ mix(u64::from(request.user.0) + 1)) ^ pair);
    let node_first = (mix(of_pair) & 1 == 0) == (node < item);
    let (first, second) = if node_first { (node, item) } else { (item, node) };
    let decision = request.judge.prefers(request.user, first, second)?;
    judged.questions += 1;
    if let Some(first_wins) = decision {
        judged.decided += 1;
        judged.first_wins += usize::from(first_wins);
    }
    if is_rechecked(request, of_pair) {
        judged.questions += 1;
        let swapped = request.judge.prefers(request.user, second, first)?;
        if let (Some(decision), Some(swapped)) = (decision, swapped) {
            judged.swapped += 1;
            judged.first_twice += usize::from(decision && swapped);
            judged.second_twice += usize::from(!decision && !swapped);
        }
    }
    Ok(decision.map(|first_wins| first_wins == node_first))
}

/// Whether a comparison belongs to the share that is repeated in swapped order.
fn is_rechecked(request: &RerankRequest, of_pair: u64) -> bool {
    ((of_pair >> 11) as f64) < request.params.recheck * (1u64 << 53) as f64
}
