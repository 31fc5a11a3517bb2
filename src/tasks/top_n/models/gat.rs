//! GATv2 (Brody et al. 2022) in the form of the released code of Ebrat et al. 2025, whose paper says "GAT".

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::{Interaction, Interactions, TrainingData},
    nn::{
        Device, Element, Exclude, Kind, Tensor, attention,
        attention::{Attend, Attended, Inputs},
        composite,
        device::has_kernels,
        graph::Graph,
        loss::Weights,
        network::{Dropout, Network, Param, drop_units, leaf},
        start,
        tensors::{slice, tensor_of},
        wide::Real,
    },
    tasks::top_n::{
        History,
        networks::{
            self, NetworkModel, Objective, Plan, Training, not_negative, positive, share, width,
        },
    },
    text::TextSpec,
};

/// Which training ratings are edges; each carries its rating as a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Edges {
    /// Liked ones.
    Liked,
    /// Liked and disliked ones, as the paper of Ebrat et al. 2025 says (needs `data.disliked`).
    #[default]
    LikedAndDisliked,
    /// All, neutral ones too, as their released code does.
    All,
}

/// Length of the nodes' own vectors where there is nothing else.
const DEFAULT_FEATURES: usize = 64;

/// Settings. Left as they are, layers and edges are those of the paper of Ebrat et al. 2025 and the weights of
/// the loss those of their released code; the rest is neither's. `baselines/gat*-ebrat2025-*.yaml` are theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatParams {
    /// Length of the nodes' own trainable vectors: 64 by default, 0 where `text` gives features.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024), extend("multipleOf" = 16))]
    pub features: Option<usize>,
    /// Texts whose vectors are features of the nodes, beside their own vectors: as they are, or with
    /// `train: true` as the values that these features have before training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSpec>,
    /// Standard deviation of the nodes' own vectors at the start.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub init: f64,
    /// Channels of each head.
    #[schemars(extend("enum" = [16, 32, 64, 128]))]
    pub hidden: usize,
    /// Heads of each layer.
    #[schemars(length(min = 1), inner(range(min = 1, max = 64)))]
    pub heads: Vec<usize>,
    pub edges: Edges,
    /// Share of units switched off in each layer's input.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// Weight of BPR in the loss; `cosine` is that of 1 − mean cosine of positive pairs.
    #[schemars(range(min = 0))]
    pub bpr: f64,
    /// Weight of 1 − mean cosine of positive pairs in the loss.
    #[schemars(range(min = 0))]
    pub cosine: f64,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's own vectors.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    pub training: Training,
}

impl Default for GatParams {
    fn default() -> Self {
        Self {
            features: None,
            text: None,
            init: 0.1,
            hidden: 64,
            heads: vec![4, 4, 1],
            edges: Edges::LikedAndDisliked,
            dropout: 0.1,
            bpr: 5.0,
            cosine: 2.0,
            regularization: 0.0,
            training: Training::default(),
        }
    }
}

