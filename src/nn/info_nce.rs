//! InfoNCE (van den Oord et al. 2018) between two views of the same nodes, with its gradient.
//!
//! With â and b̂ the rows of both views scaled to length 1, the loss of node i is −ln (exp(âᵢ·b̂ᵢ / τ) ÷ Σⱼ exp(âᵢ·b̂ⱼ / τ)).
//! Nothing of size nodes × nodes is stored: a block of products is made, used and forgotten. As products are at most 1,
//! exp((â·b̂ − 1) / τ) cannot overflow, and from τ = 0.025 on it cannot vanish either ([`LEAST_TEMPERATURE`]).

#![expect(clippy::needless_range_loop, reason = "counted loops keep the vectors in registers")]

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::{
    device::has_kernels,
    loss::dot,
    tensors::{slice, slice_mut},
    wide::{Double, Real, Wide},
};
use crate::base::simd::dispatch;

/// exp(−2 / τ) is still a normal 32-bit float.
pub const LEAST_TEMPERATURE: f64 = 0.025;

/// Whose views are compared, and with which others.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    /// Nodes whose own two views attract each other, each once.
    pub anchors: &'a [u32],
    /// By anchor, the weight of its loss.
    pub weights: &'a [f64],
    /// Nodes whose second views are in the sum of the denominator, each once; the anchors are among them.
    pub others: &'a [u32],
    /// τ
    pub temperature: f64,
}

/// As PyTorch's `normalize`.
const TINY: f64 = 1e-12;

/// The weighted sum of losses; adds its gradient, times `scale`, to those of the views. The gradient of a row of
/// zeros, which has no direction, is 0.
pub fn info_nce(
    [first, second]: [&Tensor; 2],
    compared: &Compared,
    scale: f64,
    [grad_first, grad_second]: [&mut Tensor; 2],
) -> f64 {
    if !has_kernels(first) {
        let leaves = [first, second].map(|view| view.detach().set_requires_grad(true));
        let loss = differentiable([&leaves[0], &leaves[1]], compared);
        let grads = Tensor::run_backward(&[&loss * scale], &leaves, false, false);
        *grad_first += &grads[0];
        *grad_second += &grads[1];
        return f64::try_from(loss.detach()).unwrap_or(f64::NAN);
    }
    let dim = first.size()[1] as usize;
    match first.kind() {
        Kind::Double => on_slices::<f64>(
            [slice(first), slice(second)],
            dim,
            compared,
            scale,
            [slice_mut(grad_first), slice_mut(grad_second)],
        ),
        _ => on_slices::<f32>(
            [slice(first), slice(second)],
            dim,
            compared,
            scale,
            [slice_mut(grad_first), slice_mut(grad_second)],
        ),
    }
}

/// Rows of length 1, and how long they were.
struct Unit<T> {
    rows: Vec<T>,
    lengths: Vec<f64>,
}

impl<T: Exponential> Unit<T> {
    fn of(view: &[T], dim: usize, nodes: &[u32]) -> Self {
        let mut rows = vec![T::of(0.0); nodes.len() * dim];
        let mut lengths = vec![0.0; nodes.len()];
        let place = rows.par_chunks_mut(dim).zip(&mut lengths).with_min_len(64);
        place.zip(nodes).for_each(|((row, length), node)| {
            let from = &view[*node as usize * dim..][..dim];
            *length = dot(from, from).sqrt();
            let shrink = 1.0 / length.max(TINY);
            for (to, from) in row.iter_mut().zip(from) {
                *to = T::of(from.to_f64() * shrink);
            }
        });
        Self { rows, lengths }
    }

    fn row(&self, at: usize, dim: usize) -> &[T] {
        &self.rows[at * dim..][..dim]
    }
}

