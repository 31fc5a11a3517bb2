//! LightGCN (He et al. 2020).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{
    Objective, Plan, Training,
    graph::Graph,
    network::{Dropout, Network, Param},
    propagate::propagate_tensor,
    settings::{layers, not_negative, positive, width},
    start,
};
use crate::model::{FitContext, ModelError, TrainingData};

/// Settings. Left as they are, the paper's but for the number of epochs. RecBole differs: it adds
/// 1e-7 to degrees and regularises the norms, not their squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LightGcnParams {
    /// Length of the vectors.
    pub dim: usize,
    /// Propagations; the embedding is the mean over 0 to so many.
    pub layers: usize,
    /// Standard deviation of the vectors at the start.
    pub init: f64,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's vectors before propagation.
    pub regularization: f64,
    pub training: Training,
}

impl Default for LightGcnParams {
    fn default() -> Self {
        Self { dim: 64, layers: 3, init: 0.1, regularization: 1e-4, training: Training::default() }
    }
}

impl LightGcnParams {
    pub(crate) fn validate(&self) -> Result<(), (&'static str, String)> {
        width("dim", self.dim)?;
        layers(self.layers)?;
        positive("init", self.init)?;
        not_negative("regularization", self.regularization)?;
        self.training.validate()
    }

    pub(crate) fn plan(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Plan, ModelError> {
        let graph = Graph::of_interactions(&data.positives, false).normalise_symmetric();
        let nodes = start::normal(context.seed, 0, &[graph.n_nodes, self.dim], self.init);
        let layers = self.layers;
        Ok(Plan {
            network: Box::new(move |place| Box::new(LightGcn::new(graph, layers, place(nodes)))),
            objective: Objective::of_bpr(self.regularization, 0.0),
        })
    }
}

/// LightGCN (He et al. 2020): the mean of the vectors propagated 0 to K times, eq. 3 and 4.
pub struct LightGcn {
    graph: Graph,
    layers: usize,
    params: Vec<Param>,
}

impl LightGcn {
    /// `graph` is normalised, without self-loops.
    pub fn new(graph: Graph, layers: usize, nodes: Tensor) -> Self {
        Self { graph, layers, params: vec![Param::new("nodes", nodes)] }
    }

    /// Σ_k A^k x by Horner's rule, ÷ (K + 1). A is symmetric, so this is its own gradient.
    fn mean(&self, x: &Tensor) -> Tensor {
        let mut sum = x.shallow_clone();
        for _ in 0..self.layers {
            sum = propagate_tensor(&self.graph, &sum, Some(x));
        }
        sum * (1.0 / (self.layers as f64 + 1.0))
    }
}

impl Network for LightGcn {
    fn forward(&mut self, _: Option<Dropout>) -> Tensor {
        self.mean(&self.params[0].value)
    }

    fn backward(&mut self, grad: &Tensor) {
        self.params[0].grad = self.mean(grad);
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }
}
