//! Candidate protocols: what is ranked for a user.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Which items are ranked, and what is kept of the ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Every item of the catalogue that was not seen in training.
    Full,
    /// Only the items of the user's test part (the condensed list of the IR literature).
    Judged,
    /// The first k of the full ranking, then only those of the user's test part, in their order.
    JudgedAfterCut,
    /// The relevant items against sampled unseen ones. Inconsistent: it may order systems otherwise
    /// than the full ranking does (Krichene and Rendle, KDD 2020).
    Sampled,
}

crate::base::names::named!(Protocol, "protocol", {
    Full => "full",
    Judged => "judged",
    JudgedAfterCut => "judged-after-cut",
    Sampled => "sampled",
});

/// `n` distinct items of `0..n_items` that are in neither of the ascending lists `seen` and `judged`;
/// all there are where there are fewer. Depends on the seed and the user alone.
pub fn sample_negatives(
    n: usize,
    n_items: usize,
    seen: &[u32],
    judged: &[u32],
    seed: u64,
    user: u32,
) -> Vec<u32> {
    let known =
        |item: u32| seen.binary_search(&item).is_ok() || judged.binary_search(&item).is_ok();
    let unknown = n_items.saturating_sub(seen.len() + judged.len());
    // Where most of what is left is wanted, drawing would repeat itself: take from the list.
    if unknown <= 2 * n {
        let mut rest: Vec<u32> = (0..n_items as u32).filter(|item| !known(*item)).collect();
        let mut random = stream(seed, user);
        for at in 0..n.min(rest.len()) {
            let other = random.random_range(at..rest.len());
            rest.swap(at, other);
        }
        rest.truncate(n);
        return rest;
    }
    let mut random = stream(seed, user);
    let mut drawn = Vec::with_capacity(n);
    while drawn.len() < n {
        let item = random.random_range(0..n_items as u32);
        if !known(item) && !drawn.contains(&item) {
            drawn.push(item);
        }
    }
    drawn
}

fn stream(seed: u64, user: u32) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(user));
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_new_distinct_and_reproducible() {
        for (n, n_items) in [(10, 1000), (10, 25), (50, 30)] {
            let (seen, judged) = ([1, 5, 9], [2, 7]);
            let drawn = sample_negatives(n, n_items, &seen, &judged, 42, 3);
            let mut sorted = drawn.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), n.min(n_items - 5));
            assert!(drawn.iter().all(|item| !seen.contains(item) && !judged.contains(item)));
            assert_eq!(drawn, sample_negatives(n, n_items, &seen, &judged, 42, 3));
            assert_ne!(drawn, sample_negatives(n, n_items, &seen, &judged, 42, 4));
        }
    }
}