fn on_slices<T: Exponential>(
    [first, second]: [&[T]; 2],
    dim: usize,
    compared: &Compared,
    scale: f64,
    [grad_first, grad_second]: [&mut [T]; 2],
) -> f64 {
    let Compared { anchors, weights, others, temperature } = *compared;
    let (a, b) = (Unit::of(first, dim, anchors), Unit::of(second, dim, others));
    // Where an anchor is among the others.
    let mut place = vec![usize::MAX; second.len() / dim];
    others.iter().enumerate().for_each(|(at, node)| place[*node as usize] = at);
    let own = |at: usize| b.row(place[anchors[at] as usize], dim);
    let ones = vec![1.0; others.len()];
    let (pulled, sums) = attract(&a.rows, &b.rows, &ones, dim, temperature);
    let mut loss = 0.0;
    for at in 0..anchors.len() {
        let positive = dot(a.row(at, dim), own(at));
        loss += weights[at] * (sums[at].ln() - (positive - 1.0) / temperature);
    }
    // ∂/∂âᵢ = wᵢ/τ (Σⱼ pᵢⱼ b̂ⱼ − b̂ᵢ) and ∂/∂b̂ⱼ = 1/τ (Σᵢ wᵢ pᵢⱼ âᵢ − wⱼ âⱼ), where p is the softmax.
    let mut along = vec![0.0; dim];
    for at in 0..anchors.len() {
        let weight = scale * weights[at] / temperature;
        let (pulled, own) = (&pulled[at * dim..][..dim], own(at));
        for lane in 0..dim {
            along[lane] = weight * (pulled[lane].to_f64() / sums[at] - own[lane].to_f64());
        }
        add(grad_first, anchors[at], &along, a.row(at, dim), a.lengths[at]);
    }
    let shares: Vec<f64> = weights.iter().zip(&sums).map(|(weight, sum)| weight / sum).collect();
    let (pulled, _) = attract(&b.rows, &a.rows, &shares, dim, temperature);
    let mut anchor_of = vec![usize::MAX; others.len()];
    anchors.iter().enumerate().for_each(|(at, node)| anchor_of[place[*node as usize]] = at);
    for at in 0..others.len() {
        let pulled = &pulled[at * dim..][..dim];
        for lane in 0..dim {
            along[lane] = pulled[lane].to_f64();
        }
        if anchor_of[at] != usize::MAX {
            let (weight, anchor) = (weights[anchor_of[at]], a.row(anchor_of[at], dim));
            along.iter_mut().zip(anchor).for_each(|(to, from)| *to -= weight * from.to_f64());
        }
        along.iter_mut().for_each(|value| *value *= scale / temperature);
        add(grad_second, others[at], &along, b.row(at, dim), b.lengths[at]);
    }
    loss
}

/// Adds the gradient of a row before it was scaled to length 1, given that of the row `unit` after it.
fn add<T: Real>(grad: &mut [T], node: u32, along: &[f64], unit: &[T], length: f64) {
    if length <= TINY {
        return;
    }
    let outward: f64 = along.iter().zip(unit).map(|(along, unit)| along * unit.to_f64()).sum();
    let to = &mut grad[node as usize * along.len()..][..along.len()];
    for lane in 0..along.len() {
        let across = along[lane] - outward * unit[lane].to_f64();
        to[lane] = T::of(to[lane].to_f64() + across / length);
    }
}

/// Rows of a task, and of them those whose products stay in registers.
const GROUP: usize = 32;
const ROWS: usize = 8;
/// The most columns looked at together: two vectors.
const TILE: usize = 32;

/// Columns as the kernel reads them.
struct Columns<T> {
    dim: usize,
    /// `[n, dim]`
    rows: Vec<T>,
    /// `[tiles, dim, two vectors]`: the columns of each tile, transposed.
    tiles: Vec<T>,
    /// By column; 0 for those that fill up the last tile.
    weights: Vec<T>,
}

