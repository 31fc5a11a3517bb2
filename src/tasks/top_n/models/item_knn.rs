//! Item-based nearest neighbours (Deshpande and Karypis 2004) on binary feedback.
//!
//! sim(i, j) = |U_i ∩ U_j| / (√(|U_i| |U_j|) + shrinkage); the score of item j for a user is the sum
//! of sim(i, j) over the liked items i that have j among their nearest neighbours.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FitContext, Model, ModelError, Recommender, Size, Wrong,
    neighbours::{ItemToItem, Neighbours, Weights, validate},
};
use crate::data::TrainingData;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ItemKnnParams {
    /// How many neighbours of each item count: a number, or `all`.
    pub neighbours: Neighbours,
    /// Added to the denominator: makes similarities that rest on few users smaller.
    #[schemars(range(min = 0))]
    pub shrinkage: f32,
}

impl Default for ItemKnnParams {
    fn default() -> Self {
        Self { neighbours: Neighbours::Number(100), shrinkage: 0.0 }
    }
}

impl Model for ItemKnnParams {
    fn validate(&self) -> Result<(), Wrong> {
        validate(self.neighbours, self.shrinkage)
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
        let settings = (self.neighbours, self.shrinkage);
        let weights = Weights::cosines(&by_item, by_user, settings, context)?;
        Ok(Box::new(ItemToItem::new(weights, data)))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        ItemToItem::load_or(dir, data, || self.fit(data, context))
    }
}
