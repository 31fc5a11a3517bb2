//! Products of the graph's sparse matrix with dense rows: `y = base + s · A x`.

#![expect(clippy::needless_range_loop, reason = "counted loops keep the vectors in registers")]

use rayon::prelude::*;
use tch::Tensor;

use super::{
    device::has_kernels,
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

    /// The same of some rows alone, or from some rows alone.
    fn some_rows(
        graph: &Graph,
        only: Only<'_>,
        range: std::ops::Range<usize>,
        dim: usize,
        x: &[Self],
        base: &[Self],
        out: &mut [Self],
    );
}

/// What of a product is computed, by node. A step that learns from a few nodes needs the last propagation of those
/// alone, and the gradient that comes back is 0 everywhere else: each saves most of one product.
#[derive(Clone, Copy, Debug)]
pub enum Only<'a> {
    /// Rows of the others are left as they are.
    Targets(&'a [bool]),
    /// Rows of `x` of the others are 0.
    Sources(&'a [bool]),
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

    fn some_rows(
        graph: &Graph,
        only: Only<'_>,
        range: std::ops::Range<usize>,
        dim: usize,
        x: &[f32],
        base: &[f32],
        out: &mut [f32],
    ) {
        some_rows_of_floats(graph, only, range, dim, x, base, out);
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

    fn some_rows(
        graph: &Graph,
        only: Only<'_>,
        range: std::ops::Range<usize>,
        dim: usize,
        x: &[f64],
        base: &[f64],
        out: &mut [f64],
    ) {
        some_rows_kernel::<Double>(graph, only, range, dim, x, base, out);
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
        row::<V>(graph, node, edges, dim, x, base, &mut out[(node - first) * dim..][..dim]);
    }
}

dispatch! {
    fn some_rows_of_floats = some_rows_kernel(
        graph: &Graph, only: Only<'_>, range: std::ops::Range<usize>, dim: usize, x: &[f32], base: &[f32],
        out: &mut [f32],
    )
}

#[inline(always)]
fn some_rows_kernel<V: Wide<Elem: Propagate>>(
    graph: &Graph,
    only: Only<'_>,
    range: std::ops::Range<usize>,
    dim: usize,
    x: &[V::Elem],
    base: &[V::Elem],
    out: &mut [V::Elem],
) {
    let first = range.start;
    let mut kept: Vec<usize> = Vec::new();
    for node in range {
        let edges = graph.pointers[node]..graph.pointers[node + 1];
        let out = &mut out[(node - first) * dim..][..dim];
        match only {
            Only::Targets(asked) if asked[node] => row::<V>(graph, node, edges, dim, x, base, out),
            Only::Targets(_) => {}
            Only::Sources(nonzero) => {
                kept.clear();
                kept.extend(edges.filter(|edge| nonzero[graph.sources[*edge] as usize]));
                row::<V>(graph, node, kept.iter().copied(), dim, x, base, out);
            }
        }
    }
}

/// The row of one node: the sum over `edges`, in their order, and its row of `base`.
#[inline(always)]
fn row<V: Wide<Elem: Propagate>>(
    graph: &Graph,
    node: usize,
    edges: impl Iterator<Item = usize> + Clone,
    dim: usize,
    x: &[V::Elem],
    base: &[V::Elem],
    out: &mut [V::Elem],
) {
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
            sums[lane].store(out, at + lane * V::LANES);
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
        sum.store(out, at);
        at += V::LANES;
    }
}

/// `base + A x` on slices; an empty `base` is 0. `dim` is a multiple of the lanes.
pub fn propagate<T: Propagate>(graph: &Graph, dim: usize, x: &[T], base: &[T], out: &mut [T]) {
    by_ranges(graph, dim, out, |range, rows| T::rows(graph, range, dim, x, base, rows));
}

fn by_ranges<T: Send>(
    graph: &Graph,
    dim: usize,
    out: &mut [T],
    work: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync,
) {
    let mut tasks = Vec::new();
    let mut rest = out;
    for range in graph.ranges() {
        let (rows, tail) = rest.split_at_mut(range.len() * dim);
        rest = tail;
        tasks.push((range, rows));
    }
    tasks.into_par_iter().for_each(|(range, rows)| work(range, rows));
}

/// `base + A x` on tensors `[n_nodes, dim]`. As A is symmetric, this is its own gradient.
pub fn propagate_tensor(graph: &Graph, x: &Tensor, base: Option<&Tensor>) -> Tensor {
    propagate_only(graph, x, base, None)
}

/// The same of what `only` says; rows that it leaves out are 0. On a GPU all is computed.
pub fn propagate_only(
    graph: &Graph,
    x: &Tensor,
    base: Option<&Tensor>,
    only: Option<Only<'_>>,
) -> Tensor {
    if !has_kernels(x) {
        return super::composite::propagate(graph, x, base);
    }
    let (x, mut out) = (x.contiguous(), zeros_like(x));
    match x.kind() {
        tch::Kind::Double => on_slices::<f64>(graph, &x, base, only, &mut out),
        _ => on_slices::<f32>(graph, &x, base, only, &mut out),
    }
    out
}

fn on_slices<T: Propagate>(
    graph: &Graph,
    x: &Tensor,
    base: Option<&Tensor>,
    only: Option<Only<'_>>,
    out: &mut Tensor,
) {
    let dim = x.size()[1] as usize;
    let (x, base) = (slice::<T>(x), base.map(slice::<T>).unwrap_or_default());
    let out = slice_mut::<T>(out);
    match only {
        Some(only) => by_ranges(graph, dim, out, |range, rows| {
            T::some_rows(graph, only, range, dim, x, base, rows);
        }),
        None => propagate(graph, dim, x, base, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Device, Kind, tensors::one_thread};

    #[test]
    fn parts_of_a_product_are_those_of_the_whole() {
        one_thread();
        let edges: Vec<(u32, u32, f32)> = (0..7u32)
            .flat_map(|user| (7..20u32).map(move |item| (user, item)))
            .filter(|(user, item)| (user * 5 + item) % 3 != 0)
            .flat_map(|(user, item)| [(user, item, 1.0), (item, user, 1.0)])
            .collect();
        let graph = Graph::new(20, &edges, false).normalise_symmetric();
        let some: Vec<bool> = (0..20).map(|node| node % 3 == 0).collect();
        let mask: Vec<f64> = some.iter().map(|some| f64::from(u8::from(*some))).collect();
        for (dim, kind) in [(16, Kind::Float), (80, Kind::Float), (80, Kind::Double)] {
            let wave = |by: f64| {
                let numbers = Tensor::arange(20 * dim, (Kind::Double, Device::Cpu)) * by;
                numbers.sin().reshape([20, dim]).to_kind(kind)
            };
            let mask = Tensor::from_slice(&mask).unsqueeze(1).to_kind(kind);
            let (x, base) = (wave(0.7), wave(1.1));
            let whole = propagate_tensor(&graph, &x, Some(&base));
            let of_some = propagate_only(&graph, &x, Some(&base), Some(Only::Targets(&some)));
            assert_eq!(of_some, whole * &mask);
            let sparse = x * mask;
            let whole = propagate_tensor(&graph, &sparse, Some(&base));
            let from_some =
                propagate_only(&graph, &sparse, Some(&base), Some(Only::Sources(&some)));
            assert_eq!(from_some, whole);
        }
    }
}
