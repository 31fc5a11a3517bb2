//! GATv2 attention (Brody et al. 2022) in one fused pass over neighbourhoods, forward and backward.
//!
//! For target i, source j, head h, with edge feature f:
//! e_ij = a_h · LeakyReLU(x_r[i] + x_l[j] + f_ij w_h), α_i· = softmax over the edges into i,
//! out_i = Σ_j α_ij x_l[j]. Nothing of size edges × heads × channels is ever made.

#![expect(clippy::needless_range_loop, reason = "counted loops keep the vectors in registers")]

use std::ops::Range;

use rayon::prelude::*;

use super::{
    graph::Graph,
    wide::{Double, Real, Wide},
};
use crate::base::simd::dispatch;

/// Slope of the LeakyReLU inside attention.
pub const SLOPE: f64 = 0.2;

/// Shape and inputs: `left`, `right` `[n_nodes, heads · channels]`, `attention` and `edge`
/// `[heads · channels]`.
#[derive(Clone, Copy)]
pub struct Inputs<'a, T> {
    pub graph: &'a Graph,
    pub heads: usize,
    pub channels: usize,
    pub left: &'a [T],
    pub right: &'a [T],
    pub attention: &'a [T],
    pub edge: &'a [T],
}

/// What the forward pass leaves for the backward pass.
pub struct Attended<T> {
    /// `[n_nodes, heads · channels]`
    pub out: Vec<T>,
    /// α, `[n_edges, heads]`
    pub alpha: Vec<T>,
}

/// Gradients of the inputs.
pub struct Gradients<T> {
    pub left: Vec<T>,
    pub right: Vec<T>,
    pub attention: Vec<T>,
    pub edge: Vec<T>,
}

/// Numbers that attention works on.
pub trait Attend: Real {
    fn exp(self) -> Self;
    fn forward_rows(
        inputs: &Inputs<Self>,
        range: Range<usize>,
        out: &mut [Self],
        alpha: &mut [Self],
    );
    fn by_target(task: &mut ByTarget<Self>);
    fn by_source(task: &mut BySource<Self>);
}

/// Backward over the edges into a range of targets.
pub struct ByTarget<'a, T> {
    inputs: Inputs<'a, T>,
    range: Range<usize>,
    forward: &'a Attended<T>,
    grad: &'a [T],
    /// Of the range's rows.
    right: &'a mut [T],
    /// Gradient of each score e_ij of the range's edges, `[edges, heads]`.
    scores: &'a mut [T],
    attention: Vec<T>,
    edge: Vec<T>,
}

/// Backward over the edges out of a range of sources.
pub struct BySource<'a, T> {
    inputs: Inputs<'a, T>,
    range: Range<usize>,
    alpha: &'a [T],
    scores: &'a [T],
    grad: &'a [T],
    left: &'a mut [T],
}

impl Attend for f32 {
    #[inline(always)]
    fn exp(self) -> Self {
        f32::exp(self)
    }

    fn forward_rows(inputs: &Inputs<f32>, range: Range<usize>, out: &mut [f32], alpha: &mut [f32]) {
        forward_floats(inputs, range, out, alpha);
    }

    fn by_target(task: &mut ByTarget<f32>) {
        by_target_floats(task);
    }

    fn by_source(task: &mut BySource<f32>) {
        by_source_floats(task);
    }
}

impl Attend for f64 {
    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn forward_rows(inputs: &Inputs<f64>, range: Range<usize>, out: &mut [f64], alpha: &mut [f64]) {
        forward_kernel::<Double>(inputs, range, out, alpha);
    }

    fn by_target(task: &mut ByTarget<f64>) {
        by_target_kernel::<Double>(task);
    }

    fn by_source(task: &mut BySource<f64>) {
        by_source_kernel::<Double>(task);
    }
}

dispatch! {
    fn forward_floats = forward_kernel(
        inputs: &Inputs<f32>, range: Range<usize>, out: &mut [f32], alpha: &mut [f32],
    )
}
dispatch! { fn by_target_floats = by_target_kernel(task: &mut ByTarget<f32>) }
dispatch! { fn by_source_floats = by_source_kernel(task: &mut BySource<f32>) }

