//! EDLAE (Steck, NeurIPS 2020, "Autoencoders that don't overfit towards the Identity"): a linear autoencoder with
//! emphasised denoising.
//!
//! Each item of the input is dropped with probability p, and only what was dropped has to be predicted (the paper's a = 1
//! and b = 0). With infinitely many draws the full-rank model has the closed form of EASE (`ease.rs`) with a penalty that
//! grows with an item's popularity: B = I − C · diag(1 / diag C), C = (XᵀX + Λ)⁻¹, Λ = p / (1 − p) · diag(XᵀX) + λ I.
//! B's diagonal is 0.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong, ease::Dense};
use crate::{
    data::TrainingData,
    tasks::shared::{positive, share},
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EdlaeParams {
    /// p, at least 0 and under 1: the share of the input that is dropped. 0 is EASE.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// λ, over 0: the part of the penalty that is the same for all items.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub regularization: f64,
}

impl Default for EdlaeParams {
    fn default() -> Self {
        Self { dropout: 0.5, regularization: 100.0 }
    }
}

impl Model for EdlaeParams {
    fn validate(&self) -> Result<(), Wrong> {
        share("dropout", self.dropout)?;
        positive("regularization", self.regularization)
    }

    fn memory(&self, size: Size) -> usize {
        Dense::memory(size)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let ratio = self.dropout / (1.0 - self.dropout);
        Dense::fit("EDLAE", data, context, |count| count + ratio * count + self.regularization)
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Dense::load(dir, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        tasks::top_n::models::{
            ease::EaseParams,
            tests::{linear, weights},
        },
    };

    #[test]
    fn weights_are_those_of_the_closed_form_in_numpy() {
        let (golden, data) = linear();
        let cases = golden["edlae"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let params: EdlaeParams = serde_json::from_value(case["settings"].clone()).unwrap();
            let interrupt = Interrupt::default();
            let fitted = params.fit(&data, &FitContext::silent(1, &interrupt)).unwrap();
            let theirs: Vec<Vec<f64>> = serde_json::from_value(case["weights"].clone()).unwrap();
            let ours = weights(&*fitted, &data);
            for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-7, "{params:?}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn without_dropout_it_is_ease() {
        let (_, data) = linear();
        let interrupt = Interrupt::default();
        let context = FitContext::silent(1, &interrupt);
        let params = EdlaeParams { dropout: 0.0, regularization: 3.0 };
        let ours = weights(&*params.fit(&data, &context).unwrap(), &data);
        let ease = EaseParams { regularization: 3.0 }.fit(&data, &context).unwrap();
        assert_eq!(ours, weights(&*ease, &data));
    }
}