impl NetworkModel for GatParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let graph = Graph::of_interactions(&edges(self.edges, data)?, true);
        let seed = context.seed;
        let default = if self.text.is_some() { 0 } else { DEFAULT_FEATURES };
        let own = self.features.unwrap_or(default);
        let nodes = start::normal(seed, 0, &[graph.n_nodes, own], self.init);
        let text = match (&self.text, context.features) {
            (None, _) => None,
            (Some(_), Some(features)) => {
                let rows = [&features.users[..], &features.items[..]].concat();
                Some(tensor_of(&rows, &[graph.n_nodes, features.dim], Device::Cpu))
            }
            (Some(_), None) => {
                return Err(ModelError::Unsuitable(
                    "`text` is set, but no texts were given".into(),
                ));
            }
        };
        let train = self.text.as_ref().is_some_and(|text| text.train);
        let (mut shapes, mut weights) = (Vec::new(), Vec::new());
        let mut input = own + context.features.filter(|_| text.is_some()).map_or(0, |f| f.dim);
        for (layer, &heads) in self.heads.iter().enumerate() {
            let output = heads * self.hidden;
            let projects = input != output;
            let stream = |at: u64| 1 + 16 * layer as u64 + at;
            let zeros = || start::constant(&[output], 0.0);
            let mut of_layer = vec![
                start::glorot(seed, stream(0), output, input),
                zeros(),
                start::glorot(seed, stream(1), output, input),
                zeros(),
                start::glorot(seed, stream(2), heads, self.hidden),
                start::glorot(seed, stream(3), output, 1),
                zeros(),
                start::constant(&[output], 1.0),
                zeros(),
            ];
            if projects {
                of_layer.push(start::glorot(seed, stream(4), output, input));
                of_layer.push(zeros());
            }
            weights.push(of_layer);
            shapes.push(GatShape { heads, channels: self.hidden, projects });
            input = output;
        }
        // Trained texts are a part of the nodes' own vectors.
        let (nodes, text) = match text {
            Some(text) if train => (Tensor::cat(&[&nodes, &text], 1), None),
            text => (nodes, text),
        };
        Ok(Plan {
            network: Box::new(move |place| {
                let weights = weights.into_iter().map(|of| of.into_iter().map(place).collect());
                let text = text.map(place);
                Box::new(Gat::new(graph, shapes, place(nodes), text, weights.collect()))
            }),
            objective: Objective {
                weights: Weights { bpr: self.bpr, cosine: self.cosine, cross_entropy: 0.0 },
                regularization: self.regularization,
                dropout: self.dropout,
                contrast: None,
                batch: 0,
            },
        })
    }
}

impl Model for GatParams {
    fn validate(&self) -> Result<(), Wrong> {
        match (&self.text, self.features) {
            (Some(text), features) => {
                text.encoder.validate().map_err(|message| ("text", message))?;
                if features.unwrap_or(0) > 0 {
                    width("features", features.unwrap_or(0))?;
                }
            }
            (None, features) => width("features", features.unwrap_or(DEFAULT_FEATURES))?,
        }
        positive("init", self.init)?;
        if !attention::fits(self.hidden) {
            return Err(("hidden", format!("is {}; expected 16, 32, 64 or 128", self.hidden)));
        }
        if self.heads.is_empty() || self.heads.iter().any(|heads| !(1..=64).contains(heads)) {
            return Err(("heads", "expected 1 or more for each layer, e.g. [4, 4, 1]".into()));
        }
        share("dropout", self.dropout)?;
        for (name, weight) in [("bpr", self.bpr), ("cosine", self.cosine)] {
            not_negative(name, weight)?;
        }
        not_negative("regularization", self.regularization)?;
        self.training.validate()
    }

    fn history(&self) -> History {
        // Texts are written from liked and disliked ratings.
        match (self.edges, &self.text) {
            (Edges::All, _) => History::Rated,
            (Edges::Liked, None) => History::Liked,
            _ => History::LikedOrDisliked,
        }
    }

    fn uses_dislikes(&self) -> bool {
        self.edges == Edges::LikedAndDisliked
            || self.training.negatives.exclude == Exclude::LikedAndDisliked
    }