/// Picks the number of vectors a head has at compile time, so that sums stay in registers.
macro_rules! by_blocks {
    ($blocks:expr, $call:ident::<$v:ident>($($arg:expr),*)) => {
        match $blocks {
            1 => $call::<$v, 1>($($arg),*),
            2 => $call::<$v, 2>($($arg),*),
            4 => $call::<$v, 4>($($arg),*),
            8 => $call::<$v, 8>($($arg),*),
            // invariant: settings are validated to be one of these
            other => unreachable!("{other} vectors a head"),
        }
    };
}

/// Whether a head of so many channels can be worked on.
pub fn fits(channels: usize) -> bool {
    matches!(channels, 16 | 32 | 64 | 128)
}

#[inline(always)]
fn forward_kernel<V: Wide<Elem: Attend>>(
    inputs: &Inputs<V::Elem>,
    range: Range<usize>,
    out: &mut [V::Elem],
    alpha: &mut [V::Elem],
) {
    by_blocks!(inputs.channels / V::LANES, forward_blocks::<V>(inputs, range, out, alpha))
}

#[inline(always)]
fn load<V: Wide, const B: usize>(from: &[V::Elem], at: usize) -> [V; B] {
    let mut vectors = [V::splat(V::Elem::of(0.0)); B];
    for block in 0..B {
        vectors[block] = V::load(from, at + block * V::LANES);
    }
    vectors
}

#[inline(always)]
fn forward_blocks<V: Wide<Elem: Attend>, const B: usize>(
    inputs: &Inputs<V::Elem>,
    range: Range<usize>,
    out: &mut [V::Elem],
    alpha: &mut [V::Elem],
) {
    let Inputs { graph, heads, channels, left, right, attention, edge } = *inputs;
    let width = heads * channels;
    let (first_row, first_edge) = (range.start, graph.pointers[range.start]);
    let (zero, slope) = (V::splat(V::Elem::of(0.0)), V::splat(V::Elem::of(SLOPE)));
    for node in range {
        let edges = graph.pointers[node]..graph.pointers[node + 1];
        for head in 0..heads {
            let at = head * channels;
            let a: [V; B] = load(attention, at);
            let w: [V; B] = load(edge, at);
            let r: [V; B] = load(right, node * width + at);
            let mut sums = [zero; B];
            let (mut highest, mut total) = (f64::NEG_INFINITY, 0.0f64);
            for e in edges.clone() {
                let from = graph.sources[e] as usize * width + at;
                let feature = V::splat(V::Elem::of(graph.attributes[e]));
                let l: [V; B] = load(left, from);
                let mut dot = zero;
                for block in 0..B {
                    let z = feature.mul_add(w[block], l[block].add(r[block]));
                    dot = z.if_positive(z, z.mul(slope)).mul_add(a[block], dot);
                }
                let score = dot.sum();
                alpha[(e - first_edge) * heads + head] = score;
                let score_64 = score.to_f64();
                if score_64 > highest {
                    // What was summed under the old highest score is scaled down.
                    let scale = V::Elem::of(highest - score_64).exp();
                    for sum in &mut sums {
                        *sum = sum.mul(V::splat(scale));
                    }
                    total *= scale.to_f64();
                    highest = score_64;
                }
                let share = V::Elem::of(score_64 - highest).exp();
                total += share.to_f64();
                let share = V::splat(share);
                for block in 0..B {
                    sums[block] = share.mul_add(l[block], sums[block]);
                }
            }
            let inverse = if total > 0.0 { 1.0 / total } else { 0.0 };
            for e in edges.clone() {
                let score = &mut alpha[(e - first_edge) * heads + head];
                let share = V::Elem::of(score.to_f64() - highest).exp();
                *score = V::Elem::of(share.to_f64() * inverse);
            }
            let inverse = V::splat(V::Elem::of(inverse));
            for block in 0..B {
                let to = (node - first_row) * width + at + block * V::LANES;
                sums[block].mul(inverse).store(out, to);
            }
        }
    }
}

