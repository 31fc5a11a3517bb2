//! Linear propagation (He et al. 2020) with two views of every node: the network of SGL, SimGCL and XSimGCL.

use rayon::prelude::*;

use crate::{
    base::random::mix,
    data::TrainingData,
    nn::{
        Kind, Tensor, composite,
        device::has_kernels,
        graph::Graph,
        network::{Dropout, Encoded, Network, Param, Views},
        propagate::{Only, propagate_only},
        start,
        tensors::{slice_mut, tensor_of},
        wide::Real,
    },
};

/// What part of a graph a view is without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dropped {
    /// Edges, the same in all layers.
    Edges,
    /// Nodes, with their edges.
    Nodes,
    /// Edges, others in each layer.
    EdgesOfLayers,
}

/// How two views of a node come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Origin {
    /// Two graphs a share of which is dropped in each epoch; the embeddings are those of the whole graph (SGL, Wu et
    /// al. 2021, eq. 6 to 9).
    Graphs { dropped: Dropped, share: f64 },
    /// Two propagations with noise of this length in every layer; the embeddings are those without (SimGCL, Yu et
    /// al. 2022: the noise-based augmentation of its section 3).
    Noise { length: f64 },
    /// One propagation with noise: embeddings and first view are the mean of its layers, the second view is a layer of
    /// it, counted from 1 (XSimGCL, Yu et al. 2023: its cross-layer contrast).
    Layer { length: f64, layer: usize },
}

/// Where the numbers come from that noise is made of.
pub(crate) enum Numbers {
    /// Seeded by step, view, layer, node and place in the vector.
    Drawn,
    /// By view and layer, `[n_nodes, dim]`: for comparison with other programs.
    #[cfg(test)]
    Given(Vec<Vec<Vec<f32>>>),
}

impl Numbers {
    /// Uniform numbers from 0 to 1 for the vector of a node in a layer, and what they are scaled with so that the
    /// vector is as long as the noise is to be.
    fn row(&self, noise: Noise, layer: usize, node: usize, numbers: &mut [f32]) -> f64 {
        #[cfg(test)]
        if let Self::Given(given) = self {
            let dim = numbers.len();
            numbers.copy_from_slice(&given[noise.view][layer][node * dim..][..dim]);
            let square: f64 = numbers.iter().map(|number| f64::from(*number).powi(2)).sum();
            return noise.length / square.sqrt().max(1e-12);
        }
        let of_layer = mix(noise.stream ^ mix((noise.view as u64) << 32 | layer as u64));
        let of_row = mix(of_layer ^ node as u64);
        let mut square = 0.0f32;
        for (at, pair) in numbers.chunks_mut(2).enumerate() {
            let bits = mix(of_row ^ at as u64);
            // 24 bits are what a 32-bit float holds.
            for (number, bits) in pair.iter_mut().zip([bits >> 40, (bits >> 8) & 0xff_ffff]) {
                *number = bits as f32 * (1.0 / (1u32 << 24) as f32);
                square += *number * *number;
            }
        }
        noise.length / f64::from(square).sqrt().max(1e-12)
    }
}

/// The network.
pub(crate) struct ViewGcn {
    graph: Graph,
    layers: usize,
    origin: Origin,
    params: Vec<Param>,
    /// Graphs of the epoch, by view: one for all layers or one for each; none where views come of noise.
    pub(crate) graphs: [Vec<Graph>; 2],
    pub(crate) numbers: Numbers,
}

/// What is drawn at random for one propagation.
#[derive(Clone, Copy)]
struct Noise {
    stream: u64,
    view: usize,
    length: f64,
}

impl ViewGcn {
    /// `graph` is normalised, without self-loops.
    pub fn new(graph: Graph, layers: usize, origin: Origin, nodes: Tensor) -> Self {
        let params = vec![Param::new("nodes", nodes)];
        let numbers = Numbers::Drawn;
        Self { graph, layers, origin, params, graphs: [const { Vec::new() }; 2], numbers }
    }

