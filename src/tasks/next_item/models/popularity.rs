//! Items by how often they occur in the training part.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, NextItem, SequenceModel, Size};
use crate::{
    base::arrays::{self, Array, Saved},
    data::{SequencePart, UserIx},
    tasks::shared::ModelError,
};

/// No settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PopularityParams {}

struct Popularity {
    /// `[n_items]`
    counts: Vec<f32>,
}

impl SequenceModel for PopularityParams {
    fn memory(&self, size: Size) -> usize {
        8 * size.items
    }

    fn fit(&self, data: &SequencePart, _: &FitContext) -> Result<Box<dyn NextItem>, ModelError> {
        let counts = data.train.item_counts();
        Ok(Box::new(Popularity { counts: counts.into_iter().map(|count| count as f32).collect() }))
    }

    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
        let counts = Saved::read(dir)?.floats("counts", &[data.items.len()])?;
        Ok(Box::new(Popularity { counts }))
    }
}

impl NextItem for Popularity {
    fn score_one(&self, _: UserIx, _: &[u32], scores: &mut [f32]) {
        scores.copy_from_slice(&self.counts);
    }

    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        Ok(arrays::save(dir, &[("counts", Array::floats(&[self.counts.len()], &self.counts))])?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{part, scores};

    #[test]
    fn repeats_count_and_the_validation_part_does_not() {
        let data = part(3, &[&[1, 1], &[0]], &[&[2], &[2]]);
        assert_eq!(scores("model: popularity", &data, &[0]), [1.0, 2.0, 0.0]);
    }
}
