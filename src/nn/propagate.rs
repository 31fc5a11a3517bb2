//! Products of the graph's sparse matrix with dense rows: `y = base + s · A x`.

#![expect(clippy::needless_range_loop, reason = "counted loops keep the vectors in registers")]

use rayon::prelude::*;
use tch::Tensor;

use super::{
    graph::Graph,
    tensors::{slice, slice_mut, zeros_like},
    wide::{Double, Real, Wide},
};
use crate::base::simd::dispatch;

/// Numbers that can be propagated.
pub trait Propagate: Real {
    /// The weight of an edge into `node`.
    fn weight(graph: &Graph, node: usize, edge: usize) -> Self;

    /// Rows `range` of `base + A x`; `out` holds just those rows.
    fn rows(
        graph: &Graph,
        range: std::ops::Range<usize>,
        dim: usize,
        x: &[Self],
        base: &[Self],
        out: &mut [Self],
    );
}

impl Propagate for f32 {
    #[inline(always)]
    fn weight(graph: &Graph, _: usize, edge: usize) -> f32 {
        graph.weights[edge]
    }

    fn rows(
        graph: &Graph,
        range: std::ops::Range<usize>,
        dim: usize,
        x: &[f32],
        base: &[f32],
        out: &mut [f32],
    ) {
        rows_of_floats(graph, range, dim, x, base, out);
    }
}

impl Propagate for f64 {
    fn weight(graph: &Graph, node: usize, edge: usize) -> f64 {
        graph.scales[node] * graph.scales[graph.sources[edge] as usize]
    }

    fn rows(
        graph: &Graph,
        range: std::ops::Range<usize>,
        dim: usize,
        x: &[f64],
        base: &[f64],
        out: &mut [f64],
    ) {
        rows_kernel::<Double>(graph, range, dim, x, base, out);
    }
}

dispatch! {
    fn rows_of_floats = rows_kernel(
        graph: &Graph, range: std::ops::Range<usize>, dim: usize, x: &[f32], base: &[f32], out: &mut [f32],
    )
}

/// Four lanes at a time stay in registers: 64 floats.
const BLOCK: usize = 4;

#[inline(always)]
fn rows_kernel<V: Wide<Elem: Propagate>>(
    graph: &Graph,
    range: std::ops::Range<usize>,
    dim: usize,
    x: &[V::Elem],
    base: &[V::Elem],
    out: &mut [V::Elem],
) {
    let first = range.start;
    for node in range {
        let edges = graph.pointers[node]..graph.pointers[node + 1];
        let to = (node - first) * dim;
        let mut at = 0;
        while at + BLOCK * V::LANES <= dim {
            let mut sums = [V::splat(V::Elem::of(0.0)); BLOCK];
            if !base.is_empty() {
                for lane in 0..BLOCK {
                    sums[lane] = V::load(base, node * dim + at + lane * V::LANES);
                }
            }
            for edge in edges.clone() {
                let weight = V::splat(V::Elem::weight(graph, node, edge));
                let from = graph.sources[edge] as usize * dim + at;
                for lane in 0..BLOCK {
                    sums[lane] = weight.mul_add(V::load(x, from + lane * V::LANES), sums[lane]);
                }
            }
            for lane in 0..BLOCK {
                sums[lane].store(out, to + at + lane * V::LANES);
            }
            at += BLOCK * V::LANES;
        }
        while at < dim {
            let mut sum = match base.is_empty() {
                true => V::splat(V::Elem::of(0.0)),
                false => V::load(base, node * dim + at),
            };
            for edge in edges.clone() {
                let weight = V::splat(V::Elem::weight(graph, node, edge));
                sum = weight.mul_add(V::load(x, graph.sources[edge] as usize * dim + at), sum);
            }
            sum.store(out, to + at);
            at += V::LANES;
        }
    }
}

/// `base + A x` on slices; an empty `base` is 0. `dim` is a multiple of the lanes.
pub fn propagate<T: Propagate>(graph: &Graph, dim: usize, x: &[T], base: &[T], out: &mut [T]) {
    let mut tasks = Vec::new();
    let mut rest = out;
    for range in graph.ranges() {
        let (rows, tail) = rest.split_at_mut(range.len() * dim);
        rest = tail;
        tasks.push((range, rows));
    }
    tasks.into_par_iter().for_each(|(range, rows)| T::rows(graph, range, dim, x, base, rows));
}

/// `base + A x` on tensors `[n_nodes, dim]`. As A is symmetric, this is its own gradient.
pub fn propagate_tensor(graph: &Graph, x: &Tensor, base: Option<&Tensor>) -> Tensor {
    if x.device() != tch::Device::Cpu {
        return super::composite::propagate(graph, x, base);
    }
    let (x, mut out) = (x.contiguous(), zeros_like(x));
    let dim = x.size()[1] as usize;
    match x.kind() {
        tch::Kind::Double => {
            let base = base.map(slice::<f64>).unwrap_or_default();
            propagate(graph, dim, slice::<f64>(&x), base, slice_mut::<f64>(&mut out));
        }
        _ => {
            let base = base.map(slice::<f32>).unwrap_or_default();
            propagate(graph, dim, slice::<f32>(&x), base, slice_mut::<f32>(&mut out));
        }
    }
    out
}
