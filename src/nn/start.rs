//! Values of parameters before training: seeded, a stream for each.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use tch::{Device, Tensor};

use super::tensors::tensor_of;

fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Stream 0 and those after it are taken by epochs.
    random.set_stream((1 << 40) + stream);
    random
}

/// Normally distributed around 0.
pub fn normal(seed: u64, stream: u64, shape: &[usize], deviation: f64) -> Tensor {
    let mut random = random(seed, stream);
    let n = shape.iter().product();
    let values: Vec<f32> = match Normal::new(0.0f64, deviation) {
        Ok(normal) => (0..n).map(|_| normal.sample(&mut random) as f32).collect(),
        // invariant: deviations were validated
        Err(_) => vec![0.0; n],
    };
    tensor_of(&values, shape, Device::Cpu)
}

/// Uniform within ±√(6 ÷ (rows + columns)) (Glorot and Bengio 2010).
pub fn glorot(seed: u64, stream: u64, rows: usize, columns: usize) -> Tensor {
    let mut random = random(seed, stream);
    let bound = (6.0 / (rows + columns) as f64).sqrt();
    let values: Vec<f32> =
        (0..rows * columns).map(|_| random.random_range(-bound..bound) as f32).collect();
    tensor_of(&values, &[rows, columns], Device::Cpu)
}

/// One value everywhere.
pub fn constant(shape: &[usize], value: f32) -> Tensor {
    tensor_of(&vec![value; shape.iter().product()], shape, Device::Cpu)
}
