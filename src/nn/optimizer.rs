//! Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), with state that can be saved.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{
    device::has_kernels,
    network::Param,
    tensors::{slice, slice_mut, zeros_like},
};
use crate::base::simd::{Lanes, dispatch};

/// How parameters follow the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Weight decay is added to the gradient.
    #[default]
    Adam,
    /// Weight decay shrinks the weights themselves.
    Adamw,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// The moments of every parameter.
pub struct State {
    kind: Optimizer,
    weight_decay: f64,
    pub steps: u64,
    pub first: Vec<Tensor>,
    pub second: Vec<Tensor>,
}

impl State {
    pub fn new(kind: Optimizer, weight_decay: f64, params: &[Param]) -> Self {
        let zeros = || params.iter().map(|param| zeros_like(&param.value)).collect();
        Self { kind, weight_decay, steps: 0, first: zeros(), second: zeros() }
    }

    /// One step against the gradients; `scale` shrinks them all first (clipping).
    pub fn step(&mut self, params: &mut [Param], rate: f64, scale: f64) {
        self.steps += 1;
        let steps = self.steps as i32;
        let corrected = rate / (1.0 - BETAS.0.powi(steps));
        let root = (1.0 - BETAS.1.powi(steps)).sqrt();
        let (shrink, decay) = match self.kind {
            Optimizer::Adamw => (1.0 - rate * self.weight_decay, 0.0),
            Optimizer::Adam => (1.0, self.weight_decay),
        };
        let moments = self.first.iter_mut().zip(&mut self.second);
        for (param, (first, second)) in params.iter_mut().zip(moments) {
            if has_kernels(&param.value) {
                param.grad = param.grad.contiguous();
                let value = slice_mut::<f32>(&mut param.value);
                let grad = slice::<f32>(&param.grad);
                let (first, second) = (slice_mut::<f32>(first), slice_mut::<f32>(second));
                let constants =
                    [shrink, decay, scale, corrected, root].map(|constant| constant as f32);
                const PART: usize = 1 << 14;
                value
                    .par_chunks_mut(PART)
                    .zip(grad.par_chunks(PART))
                    .zip(first.par_chunks_mut(PART).zip(second.par_chunks_mut(PART)))
                    .for_each(|((value, grad), (first, second))| {
                        update(value, grad, first, second, constants);
                    });
                continue;
            }
            let _ = param.value.g_mul_scalar_(shrink);
            let grad = &param.grad * scale + &param.value * decay;
            *first = &*first * BETAS.0 + &grad * (1.0 - BETAS.0);
            *second = &*second * BETAS.1 + &grad * &grad * (1.0 - BETAS.1);
            let _ = param.value.g_sub_(&(&*first * corrected / (second.sqrt() / root + EPSILON)));
        }
    }
}

dispatch! {
    fn update = update_kernel(
        value: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32], constants: [f32; 5],
    )
}

/// Written so that it compiles to the vector instructions of each set. Every number is rounded alike in all of them.
#[inline(always)]
fn update_kernel<L: Lanes>(
    value: &mut [f32],
    grad: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    [shrink, decay, scale, corrected, root]: [f32; 5],
) {
    let (b1, b2) = (BETAS.0 as f32, BETAS.1 as f32);
    let n = value.len();
    let (grad, first, second) = (&grad[..n], &mut first[..n], &mut second[..n]);
    for at in 0..n {
        let shrunk = value[at] * shrink;
        let g = grad[at] * scale + decay * shrunk;
        let m = b1 * first[at] + (1.0 - b1) * g;
        let v = b2 * second[at] + (1.0 - b2) * g * g;
        first[at] = m;
        second[at] = v;
        value[at] = shrunk - corrected * m / (v.sqrt() / root + EPSILON as f32);
    }
}

/// The length of all gradients together.
pub fn gradient_norm(params: &[Param]) -> f64 {
    let squares = params.iter().map(|param| {
        let square = (&param.grad * &param.grad).sum(tch::Kind::Double);
        f64::try_from(square).unwrap_or(f64::NAN)
    });
    squares.sum::<f64>().sqrt()
}
