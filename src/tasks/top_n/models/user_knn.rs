//! User-based nearest neighbours (Resnick et al. 1994) on binary feedback, as in the comparison of Dacrema et al.
//! 2019.
//!
//! sim(u, v) = |I_u ∩ I_v| / (√(|I_u| |I_v|) + shrinkage); the score of an item for user u is the sum of
//! sim(u, v) over the nearest neighbours v of u who liked it.

use std::path::Path;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FitContext, Model, ModelError, Recommender, Size, Wrong,
    neighbours::{Neighbours, Weights, validate},
};
use crate::{
    data::{Interactions, TrainingData, UserIx},
    ranking::Scorer,
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserKnnParams {
    /// How many neighbours of each user count: a number, or `all`.
    pub neighbours: Neighbours,
    /// Added to the denominator: makes similarities that rest on few items smaller.
    #[schemars(range(min = 0))]
    pub shrinkage: f32,
}

impl Default for UserKnnParams {
    fn default() -> Self {
        Self { neighbours: Neighbours::Number(100), shrinkage: 0.0 }
    }
}

struct UserKnn {
    /// Users × users.
    similarities: Weights,
    positives: Interactions,
}

impl Model for UserKnnParams {
    fn validate(&self) -> Result<(), Wrong> {
        validate(self.neighbours, self.shrinkage)
    }

    fn memory(&self, size: Size) -> usize {
        self.neighbours.memory(size.users)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let by_user = &data.positives;
        let by_item = by_user.transpose();
        let settings = (self.neighbours, self.shrinkage);
        let similarities = Weights::cosines(by_user, &by_item, settings, context)?;
        Ok(Box::new(UserKnn { similarities, positives: by_user.clone() }))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        match Weights::load(dir, data.positives.n_users())? {
            Some(similarities) => {
                Ok(Box::new(UserKnn { similarities, positives: data.positives.clone() }))
            }
            None => self.fit(data, context),
        }
    }
}

impl Scorer for UserKnn {
    fn n_items(&self) -> usize {
        self.positives.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        scores.par_chunks_mut(self.n_items()).zip(users).for_each(|(row, user)| {
            row.fill(0.0);
            for (other, similarity) in self.similarities.row(user.0) {
                for &item in self.positives.items_of(UserIx(other)) {
                    row[item as usize] += similarity;
                }
            }
        });
    }
}

impl Recommender for UserKnn {
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        self.similarities.save(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::interrupt::Interrupt, tasks::top_n::models::tests::liked};

    #[test]
    fn nearest_users_give_their_items_their_similarity() {
        let data = liked(4, &[&[0, 1], &[0, 1, 2], &[1, 3], &[3]]);
        let scores = |neighbours| {
            let params = UserKnnParams { neighbours, shrinkage: 1.0 };
            let interrupt = Interrupt::default();
            let model = params.fit(&data, &FitContext::silent(1, &interrupt)).unwrap();
            let mut scores = vec![f32::NAN; 4];
            model.score(&[UserIx(0)], &mut scores);
            scores
        };
        // User 0 shares two items with user 1 (of 2 and 3), one with user 2 (of 2 and 2).
        let (of_1, of_2) = (2.0 / (6f32.sqrt() + 1.0), 1.0 / 3.0);
        assert_eq!(scores(Neighbours::Number(2)), [of_1, of_1 + of_2, of_1, of_2]);
        assert_eq!(scores(Neighbours::Number(1)), [of_1, of_1, of_1, 0.0]);
    }
}
