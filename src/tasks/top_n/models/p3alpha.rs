//! P3α (Cooper et al., WWW 2014): a random walk user → item → user → item, with the probabilities of each step
//! raised to α.
//!
//! As in the comparison of Dacrema et al. 2019: W_ij = Σ_u (1/|U_i|)^α (1/|I_u|)^α over the users u who like
//! both, i ≠ j; of each row the highest `neighbours` are kept. The score of item j is the sum of W_ij over the
//! liked items i: all of a user's first steps have the same probability, which changes no order and is left out.

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
pub struct P3AlphaParams {
    /// How many items are reached from each item: a number, or `all`.
    pub neighbours: Neighbours,
    /// The exponent of each step's probability, 0 or more.
    #[schemars(range(min = 0))]
    pub alpha: f64,
}

impl Default for P3AlphaParams {
    fn default() -> Self {
        Self { neighbours: Neighbours::Number(100), alpha: 1.0 }
    }
}

impl Model for P3AlphaParams {
    fn validate(&self) -> Result<(), Wrong> {
        self.neighbours.validate()?;
        exponent("alpha", self.alpha)
    }

    fn memory(&self, size: Size) -> usize {
        self.neighbours.memory(size.items)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        walk(data, context, self.neighbours, self.alpha, 0.0)
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

/// An exponent of 0 or more.
pub(super) fn exponent(name: &'static str, value: f64) -> Result<(), Wrong> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected 0 or more"))),
    }
}

/// The walk whose weights of item j are divided by |U_j|^β.
pub(super) fn walk(
    data: &TrainingData,
    context: &FitContext,
    neighbours: Neighbours,
    alpha: f64,
    beta: f64,
) -> Result<Box<dyn Recommender>, ModelError> {
    let by_user = &data.positives;
    let by_item = by_user.transpose();
    // By number of likes.
    let step = |n: usize| (1.0 / n as f64).powf(alpha);
    let from_user: Vec<f64> =
        (0..by_user.n_users()).map(|u| step(by_user.items_of(UserIx(u as u32)).len())).collect();
    let users_of = |item: u32| by_item.items_of(UserIx(item));
    let popular: Vec<f64> = (0..by_user.n_items())
        .map(|item| (users_of(item as u32).len() as f64).powf(-beta))
        .collect();
    let weights = Weights::build(by_user.n_items(), context, |item, sums| {
        let from_item = step(users_of(item).len());
        for &user in users_of(item) {
            for &other in by_user.items_of(UserIx(user)) {
                sums.add(other, from_item * from_user[user as usize]);
            }
        }
        let others = sums.drain().filter(|(other, _)| *other != item);
        let mut row =
            others.map(|(other, sum)| (other, (sum * popular[other as usize]) as f32)).collect();
        neighbours.keep(&mut row);
        row
    })?;
    Ok(Box::new(ItemToItem::new(weights, data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::interrupt::Interrupt, tasks::top_n::models::tests::liked};

    #[test]
    fn a_walk_of_three_steps_has_the_probabilities_of_its_paths() {
        let data = liked(3, &[&[0, 1], &[0, 1, 2], &[1]]);
        let scores = |alpha, neighbours| {
            let params = P3AlphaParams { neighbours, alpha };
            let interrupt = Interrupt::default();
            let model = params.fit(&data, &FitContext::silent(1, &interrupt)).unwrap();
            let mut scores = vec![f32::NAN; 3];
            model.score(&[UserIx(2)], &mut scores);
            scores
        };
        // From item 1 to its three users (1/3 each), from user 0 to item 0 (1/2), from user 1 to items 0 and 2.
        let (to_0, to_2) = (1.0 / 3.0 * (1.0 / 2.0 + 1.0 / 3.0), 1.0 / 9.0);
        assert_eq!(scores(1.0, Neighbours::Number(5)), [to_0 as f32, 0.0, to_2 as f32]);
        assert_eq!(scores(1.0, Neighbours::Number(1)), [to_0 as f32, 0.0, 0.0]);
        // With α = 0 paths are counted.
        assert_eq!(scores(0.0, Neighbours::Number(5)), [2.0, 0.0, 1.0]);
    }
}
