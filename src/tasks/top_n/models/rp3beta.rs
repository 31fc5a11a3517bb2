//! RP3β (Paudel et al., TiiS 2017): the walk of P3α, with the weights of item j divided by |U_j|^β, so that popular
//! items are reached less.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FitContext, Model, ModelError, Recommender, Size, Wrong,
    neighbours::{ItemToItem, Neighbours},
    p3alpha::{exponent, walk},
};
use crate::data::TrainingData;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rp3BetaParams {
    /// How many items are reached from each item: a number, or `all`.
    pub neighbours: Neighbours,
    /// The exponent of each step's probability, 0 or more.
    #[schemars(range(min = 0))]
    pub alpha: f64,
    /// The exponent of the popularity that weights are divided by, 0 or more; with 0 it is P3α.
    #[schemars(range(min = 0))]
    pub beta: f64,
}

impl Default for Rp3BetaParams {
    fn default() -> Self {
        Self { neighbours: Neighbours::Number(100), alpha: 1.0, beta: 0.3 }
    }
}

impl Model for Rp3BetaParams {
    fn validate(&self) -> Result<(), Wrong> {
        self.neighbours.validate()?;
        exponent("alpha", self.alpha)?;
        exponent("beta", self.beta)
    }

    fn memory(&self, size: Size) -> usize {
        self.neighbours.memory(size.items)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        walk(data, context, self.neighbours, self.alpha, self.beta)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::interrupt::Interrupt, data::UserIx, tasks::top_n::models::tests::liked};

    #[test]
    fn weights_are_divided_by_popularity_before_the_highest_are_kept() {
        let data = liked(3, &[&[0, 1], &[0, 1, 2], &[1], &[0]]);
        let scores = |beta, neighbours| {
            let params = Rp3BetaParams { neighbours, alpha: 1.0, beta };
            let interrupt = Interrupt::default();
            let model = params.fit(&data, &FitContext::silent(1, &interrupt)).unwrap();
            let mut scores = vec![f32::NAN; 3];
            model.score(&[UserIx(2)], &mut scores);
            scores
        };
        let (to_0, to_2) = (1.0 / 3.0 * (1.0 / 2.0 + 1.0 / 3.0), 1.0 / 9.0);
        // Item 0 has three users, item 2 has one.
        let both = [(to_0 / 3.0) as f32, 0.0, to_2 as f32];
        assert_eq!(scores(1.0, Neighbours::Number(2)), both);
        assert_eq!(scores(1.0, Neighbours::Number(1)), [0.0, 0.0, to_2 as f32]);
        assert_eq!(scores(0.0, Neighbours::Number(1)), [to_0 as f32, 0.0, 0.0]);
    }
}
