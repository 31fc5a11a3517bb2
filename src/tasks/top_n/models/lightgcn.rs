//! LightGCN (He et al. 2020).

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::TrainingData,
    nn::{
        Tensor, composite,
        graph::Graph,
        network::{Dropout, Network, Param},
        propagate::propagate_tensor,
        start,
    },
    tasks::top_n::networks::{
        self, NetworkModel, Objective, Plan, Training, layers, not_negative, positive, share, width,
    },
};

/// Settings. Left as they are, the paper's but for the number of epochs. RecBole differs: it adds
/// 1e-7 to degrees and regularises the norms, not their squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LightGcnParams {
    /// Length of the vectors, a multiple of 16.
    #[serde(rename(serialize = "dim", deserialize = "factors"))]
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub dim: usize,
    /// Propagations; the embedding is the mean over 0 to so many.
    #[schemars(range(max = 32))]
    pub layers: usize,
    /// Standard deviation of the vectors at the start.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub init: f64,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's vectors before propagation.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    /// Share of edges switched off in each step, either direction by itself, as in LibRecommender; the paper
    /// has none.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    pub training: Training,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Default for LightGcnParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 3,
            init: 0.1,
            regularization: 1e-4,
            dropout: 0.0,
            training: Training::default(),
        }
    }
}

impl NetworkModel for LightGcnParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let graph = Graph::of_interactions(&data.positives, false).normalise_symmetric();
        let nodes = start::normal(context.seed, 0, &[graph.n_nodes, self.dim], self.init);
        let layers = self.layers;
        Ok(Plan {
            network: Box::new(move |place| Box::new(LightGcn::new(graph, layers, place(nodes)))),
            objective: Objective::of_bpr(self.regularization, self.dropout),
        })
    }
}