    /// Vectors before training: Xavier's uniform ones of users and of items, as the papers have them.
    pub fn start(data: &TrainingData, dim: usize, seed: u64) -> (Graph, Tensor) {
        let graph = Graph::of_interactions(&data.positives, false).normalise_symmetric();
        let users = start::glorot(seed, 0, data.positives.n_users(), dim);
        let items = start::glorot(seed, 1, data.positives.n_items(), dim);
        (graph, Tensor::cat(&[users, items], 0))
    }

    /// SimGCL and XSimGCL leave the vectors before propagation out of the mean ("we skip the input embedding").
    fn with_input(&self) -> bool {
        matches!(self.origin, Origin::Graphs { .. })
    }

    /// ÷ the number of layers that the mean is over.
    fn share_of_layer(&self) -> f64 {
        1.0 / (self.layers + usize::from(self.with_input())) as f64
    }

    /// The graph of a layer, counted from 0, in a view or where there is none.
    fn graph(&self, view: Option<usize>, layer: usize) -> &Graph {
        match view.map(|view| &self.graphs[view][..]) {
            Some([]) | None => &self.graph,
            Some([all]) => all,
            Some(by_layer) => &by_layer[layer],
        }
    }

    /// The mean of the layers, and the one that is asked for. `first` is the first layer without noise, where it was
    /// computed before.
    fn propagate(
        &self,
        view: Option<usize>,
        noise: Option<Noise>,
        keep: Option<usize>,
        first: Option<&Tensor>,
        of: &[bool],
    ) -> (Tensor, Option<Tensor>) {
        let nodes = &self.params[0].value;
        let (mut sum, mut kept) = (None, None);
        if self.with_input() {
            sum = Some(nodes.copy());
        }
        let mut x = nodes.shallow_clone();
        for layer in 0..self.layers {
            let is_last = layer + 1 == self.layers;
            let rows = if is_last { of } else { &[] };
            let mut next = match first.filter(|_| layer == 0) {
                Some(first) => first.copy(),
                None => {
                    let only = (!rows.is_empty()).then_some(Only::Targets(rows));
                    propagate_only(self.graph(view, layer), &x, None, only)
                }
            };
            let scale = if is_last { self.share_of_layer() } else { 1.0 };
            sum = Some(self.finish(&mut next, sum, noise.map(|noise| (noise, layer)), scale));
            if keep == Some(layer + 1) {
                kept = Some(next.shallow_clone());
            }
            x = next;
        }
        // Without layers the mean is over the input alone.
        (sum.unwrap_or_else(|| nodes.copy()), kept)
    }

    /// Adds noise to a layer, and the layer to the sum of those before it, which is then scaled.
    fn finish(
        &self,
        next: &mut Tensor,
        sum: Option<Tensor>,
        noise: Option<(Noise, usize)>,
        scale: f64,
    ) -> Tensor {
        if !has_kernels(next) {
            if let Some((noise, layer)) = noise {
                *next += next.sign() * self.noise(noise, layer, next);
            }
            return sum.map_or_else(|| next.copy(), |sum| sum + &*next) * scale;
        }
        let mut sum = sum.unwrap_or_else(|| next.zeros_like());
        match next.kind() {
            Kind::Double => self.finish_rows::<f64>(next, &mut sum, noise, scale),
            _ => self.finish_rows::<f32>(next, &mut sum, noise, scale),
        }
        sum
    }

