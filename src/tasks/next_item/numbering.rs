//! Numbers of items: what the id + 1 rule counts in.
//!
//! Many published files number items in the order of their first appearance, with the test part included: then the
//! next number is likely the next item. How a ranking is evaluated does not depend on the numbers.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::data::SequencePart;

/// How items are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// In the order of the ids of the data set.
    #[default]
    AsDistributed,
    /// The most frequent item of the training part first; of equals the lower id.
    TrainingPopularity,
    /// In the order of first appearance in the training part, user by user; items that are not in it come last.
    FirstAppearance,
    /// Drawn with the seed.
    Random,
}

crate::base::names::named!(Numbering, "numbering", {
    AsDistributed => "as-distributed",
    TrainingPopularity => "training-popularity",
    FirstAppearance => "first-appearance",
    Random => "random",
});

impl Numbering {
    /// The items in the order of their numbers.
    pub fn order(self, data: &SequencePart, seed: u64) -> Vec<u32> {
        let n_items = data.items.len();
        let mut order: Vec<u32> = (0..n_items as u32).collect();
        match self {
            Self::AsDistributed => {}
            Self::TrainingPopularity => {
                let counts = data.train.item_counts();
                // Stable: equals stay in the order of ids.
                order.sort_by_key(|item| std::cmp::Reverse(counts[*item as usize]));
            }
            Self::FirstAppearance => {
                let mut first = vec![usize::MAX; n_items];
                for (at, row) in data.train.iter().enumerate() {
                    let of_item = &mut first[row.item.at()];
                    *of_item = (*of_item).min(at);
                }
                order.sort_by_key(|item| first[*item as usize]);
            }
            Self::Random => order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed)),
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::next_item::models::tests::part;

    #[test]
    fn numbers_follow_the_rule_and_the_training_part_alone() {
        // Item 4 is in the validation part only, item 0 nowhere.
        let data = part(5, &[&[3, 1], &[2, 1]], &[&[4], &[4]]);
        assert_eq!(Numbering::AsDistributed.order(&data, 1), [0, 1, 2, 3, 4]);
        assert_eq!(Numbering::TrainingPopularity.order(&data, 1), [1, 2, 3, 0, 4]);
        assert_eq!(Numbering::FirstAppearance.order(&data, 1), [3, 1, 2, 0, 4]);
        let drawn = Numbering::Random.order(&data, 1);
        let mut sorted = drawn.clone();
        sorted.sort();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
        assert_eq!(drawn, Numbering::Random.order(&data, 1));
        assert!((2..9).any(|seed| Numbering::Random.order(&data, seed) != drawn));
    }
}
