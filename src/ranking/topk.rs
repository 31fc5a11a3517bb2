//! The first k of a row of scores: higher score first, ties by lower item index or as a rule says.

use super::Ties;
use crate::data::UserIx;

/// How many scores are looked at together; if none of them beats the k-th, all are skipped.
const BLOCK: usize = 64;
const LANES: usize = 16;

/// Replaces `top` by the `k` best (score, item) of `scores`, best first.
/// NaN and −∞ never enter: −∞ is how an item is left out.
pub fn top_k(scores: &[f32], k: usize, top: &mut Vec<(f32, u32)>) {
    top.clear();
    if k == 0 {
        return;
    }
    let mut floor = f32::NEG_INFINITY;
    for (block_at, block) in scores.chunks(BLOCK).enumerate() {
        if max_of(block) <= floor {
            continue;
        }
        for (at, &score) in block.iter().enumerate() {
            // An item of equal score and higher index loses, so only a strictly better one enters.
            if score > floor {
                if top.len() == k {
                    top.pop();
                }
                let place = top.partition_point(|(above, _)| *above >= score);
                top.insert(place, (score, (block_at * BLOCK + at) as u32));
                if top.len() == k {
                    floor = top[k - 1].0;
                }
            }
        }
    }
}

/// The same with ties ordered as the rule says.
pub fn top_k_by(ties: Ties, user: UserIx, scores: &[f32], k: usize, top: &mut Vec<(f32, u32)>) {
    top_k(scores, k, top);
    if ties == Ties::LowerId {
        return;
    }
    // All items of the last score stand for its places.
    if let Some((last, _)) = top.last().copied()
        && top.len() == k
    {
        top.retain(|(score, _)| *score > last);
        let of_last = scores.iter().zip(0u32..).filter(|(score, _)| **score == last);
        top.extend(of_last.map(|(score, item)| (*score, item)));
    }
    for group in top.chunk_by_mut(|a, b| a.0 == b.0) {
        group.sort_unstable_by_key(|(_, item)| ties.key(user, *item));
    }
    top.truncate(k);
}

/// Written in lanes so that it compiles to vector instructions.
fn max_of(block: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = block.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = if score > *lane { score } else { *lane };
        }
    }
    let larger = |a: f32, b: &f32| if *b > a { *b } else { a };
    rest.iter().fold(lanes.iter().fold(f32::NEG_INFINITY, larger), larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slow(scores: &[f32], k: usize) -> Vec<(f32, u32)> {
        let mut all: Vec<(f32, u32)> = scores
            .iter()
            .enumerate()
            .filter(|(_, score)| **score > f32::NEG_INFINITY)
            .map(|(item, score)| (*score, item as u32))
            .collect();
        all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
        all.truncate(k);
        all
    }

    #[test]
    fn a_random_order_is_one_of_equals_alone_and_drawn_from_all_of_them() {
        let scores = [1.0, 5.0, 1.0, 0.0, -0.0, 1.0, f32::NAN, 1.0, 1.0, f32::NEG_INFINITY];
        let mut times = [0; 10];
        for user in 0..3000 {
            let (mut short, mut long) = (Vec::new(), Vec::new());
            let of = |k, top: &mut Vec<_>| {
                top_k_by(Ties::Random { seed: 1 }, UserIx(user), &scores, k, top);
            };
            of(3, &mut short);
            of(10, &mut long);
            assert_eq!(long[..3], short[..], "the order does not depend on the cutoff");
            assert_eq!(long.len(), 8);
            assert_eq!(long[0].1, 1);
            assert!(long.windows(2).all(|pair| pair[0].0 >= pair[1].0));
            short[1..].iter().for_each(|(_, item)| times[*item as usize] += 1);
        }
        // Two of five places: 1,200 times each, with a standard deviation of 27.
        for item in [0, 2, 5, 7, 8] {
            assert!((1100..1300).contains(&times[item]), "{times:?}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_selection_equals_sorting(
            scores in prop::collection::vec(
                prop_oneof![
                    6 => (-3i8..4).prop_map(f32::from),
                    2 => -1.0f32..1.0,
                    1 => Just(f32::NAN),
                    1 => Just(f32::NEG_INFINITY),
                ],
                0..400,
            ),
            k in 0usize..30,
        ) {
            let mut top = Vec::new();
            top_k(&scores, k, &mut top);
            prop_assert_eq!(top, slow(&scores, k));
        }
    }
}