    fn finish_rows<T: Real>(
        &self,
        next: &mut Tensor,
        sum: &mut Tensor,
        noise: Option<(Noise, usize)>,
        scale: f64,
    ) {
        let (dim, source) = (next.size()[1] as usize, &self.numbers);
        let rows =
            slice_mut::<T>(next).par_chunks_mut(dim).zip(slice_mut::<T>(sum).par_chunks_mut(dim));
        rows.with_min_len(256).enumerate().for_each_init(
            || vec![0.0f32; dim],
            |numbers, (node, (next, sum))| {
                // A row of zeros has no signs; rows that nobody asked for are zeros, too.
                if let Some((noise, layer)) = noise
                    && next.iter().any(|value| value.to_f64() != 0.0)
                {
                    let scale = source.row(noise, layer, node, numbers);
                    for (value, number) in next.iter_mut().zip(&*numbers) {
                        let (old, change) = (value.to_f64(), scale * f64::from(*number));
                        let signed = if old > 0.0 { change } else { -change };
                        *value = T::of(if old == 0.0 { 0.0 } else { old + signed });
                    }
                }
                for (sum, next) in sum.iter_mut().zip(next) {
                    *sum = T::of((sum.to_f64() + next.to_f64()) * scale);
                }
            },
        );
    }

    /// The same of all nodes, scaled, as a tensor like `like`.
    fn noise(&self, noise: Noise, layer: usize, like: &Tensor) -> Tensor {
        let (n, dim) = (like.size()[0] as usize, like.size()[1] as usize);
        let mut scales = Vec::with_capacity(n);
        let mut rows = vec![0.0f32; n * dim];
        for (node, row) in rows.chunks_mut(dim).enumerate() {
            scales.push(self.numbers.row(noise, layer, node, row));
        }
        let scales = Tensor::from_slice(&scales).unsqueeze(1);
        let rows = tensor_of(&rows, &[n, dim], crate::nn::Device::Cpu).to_kind(Kind::Double);
        (rows * scales).to_kind(like.kind()).to_device(like.device())
    }

    /// The gradient of the nodes' own vectors through one propagation, given that of the mean and of a layer.
    fn pull_back(
        &self,
        view: Option<usize>,
        grad: &Tensor,
        of_layer: Option<(usize, &Tensor)>,
        of: &[bool],
    ) -> Tensor {
        let each = grad * self.share_of_layer();
        let mut at = each.shallow_clone();
        for layer in (0..self.layers).rev() {
            if let Some((kept, of_kept)) = of_layer
                && kept == layer + 1
            {
                at = &at + of_kept;
            }
            // Only the last layer's gradient is 0 outside of the step's nodes.
            let is_last = layer + 1 == self.layers;
            let only = (is_last && !of.is_empty()).then_some(Only::Sources(of));
            let base = (layer > 0 || self.with_input()).then_some(&each);
            // A graph of kept edges is symmetric: its own transpose.
            at = propagate_only(self.graph(view, layer), &at, base, only);
        }
        at
    }

    fn composite(
        &self,
        view: Option<usize>,
        noise: Option<Noise>,
        keep: Option<usize>,
    ) -> (Tensor, Option<Tensor>) {
        let nodes = &self.params[0].value;
        let (mut x, mut kept) = (nodes.shallow_clone(), None);
        let mut sum = if self.with_input() { x.shallow_clone() } else { x.zeros_like() };
        for layer in 0..self.layers {
            x = composite::propagate(self.graph(view, layer), &x, None);
            if let Some(noise) = noise {
                x = &x + x.detach().sign() * self.noise(noise, layer, &x);
            }
            if keep == Some(layer + 1) {
                kept = Some(x.shallow_clone());
            }
            sum = &sum + &x;
        }
        (sum * self.share_of_layer(), kept)
    }

    /// The two graphs of an epoch.
    fn draw(&self, stream: u64) -> [Vec<Graph>; 2] {
        let Origin::Graphs { dropped, share } = self.origin else {
            return [const { Vec::new() }; 2];
        };
        let limit = (share * (1u64 << 32) as f64) as u64;
        let graphs = match dropped {
            Dropped::EdgesOfLayers => self.layers,
            _ => 1,
        };
        let graph = &self.graph;
        let draw = |view: u64, layer: u64| {
            let stream = mix(stream ^ mix(view << 32 | layer));
            let is_kept = |what: u64| mix(stream ^ what) >> 32 >= limit;
            match dropped {
                Dropped::Nodes => {
                    graph.keep(|user, item| is_kept(u64::from(user)) && is_kept(u64::from(item)))
                }
                _ => graph.keep(|user, item| is_kept(u64::from(user) << 32 | u64::from(item))),
            }
        };
        [0, 1]
            .map(|view| (0..graphs as u64).into_par_iter().map(|layer| draw(view, layer)).collect())
    }
}

