//! A control that learns nothing: after the item with the number n come those with n + 1, n + 2, …
//!
//! Where it is better than chance, the numbers of the data set say what comes next, as those given in the order of first
//! appearance over all parts do. A model whose item embeddings depend on the numbers could learn the same.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, NextItem, SequenceModel, Size};
use crate::{
    base::arrays::{self, Array, Saved},
    data::{SequencePart, UserIx},
    tasks::{next_item::Numbering, shared::ModelError},
};

/// Settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdPlusOneParams {
    /// How items are numbered.
    ids: Numbering,
}

struct IdPlusOne {
    /// The number of each item.
    numbers: Vec<u32>,
}

impl SequenceModel for IdPlusOneParams {
    fn is_seeded(&self) -> bool {
        self.ids == Numbering::Random
    }

    fn memory(&self, size: Size) -> usize {
        16 * size.items
    }

    fn fit(&self, data: &SequencePart, of: &FitContext) -> Result<Box<dyn NextItem>, ModelError> {
        let mut numbers = vec![0; data.items.len()];
        for (number, item) in (0u32..).zip(self.ids.order(data, of.seed)) {
            numbers[item as usize] = number;
        }
        Ok(Box::new(IdPlusOne { numbers }))
    }

    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
        let saved = Saved::read(dir)?;
        let numbers = saved.numbers("numbers")?;
        if numbers.len() != data.items.len() {
            return Err(saved.malformed("numbers of other items").into());
        }
        Ok(Box::new(IdPlusOne { numbers }))
    }
}

impl NextItem for IdPlusOne {
    /// Items with a lower number are not recommended.
    fn score_one(&self, _: UserIx, input: &[u32], scores: &mut [f32]) {
        let last = input.last().map_or(0, |item| self.numbers[*item as usize]);
        let n_items = self.numbers.len() as u32;
        for (score, number) in scores.iter_mut().zip(&self.numbers) {
            *score = match *number > last {
                true => (n_items - (number - last)) as f32,
                false => f32::NEG_INFINITY,
            };
        }
    }

    fn omits_items(&self) -> bool {
        true
    }

    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        Ok(arrays::save(dir, &[("numbers", Array::numbers(&self.numbers))])?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{part, scores};

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn the_next_numbers_follow_in_order_and_lower_ones_are_left_out() {
        let data = part(5, &[&[3, 1], &[2, 1]], &[]);
        assert_eq!(scores("model: id-plus-one", &data, &[4, 1]), [NONE, NONE, 4.0, 3.0, 2.0]);
        // Numbers 3, 1, 2, 0, 4 in the order of first appearance.
        let yaml = "{model: id-plus-one, ids: first-appearance}";
        assert_eq!(scores(yaml, &data, &[1]), [3.0, NONE, 4.0, NONE, 2.0]);
    }
}
