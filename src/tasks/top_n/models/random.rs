//! Random scores: the floor every model must pass.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size};
use crate::{
    base::random::mix,
    data::{TrainingData, UserIx},
    ranking::Scorer,
    tasks::top_n::History,
};

/// No settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomParams {}

struct Random {
    seed: u64,
    n_items: usize,
}

impl Model for RandomParams {
    fn learns(&self) -> bool {
        false
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn history(&self) -> History {
        History::Unused
    }

    /// It is its seed.
    fn files(&self) -> &'static [&'static str] {
        &[]
    }

    fn memory(&self, size: Size) -> usize {
        8 * size.items
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Ok(Box::new(Random { seed: context.seed, n_items: data.ratings.n_items() }))
    }

    fn load(
        &self,
        _: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        self.fit(data, context)
    }
}

impl Scorer for Random {
    fn n_items(&self) -> usize {
        self.n_items
    }

    /// A hash of seed, user and item: the order of asking does not matter.
    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        for (user, row) in users.iter().zip(scores.chunks_mut(self.n_items)) {
            let stream = mix(self.seed ^ mix(u64::from(user.0) + 1));
            for (item, score) in row.iter_mut().enumerate() {
                *score = (mix(stream ^ item as u64) >> 40) as f32 / (1u64 << 24) as f32;
            }
        }
    }
}

impl Recommender for Random {
    /// Nothing to keep: the seed is all.
    fn save(&self, _: &Path) -> Result<(), ModelError> {
        Ok(())
    }
}