/// By row r: Σ_c w_c exp((r·c − 1) / τ) c, `[n_rows, dim]`, and the same sum without the last factor. The sum is in
/// the order of columns, whatever the number of threads.
fn attract<T: Exponential>(
    rows: &[T],
    columns: &[T],
    weights: &[f64],
    dim: usize,
    temperature: f64,
) -> (Vec<T>, Vec<f64>) {
    let tile = 2 * T::LANES;
    let padded = weights.len().next_multiple_of(tile);
    let mut of = Columns {
        dim,
        rows: columns.to_vec(),
        tiles: vec![T::of(0.0); padded * dim],
        weights: weights.iter().map(|weight| T::of(*weight)).collect(),
    };
    of.weights.resize(padded, T::of(0.0));
    of.rows.resize(padded * dim, T::of(0.0));
    of.tiles.par_chunks_mut(tile * dim).zip(of.rows.par_chunks(tile * dim)).for_each(
        |(to, from)| {
            for (at, row) in from.chunks(dim).enumerate() {
                row.iter().enumerate().for_each(|(lane, value)| to[lane * tile + at] = *value);
            }
        },
    );
    let mut pulled = vec![T::of(0.0); rows.len()];
    let mut sums = vec![T::of(0.0); rows.len() / dim];
    let tasks = pulled.par_chunks_mut(GROUP * dim).zip(sums.par_chunks_mut(GROUP));
    tasks.zip(rows.par_chunks(GROUP * dim)).for_each(|((pulled, sums), rows)| {
        // Whole blocks of rows: those that are too many are thrown away.
        let n = sums.len();
        let whole = n.next_multiple_of(ROWS);
        let mut block = rows.to_vec();
        block.resize(whole * dim, T::of(0.0));
        let mut out = vec![T::of(0.0); whole * dim];
        let mut totals = vec![T::of(0.0); whole];
        T::attract(&block, &of, T::of(1.0 / temperature), &mut out, &mut totals);
        pulled.copy_from_slice(&out[..n * dim]);
        sums.copy_from_slice(&totals[..n]);
    });
    (pulled, sums.into_iter().map(Real::to_f64).collect())
}

/// Numbers with an exponential function that compiles to vector instructions.
trait Exponential: Real {
    const LANES: usize;
    fn exp(self) -> Self;
    /// `self · b + c`
    fn times_plus(self, b: Self, c: Self) -> Self;
    /// The kernel on whole blocks of rows.
    fn attract(
        rows: &[Self],
        columns: &Columns<Self>,
        sharpness: Self,
        out: &mut [Self],
        totals: &mut [Self],
    );
}

impl Exponential for f32 {
    const LANES: usize = crate::base::simd::WIDTH;

    /// 2ⁿ · eʳ with |r| ≤ ln 2 / 2 and a polynomial for eʳ; the error is within 2 units of the last place. For
    /// −87 ≤ x ≤ 88.
    #[inline(always)]
    fn exp(self) -> f32 {
        // 1.5 · 2²³: added, it rounds to a whole number, which is then in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let x = if self < -87.0 { -87.0 } else { self };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
            p = p * r + coefficient;
        }
        let p = p * r * r + r + 1.0;
        p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
    }

    #[inline(always)]
    fn times_plus(self, b: f32, c: f32) -> f32 {
        self * b + c
    }

    fn attract(
        rows: &[f32],
        columns: &Columns<f32>,
        sharpness: f32,
        out: &mut [f32],
        totals: &mut [f32],
    ) {
        attract_floats(rows, columns, sharpness, out, totals);
    }
}

impl Exponential for f64 {
    const LANES: usize = Double::LANES;

    fn exp(self) -> f64 {
        f64::exp(self)
    }

    fn times_plus(self, b: f64, c: f64) -> f64 {
        self * b + c
    }

    fn attract(
        rows: &[f64],
        columns: &Columns<f64>,
        sharpness: f64,
        out: &mut [f64],
        totals: &mut [f64],
    ) {
        attract_kernel::<Double>(rows, columns, sharpness, out, totals);
    }
}

dispatch! {
    fn attract_floats = attract_kernel(
        rows: &[f32], columns: &Columns<f32>, sharpness: f32, out: &mut [f32], totals: &mut [f32],
    )
}