impl Model for LightGcnParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.dim)?;
        layers(self.layers)?;
        positive("init", self.init)?;
        not_negative("regularization", self.regularization)?;
        share("dropout", self.dropout)?;
        self.training.validate()
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    fn memory(&self, size: Size) -> usize {
        4 * 8 * self.dim * (size.users + size.items) + 64 * size.ratings
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

/// LightGCN (He et al. 2020): the mean of the vectors propagated 0 to K times, eq. 3 and 4.
pub struct LightGcn {
    graph: Graph,
    layers: usize,
    params: Vec<Param>,
    /// What is left of the graph, transposed, after a pass with dropout.
    transposed: Option<Graph>,
}

/// `base + A x`
type Propagate = fn(&Graph, &Tensor, Option<&Tensor>) -> Tensor;

impl LightGcn {
    /// `graph` is normalised, without self-loops.
    pub fn new(graph: Graph, layers: usize, nodes: Tensor) -> Self {
        Self { graph, layers, params: vec![Param::new("nodes", nodes)], transposed: None }
    }

    /// Σ_k A^k x by Horner's rule, ÷ (K + 1). The gradient is the same with A transposed.
    fn mean(&self, propagate: Propagate, graph: &Graph, x: &Tensor) -> Tensor {
        let mut sum = x.shallow_clone();
        for _ in 0..self.layers {
            sum = propagate(graph, &sum, Some(x));
        }
        sum * (1.0 / (self.layers as f64 + 1.0))
    }
}

impl Network for LightGcn {
    fn forward(&mut self, dropout: Option<Dropout>) -> Tensor {
        self.transposed = None;
        let Some(Dropout { share, stream }) = dropout.filter(|dropout| dropout.share > 0.0) else {
            return self.mean(propagate_tensor, &self.graph, &self.params[0].value);
        };
        let (left, transposed) = self.graph.drop_edges(share, stream);
        let out = self.mean(propagate_tensor, &left, &self.params[0].value);
        self.transposed = Some(transposed);
        out
    }

    fn differentiable(&self, dropout: Option<Dropout>) -> Tensor {
        let nodes = &self.params[0].value;
        match dropout.filter(|dropout| dropout.share > 0.0) {
            Some(Dropout { share, stream }) => {
                let (left, _) = self.graph.drop_edges(share, stream);
                self.mean(composite::propagate, &left, nodes)
            }
            None => self.mean(composite::propagate, &self.graph, nodes),
        }
    }

    fn backward(&mut self, grad: &Tensor) {
        // A whole graph is symmetric: its own transpose.
        let graph = self.transposed.as_ref().unwrap_or(&self.graph);
        self.params[0].grad = self.mean(propagate_tensor, graph, grad);
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }
}

#[cfg(test)]
mod tests {
    use crate::nn::{Device, Kind};

    use super::*;
    use crate::nn::tensors::one_thread;

    /// The gradient with dropped edges against finite differences, and the share that is dropped.
    #[test]
    fn dropped_edges_have_the_gradient_of_finite_differences() {
        one_thread();
        let edges: Vec<(u32, u32, f32)> = (0..6u32)
            .flat_map(|user| (6..13u32).map(move |item| (user, item)))
            .filter(|(user, item)| (user * 5 + item) % 3 != 0)
            .flat_map(|(user, item)| [(user, item, 1.0), (item, user, 1.0)])
            .collect();
        let graph = Graph::new(13, &edges, false).normalise_symmetric();
        let start = (Tensor::arange(13 * 16, (Kind::Double, Device::Cpu)) * 0.7).sin();
        let start = start.reshape([13, 16]);
        let wanted = (Tensor::arange(13 * 16, (Kind::Double, Device::Cpu)) * 1.3).cos();
        let wanted = wanted.reshape([13, 16]);
        let dropout = Some(Dropout { share: 0.4, stream: 5 });
        let value = |nodes: &Tensor| -> f64 {
            let mut network = LightGcn::new(graph.clone(), 3, nodes.copy());
            f64::try_from((network.forward(dropout) * &wanted).sum(None::<Kind>)).unwrap()
        };
        let mut network = LightGcn::new(graph.clone(), 3, start.copy());
        let whole = network.forward(None);
        let out = network.forward(dropout);
        assert!(f64::try_from((&out - whole).abs().max()).unwrap() > 0.01);
        network.backward(&wanted);
        let grad: Vec<f64> = network.params[0].grad.reshape(-1).try_into().unwrap();
        for at in (0..13 * 16).step_by(11) {
            let step = |by: f64| {
                let moved = start.copy();
                let _ = moved.view(-1).get(at).f_add_scalar_(by).unwrap();
                value(&moved)
            };
            let slope = (step(1e-5) - step(-1e-5)) / 2e-5;
            assert!(
                (slope - grad[at as usize]).abs() < 1e-7,
                "{at}: {slope} {}",
                grad[at as usize]
            );
        }
    }

    #[test]
    fn the_share_of_edges_is_dropped_and_the_rest_weighs_more() {
        let edges: Vec<(u32, u32, f32)> = (0..80u32)
            .flat_map(|user| {
                (80..180u32).flat_map(move |item| [(user, item, 1.0), (item, user, 1.0)])
            })
            .collect();
        let graph = Graph::new(180, &edges, false).normalise_symmetric();
        let (left, transposed) = graph.drop_edges(0.1, 3);
        let share = left.n_edges() as f64 / graph.n_edges() as f64;
        assert!((share - 0.9).abs() < 0.01, "{share}");
        assert_eq!(left.n_edges(), transposed.n_edges());
        assert!((left.weights[0] - graph.weights[0] / 0.9).abs() < 1e-7);
        let into = |graph: &Graph| {
            let mut pairs: Vec<(u32, u32)> =
                graph.targets().into_iter().zip(graph.sources.iter().copied()).collect();
            pairs.sort_unstable();
            pairs
        };
        let mut turned: Vec<(u32, u32)> = into(&left).into_iter().map(|(a, b)| (b, a)).collect();
        turned.sort_unstable();
        assert_eq!(turned, into(&transposed));
        assert_ne!(into(&left), into(&transposed), "directions are dropped by themselves");
    }
}
