//! A Markov chain of first order: what followed the last item in the training part, by how often.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Backoff, FitContext, NextItem, SequenceModel, Size, Tail};
use crate::{
    base::arrays::{self, Array, Saved},
    data::{SequencePart, UserIx},
    tasks::shared::ModelError,
};

/// Settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkovParams {
    /// What items get that never followed the last item.
    backoff: Backoff,
}

struct Markov {
    backoff: Backoff,
    /// Row starts, `n_items + 1` long.
    starts: Vec<u32>,
    /// What followed each item, ascending, and how often.
    next: Vec<u32>,
    counts: Vec<u32>,
    /// How often each item occurs.
    popularity: Vec<u32>,
    tail: Tail,
}

impl SequenceModel for MarkovParams {
    fn memory(&self, size: Size) -> usize {
        40 * size.ratings + 20 * size.items
    }

    fn fit(&self, data: &SequencePart, _: &FitContext) -> Result<Box<dyn NextItem>, ModelError> {
        let users = (0..data.users.len() as u32).map(UserIx);
        let mut pairs: Vec<(u32, u32)> = users
            .flat_map(|user| data.train.of(user).windows(2).map(|pair| (pair[0], pair[1])))
            .collect();
        pairs.sort_unstable();
        let (mut starts, mut next, mut counts) = (vec![0u32; data.items.len() + 1], vec![], vec![]);
        for of_pair in pairs.chunk_by(|a, b| a == b) {
            starts[of_pair[0].0 as usize + 1] += 1;
            next.push(of_pair[0].1);
            counts.push(of_pair.len() as u32);
        }
        (0..data.items.len()).for_each(|item| starts[item + 1] += starts[item]);
        let popularity = data.train.item_counts();
        let tail = Tail::new(&popularity);
        Ok(Box::new(Markov { backoff: self.backoff, starts, next, counts, popularity, tail }))
    }

    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
        let saved = Saved::read(dir)?;
        let (starts, next) = (saved.numbers("starts")?, saved.numbers("next")?);
        let (counts, popularity) = (saved.numbers("counts")?, saved.numbers("popularity")?);
        let n_items = data.items.len();
        let fits = starts.len() == n_items + 1
            && popularity.len() == n_items
            && starts.is_sorted()
            && starts.last() == Some(&(next.len() as u32))
            && counts.len() == next.len()
            && next.iter().all(|item| (*item as usize) < n_items);
        if !fits {
            return Err(saved.malformed("transitions of other items").into());
        }
        let tail = Tail::new(&popularity);
        Ok(Box::new(Markov { backoff: self.backoff, starts, next, counts, popularity, tail }))
    }
}

impl NextItem for Markov {
    fn score_one(&self, _: UserIx, input: &[u32], scores: &mut [f32]) {
        scores.fill(0.0);
        let Some(last) = input.last().map(|item| *item as usize) else { return };
        let row = self.starts[last] as usize..self.starts[last + 1] as usize;
        for (item, count) in self.next[row.clone()].iter().zip(&self.counts[row]) {
            scores[*item as usize] = *count as f32;
        }
        self.tail.apply(self.backoff, 1.0, scores);
    }

    fn omits_items(&self) -> bool {
        self.backoff == Backoff::None
    }

    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let arrays = [
            ("starts", &self.starts),
            ("next", &self.next),
            ("counts", &self.counts),
            ("popularity", &self.popularity),
        ];
        Ok(arrays::save(dir, &arrays.map(|(name, values)| (name, Array::numbers(values))))?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{part, scores};

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn items_that_followed_the_last_come_first_by_count_then_by_popularity() {
        // After 0: 1 twice, 2 and 3 once each; 2 occurs three times, 3 once. Item 4 does not occur.
        let data = part(5, &[&[0, 1, 0, 1], &[0, 2, 2, 2], &[0, 3]], &[]);
        let without = "{model: markov, backoff: none}";
        assert_eq!(scores(without, &data, &[3, 0]), [NONE, 2.0, 1.0, 1.0, NONE]);
        // Popularity 4, 2, 3, 1, 0, each ÷ 5.
        let found = scores("model: markov", &data, &[3, 0]);
        for (found, expected) in found.iter().zip([-0.2, 2.4, 1.6, 1.2, -1.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(scores(without, &data, &[3]), [NONE; 5]);
    }
}