    fn text(&self) -> Option<&TextSpec> {
        self.text.as_ref()
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    fn memory(&self, size: Size) -> usize {
        let heads: usize = self.heads.iter().sum();
        4 * 14 * self.hidden * (heads + 1) * (size.users + size.items)
            + 8 * heads * 2 * size.ratings
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

fn edges(edges: Edges, data: &TrainingData) -> Result<Interactions, ModelError> {
    match (edges, &data.disliked) {
        (Edges::Liked, _) => Ok(data.positives.clone()),
        (Edges::All, _) => Ok(data.ratings.clone()),
        (Edges::LikedAndDisliked, Some(disliked)) => {
            let rows: Vec<Interaction> = data.positives.iter().chain(disliked.iter()).collect();
            Ok(Interactions::new(data.ratings.n_users(), data.ratings.n_items(), &rows))
        }
        (Edges::LikedAndDisliked, None) => Err(ModelError::Unsuitable(
            "`edges: liked-and-disliked` needs a rule for disliked ratings\n  = help: add `disliked: \"<= 2\"` \
             to `data`, or use `edges: all` or `edges: liked`"
                .into(),
        )),
    }
}

/// Layers of GATv2 (Brody et al. 2022) as in the released code of Ebrat et al. 2025:
/// x' = LeakyReLU(LayerNorm(GATv2(x) + b)) + residual(x), with the rating as edge feature.
pub struct Gat {
    graph: Graph,
    layers: Vec<GatShape>,
    /// Features that are not trained, `[n_nodes, any]`.
    fixed: Option<Tensor>,
    /// nodes, then for each layer those of [`GAT_PARAMS`]
    params: Vec<Param>,
    tape: Vec<GatLayer>,
}

/// Heads and channels of a layer, and whether its residual has weights.
#[derive(Clone, Copy, Debug)]
pub struct GatShape {
    pub heads: usize,
    pub channels: usize,
    pub projects: bool,
}

/// Names of a layer's parameters; the last two only where the residual has weights.
pub const GAT_PARAMS: [&str; 11] = [
    "lin_l.weight",
    "lin_l.bias",
    "lin_r.weight",
    "lin_r.bias",
    "att",
    "lin_edge.weight",
    "bias",
    "norm.weight",
    "norm.bias",
    "res.weight",
    "res.bias",
];

struct GatLayer {
    /// The layer's input, with left, right and residual made of it.
    input: Tensor,
    weights: Vec<Tensor>,
    left: Tensor,
    right: Tensor,
    residual: Tensor,
    /// Of a GPU: attention's own tape.
    attended: Tensor,
    attended_inputs: Vec<Tensor>,
    attended_output: Option<Tensor>,
    kernel: Option<Kernel>,
    output: Tensor,
}

/// What our kernels left for the backward pass.
enum Kernel {
    Single(Attended<f32>),
    Double(Attended<f64>),
}

impl Gat {
    /// `graph` has self-loops; `weights` holds each layer's parameters in the order of [`GAT_PARAMS`].
    pub fn new(
        graph: Graph,
        layers: Vec<GatShape>,
        nodes: Tensor,
        fixed: Option<Tensor>,
        weights: Vec<Vec<Tensor>>,
    ) -> Self {
        let mut params = vec![Param::new("nodes", nodes)];
        for (layer, weights) in weights.into_iter().enumerate() {
            for (name, weight) in GAT_PARAMS.iter().zip(weights) {
                params.push(Param::new(format!("{layer}.{name}"), weight));
            }
        }
        Self { graph, layers, fixed, params, tape: Vec::new() }
    }

    fn first_param(&self, layer: usize) -> usize {
        let of = |shape: &GatShape| if shape.projects { 11 } else { 9 };
        1 + self.layers[..layer].iter().map(of).sum::<usize>()
    }

    /// What the first layer takes.
    fn input(&self) -> Tensor {
        match &self.fixed {
            Some(fixed) => Tensor::cat(&[&self.params[0].value, fixed], 1),
            None => self.params[0].value.shallow_clone(),
        }
    }
}

/// What a layer's attention compares, and its residual.
fn project(x: &Tensor, shape: GatShape, weights: &[Tensor]) -> [Tensor; 3] {
    let left = x.linear(&weights[0], Some(&weights[1]));
    let right = x.linear(&weights[2], Some(&weights[3]));
    let residual = match shape.projects {
        true => x.linear(&weights[9], Some(&weights[10])),
        false => x.shallow_clone(),
    };
    [left, right, residual]
}

/// A layer's output, given what attention gave.
fn finish(attended: &Tensor, residual: &Tensor, shape: GatShape, weights: &[Tensor]) -> Tensor {
    let width = [(shape.heads * shape.channels) as i64];
    let normed = (attended + &weights[6]).layer_norm(
        &width[..],
        Some(&weights[7]),
        Some(&weights[8]),
        1e-5,
        true,
    );
    normed.leaky_relu() + residual
}

impl Network for Gat {
    fn forward(&mut self, dropout: Option<Dropout>) -> Tensor {
        self.tape.clear();
        let mut x = self.input();
        for layer in 0..self.layers.len() {
            let shape = self.layers[layer];
            let first = self.first_param(layer);
            let count = if shape.projects { 11 } else { 9 };
            let weights: Vec<Tensor> =
                self.params[first..first + count].iter().map(|param| leaf(&param.value)).collect();
            let input = leaf(&x);
            let kept = drop_units(&input, dropout, layer as u64);
            let [left, right, residual] = project(&kept, shape, &weights);
            let (attention, edge) = (weights[4].reshape(-1), weights[5].reshape(-1));
            let parts = [&left, &right, &attention, &edge].map(leaf);
            let (attended_output, kernel) = attend(&self.graph, shape, &parts);
            let attended = leaf(&attended_output.1);
            let residual_leaf = leaf(&residual);
            let output = finish(&attended, &residual_leaf, shape, &weights);
            x = output.detach();
            let [left_leaf, right_leaf, attention_leaf, edge_leaf] = parts;
            self.tape.push(GatLayer {
                input,
                weights,
                left,
                right,
                residual,
                attended,
                attended_inputs: vec![
                    left_leaf,
                    right_leaf,
                    attention_leaf,
                    edge_leaf,
                    residual_leaf,
                ],
                attended_output: attended_output.0,
                kernel,
                output,
            });
        }
        x
    }

    fn differentiable(&self, dropout: Option<Dropout>) -> Tensor {
        let mut x = self.input();
        for (layer, shape) in self.layers.iter().enumerate() {
            let first = self.first_param(layer);
            let count = if shape.projects { 11 } else { 9 };
            let weights: Vec<Tensor> = self.params[first..first + count]
                .iter()
                .map(|param| param.value.shallow_clone())
                .collect();
            let kept = drop_units(&x, dropout, layer as u64);
            let [left, right, residual] = project(&kept, *shape, &weights);
            let (attention, edge) = (weights[4].reshape(-1), weights[5].reshape(-1));
            let heads = shape.heads as i64;
            let attended = composite::attend(&self.graph, heads, &left, &right, &attention, &edge);
            x = finish(&attended, &residual, *shape, &weights);
        }
        x
    }

    fn backward(&mut self, grad: &Tensor) {
        let mut grad = grad.shallow_clone();
        for (layer, tape) in std::mem::take(&mut self.tape).into_iter().enumerate().rev() {
            let (shape, first) = (self.layers[layer], self.first_param(layer));
            let sum = |value: &Tensor, grad: &Tensor| (value * grad).sum(None::<Kind>);
            // From the layer's output to what attention gave, its bias, the norm and the residual.
            let residual_leaf = &tape.attended_inputs[4];
            let inputs = [
                &tape.attended,
                &tape.weights[6],
                &tape.weights[7],
                &tape.weights[8],
                residual_leaf,
            ];
            let mut above =
                Tensor::run_backward(&[sum(&tape.output, &grad)], &inputs, false, false);
            for (at, grad) in [6, 7, 8].into_iter().zip(above.drain(1..4)) {
                self.params[first + at].grad = grad.detach();
            }
            let (of_attended, of_residual) = (above[0].detach().contiguous(), above[1].detach());
            // Through attention.
            let inputs = &tape.attended_inputs[..4];
            let within = match (&tape.kernel, &tape.attended_output) {
                (Some(kernel), _) => {
                    attend_backward(&self.graph, shape, inputs, kernel, &of_attended)
                }
                (None, Some(output)) => {
                    Tensor::run_backward(&[sum(output, &of_attended)], inputs, false, false)
                }
                // invariant: attention went one way or the other
                (None, None) => unreachable!("attention left no tape"),
            };
            for (at, grad) in [4, 5].into_iter().zip(&within[2..]) {
                self.params[first + at].grad = grad.detach().reshape(tape.weights[at].size());
            }
            // From left, right and residual to the layer's input and their weights.
            let surrogate = sum(&tape.left, &within[0].detach())
                + sum(&tape.right, &within[1].detach())
                + sum(&tape.residual, &of_residual);
            let projections: &[usize] =
                if shape.projects { &[0, 1, 2, 3, 9, 10] } else { &[0, 1, 2, 3] };
            let inputs: Vec<&Tensor> = std::iter::once(&tape.input)
                .chain(projections.iter().map(|at| &tape.weights[*at]))
                .collect();
            let mut below = Tensor::run_backward(&[surrogate], &inputs, false, false).into_iter();
            grad = below.next().map(|grad| grad.detach()).unwrap_or(grad);
            for (at, grad) in projections.iter().zip(below) {
                self.params[first + at].grad = grad.detach();
            }
        }
        if self.fixed.is_some() {
            grad = grad.narrow(1, 0, self.params[0].value.size()[1]);
        }
        self.params[0].grad = grad.contiguous();
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }
}

/// Attention by our kernels in main memory, by libtorch elsewhere: (output with its tape, output).
fn attend(
    graph: &Graph,
    shape: GatShape,
    parts: &[Tensor; 4],
) -> ((Option<Tensor>, Tensor), Option<Kernel>) {
    let [left, right, attention, edge] = parts;
    if !has_kernels(left) {
        let output = composite::attend(graph, shape.heads as i64, left, right, attention, edge);
        let value = output.detach();
        return ((Some(output), value), None);
    }
    match left.kind() {
        Kind::Double => {
            let kernel = attention::forward(&inputs::<f64>(graph, shape, parts));
            let out = Tensor::from_slice(&kernel.out).reshape(left.size());
            ((None, out), Some(Kernel::Double(kernel)))
        }
        _ => {
            let kernel = attention::forward(&inputs::<f32>(graph, shape, parts));
            let out = Tensor::from_slice(&kernel.out).reshape(left.size());
            ((None, out), Some(Kernel::Single(kernel)))
        }
    }
}

fn attend_backward(
    graph: &Graph,
    shape: GatShape,
    parts: &[Tensor],
    kernel: &Kernel,
    grad: &Tensor,
) -> Vec<Tensor> {
    fn tensors<T: Attend + Element>(
        grads: attention::Gradients<T>,
        parts: &[Tensor],
    ) -> Vec<Tensor> {
        let grads = [grads.left, grads.right, grads.attention, grads.edge];
        let pairs = grads.iter().zip(parts);
        pairs.map(|(grad, part)| Tensor::from_slice(grad).reshape(part.size())).collect()
    }
    match kernel {
        Kernel::Single(forward) => {
            let inputs = inputs::<f32>(graph, shape, parts);
            tensors(attention::backward(&inputs, forward, slice::<f32>(grad)), parts)
        }
        Kernel::Double(forward) => {
            let inputs = inputs::<f64>(graph, shape, parts);
            tensors(attention::backward(&inputs, forward, slice::<f64>(grad)), parts)
        }
    }
}

fn inputs<'a, T: Real>(graph: &'a Graph, shape: GatShape, parts: &'a [Tensor]) -> Inputs<'a, T> {
    Inputs {
        graph,
        heads: shape.heads,
        channels: shape.channels,
        left: slice(&parts[0]),
        right: slice(&parts[1]),
        attention: slice(&parts[2]),
        edge: slice(&parts[3]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        data::{ItemIx, Relevance, UserIx},
        nn::{
            loss::{Batch, loss},
            tensors::floats,
        },
        text::Features,
    };

    const USERS: usize = 4;
    const ITEMS: usize = 5;
    const DIM: usize = 3;

    fn data() -> TrainingData {
        let rows: Vec<Interaction> = [(0, 0, 5.0), (0, 1, 4.0), (1, 1, 2.0), (1, 2, 5.0)]
            .into_iter()
            .chain([(2, 3, 4.0), (2, 0, 1.0), (3, 4, 5.0), (3, 2, 3.0)])
            .map(|(user, item, rating)| Interaction {
                user: UserIx(user),
                item: ItemIx(item),
                rating,
                timestamp: Default::default(),
            })
            .collect();
        let ratings = Interactions::new(USERS, ITEMS, &rows);
        let relevant: Relevance = serde_yaml::from_str("'>= 4'").unwrap();
        TrainingData {
            positives: ratings.filter(|row| relevant.accepts(row.rating)),
            validation: Interactions::new(USERS, ITEMS, &[]),
            disliked: None,
            ratings,
            relevant,
        }
    }

    fn features() -> Features {
        let values = |n: usize, from: f32| (0..n).map(move |at| ((at as f32 + from) * 0.7).sin());
        Features {
            dim: DIM,
            users: values(USERS * DIM, 0.3).collect(),
            items: values(ITEMS * DIM, 9.1).collect(),
            users_without_text: 0,
            items_without_text: 0,
        }
    }

    fn params(train: bool, own: usize) -> GatParams {
        let yaml = format!(
            "{{features: {own}, text: {{profiles: a, train: {train}}}, hidden: 16, heads: [2, 1], edges: \
             all, dropout: 0}}"
        );
        serde_yaml::from_str(&yaml).unwrap()
    }

    /// The network as it starts, in 64 bits.
    fn network(params: &GatParams, features: &Features) -> Box<dyn Network> {
        crate::nn::one_thread();
        let interrupt = Interrupt::default();
        let context = FitContext { features: Some(features), ..FitContext::silent(3, &interrupt) };
        let plan = params.plan(&data(), &context).unwrap();
        (plan.network)(&|tensor| tensor.to_kind(Kind::Double))
    }

    /// All pairs of the positives above, each with an item the user has not rated.
    fn batch() -> Batch {
        let item = |item: u32| USERS as u32 + item;
        Batch {
            users: vec![0, 0, 1, 2, 3],
            positives: [0, 1, 2, 3, 4].map(item).to_vec(),
            negatives: [3, 4, 0, 1, 1].map(item).to_vec(),
        }
    }

    /// The texts' values before training are the same in both models, and so are the embeddings.
    #[test]
    fn trained_texts_start_as_the_texts_and_frozen_ones_stay_them() {
        let features = features();
        let texts = [&features.users[..], &features.items[..]].concat();
        for own in [0, 16] {
            let mut frozen = network(&params(false, own), &features);
            let mut trained = network(&params(true, own), &features);
            assert!(frozen.forward(None) == trained.forward(None));
            let nodes = |network: &mut Box<dyn Network>| network.params()[0].value.shallow_clone();
            assert_eq!(nodes(&mut frozen).size(), [(USERS + ITEMS) as i64, own as i64]);
            let nodes = nodes(&mut trained);
            assert_eq!(nodes.size(), [(USERS + ITEMS) as i64, (own + DIM) as i64]);
            assert_eq!(floats(&nodes.narrow(1, own as i64, DIM as i64)), texts);
        }
    }

    /// The gradient of the whole loss with respect to every number of every text, against central
    /// differences.
    #[test]
    fn the_gradient_reaches_the_texts() {
        let features = features();
        for own in [0, 16] {
            let mut network = network(&params(true, own), &features);
            let weights = Weights { bpr: 5.0, cosine: 2.0, cross_entropy: 0.0 };
            let total = |network: &mut Box<dyn Network>| {
                let embeddings = network.forward(None);
                let (parts, grad) = loss(&embeddings, &batch(), weights);
                (5.0 * parts.bpr + 2.0 * parts.cosine, grad)
            };
            let (_, grad) = total(&mut network);
            network.backward(&grad);
            let grad = network.params()[0].grad.copy();
            let mut largest = 0f64;
            for row in 0..(USERS + ITEMS) as i64 {
                for column in own as i64..(own + DIM) as i64 {
                    let step = 1e-6;
                    let mut at = |by: f64| {
                        let nodes = &mut network.params()[0].value;
                        let _ = nodes.get(row).get(column).g_add_scalar_(by);
                        let value = total(&mut network).0;
                        let _ = network.params()[0].value.get(row).get(column).g_sub_scalar_(by);
                        value
                    };
                    let numeric = (at(step) - at(-step)) / (2.0 * step);
                    let ours = grad.double_value(&[row, column]);
                    assert!(
                        (ours - numeric).abs() < 1e-7,
                        "{own} {row} {column}: {ours} {numeric}"
                    );
                    largest = largest.max(ours.abs());
                }
            }
            assert!(largest > 1e-2, "no gradient: {largest}");
        }
    }
}
