//! One half step: every row's vector solved with the other side held fixed.

use rayon::prelude::*;

use super::{AlsParams, Solver, kernels};
use crate::tasks::top_n::models::ModelError;

/// Rows solved by one task.
const CHUNK: usize = 32;
/// Rows in each partial sum of the Gram matrix; fixed, so that the sum does not depend on threads.
const GRAM_CHUNK: usize = 2048;

/// One side of the matrix with its weights.
pub struct Side {
    /// Row starts.
    pub indptr: Vec<usize>,
    pub columns: Vec<u32>,
    /// c of each stored entry.
    pub confidence: Vec<f32>,
    /// λ of each row.
    pub lambda: Vec<f32>,
}

/// Solves for all rows of `side`: `fixed` is `[n_columns, dim]`, `solved` is `[n_rows, dim]`, where
/// `dim` is the number of factors padded with zeros to whole lanes.
pub fn half_step(
    params: &AlsParams,
    side: &Side,
    fixed: &[f32],
    solved: &mut [f32],
) -> Result<(), ModelError> {
    let dim = params.padded();
    let gram = gram(fixed, dim);
    let fine = solved
        .par_chunks_mut(CHUNK * dim)
        .enumerate()
        .map_init(
            || Scratch::new(dim, dim - params.factors),
            |scratch, (chunk, rows)| {
                rows.chunks_mut(dim).enumerate().all(|(at, row)| {
                    let number = chunk * CHUNK + at;
                    let entries = side.indptr[number]..side.indptr[number + 1];
                    if entries.is_empty() {
                        row.fill(0.0);
                        return true;
                    }
                    scratch.gather(fixed, &side.columns[entries.clone()], dim);
                    let confidence = &side.confidence[entries];
                    let lambda = side.lambda[number];
                    match params.solver {
                        Solver::Cholesky => {
                            kernels::cholesky(scratch, &gram, confidence, lambda, row)
                        }
                        Solver::Cg => {
                            let steps = params.cg_steps;
                            kernels::cg(scratch, &gram, confidence, lambda, steps, row)
                        }
                    }
                    row.iter().all(|value| value.is_finite())
                })
            },
        )
        .reduce(|| true, |a, b| a && b);
    if fine {
        return Ok(());
    }
    Err(ModelError::Diverged(
        "the equations of a user or item could not be solved in 32-bit floats; raise \
         `regularization` or lower `alpha`"
            .into(),
    ))
}

/// Working memory of one task.
pub struct Scratch {
    /// The vectors of a row's entries, one after the other.
    pub gathered: Vec<f32>,
    /// `[dim, dim]`
    pub matrix: Vec<f32>,
    /// `[dim]` each
    pub residual: Vec<f32>,
    pub direction: Vec<f32>,
    /// How many of `dim` are padding.
    pub padding: usize,
}

impl Scratch {
    fn new(dim: usize, padding: usize) -> Self {
        Self {
            gathered: Vec::new(),
            matrix: vec![0.0; dim * dim],
            residual: vec![0.0; dim],
            direction: vec![0.0; dim],
            padding,
        }
    }

    fn gather(&mut self, fixed: &[f32], columns: &[u32], dim: usize) {
        self.gathered.clear();
        self.gathered.reserve(columns.len() * dim);
        for &column in columns {
            self.gathered.extend_from_slice(&fixed[column as usize * dim..][..dim]);
        }
    }
}

/// YᵀY, `[dim, dim]`, upper triangle mirrored.
fn gram(rows: &[f32], dim: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = rows
        .par_chunks(GRAM_CHUNK * dim)
        .map(|rows| {
            let mut sum = vec![0.0; dim * dim];
            kernels::add_outer_products(&mut sum, rows, None, dim);
            sum
        })
        .collect();
    let mut total = vec![0f32; dim * dim];
    for sum in partial {
        total.iter_mut().zip(sum).for_each(|(total, part)| *total += part);
    }
    for i in 0..dim {
        for j in 0..i {
            total[i * dim + j] = total[j * dim + i];
        }
    }
    total
}
