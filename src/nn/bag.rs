//! Weighted sums of rows of a matrix: a layer whose inputs are short lists of items.

use std::ops::Range;

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::{
    tensors::{slice, slice_mut},
    wide::{Double, Real, Wide},
};
use crate::base::simd::{WIDTH, dispatch};

/// Sums that one task computes.
const TASK: usize = 16;

/// Lists of rows with a weight each.
pub struct Bags {
    /// Where each list starts, and the end of the last.
    starts: Vec<usize>,
    rows: Vec<u32>,
    weights: Vec<f64>,
}

impl Bags {
    /// One list for each element of `lists`; a weight of 0 adds nothing.
    pub fn new<L: IntoIterator<Item = (u32, f64)>>(lists: impl IntoIterator<Item = L>) -> Self {
        let mut bags = Self { starts: vec![0], rows: Vec::new(), weights: Vec::new() };
        for list in lists {
            for (row, weight) in list.into_iter().filter(|(_, weight)| *weight != 0.0) {
                bags.rows.push(row);
                bags.weights.push(weight);
            }
            bags.starts.push(bags.rows.len());
        }
        bags
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// For each of `n_rows` rows the lists that contain it, in their order.
    pub fn transposed(&self, n_rows: usize) -> Self {
        let mut starts = vec![0; n_rows + 1];
        for row in &self.rows {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..n_rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let (mut rows, mut weights) = (vec![0; self.rows.len()], vec![0.0; self.rows.len()]);
        for list in 0..self.len() {
            for at in self.starts[list]..self.starts[list + 1] {
                let to = &mut next[self.rows[at] as usize];
                (rows[*to], weights[*to]) = (list as u32, self.weights[at]);
                *to += 1;
            }
        }
        Self { starts, rows, weights }
    }

    /// Writes Σ weight · row of `matrix`, `[rows, width]`, for each list into `sums`, `[lists, width]`. In main memory only.
    pub fn sum(&self, matrix: &Tensor, sums: &mut Tensor) {
        match matrix.kind() {
            Kind::Double => self.sum_of::<f64>(matrix, sums),
            _ => self.sum_of::<f32>(matrix, sums),
        }
    }

    fn sum_of<T: Kernel>(&self, matrix: &Tensor, sums: &mut Tensor) {
        let width = matrix.size()[1] as usize;
        assert_eq!(sums.size(), [self.len() as i64, width as i64], "a sum for each list");
        let (matrix, sums) = (slice::<T>(matrix), slice_mut::<T>(sums));
        sums.par_chunks_mut(TASK * width).enumerate().for_each(|(task, sums)| {
            let first = task * TASK;
            T::sums(self, first..first + sums.len() / width, width, matrix, sums);
        });
    }
}

/// Numbers that can be summed.
trait Kernel: Real {
    fn sums(bags: &Bags, lists: Range<usize>, width: usize, matrix: &[Self], sums: &mut [Self]);
}

impl Kernel for f32 {
    fn sums(bags: &Bags, lists: Range<usize>, width: usize, matrix: &[f32], sums: &mut [f32]) {
        sums_of_floats(bags, lists, width, matrix, sums);
    }
}

impl Kernel for f64 {
    fn sums(bags: &Bags, lists: Range<usize>, width: usize, matrix: &[f64], sums: &mut [f64]) {
        sums_kernel::<Double>(bags, lists, width, matrix, sums);
    }
}

dispatch! {
    fn sums_of_floats = sums_kernel(
        bags: &Bags, lists: Range<usize>, width: usize, matrix: &[f32], sums: &mut [f32],
    )
}

/// Vectors whose sums stay in registers.
const BLOCK: usize = 8;

#[inline(always)]
fn sums_kernel<V: Wide>(
    bags: &Bags,
    lists: Range<usize>,
    width: usize,
    matrix: &[V::Elem],
    sums: &mut [V::Elem],
) {
    for (list, sums) in lists.zip(sums.chunks_exact_mut(width)) {
        let list = bags.starts[list]..bags.starts[list + 1];
        let rows = bags.rows[list.clone()].iter().zip(&bags.weights[list]);
        let mut at = 0;
        while at + BLOCK * V::LANES <= width {
            let mut sum = [V::splat(V::Elem::of(0.0)); BLOCK];
            for (row, weight) in rows.clone() {
                let weight = V::splat(V::Elem::of(*weight));
                let from = &matrix[*row as usize * width + at..][..BLOCK * V::LANES];
                for (lane, sum) in sum.iter_mut().enumerate() {
                    *sum = weight.mul_add(V::load(from, lane * V::LANES), *sum);
                }
            }
            for (lane, sum) in sum.into_iter().enumerate() {
                sum.store(sums, at + lane * V::LANES);
            }
            at += BLOCK * V::LANES;
        }
        while at + V::LANES <= width {
            let mut sum = V::splat(V::Elem::of(0.0));
            for (row, weight) in rows.clone() {
                let weight = V::splat(V::Elem::of(*weight));
                sum = weight.mul_add(V::load(matrix, *row as usize * width + at), sum);
            }
            sum.store(sums, at);
            at += V::LANES;
        }
        if at < width {
            // What is over, in a vector of its own.
            let over = width - at;
            let mut padded = [V::Elem::of(0.0); WIDTH];
            let mut sum = V::splat(V::Elem::of(0.0));
            for (row, weight) in rows {
                padded[..over].copy_from_slice(&matrix[*row as usize * width + at..][..over]);
                let weight = V::splat(V::Elem::of(*weight));
                sum = weight.mul_add(V::load(&padded, 0), sum);
            }
            sum.store(&mut padded, 0);
            sums[at..].copy_from_slice(&padded[..over]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Device, tensors::one_thread};

    /// Widths below, at and between the vectors of a block, in both precisions, and a list of nothing.
    #[test]
    fn sums_are_those_of_a_dense_product() {
        one_thread();
        let weights: Vec<f64> = (0..40 * 9)
            .map(|at| if at % 5 < 2 || at / 9 == 7 { 0.0 } else { (at as f64).sin() })
            .collect();
        let dense = Tensor::from_slice(&weights).reshape([40, 9]);
        let bags = Bags::new(weights.chunks(9).map(|list| (0..).zip(list.iter().copied())));
        assert_eq!(bags.starts[7], bags.starts[8]);
        let wave = |rows: i64, width: i64, kind: Kind| {
            let numbers = Tensor::arange(rows * width, (Kind::Double, Device::Cpu)) * 0.7;
            numbers.cos().reshape([rows, width]).to_kind(kind)
        };
        for (kind, limit) in [(Kind::Double, 1e-14), (Kind::Float, 2e-6)] {
            for width in [1, 3, 16, 17, 128, 150, 600] {
                for (bags, dense, rows) in [
                    (&bags, dense.shallow_clone(), 9),
                    (&bags.transposed(9), dense.transpose(0, 1), 40),
                ] {
                    let matrix = wave(rows, width, kind);
                    let expected = dense.matmul(&matrix.to_kind(Kind::Double));
                    let mut sums = Tensor::full(expected.size(), f64::NAN, (kind, Device::Cpu));
                    bags.sum(&matrix, &mut sums);
                    let off = (sums.to_kind(Kind::Double) - expected).abs().max();
                    assert!(f64::try_from(off).unwrap() < limit, "{kind:?} {width}");
                }
            }
        }
    }
}
