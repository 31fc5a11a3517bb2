//! EASE (Steck, WWW 2019): B = I − P · diag(1 / diag P) with P = (XᵀX + λI)⁻¹, eq. 8.

use std::path::Path;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    base::{
        arrays,
        arrays::{Array, Saved},
    },
    data::{Interactions, TrainingData, UserIx},
    nn::{NnError, dense::INVERT},
    ranking::Scorer,
};

/// More items than this do not fit: the matrices would take over 9 GiB.
const MAX_ITEMS: usize = 20_000;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EaseParams {
    /// λ, over 0.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub regularization: f64,
}

impl Default for EaseParams {
    fn default() -> Self {
        Self { regularization: 250.0 }
    }
}

struct Ease {
    /// `[n_items, n_items]`, row-major: row i is what liking item i adds to every score.
    weights: Vec<f32>,
    positives: Interactions,
}

impl Model for EaseParams {
    fn validate(&self) -> Result<(), Wrong> {
        if self.regularization > 0.0 && self.regularization.is_finite() {
            return Ok(());
        }
        Err((
            "regularization",
            format!("is {}; expected a number greater than 0", self.regularization),
        ))
    }

    fn needs_tensors(&self) -> bool {
        true
    }

    fn memory(&self, size: Size) -> usize {
        3 * 8 * size.items * size.items
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let n = data.positives.n_items();
        if n > MAX_ITEMS {
            return Err(ModelError::Unsuitable(format!(
                "EASE inverts a matrix of items × items: with {n} items that takes {:.0} GiB; the \
                 limit is {MAX_ITEMS} items. Use `item-knn` or `als` instead",
                3.0 * 8.0 * (n as f64).powi(2) / f64::from(1 << 30)
            )));
        }
        let mut gram = vec![0f64; n * n];
        for user in 0..data.positives.n_users() {
            let items = data.positives.items_of(UserIx(user as u32));
            for &i in items {
                for &j in items {
                    gram[i as usize * n + j as usize] += 1.0;
                }
            }
        }
        for i in 0..n {
            gram[i * n + i] += self.regularization;
        }
        context.interrupt.check()?;
        let inverse_of = INVERT.get().map_err(NnError::from)?;
        let inverse = inverse_of(gram, n).ok_or_else(|| {
            ModelError::Diverged("XᵀX + λI cannot be inverted; raise `regularization`".into())
        })?;
        let mut weights = vec![0f32; n * n];
        for i in 0..n {
            for j in (0..n).filter(|j| *j != i) {
                weights[i * n + j] = (-inverse[i * n + j] / inverse[j * n + j]) as f32;
            }
        }
        (context.progress)(1, 1);
        Ok(Box::new(Ease { weights, positives: data.positives.clone() }))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let n = data.positives.n_items();
        let weights = Saved::read(dir)?.floats("weights", &[n, n])?;
        Ok(Box::new(Ease { weights, positives: data.positives.clone() }))
    }
}

impl Scorer for Ease {
    fn n_items(&self) -> usize {
        self.positives.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        let n = self.n_items();
        scores.par_chunks_mut(n).zip(users).for_each(|(row, user)| {
            row.fill(0.0);
            for &item in self.positives.items_of(*user) {
                let weights = &self.weights[item as usize * n..][..n];
                row.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight);
            }
        });
    }
}

impl Recommender for Ease {
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let n = self.n_items();
        Ok(arrays::save(dir, &[("weights", Array::floats(&[n, n], &self.weights))])?)
    }
}
