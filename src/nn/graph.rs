//! The user-item graph: users are nodes `0..n_users`, items follow.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::{base::random::mix, data::Interactions};

/// Edges by target: those into node `i` are `pointers[i]..pointers[i + 1]`.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub n_nodes: usize,
    pub pointers: Vec<usize>,
    /// By edge, the node it comes from.
    pub sources: Vec<u32>,
    /// By edge, its weight in propagation.
    pub weights: Vec<f32>,
    /// By node, the factor of the weights of its edges, in full precision.
    pub scales: Vec<f64>,
    /// By edge, its feature.
    pub attributes: Vec<f64>,
    /// Edges by source: for node `j`, `out_pointers[j]..` are places in the next two.
    pub out_pointers: Vec<usize>,
    pub out_edges: Vec<u32>,
    pub out_targets: Vec<u32>,
    tensors: Made,
}

/// The edges of a graph as tensors `[n_edges]`.
#[derive(Debug)]
pub struct Edges {
    pub sources: Tensor,
    pub targets: Tensor,
    pub weights: Tensor,
    pub attributes: Tensor,
}

/// The edges as tensors, which were made for the last kind and device. A copy of a graph, which may be changed, has none.
#[derive(Debug, Default)]
struct Made(Mutex<Option<((Kind, Device), Edges)>>);

impl Clone for Made {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Edges {
    fn shallow_clone(&self) -> Self {
        let of = Tensor::shallow_clone;
        Self {
            sources: of(&self.sources),
            targets: of(&self.targets),
            weights: of(&self.weights),
            attributes: of(&self.attributes),
        }
    }
}

impl Graph {
    /// A graph of edges (source, target, attribute) in any order; the same edge may come twice.
    /// `self_loops` adds one at every node; its attribute is the mean of those coming in (0 where none
    /// do), as PyTorch Geometric's `fill_value="mean"` has it.
    pub fn new(n_nodes: usize, edges: &[(u32, u32, f32)], self_loops: bool) -> Self {
        let mut sorted: Vec<(u32, u32, f32)> = edges.to_vec();
        sorted.sort_by_key(|(source, target, _)| (*target, *source));
        let mut graph = Self { n_nodes, pointers: vec![0], ..Self::default() };
        let mut rest = &sorted[..];
        for node in 0..n_nodes as u32 {
            let n = rest.iter().take_while(|(_, target, _)| *target == node).count();
            let (into, tail) = rest.split_at(n);
            rest = tail;
            graph.sources.extend(into.iter().map(|(source, ..)| *source));
            graph.attributes.extend(into.iter().map(|(.., attribute)| f64::from(*attribute)));
            if self_loops {
                let sum: f64 = into.iter().map(|(.., attribute)| f64::from(*attribute)).sum();
                graph.sources.push(node);
                graph.attributes.push(sum / n.max(1) as f64);
            }
            graph.pointers.push(graph.sources.len());
        }
        graph.weights = vec![1.0; graph.sources.len()];
        graph.scales = vec![1.0; n_nodes];
        graph.index_by_source();
        graph
    }

    /// Both directions of every interaction, with the rating as attribute.
    pub fn of_interactions(interactions: &Interactions, self_loops: bool) -> Self {
        let n_users = interactions.n_users();
        let edges: Vec<(u32, u32, f32)> = interactions
            .iter()
            .flat_map(|row| {
                let (user, item) = (row.user.0, n_users as u32 + row.item.0);
                [(user, item, row.rating), (item, user, row.rating)]
            })
            .collect();
        Self::new(n_users + interactions.n_items(), &edges, self_loops)
    }

    /// The edges as tensors of the kind and on the device of `like`. They are made once: a large graph takes longer to copy to
    /// a GPU than to be propagated there. The graph must not be changed afterwards.
    pub fn edges(&self, like: &Tensor) -> Edges {
        let place = (like.kind(), like.device());
        let mut made = self.tensors.0.lock().unwrap_or_else(PoisonError::into_inner);
        let edges = match made.take() {
            Some((of, edges)) if of == place => edges,
            _ => self.new_edges(place.0, place.1),
        };
        let handed_out = edges.shallow_clone();
        *made = Some((place, edges));
        handed_out
    }

    fn new_edges(&self, kind: Kind, device: Device) -> Edges {
        let indices = |nodes: &[u32]| {
            Tensor::from_slice(&nodes.iter().map(|node| i64::from(*node)).collect::<Vec<i64>>())
                .to_device(device)
        };
        let reals = |values: &[f64]| Tensor::from_slice(values).to_kind(kind).to_device(device);
        let (sources, targets) = (indices(&self.sources), indices(&self.targets()));
        let weights = match kind {
            // In full precision, as the kernel for 64 bits.
            Kind::Double => {
                let scales = reals(&self.scales);
                scales.index_select(0, &sources) * scales.index_select(0, &targets)
            }
            _ => Tensor::from_slice(&self.weights).to_kind(kind).to_device(device),
        };
        Edges { sources, targets, weights, attributes: reals(&self.attributes) }
    }

