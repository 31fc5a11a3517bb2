//! BPR (Rendle et al. 2009), cosine and cross-entropy loss on the embeddings of a batch, with their gradient.

use tch::{Kind, Tensor};

use super::{
    device::has_kernels,
    tensors::{slice, slice_mut, zeros_like},
    wide::Real,
};

/// Nodes of a batch: each user with an item they liked and one they did not.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub users: Vec<u32>,
    pub positives: Vec<u32>,
    pub negatives: Vec<u32>,
}

/// How much each part weighs.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    pub bpr: f64,
    /// Of 1 − mean cosine between user and positive item.
    pub cosine: f64,
    /// Of the binary cross-entropy of scores as logits: a positive is 1, a negative 0.
    pub cross_entropy: f64,
}

impl Weights {
    /// Of one term alone.
    pub const BPR: Self = Self { bpr: 1.0, cosine: 0.0, cross_entropy: 0.0 };
    pub const CROSS_ENTROPY: Self = Self { bpr: 0.0, cosine: 0.0, cross_entropy: 1.0 };

    /// The weighted sum.
    pub fn sum(self, parts: Parts) -> f64 {
        self.bpr * parts.bpr + self.cosine * parts.cosine + self.cross_entropy * parts.cross_entropy
    }
}

/// The parts, each a mean over the batch, unweighted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    pub bpr: f64,
    pub cosine: f64,
    /// Over positives and negatives; 0 where it has no weight.
    pub cross_entropy: f64,
}

/// As PyTorch's `cosine_similarity`.
const TINY: f64 = 1e-8;

/// Parts of the loss and the gradient of the weighted sum, `[n_nodes, dim]`.
pub fn loss(embeddings: &Tensor, batch: &Batch, weights: Weights) -> (Parts, Tensor) {
    if !has_kernels(embeddings) {
        return composite(embeddings, batch, weights);
    }
    let mut grad = zeros_like(embeddings);
    let dim = embeddings.size()[1] as usize;
    let parts = match embeddings.kind() {
        Kind::Double => {
            on_slices(slice::<f64>(embeddings), slice_mut::<f64>(&mut grad), dim, batch, weights)
        }
        _ => on_slices(slice::<f32>(embeddings), slice_mut::<f32>(&mut grad), dim, batch, weights),
    };
    (parts, grad)
}

fn on_slices<T: Real>(
    embeddings: &[T],
    grad: &mut [T],
    dim: usize,
    batch: &Batch,
    weights: Weights,
) -> Parts {
    let n = batch.users.len() as f64;
    let mut parts = Parts::default();
    let row = |node: u32| node as usize * dim..(node as usize + 1) * dim;
    for at in 0..batch.users.len() {
        let (u, p, q) = (row(batch.users[at]), row(batch.positives[at]), row(batch.negatives[at]));
        let (user, positive, negative) =
            (&embeddings[u.clone()], &embeddings[p.clone()], &embeddings[q.clone()]);
        let (up, uq) = (dot(user, positive), dot(user, negative));
        // softplus(−x) = −ln σ(x), without overflow.
        let x = up - uq;
        parts.bpr += (-x).max(0.0) + (-x.abs()).exp().ln_1p();
        let pull = -weights.bpr / n / (1.0 + x.exp());
        let mut terms = (pull, -pull, pull, -pull);
        if weights.cross_entropy != 0.0 {
            // −ln σ(up) and −ln (1 − σ(uq)), each over the 2n logits of the batch.
            let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
            parts.cross_entropy += softplus(-up) + softplus(uq);
            let weight = weights.cross_entropy / (2.0 * n);
            let (of_positive, of_negative) =
                (-weight / (1.0 + up.exp()), weight / (1.0 + (-uq).exp()));
            terms.0 += of_positive;
            terms.1 += of_negative;
            terms.2 += of_positive;
            terms.3 += of_negative;
        }
        let mut shrink = (0.0, 0.0);
        if weights.cosine != 0.0 {
            let (uu, pp) = (dot(user, user), dot(positive, positive));
            let scale = 1.0 / (uu.sqrt().max(TINY) * pp.sqrt().max(TINY));
            let cosine = up * scale;
            parts.cosine += 1.0 - cosine;
            let weight = -weights.cosine / n;
            terms.0 += weight * scale;
            terms.2 += weight * scale;
            let per =
                |square: f64| if square.sqrt() > TINY { weight * cosine / square } else { 0.0 };
            shrink = (per(uu), per(pp));
        }
        let (to_positive, to_negative, from_positive, from_negative) = terms;
        for lane in 0..dim {
            let (a, b, c) = (
                embeddings[u.start + lane].to_f64(),
                embeddings[p.start + lane].to_f64(),
                embeddings[q.start + lane].to_f64(),
            );
            let add = |grad: &mut [T], place: usize, value: f64| {
                grad[place] = T::of(grad[place].to_f64() + value);
            };
            add(grad, u.start + lane, to_positive * b + to_negative * c - shrink.0 * a);
            add(grad, p.start + lane, from_positive * a - shrink.1 * b);
            add(grad, q.start + lane, from_negative * a);
        }
    }
    parts.bpr /= n;
    parts.cosine /= n;
    parts.cross_entropy /= 2.0 * n;
    parts
}

pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0f64; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for lane in 0..a.len() {
            sums[lane] += a[lane].to_f64() * b[lane].to_f64();
        }
    }
    sums.iter().sum()
}

pub(crate) fn composite(embeddings: &Tensor, batch: &Batch, weights: Weights) -> (Parts, Tensor) {
    let leaf = embeddings.detach().set_requires_grad(true);
    let (total, parts) = differentiable(&leaf, batch, weights);
    let grad = Tensor::run_backward(&[total], &[&leaf], false, false).remove(0);
    (parts, grad.detach())
}

/// Rows of some nodes.
fn rows(of: &Tensor, nodes: &[u32]) -> Tensor {
    let nodes: Vec<i64> = nodes.iter().map(|node| i64::from(*node)).collect();
    of.index_select(0, &Tensor::from_slice(&nodes).to_device(of.device()))
}

/// The weighted sum by libtorch's own operations, and its parts: autograd finds its gradient.
pub fn differentiable(embeddings: &Tensor, batch: &Batch, weights: Weights) -> (Tensor, Parts) {
    let rows = |nodes: &[u32]| rows(embeddings, nodes);
    let (u, p, q) = (rows(&batch.users), rows(&batch.positives), rows(&batch.negatives));
    let sum = |product: Tensor| product.sum_dim_intlist(1, false, None::<Kind>);
    let bpr = -(sum(&u * &p) - sum(&u * &q)).log_sigmoid().mean(None::<Kind>);
    let cosine: Tensor = 1.0 - Tensor::cosine_similarity(&u, &p, 1, TINY).mean(None::<Kind>);
    let logits = (sum(&u * &p), sum(&u * &q));
    let cross_entropy: Tensor = (-logits.0.log_sigmoid().mean(None::<Kind>)
        - (-logits.1).log_sigmoid().mean(None::<Kind>))
        * 0.5;
    let mut total = &bpr * weights.bpr + &cosine * weights.cosine;
    if weights.cross_entropy != 0.0 {
        total += &cross_entropy * weights.cross_entropy;
    }
    let number = |tensor: &Tensor| f64::try_from(tensor.detach()).unwrap_or(f64::NAN);
    let cosine = if weights.cosine == 0.0 { 0.0 } else { number(&cosine) };
    let cross_entropy = if weights.cross_entropy == 0.0 { 0.0 } else { number(&cross_entropy) };
    (total, Parts { bpr: number(&bpr), cosine, cross_entropy })
}

/// ½ Σ |row|² / batch size over the batch's rows (each as often as it stands there), by libtorch's own
/// operations: autograd finds its gradient. [`regularise`] is the same by a kernel.
pub fn squares(of: &Tensor, batch: &Batch) -> Tensor {
    let square = |nodes: &[u32]| rows(of, nodes).square().sum(None::<Kind>);
    let sum = square(&batch.users) + square(&batch.positives) + square(&batch.negatives);
    sum * (0.5 / batch.users.len() as f64)
}

