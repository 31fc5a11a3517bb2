//! MultVAE (Liang et al., WWW 2018): a variational autoencoder of users with a multinomial likelihood.
//!
//! A user's items, scaled to length 1 and with some of them dropped, are encoded as a mean and a variance; a sample is
//! decoded to a probability of each item. Minimised is the mean over users of −Σ_i x_ui log π_ui + β KL, with β rising from
//! 0 (their eq. 4 and section 2.2.2). Scores are the decoder's for the mean of the user's training positives.

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::TrainingData,
    nn::Negatives,
    tasks::top_n::networks::{self, Training, not_negative, share},
};

/// Users a step where the settings do not say.
pub const BATCH: usize = 500;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MultVaeParams {
    /// Widths of the encoder's hidden layers, from the items on; the decoder has them in reverse.
    pub hidden: Vec<usize>,
    /// Length of a user's latent vector. RecBole's `latent_dimension` is twice that: it counts means and variances.
    #[schemars(range(min = 1, max = 65536))]
    pub latent: usize,
    /// Share of the input's items that are dropped in training.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// The weight β of the divergence from the prior.
    pub annealing: Annealing,
    /// Standard deviation of the sample in units of the posterior's: 1 in the paper and its code, 0.01 in RecBole 1.2.1. With
    /// 0 means are decoded.
    #[schemars(range(min = 0))]
    pub noise: f64,
    pub training: Training,
}

/// β = min(`cap`, t / `steps`) in step t of the optimiser, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Annealing {
    /// Where β stops.
    #[schemars(range(min = 0))]
    pub cap: f64,
    /// Steps in which β would reach 1; with 0 it is `cap` from the start.
    pub steps: u64,
}

impl Default for Annealing {
    fn default() -> Self {
        Self { cap: 0.2, steps: 200_000 }
    }
}

impl Annealing {
    /// β in a step, counted from 1.
    pub fn weight(self, step: u64) -> f64 {
        match self.steps {
            0 => self.cap,
            steps => self.cap.min(step as f64 / steps as f64),
        }
    }
}

impl Default for MultVaeParams {
    fn default() -> Self {
        Self {
            hidden: vec![600],
            latent: 200,
            dropout: 0.5,
            annealing: Annealing::default(),
            noise: 1.0,
            training: Training::default(),
        }
    }
}

/// Wider layers are a mistake.
const WIDEST: usize = 1 << 16;

impl Model for MultVaeParams {
    fn validate(&self) -> Result<(), Wrong> {
        let is_width = |width: &usize| (1..=WIDEST).contains(width);
        if let Some(width) = self.hidden.iter().find(|width| !is_width(width)) {
            return Err(("hidden", format!("has a width of {width}; expected 1 to {WIDEST}")));
        }
        if !is_width(&self.latent) {
            return Err(("latent", format!("is {}; expected 1 to {WIDEST}", self.latent)));
        }
        share("dropout", self.dropout)?;
        not_negative("annealing.cap", self.annealing.cap)?;
        not_negative("noise", self.noise)?;
        if self.training.negatives != Negatives::default() {
            return Err((
                "training.negatives",
                "has no effect: this model compares all items; remove it".into(),
            ));
        }
        self.training.validate()
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    /// 2: kernels compute the first layer; weights differ in their last bits.
    fn revision(&self) -> u32 {
        2
    }

    fn memory(&self, size: Size) -> usize {
        let mut widths = vec![size.items];
        widths.extend(&self.hidden);
        widths.push(2 * self.latent);
        let weights: usize = widths.windows(2).map(|pair| 2 * pair[0] * pair[1]).sum();
        let batch = match self.training.batch.unwrap_or(BATCH) {
            0 => size.users,
            batch => batch.min(size.users),
        };
        let width = self.hidden.first().copied().unwrap_or(self.latent) + 1;
        // Weights, gradients, two moments and the best so far; scores of a batch, and a gradient of its states for each part of
        // the items; users' and items' vectors.
        let states = batch * width * (size.items.div_ceil(512) + 4);
        4 * 5 * weights
            + 4 * (2 * batch * size.items + states)
            + 4 * width * (size.users + 2 * size.items)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        networks::fit(self, &self.training, data, context)
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        networks::load(dir, data)
    }
}