    /// Weights 1 / √(degree of source · degree of target): D^-1/2 A D^-1/2.
    pub fn normalise_symmetric(mut self) -> Self {
        self.tensors = Made::default();
        let degrees = self.pointers.windows(2).map(|ends| (ends[1] - ends[0]) as f64);
        self.scales = degrees.map(|degree| 1.0 / degree.max(1.0).sqrt()).collect();
        for node in 0..self.n_nodes {
            for edge in self.pointers[node]..self.pointers[node + 1] {
                let source = self.sources[edge] as usize;
                self.weights[edge] = (self.scales[node] * self.scales[source]) as f32;
            }
        }
        self
    }

    /// What is left where a share of the edges of this symmetric graph is switched off, and that transposed.
    /// The others weigh more, so that sums stay the same on average.
    pub fn drop_edges(&self, share: f64, stream: u64) -> (Self, Self) {
        let limit = (share * (1u64 << 32) as f64) as u64;
        let kept = |target: u32, source: u32| {
            mix(mix(stream) ^ (u64::from(target) << 32 | u64::from(source))) >> 32 >= limit
        };
        let scale = 1.0 / (1.0 - share);
        let left = |is_kept: &dyn Fn(u32, u32) -> bool| {
            // A weight is a product of two scales.
            let scales = self.scales.iter().map(|of_node| of_node * scale.sqrt()).collect();
            let mut graph =
                Self { n_nodes: self.n_nodes, pointers: vec![0], scales, ..Self::default() };
            for node in 0..self.n_nodes {
                for edge in self.pointers[node]..self.pointers[node + 1] {
                    if is_kept(node as u32, self.sources[edge]) {
                        graph.sources.push(self.sources[edge]);
                        graph.weights.push((f64::from(self.weights[edge]) * scale) as f32);
                        graph.attributes.push(self.attributes[edge]);
                    }
                }
                graph.pointers.push(graph.sources.len());
            }
            graph.index_by_source();
            graph
        };
        (left(&kept), left(&|target, source| kept(source, target)))
    }

    /// The edges of this symmetric graph that are kept, with weights of their own degrees:
    /// D'^-1/2 A' D'^-1/2. Both directions of an edge are kept or neither: `is_kept` gets its smaller node first.
    pub fn keep(&self, is_kept: impl Fn(u32, u32) -> bool) -> Self {
        let mut graph = Self { n_nodes: self.n_nodes, pointers: vec![0], ..Self::default() };
        for node in 0..self.n_nodes {
            for edge in self.pointers[node]..self.pointers[node + 1] {
                let (source, target) = (self.sources[edge], node as u32);
                if is_kept(source.min(target), source.max(target)) {
                    graph.sources.push(source);
                    graph.attributes.push(self.attributes[edge]);
                }
            }
            graph.pointers.push(graph.sources.len());
        }
        graph.weights = vec![1.0; graph.sources.len()];
        graph.index_by_source();
        graph.normalise_symmetric()
    }

    /// Number of edges.
    pub fn n_edges(&self) -> usize {
        self.sources.len()
    }

    /// By edge, the node it goes to.
    pub fn targets(&self) -> Vec<u32> {
        let nodes = self.pointers.windows(2).enumerate();
        nodes.flat_map(|(node, ends)| vec![node as u32; ends[1] - ends[0]]).collect()
    }

    /// Ranges of nodes with about equally many edges; depends on the graph alone, so that sums over
    /// the ranges come out the same whatever the thread count.
    pub fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        const RANGES: usize = 64;
        let per_range = (self.n_edges() + self.n_nodes).div_ceil(RANGES).max(1);
        let mut ranges = Vec::new();
        let mut first = 0;
        for node in 0..self.n_nodes {
            let work = self.pointers[node + 1] - self.pointers[first] + node + 1 - first;
            if work >= per_range {
                ranges.push(first..node + 1);
                first = node + 1;
            }
        }
        if first < self.n_nodes {
            ranges.push(first..self.n_nodes);
        }
        ranges
    }

    fn index_by_source(&mut self) {
        let mut out = vec![0usize; self.n_nodes + 1];
        self.sources.iter().for_each(|source| out[*source as usize + 1] += 1);
        for node in 0..self.n_nodes {
            out[node + 1] += out[node];
        }
        self.out_pointers = out.clone();
        self.out_edges = vec![0; self.n_edges()];
        self.out_targets = vec![0; self.n_edges()];
        for (edge, target) in self.targets().into_iter().enumerate() {
            let place = &mut out[self.sources[edge] as usize];
            self.out_edges[*place] = edge as u32;
            self.out_targets[*place] = target;
            *place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_found_by_target_and_by_source() {
        let edges = [(2, 0, 5.0), (0, 2, 5.0), (1, 2, 1.0), (2, 1, 1.0)];
        let graph = Graph::new(3, &edges, true);
        assert_eq!(graph.pointers, [0, 2, 4, 7]);
        assert_eq!(graph.sources, [2, 0, 2, 1, 0, 1, 2]);
        assert_eq!(graph.attributes, [5.0, 5.0, 1.0, 1.0, 5.0, 1.0, 3.0]);
        for node in 0..3 {
            for place in graph.out_pointers[node]..graph.out_pointers[node + 1] {
                let edge = graph.out_edges[place] as usize;
                assert_eq!(graph.sources[edge] as usize, node);
                assert_eq!(graph.targets()[edge], graph.out_targets[place]);
            }
        }
        let ranges = graph.ranges();
        assert_eq!((ranges[0].start, ranges.last().unwrap().end), (0, 3));
    }
}
