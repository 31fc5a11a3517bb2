//! NGCF (Wang et al. 2019).

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::TrainingData,
    nn::{
        Kind, Tensor, composite,
        graph::Graph,
        loss::Weights,
        network::{Dropout, Network, Param, Regularised, drop_units, leaf},
        propagate::propagate_tensor,
        start,
    },
    tasks::top_n::networks::{
        self, NetworkModel, Objective, Plan, Training, layers, not_negative, share, width,
    },
};

/// Settings. The paper's form: symmetric normalisation, one activation of the sum, and the layers
/// propagate their outputs as they are. The authors' code normalises by rows with self-loops, and
/// RecBole propagates the outputs scaled to length 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NgcfParams {
    /// Length of the vectors, and of each layer's output, a multiple of 16.
    #[serde(rename(serialize = "dim", deserialize = "factors"))]
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub dim: usize,
    /// Propagations; the embedding is the vectors and all outputs side by side.
    #[schemars(range(max = 32))]
    pub layers: usize,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's embeddings.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    /// Share of units switched off in each layer's output (message dropout).
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// What is minimised.
    #[serde(skip_serializing_if = "Loss::is_bpr")]
    pub loss: Loss,
    pub training: Training,
}

/// What a network minimises, one sampled negative a positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Pairs: −ln σ(positive − negative), as in the paper.
    #[default]
    Bpr,
    /// Points: binary cross-entropy of the scores as logits, as LibRecommender by default.
    CrossEntropy,
}

impl Loss {
    fn is_bpr(&self) -> bool {
        *self == Self::Bpr
    }
}

impl Default for NgcfParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 3,
            regularization: 1e-5,
            dropout: 0.1,
            loss: Loss::Bpr,
            training: Training::default(),
        }
    }
}

impl NetworkModel for NgcfParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let graph = Graph::of_interactions(&data.positives, false).normalise_symmetric();
        let glorot = |stream: u64, rows: usize| start::glorot(context.seed, stream, rows, self.dim);
        let nodes = glorot(0, graph.n_nodes);
        let weights: Vec<Tensor> = (0..4 * self.layers as u64)
            .map(|at| match at % 2 {
                0 => glorot(1 + at, self.dim),
                _ => start::glorot(context.seed, 1 + at, 1, self.dim),
            })
            .collect();
        Ok(Plan {
            network: Box::new(move |place| {
                let weights = weights.into_iter().map(place).collect();
                Box::new(Ngcf::new(graph, place(nodes), weights))
            }),
            objective: Objective {
                weights: match self.loss {
                    Loss::Bpr => Weights::BPR,
                    Loss::CrossEntropy => Weights::CROSS_ENTROPY,
                },
                ..Objective::of_bpr(self.regularization, self.dropout)
            },
        })
    }
}

impl Model for NgcfParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.dim)?;
        layers(self.layers)?;
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
        4 * 12 * self.dim * (self.layers + 1) * (size.users + size.items) + 64 * size.ratings
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

/// NGCF (Wang et al. 2019), eq. 7: E' = LeakyReLU((L + I) E W1 + b1 + (L E ⊙ E) W2 + b2); the layers'
/// outputs are scaled to length 1 and stand side by side.
pub struct Ngcf {
    graph: Graph,
    layers: usize,
    /// nodes, then w1, b1, w2, b2 of each layer
    params: Vec<Param>,
    tape: Vec<NgcfLayer>,
}

/// One layer's pass: what the gradient starts from.
struct NgcfLayer {
    own: Tensor,
    side: Tensor,
    weights: Vec<Tensor>,
    next: Tensor,
    scaled: Tensor,
}

/// Slope of NGCF's activation.
const NGCF_SLOPE: f64 = 0.2;

impl Ngcf {
    /// `graph` is normalised, without self-loops; `weights` holds w1, b1, w2, b2 of each layer.
    pub fn new(graph: Graph, nodes: Tensor, weights: Vec<Tensor>) -> Self {
        let layers = weights.len() / 4;
        let mut params = vec![Param::new("nodes", nodes)];
        for (at, weight) in weights.into_iter().enumerate() {
            let name = ["w1", "b1", "w2", "b2"][at % 4];
            params.push(Param::new(format!("{name}.{}", at / 4), weight));
        }
        Self { graph, layers, params, tape: Vec::new() }
    }
}

