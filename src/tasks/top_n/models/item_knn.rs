//! Item-based nearest neighbours (Deshpande and Karypis 2004) on binary feedback.
//!
//! sim(i, j) = |U_i ∩ U_j| / (√(|U_i| |U_j|) + shrinkage); the score of item j for a user is the sum
//! of sim(i, j) over the liked items i that have j among their nearest neighbours.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FitContext, Model, ModelError, Recommender, Size, Wrong,
    neighbours::{ItemToItem, Neighbours, Weights},
};
use crate::data::{TrainingData, UserIx};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ItemKnnParams {
    /// How many neighbours of each item count: a number, or `all`.
    pub neighbours: Neighbours,
    /// Added to the denominator: makes similarities that rest on few users smaller.
    pub shrinkage: f32,
}

impl Default for ItemKnnParams {
    fn default() -> Self {
        Self { neighbours: Neighbours::Number(100), shrinkage: 0.0 }
    }
}

impl Model for ItemKnnParams {
    fn validate(&self) -> Result<(), Wrong> {
        self.neighbours.validate()?;
        if !(self.shrinkage >= 0.0 && self.shrinkage.is_finite()) {
            return Err(("shrinkage", format!("is {}; expected 0 or more", self.shrinkage)));
        }
        Ok(())
    }

    fn memory(&self, size: Size) -> usize {
        self.neighbours.memory(size.items)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let by_user = &data.positives;
        let by_item = by_user.transpose();
        let popularity = |item: u32| by_item.items_of(UserIx(item)).len() as f32;
        let weights = Weights::build(by_user.n_items(), context, |item, sums| {
            sums.add_common(item, &by_item, by_user);
            let others = sums.drain().filter(|(other, _)| *other != item);
            let similarity = |other: u32, common: f64| {
                let norm = (popularity(item) * popularity(other)).sqrt() + self.shrinkage;
                common as f32 / norm
            };
            let mut row =
                others.map(|(other, common)| (other, similarity(other, common))).collect();
            self.neighbours.keep(&mut row);
            row
        })?;
        Ok(Box::new(ItemToItem::new(weights, data)))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        match ItemToItem::load(dir, data)? {
            Some(model) => Ok(model),
            None => self.fit(data, context),
        }
    }
}
