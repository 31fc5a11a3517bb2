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
        interrupt::Interrupted,
        symmetric::{self, Symmetric, TILE},
    },
    data::{Interactions, TrainingData, UserIx},
    ranking::Scorer,
    tasks::shared::positive,
};

/// More items than this do not fit: the matrices would take over 15 GiB.
const MAX_ITEMS: usize = 45_000;

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

/// A model that is a dense matrix of items × items.
pub(super) struct Dense {
    /// `[n_items, n_items]`, row-major: row i is what liking item i adds to every score.
    weights: Vec<f32>,
    positives: Interactions,
}

impl Model for EaseParams {
    fn validate(&self) -> Result<(), Wrong> {
        positive("regularization", self.regularization)
    }

    /// 2: the inverse is computed by another method; weights differ in their last bits.
    fn revision(&self) -> u32 {
        2
    }

    fn memory(&self, size: Size) -> usize {
        Dense::memory(size)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Dense::fit("EASE", data, context, |count| count + self.regularization)
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

impl Dense {
    /// Bytes that fitting takes.
    pub fn memory(size: Size) -> usize {
        symmetric::bytes(size.items) + 4 * size.items * size.items
    }

    /// B = I − P · diag(1 / diag P) with P = (XᵀX + Λ)⁻¹; `diagonal` gives a diagonal entry of XᵀX + Λ from that of XᵀX,
    /// the number of users who like the item.
    pub fn fit(
        name: &str,
        data: &TrainingData,
        context: &FitContext,
        diagonal: impl Fn(f64) -> f64 + Sync,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let by_user = &data.positives;
        let n = by_user.n_items();
        if n > MAX_ITEMS {
            let size = Size { items: n, users: by_user.n_users(), ratings: by_user.len() };
            return Err(ModelError::Unsuitable(format!(
                "{name} inverts a matrix of items × items: with {n} items that takes {:.0} GiB; the \
                 limit is {MAX_ITEMS} items. Use `item-knn`, `slim` or `als` instead",
                Self::memory(size) as f64 / f64::from(1 << 30)
            )));
        }
        let by_item = by_user.transpose();
        let gram = Symmetric::new(
            n,
            || (),
            |item, row, ()| {
                for &user in by_item.items_of(UserIx(item as u32)) {
                    // Ascending: items after `item` are those of other rows.
                    let items = by_user.items_of(UserIx(user)).iter().map(|other| *other as usize);
                    items.take_while(|other| *other <= item).for_each(|other| row[other] += 1.0);
                }
                row[item] = diagonal(row[item]);
            },
        );
        let inverse = gram.inverse(|done, of| {
            (context.progress)(done, of);
            context.interrupt.check()
        });
        let inverse = inverse.map_err(|stopped: Interrupted| stopped)?.ok_or_else(|| {
            ModelError::Diverged("XᵀX + Λ cannot be inverted; raise `regularization`".into())
        })?;
        let diagonal = inverse.diagonal();
        let mut weights = vec![0f32; n * n];
        weights.par_chunks_mut(TILE * n).enumerate().for_each(|(at, rows)| {
            let first = at * TILE;
            inverse.write_rows(first, rows, |value, column| (-value / diagonal[column]) as f32);
            for (row, values) in rows.chunks_mut(n).enumerate() {
                values[first + row] = 0.0;
            }
        });
        Ok(Box::new(Self { weights, positives: by_user.clone() }))
    }

    /// Reads what `save` wrote.
    pub fn load(dir: &Path, data: &TrainingData) -> Result<Box<dyn Recommender>, ModelError> {
        let n = data.positives.n_items();
        let weights = Saved::read(dir)?.floats("weights", &[n, n])?;
        Ok(Box::new(Self { weights, positives: data.positives.clone() }))
    }
}

impl Scorer for Dense {
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

impl Recommender for Dense {
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let n = self.n_items();
        Ok(arrays::save(dir, &[("weights", Array::floats(&[n, n], &self.weights))])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        tasks::top_n::models::tests::{linear, weights},
    };

    #[test]
    fn weights_are_those_of_the_closed_form_in_numpy() {
        let (golden, data) = linear();
        let params =
            EaseParams { regularization: golden["ease"]["regularization"].as_f64().unwrap() };
        let interrupt = Interrupt::default();
        let fitted = params.fit(&data, &FitContext::silent(1, &interrupt)).unwrap();
        let theirs: Vec<Vec<f64>> =
            serde_json::from_value(golden["ease"]["weights"].clone()).unwrap();
        for (ours, theirs) in weights(&*fitted, &data).iter().flatten().zip(theirs.iter().flatten())
        {
            assert!((f64::from(*ours) - theirs).abs() < 1e-7, "{ours} {theirs}");
        }
    }
}