/// A layer's output, as the next one takes it and scaled to length 1. `side` is L E.
fn dense(
    own: &Tensor,
    side: &Tensor,
    weights: &[Tensor],
    dropout: Option<Dropout>,
    layer: usize,
) -> (Tensor, Tensor) {
    let sum = (side + own).matmul(&weights[0]) + &weights[1];
    let product = (side * own).matmul(&weights[2]) + &weights[3];
    let sum = sum + product;
    let active = sum.relu() * (1.0 - NGCF_SLOPE) + &sum * NGCF_SLOPE;
    let next = drop_units(&active, dropout, layer as u64);
    let length = next.norm_scalaropt_dim(2, 1, true).clamp_min(1e-12);
    let scaled = &next / length;
    (next, scaled)
}

impl Network for Ngcf {
    fn forward(&mut self, dropout: Option<Dropout>) -> Tensor {
        self.tape.clear();
        let nodes = self.params[0].value.shallow_clone();
        let mut parts = vec![nodes.shallow_clone()];
        let mut own = nodes;
        for layer in 0..self.layers {
            let side = leaf(&propagate_tensor(&self.graph, &own, None));
            own = leaf(&own);
            let first = 1 + 4 * layer;
            let weights: Vec<Tensor> =
                self.params[first..first + 4].iter().map(|param| leaf(&param.value)).collect();
            let (next, scaled) = dense(&own, &side, &weights, dropout, layer);
            parts.push(scaled.detach());
            let following = next.detach();
            self.tape.push(NgcfLayer { own, side, weights, next, scaled });
            own = following;
        }
        Tensor::cat(&parts, 1)
    }

    fn differentiable(&self, dropout: Option<Dropout>) -> Tensor {
        let mut own = self.params[0].value.shallow_clone();
        let mut parts = vec![own.shallow_clone()];
        for layer in 0..self.layers {
            let side = composite::propagate(&self.graph, &own, None);
            let first = 1 + 4 * layer;
            let weights: Vec<Tensor> = self.params[first..first + 4]
                .iter()
                .map(|param| param.value.shallow_clone())
                .collect();
            let (next, scaled) = dense(&own, &side, &weights, dropout, layer);
            parts.push(scaled);
            own = next;
        }
        Tensor::cat(&parts, 1)
    }

    fn backward(&mut self, grad: &Tensor) {
        let dim = self.params[0].value.size()[1];
        let mut of_next: Option<Tensor> = None;
        let mut start = grad.size()[1];
        for (layer, tape) in std::mem::take(&mut self.tape).into_iter().enumerate().rev() {
            let width = tape.scaled.size()[1];
            start -= width;
            // A scalar whose gradient is the one wanted.
            let mut surrogate = (&tape.scaled * grad.narrow(1, start, width)).sum(None::<Kind>);
            if let Some(of_next) = &of_next {
                surrogate += (&tape.next * of_next).sum(None::<Kind>);
            }
            let inputs: Vec<&Tensor> =
                [&tape.own, &tape.side].into_iter().chain(&tape.weights).collect();
            let mut grads = Tensor::run_backward(&[surrogate], &inputs, false, false).into_iter();
            let (own, side) = (grads.next(), grads.next());
            for (param, grad) in self.params[1 + 4 * layer..].iter_mut().zip(grads) {
                param.grad = grad.detach();
            }
            if let (Some(own), Some(side)) = (own, side) {
                of_next = Some(propagate_tensor(
                    &self.graph,
                    &side.detach(),
                    Some(&own.detach().contiguous()),
                ));
            }
        }
        let own = grad.narrow(1, 0, dim).contiguous();
        self.params[0].grad = match of_next {
            Some(below) => own + below,
            None => own,
        };
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }

    fn regularised(&self) -> Regularised {
        Regularised::Embeddings
    }
}