#[inline(always)]
fn attract_kernel<V: Wide<Elem: Exponential>>(
    rows: &[V::Elem],
    columns: &Columns<V::Elem>,
    sharpness: V::Elem,
    out: &mut [V::Elem],
    totals: &mut [V::Elem],
) {
    let zero = V::Elem::of(0.0);
    let (dim, tile) = (columns.dim, 2 * V::LANES);
    let less = V::Elem::of(-sharpness.to_f64());
    for (at, weights) in columns.weights.chunks(tile).enumerate() {
        let transposed = &columns.tiles[at * tile * dim..][..tile * dim];
        let plain = &columns.rows[at * tile * dim..][..tile * dim];
        let weights = &weights[..tile];
        let blocks = rows.chunks(ROWS * dim).zip(out.chunks_mut(ROWS * dim));
        for ((rows, out), totals) in blocks.zip(totals.chunks_mut(ROWS)) {
            let mut products = [[zero; TILE]; ROWS];
            let mut sums = [[V::splat(zero); 2]; ROWS];
            for lane in 0..dim {
                let left = V::load(transposed, lane * tile);
                let right = V::load(transposed, lane * tile + V::LANES);
                for row in 0..ROWS {
                    let factor = V::splat(rows[row * dim + lane]);
                    sums[row][0] = factor.mul_add(left, sums[row][0]);
                    sums[row][1] = factor.mul_add(right, sums[row][1]);
                }
            }
            for row in 0..ROWS {
                let products = &mut products[row];
                sums[row][0].store(products, 0);
                sums[row][1].store(products, V::LANES);
                for at in 0..tile {
                    let power = products[at].times_plus(sharpness, less).exp();
                    products[at] = power.times_plus(weights[at], zero);
                }
                let both = V::load(products, 0).add(V::load(products, V::LANES));
                totals[row] = both.sum().times_plus(V::Elem::of(1.0), totals[row]);
            }
            pull::<V>(&products, plain, dim, out);
        }
    }
}

/// Adds the rows of a tile, times their products, to `out`.
#[inline(always)]
fn pull<V: Wide<Elem: Exponential>>(
    products: &[[V::Elem; TILE]; ROWS],
    plain: &[V::Elem],
    dim: usize,
    out: &mut [V::Elem],
) {
    const HALF: usize = ROWS / 2;
    // Vectors of a row that stay in registers.
    const WIDE: usize = 4;
    let tile = 2 * V::LANES;
    for half in [0, HALF] {
        let mut at = 0;
        while at + WIDE * V::LANES <= dim {
            let mut sums = [[V::splat(V::Elem::of(0.0)); WIDE]; HALF];
            for row in 0..HALF {
                for lane in 0..WIDE {
                    sums[row][lane] = V::load(out, (half + row) * dim + at + lane * V::LANES);
                }
            }
            for column in 0..tile {
                let mut values = [V::splat(V::Elem::of(0.0)); WIDE];
                for lane in 0..WIDE {
                    values[lane] = V::load(plain, column * dim + at + lane * V::LANES);
                }
                for row in 0..HALF {
                    let factor = V::splat(products[half + row][column]);
                    for lane in 0..WIDE {
                        sums[row][lane] = factor.mul_add(values[lane], sums[row][lane]);
                    }
                }
            }
            for row in 0..HALF {
                for lane in 0..WIDE {
                    sums[row][lane].store(out, (half + row) * dim + at + lane * V::LANES);
                }
            }
            at += WIDE * V::LANES;
        }
        while at < dim {
            for row in half..half + HALF {
                let mut sum = V::load(out, row * dim + at);
                for column in 0..tile {
                    let factor = V::splat(products[row][column]);
                    sum = factor.mul_add(V::load(plain, column * dim + at), sum);
                }
                sum.store(out, row * dim + at);
            }
            at += V::LANES;
        }
    }
}