/// Adds the gradient of λ/2 · Σ |row|² / batch size over the batch's rows (each as often as it stands
/// there), and returns that sum.
pub fn regularise(rows: &Tensor, grad: &mut Tensor, batch: &Batch, lambda: f64) -> f64 {
    let nodes = || batch.users.iter().chain(&batch.positives).chain(&batch.negatives);
    let n = batch.users.len() as f64;
    let mut times = vec![0u32; rows.size()[0] as usize];
    nodes().for_each(|node| times[*node as usize] += 1);
    if !has_kernels(rows) {
        let times: Vec<f32> = times.iter().map(|times| *times as f32).collect();
        let times = Tensor::from_slice(&times).to_device(rows.device()).unsqueeze(1);
        *grad += rows * &times * (lambda / n);
        let sum = (rows * rows * times).sum(None::<Kind>) * (0.5 / n);
        return f64::try_from(sum).unwrap_or(f64::NAN);
    }
    let dim = rows.size()[1] as usize;
    match rows.kind() {
        Kind::Double => {
            add_rows(slice::<f64>(rows), slice_mut::<f64>(grad), dim, &times, lambda / n, n)
        }
        _ => add_rows(slice::<f32>(rows), slice_mut::<f32>(grad), dim, &times, lambda / n, n),
    }
}

fn add_rows<T: Real>(
    rows: &[T],
    grad: &mut [T],
    dim: usize,
    times: &[u32],
    scale: f64,
    n: f64,
) -> f64 {
    let mut sum = 0.0;
    for (node, times) in times.iter().enumerate().filter(|(_, times)| **times > 0) {
        let of_node = node * dim..(node + 1) * dim;
        let factor = T::of(scale * f64::from(*times)).to_f64();
        let mut square = 0.0;
        for (value, grad) in rows[of_node.clone()].iter().zip(&mut grad[of_node]) {
            let value = value.to_f64();
            square += value * value;
            *grad = T::of(grad.to_f64() + factor * value);
        }
        sum += square * f64::from(*times);
    }
    0.5 * sum / n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::tensors::one_thread;

    /// The kernel against autograd of the same loss, and against the loss written out by hand.
    #[test]
    fn cross_entropy_and_its_gradient_are_those_of_autograd() {
        one_thread();
        let embeddings = (Tensor::arange(6 * 16, (Kind::Double, tch::Device::Cpu)) * 0.37)
            .sin()
            .reshape([6, 16]);
        // A node twice, and one as positive and as negative.
        let batch =
            Batch { users: vec![0, 1, 0], positives: vec![3, 4, 5], negatives: vec![5, 3, 3] };
        for weights in
            [Weights::CROSS_ENTROPY, Weights { bpr: 2.0, cosine: 0.5, cross_entropy: 3.0 }]
        {
            let (ours, grad) = loss(&embeddings, &batch, weights);
            let (theirs, of_autograd) = composite(&embeddings, &batch, weights);
            assert!((ours.cross_entropy - theirs.cross_entropy).abs() < 1e-12);
            let off = f64::try_from((&grad - &of_autograd).abs().max()).unwrap();
            assert!(off < 1e-12, "{off:e}");
            let rows: Vec<f64> = embeddings.reshape(-1).try_into().unwrap();
            let logit = |a: u32, b: u32| -> f64 {
                let row = |node: u32| &rows[node as usize * 16..][..16];
                row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum()
            };
            let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
            let pairs = |items: &[u32]| -> Vec<f64> {
                batch.users.iter().zip(items).map(|(user, item)| logit(*user, *item)).collect()
            };
            let sum: f64 = pairs(&batch.positives).into_iter().map(|x| -sigma(x).ln()).sum::<f64>()
                + pairs(&batch.negatives).into_iter().map(|x| -(1.0 - sigma(x)).ln()).sum::<f64>();
            assert!((ours.cross_entropy - sum / 6.0).abs() < 1e-12);
        }
    }
}