#[inline(always)]
fn by_target_kernel<V: Wide<Elem: Attend>>(task: &mut ByTarget<V::Elem>) {
    by_blocks!(task.inputs.channels / V::LANES, by_target_blocks::<V>(task))
}

#[inline(always)]
fn by_target_blocks<V: Wide<Elem: Attend>, const B: usize>(task: &mut ByTarget<V::Elem>) {
    let Inputs { graph, heads, channels, left, right, attention, edge } = task.inputs;
    let width = heads * channels;
    let (first_row, first_edge) = (task.range.start, graph.pointers[task.range.start]);
    let (zero, slope) = (V::splat(V::Elem::of(0.0)), V::splat(V::Elem::of(SLOPE)));
    let one = V::splat(V::Elem::of(1.0));
    for head in 0..heads {
        let at = head * channels;
        let a: [V; B] = load(attention, at);
        let w: [V; B] = load(edge, at);
        let mut grad_a = [zero; B];
        let mut grad_w = [zero; B];
        for node in task.range.clone() {
            let r: [V; B] = load(right, node * width + at);
            let g: [V; B] = load(task.grad, node * width + at);
            let o: [V; B] = load(&task.forward.out, node * width + at);
            let mut mean = zero;
            for block in 0..B {
                mean = g[block].mul_add(o[block], mean);
            }
            let mean = mean.sum().to_f64();
            let mut grad_r = [zero; B];
            for e in graph.pointers[node]..graph.pointers[node + 1] {
                let from = graph.sources[e] as usize * width + at;
                let feature = V::splat(V::Elem::of(graph.attributes[e]));
                let l: [V; B] = load(left, from);
                let mut dot = zero;
                for block in 0..B {
                    dot = g[block].mul_add(l[block], dot);
                }
                let alpha = task.forward.alpha[e * heads + head].to_f64();
                let score = V::Elem::of(alpha * (dot.sum().to_f64() - mean));
                task.scores[(e - first_edge) * heads + head] = score;
                let score = V::splat(score);
                let scored_feature = score.mul(feature);
                for block in 0..B {
                    let z = feature.mul_add(w[block], l[block].add(r[block]));
                    let slopes = z.if_positive(one, slope);
                    let pull = a[block].mul(slopes);
                    grad_r[block] = score.mul_add(pull, grad_r[block]);
                    grad_a[block] = score.mul_add(z.mul(slopes), grad_a[block]);
                    grad_w[block] = scored_feature.mul_add(pull, grad_w[block]);
                }
            }
            for block in 0..B {
                let to = (node - first_row) * width + at + block * V::LANES;
                grad_r[block].store(task.right, to);
            }
        }
        for block in 0..B {
            grad_a[block].store(&mut task.attention, at + block * V::LANES);
            grad_w[block].store(&mut task.edge, at + block * V::LANES);
        }
    }
}

#[inline(always)]
fn by_source_kernel<V: Wide<Elem: Attend>>(task: &mut BySource<V::Elem>) {
    by_blocks!(task.inputs.channels / V::LANES, by_source_blocks::<V>(task))
}

#[inline(always)]
fn by_source_blocks<V: Wide<Elem: Attend>, const B: usize>(task: &mut BySource<V::Elem>) {
    let Inputs { graph, heads, channels, left, right, attention, edge } = task.inputs;
    let width = heads * channels;
    let first_row = task.range.start;
    let (zero, slope) = (V::splat(V::Elem::of(0.0)), V::splat(V::Elem::of(SLOPE)));
    let one = V::splat(V::Elem::of(1.0));
    for node in task.range.clone() {
        for head in 0..heads {
            let at = head * channels;
            let a: [V; B] = load(attention, at);
            let w: [V; B] = load(edge, at);
            let l: [V; B] = load(left, node * width + at);
            let mut sums = [zero; B];
            for place in graph.out_pointers[node]..graph.out_pointers[node + 1] {
                let e = graph.out_edges[place] as usize;
                let target = graph.out_targets[place] as usize * width + at;
                let feature = V::splat(V::Elem::of(graph.attributes[e]));
                let alpha = V::splat(task.alpha[e * heads + head]);
                let score = V::splat(task.scores[e * heads + head]);
                for block in 0..B {
                    let r = V::load(right, target + block * V::LANES);
                    let g = V::load(task.grad, target + block * V::LANES);
                    let z = feature.mul_add(w[block], l[block].add(r));
                    let pull = a[block].mul(z.if_positive(one, slope));
                    sums[block] = alpha.mul_add(g, score.mul_add(pull, sums[block]));
                }
            }
            for block in 0..B {
                let to = (node - first_row) * width + at + block * V::LANES;
                sums[block].store(task.left, to);
            }
        }
    }
}

