//! Nearest neighbours among sequences with weights that fall with the distance from the end: VS-KNN
//! (Ludewig and Jannach 2018), as its released code has it with `weighting = div`, `weighting_score = div`.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Backoff, FitContext, NextItem, SequenceModel, Size, Tail, Wrong};
use crate::{
    base::arrays::{self, Array, Saved},
    data::{SequencePart, Sequences, UserIx},
    tasks::shared::ModelError,
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VsknnParams {
    /// Sequences that recommend.
    neighbours: usize,
    /// How many of the last items of the input are looked at; all of them if it is 0.
    last: usize,
    /// What items get that no neighbour has.
    backoff: Backoff,
}

impl Default for VsknnParams {
    fn default() -> Self {
        Self { neighbours: 100, last: 0, backoff: Backoff::Popularity }
    }
}

struct Vsknn {
    settings: VsknnParams,
    train: Sequences,
    /// The users of each item, ascending: row starts, and the rows.
    starts: Vec<usize>,
    users: Vec<u32>,
    tail: Tail,
}

impl Vsknn {
    fn new(settings: VsknnParams, data: &SequencePart) -> Self {
        let mut pairs: Vec<(u32, u32)> =
            data.train.iter().map(|row| (row.item.0, row.user.0)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0; data.items.len() + 1];
        pairs.iter().for_each(|(item, _)| starts[*item as usize + 1] += 1);
        (0..data.items.len()).for_each(|item| starts[item + 1] += starts[item]);
        Self {
            settings,
            train: data.train.clone(),
            starts,
            users: pairs.into_iter().map(|(_, user)| user).collect(),
            tail: Tail::new(&data.train.item_counts()),
        }
    }
}

impl SequenceModel for VsknnParams {
    fn validate(&self) -> Result<(), Wrong> {
        match self.neighbours {
            0 => Err(("neighbours", "is 0; expected 1 or more".into())),
            _ => Ok(()),
        }
    }

    fn memory(&self, size: Size) -> usize {
        40 * size.ratings + 20 * size.items
    }

    fn fit(&self, data: &SequencePart, _: &FitContext) -> Result<Box<dyn NextItem>, ModelError> {
        Ok(Box::new(Vsknn::new(self.clone(), data)))
    }

    /// The neighbours are those of the training part: the saved model only says of how many items.
    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
        let saved = Saved::read(dir)?;
        if saved.numbers("size")? != [data.users.len() as u32, data.items.len() as u32] {
            return Err(saved.malformed("a model of other data").into());
        }
        Ok(Box::new(Vsknn::new(self.clone(), data)))
    }
}

impl NextItem for Vsknn {
    fn score_one(&self, user: UserIx, input: &[u32], scores: &mut [f32]) {
        let first = match self.settings.last {
            0 => 0,
            last => input.len().saturating_sub(last),
        };
        let input = &input[first..];
        // Of an item that comes again the last place counts.
        let mut distinct: Vec<(u32, usize)> = Vec::new();
        for (item, place) in input.iter().zip(1..) {
            distinct.retain(|(of, _)| of != item);
            distinct.push((*item, place));
        }
        // Similarity of a sequence: Σ over shared items of place ÷ length, ÷ the number of distinct items.
        let mut shared: Vec<(u32, f64)> = Vec::new();
        for (item, place) in &distinct {
            let weight = *place as f64 / input.len() as f64 / distinct.len() as f64;
            let of_item = self.starts[*item as usize]..self.starts[*item as usize + 1];
            shared.extend(self.users[of_item].iter().map(|of| (*of, weight)));
        }
        // Stable: weights of one sequence are summed in the order of the places.
        shared.sort_by_key(|(of, _)| *of);
        let mut neighbours: Vec<(u32, f64)> = shared
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|of| of[0].0 != user.0)
            .map(|of| (of[0].0, of.iter().map(|(_, weight)| weight).sum()))
            .collect();
        // Of equals the lower user index.
        neighbours.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        neighbours.truncate(self.settings.neighbours);
        let mut sums = vec![0f64; scores.len()];
        for (of, similarity) in neighbours {
            let items = self.train.of(UserIx(of));
            // The distance of the latest shared item from the end of the input.
            let step = distinct.iter().rev().find(|(item, _)| items.contains(item));
            let Some(step) = step.map(|(_, place)| input.len() - place + 1) else { continue };
            let mut each = items.to_vec();
            each.sort_unstable();
            each.dedup();
            for item in each {
                sums[item as usize] += similarity / step as f64;
            }
        }
        for (score, sum) in scores.iter_mut().zip(sums) {
            *score = sum as f32;
        }
        // Small enough to order only equal scores, and those that differ by rounding.
        self.tail.apply(self.settings.backoff, 1e-7, scores);
    }

    fn omits_items(&self) -> bool {
        self.settings.backoff == Backoff::None
    }

    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let size = [self.train.n_users() as u32, self.train.n_items() as u32];
        Ok(arrays::save(dir, &[("size", Array::numbers(&size))])?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{part, scores};

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn scores_are_those_of_a_case_worked_by_hand() {
        // The input 0, 1 of user 0: weights 1/2 and 1, ÷ 2 distinct items.
        let data = part(6, &[&[0, 1], &[0, 2], &[1, 0, 3], &[4, 5]], &[]);
        let yaml = "{model: vsknn, backoff: none}";
        // User 1 shares 0: similarity 1/4, the latest shared item is 2 steps from the end: 1/8 for 0 and 2.
        // User 2 shares both: 3/4, 1 step: 3/4 for 1, 0 and 3. User 3 shares nothing; user 0 is the user.
        let expected = [0.875, 0.75, 0.125, 0.75, NONE, NONE];
        assert_eq!(scores(yaml, &data, &[0, 1]), expected);
        let one = "{model: vsknn, backoff: none, neighbours: 1}";
        assert_eq!(scores(one, &data, &[0, 1]), [0.75, 0.75, NONE, 0.75, NONE, NONE]);
        // Of the last item alone: user 2 with similarity 1.
        let last = "{model: vsknn, backoff: none, last: 1}";
        assert_eq!(scores(last, &data, &[0, 1]), [1.0, 1.0, NONE, 1.0, NONE, NONE]);
        let popular = scores("model: vsknn", &data, &[0, 1]);
        assert!(popular[1] > popular[3] && popular[3] > 0.74 && popular[4] < 0.0, "{popular:?}");
    }
}
