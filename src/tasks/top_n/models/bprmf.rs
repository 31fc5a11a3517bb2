//! BPR-MF (Rendle et al. 2009): matrix factorisation by pairwise ranking.

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::TrainingData,
    nn::{
        Tensor,
        network::{Dropout, Network, Param},
        start,
    },
    tasks::top_n::networks::{
        self, NetworkModel, Objective, Plan, Training, not_negative, positive, width,
    },
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BprMfParams {
    /// Length of the vectors, a multiple of 16.
    #[serde(rename(serialize = "dim", deserialize = "factors"))]
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub dim: usize,
    /// Standard deviation of the vectors at the start.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub init: f64,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's vectors.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    pub training: Training,
}

impl Default for BprMfParams {
    fn default() -> Self {
        Self { dim: 64, init: 0.1, regularization: 1e-4, training: Training::default() }
    }
}

impl NetworkModel for BprMfParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let n_nodes = data.ratings.n_users() + data.ratings.n_items();
        let nodes = start::normal(context.seed, 0, &[n_nodes, self.dim], self.init);
        Ok(Plan {
            network: Box::new(move |place| Box::new(BprMf::new(place(nodes)))),
            objective: Objective::of_bpr(self.regularization, 0.0),
        })
    }
}

impl Model for BprMfParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.dim)?;
        positive("init", self.init)?;
        not_negative("regularization", self.regularization)?;
        self.training.validate()
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    fn memory(&self, size: Size) -> usize {
        // Vectors, gradients and two moments of each; what passes leave; the graph both ways.
        4 * 6 * self.dim * (size.users + size.items) + 32 * size.ratings
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

/// The vectors themselves.
pub struct BprMf {
    params: Vec<Param>,
}

impl BprMf {
    pub fn new(nodes: Tensor) -> Self {
        Self { params: vec![Param::new("nodes", nodes)] }
    }
}

impl Network for BprMf {
    fn forward(&mut self, _: Option<Dropout>) -> Tensor {
        self.params[0].value.shallow_clone()
    }

    fn differentiable(&self, _: Option<Dropout>) -> Tensor {
        self.params[0].value.shallow_clone()
    }

    fn backward(&mut self, grad: &Tensor) {
        self.params[0].grad = grad.copy();
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }
}