/// A stream for the noise of steps, apart from that of the graphs of epochs.
const NOISE: u64 = 0x6e6f_6973_6500_0000;

impl Network for ViewGcn {
    fn forward(&mut self, _: Option<Dropout>) -> Tensor {
        self.propagate(None, None, None, None, &[]).0
    }

    fn differentiable(&self, _: Option<Dropout>) -> Tensor {
        self.composite(None, None, None).0
    }

    fn backward(&mut self, grad: &Tensor) {
        self.params[0].grad = self.pull_back(None, grad, None, &[]);
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }

    fn start_epoch(&mut self, stream: u64) {
        self.graphs = self.draw(stream);
    }

    fn views(&mut self) -> Option<&mut dyn Views> {
        Some(self)
    }
}

impl Views for ViewGcn {
    fn encode(&mut self, stream: u64, of: &[bool]) -> Encoded {
        let stream = mix(stream ^ NOISE);
        let noise = |view, length| Some(Noise { stream, view, length });
        match self.origin {
            Origin::Graphs { .. } => Encoded {
                embeddings: self.propagate(None, None, None, None, of).0,
                first: self.propagate(Some(0), None, None, None, of).0,
                second: self.propagate(Some(1), None, None, None, of).0,
            },
            Origin::Noise { length } => {
                // The first product is the same in all three. With one layer it is the last one, too.
                let only = (self.layers == 1 && !of.is_empty()).then_some(Only::Targets(of));
                let nodes = &self.params[0].value;
                let first = propagate_only(&self.graph, nodes, None, only);
                let of_view = |noise| self.propagate(None, noise, None, Some(&first), of).0;
                Encoded {
                    embeddings: of_view(None),
                    first: of_view(noise(0, length)),
                    second: of_view(noise(1, length)),
                }
            }
            Origin::Layer { length, layer } => {
                let (mean, kept) = self.propagate(None, noise(0, length), Some(layer), None, of);
                let second = kept.unwrap_or_else(|| mean.shallow_clone());
                Encoded { first: mean.shallow_clone(), embeddings: mean, second }
            }
        }
    }

    fn encode_differentiable(&self, stream: u64) -> Encoded {
        let stream = mix(stream ^ NOISE);
        let noise = |view, length| Some(Noise { stream, view, length });
        match self.origin {
            Origin::Graphs { .. } => Encoded {
                embeddings: self.composite(None, None, None).0,
                first: self.composite(Some(0), None, None).0,
                second: self.composite(Some(1), None, None).0,
            },
            Origin::Noise { length } => Encoded {
                embeddings: self.composite(None, None, None).0,
                first: self.composite(None, noise(0, length), None).0,
                second: self.composite(None, noise(1, length), None).0,
            },
            Origin::Layer { length, layer } => {
                let (mean, kept) = self.composite(None, noise(0, length), Some(layer));
                let second = kept.unwrap_or_else(|| mean.shallow_clone());
                Encoded { first: mean.shallow_clone(), embeddings: mean, second }
            }
        }
    }

    fn pull(&mut self, grads: Encoded, of: &[bool]) {
        let Encoded { embeddings, first, second } = grads;
        self.params[0].grad = match self.origin {
            Origin::Graphs { .. } => {
                self.pull_back(None, &embeddings, None, of)
                    + self.pull_back(Some(0), &first, None, of)
                    + self.pull_back(Some(1), &second, None, of)
            }
            // Noise is a constant: one way back for all three.
            Origin::Noise { .. } => self.pull_back(None, &(embeddings + first + second), None, of),
            Origin::Layer { layer, .. } => {
                self.pull_back(None, &(embeddings + first), Some((layer, &second)), of)
            }
        };
    }
}
