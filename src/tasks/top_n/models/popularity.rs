//! Items by how many training positives they have.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size};
use crate::{
    base::{
        arrays,
        arrays::{Array, Saved},
    },
    data::{TrainingData, UserIx},
    ranking::Scorer,
    tasks::top_n::History,
};

/// No settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PopularityParams {}

struct Popularity {
    /// `[n_items]`
    counts: Vec<f32>,
}

impl Model for PopularityParams {
    fn history(&self) -> History {
        History::Unused
    }

    fn memory(&self, size: Size) -> usize {
        8 * size.items
    }

    fn fit(&self, data: &TrainingData, _: &FitContext) -> Result<Box<dyn Recommender>, ModelError> {
        let counts = data.positives.item_counts();
        Ok(Box::new(Popularity { counts: counts.into_iter().map(|count| count as f32).collect() }))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let counts = Saved::read(dir)?.floats("counts", &[data.ratings.n_items()])?;
        Ok(Box::new(Popularity { counts }))
    }
}

impl Scorer for Popularity {
    fn n_items(&self) -> usize {
        self.counts.len()
    }

    fn score(&self, _: &[UserIx], scores: &mut [f32]) {
        for row in scores.chunks_mut(self.counts.len()) {
            row.copy_from_slice(&self.counts);
        }
    }
}

impl Recommender for Popularity {
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        Ok(arrays::save(dir, &[("counts", Array::floats(&[self.counts.len()], &self.counts))])?)
    }
}