/// The weighted sum of losses by libtorch's own operations: autograd finds its gradient.
pub fn differentiable([first, second]: [&Tensor; 2], compared: &Compared) -> Tensor {
    let rows = |of: &Tensor, nodes: &[u32]| {
        let nodes: Vec<i64> = nodes.iter().map(|node| i64::from(*node)).collect();
        let rows = of.index_select(0, &Tensor::from_slice(&nodes).to_device(of.device()));
        let lengths = rows.square().sum_dim_intlist(1, true, None::<Kind>).sqrt();
        rows / lengths.clamp_min(TINY)
    };
    let (a, own) = (rows(first, compared.anchors), rows(second, compared.anchors));
    let b = rows(second, compared.others);
    let positive = (&a * own).sum_dim_intlist(1, false, None::<Kind>) / compared.temperature;
    let products = a.matmul(&b.transpose(0, 1)) / compared.temperature;
    let weights = Tensor::from_slice(compared.weights).to_kind(first.kind());
    ((products.logsumexp(1, false) - positive) * weights.to_device(first.device()))
        .sum(None::<Kind>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Device, tensors::one_thread};

    #[test]
    fn the_exponential_is_exact_to_two_units_of_the_last_place() {
        for at in 0..87_000 {
            let x = -(at as f32) / 1000.0;
            let (ours, theirs) = (Exponential::exp(x), f64::from(x).exp());
            assert!((f64::from(ours) / theirs - 1.0).abs() < 2.5e-7, "{x}: {ours:e} {theirs:e}");
        }
    }

    /// The kernel against autograd, and the loss written out.
    #[test]
    fn loss_and_gradient_are_those_of_autograd() {
        one_thread();
        const NODES: i64 = 150;
        for (dim, kind, near) in [
            (16, Kind::Double, 1e-12),
            (48, Kind::Double, 1e-12),
            (64, Kind::Float, 3e-5),
            (80, Kind::Float, 3e-5),
        ] {
            let wave = |by: f64| {
                let numbers = Tensor::arange(NODES * dim, (Kind::Double, Device::Cpu)) * by;
                (numbers.sin() * 0.3).reshape([NODES, dim]).to_kind(kind)
            };
            let views = [wave(0.37), wave(0.91)];
            let anchors: Vec<u32> = (0..45).map(|at| at * 3 + 1).collect();
            let weights: Vec<f64> = (0..45).map(|at| f64::from(1 + at % 3) / 45.0).collect();
            let all: Vec<u32> = (0..NODES as u32).collect();
            for (others, temperature) in [(&anchors, 0.2), (&all, 0.5), (&all, LEAST_TEMPERATURE)] {
                let compared =
                    Compared { anchors: &anchors, weights: &weights, others, temperature };
                let leaves = views.each_ref().map(|view| view.detach().set_requires_grad(true));
                let theirs = differentiable([&leaves[0], &leaves[1]], &compared);
                let grads = Tensor::run_backward(&[&theirs * 0.7], &leaves, false, false);
                let mut ours = views.each_ref().map(Tensor::zeros_like);
                let [first, second] = &mut ours;
                let loss = info_nce([&views[0], &views[1]], &compared, 0.7, [first, second]);
                let theirs = f64::try_from(theirs).unwrap();
                assert!((loss - theirs).abs() < near * theirs.abs().max(1.0), "{loss} {theirs}");
                for (ours, theirs) in ours.iter().zip(&grads) {
                    let largest = f64::try_from(theirs.abs().max()).unwrap();
                    let off = f64::try_from((ours - theirs).abs().max()).unwrap();
                    assert!(off < near * largest.max(1.0), "{dim} {temperature}: {off:e}");
                    assert!(largest > 1e-4);
                }
            }
        }
    }

    #[test]
    fn the_loss_is_the_formula_written_out() {
        let first = Tensor::from_slice(&[3.0f64, 4.0, 0.0, 2.0]).reshape([2, 2]);
        let second = Tensor::from_slice(&[1.0f64, 0.0, 0.0, -5.0]).reshape([2, 2]);
        let compared =
            Compared { anchors: &[0, 1], weights: &[1.0, 2.0], others: &[0, 1], temperature: 0.5 };
        let loss = f64::try_from(differentiable([&first, &second], &compared)).unwrap();
        // Cosines: .6 and −.8 of the first, 0 and −1 of the second.
        let of = |own: f64, other: f64| ((own / 0.5).exp() + (other / 0.5).exp()).ln() - own / 0.5;
        assert!((loss - (of(0.6, -0.8) + 2.0 * of(-1.0, 0.0))).abs() < 1e-12);
    }
}