/// The forward pass.
pub fn forward<T: Attend>(inputs: &Inputs<T>) -> Attended<T> {
    let (graph, width) = (inputs.graph, inputs.heads * inputs.channels);
    let mut out = vec![T::of(0.0); graph.n_nodes * width];
    let mut alpha = vec![T::of(0.0); graph.n_edges() * inputs.heads];
    let (mut rows, mut edges) = (&mut out[..], &mut alpha[..]);
    let mut tasks = Vec::new();
    for range in graph.ranges() {
        let n_edges = graph.pointers[range.end] - graph.pointers[range.start];
        let (of_rows, rest) = rows.split_at_mut(range.len() * width);
        let (of_edges, rest_edges) = edges.split_at_mut(n_edges * inputs.heads);
        (rows, edges) = (rest, rest_edges);
        tasks.push((range, of_rows, of_edges));
    }
    tasks
        .into_par_iter()
        .for_each(|(range, out, alpha)| T::forward_rows(inputs, range, out, alpha));
    Attended { out, alpha }
}

/// The backward pass for the gradient `grad` of `out`.
pub fn backward<T: Attend>(inputs: &Inputs<T>, forward: &Attended<T>, grad: &[T]) -> Gradients<T> {
    let (graph, width) = (inputs.graph, inputs.heads * inputs.channels);
    let zeros = |n: usize| vec![T::of(0.0); n];
    let mut right = zeros(graph.n_nodes * width);
    let mut left = zeros(graph.n_nodes * width);
    let mut scores = zeros(graph.n_edges() * inputs.heads);
    let ranges = graph.ranges();
    let (mut rows, mut edges) = (&mut right[..], &mut scores[..]);
    let mut tasks = Vec::new();
    for range in &ranges {
        let n_edges = graph.pointers[range.end] - graph.pointers[range.start];
        let (of_rows, rest) = rows.split_at_mut(range.len() * width);
        let (of_edges, rest_edges) = edges.split_at_mut(n_edges * inputs.heads);
        (rows, edges) = (rest, rest_edges);
        tasks.push(ByTarget {
            inputs: *inputs,
            range: range.clone(),
            forward,
            grad,
            right: of_rows,
            scores: of_edges,
            attention: zeros(width),
            edge: zeros(width),
        });
    }
    let sums: Vec<(Vec<T>, Vec<T>)> = tasks
        .into_par_iter()
        .map(|mut task| {
            T::by_target(&mut task);
            (task.attention, task.edge)
        })
        .collect();
    // In the order of the ranges, which does not depend on threads.
    let (mut attention, mut edge) = (zeros(width), zeros(width));
    for (of_attention, of_edge) in sums {
        for at in 0..width {
            attention[at] = T::of(attention[at].to_f64() + of_attention[at].to_f64());
            edge[at] = T::of(edge[at].to_f64() + of_edge[at].to_f64());
        }
    }
    let mut rows = &mut left[..];
    let mut tasks = Vec::new();
    for range in ranges {
        let (of_rows, rest) = rows.split_at_mut(range.len() * width);
        rows = rest;
        let (alpha, scores) = (&forward.alpha[..], &scores[..]);
        tasks.push(BySource { inputs: *inputs, range, alpha, scores, grad, left: of_rows });
    }
    tasks.into_par_iter().for_each(|mut task| T::by_source(&mut task));
    Gradients { left, right, attention, edge }
}
