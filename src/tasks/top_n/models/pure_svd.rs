//! PureSVD (Cremonesi, Koren, Turrin, RecSys 2010): R ≈ U Σ Vᵀ truncated to the highest singular values, on binary
//! feedback as in the comparison of Dacrema et al. 2019. The scores of user u are r_u V Vᵀ (eq. 9).
//!
//! V is found by block power iteration with a Rayleigh-Ritz step (Saad, *Numerical Methods for Large Eigenvalue
//! Problems*, alg. 5.2) on RᵀR in 64-bit floats, to convergence: nothing is left to chance, so there is no seed.

use std::path::Path;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Factors, FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    base::random::mix,
    data::{Interactions, TrainingData, UserIx},
};

/// Iterations without convergence before the fit is given up.
const MOST_ITERATIONS: usize = 2000;
/// Iterations between two Rayleigh-Ritz steps.
const BETWEEN: usize = 4;
/// Largest residual ‖RᵀR v − σ² v‖ of a wanted vector, as a share of the highest σ².
const TOLERANCE: f64 = 1e-10;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PureSvdParams {
    /// How many singular values are kept, 1 or more.
    #[schemars(range(min = 1))]
    pub factors: usize,
}

impl Default for PureSvdParams {
    fn default() -> Self {
        Self { factors: 20 }
    }
}

impl PureSvdParams {
    /// Vectors that are iterated: more than are kept, so that these converge faster.
    fn width(&self, n_users: usize, n_items: usize) -> usize {
        (self.factors + self.factors.max(16)).min(n_users).min(n_items)
    }
}

impl Model for PureSvdParams {
    fn validate(&self) -> Result<(), Wrong> {
        match self.factors {
            0 => Err(("factors", "is 0; expected 1 or more".into())),
            _ => Ok(()),
        }
    }

    fn memory(&self, size: Size) -> usize {
        let width = self.width(size.users, size.items);
        8 * (2 * size.items + size.users) * width + 8 * (size.users + size.items) * self.factors
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let by_user = &data.positives;
        let (n_users, n_items) = (by_user.n_users(), by_user.n_items());
        let by_item = by_user.transpose();
        let vectors = self.singular_vectors(by_user, &by_item, context)?;
        let mut items = vec![0f32; n_items * self.factors];
        let mut users = vec![0f32; n_users * self.factors];
        // Where R has a lower rank than `factors`, the last factors are zero.
        for (at, vector) in vectors.iter().take(self.factors).enumerate() {
            let product = times(by_user, vector);
            items.chunks_mut(self.factors).zip(vector).for_each(|(row, v)| row[at] = *v as f32);
            users.chunks_mut(self.factors).zip(product).for_each(|(row, u)| row[at] = u as f32);
        }
        Ok(Box::new(Factors::new(self.factors, users, items)))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        Ok(Box::new(Factors::load(dir, self.factors, data)?))
    }
}

impl PureSvdParams {
    /// Right singular vectors of R, those of the highest singular values first.
    fn singular_vectors(
        &self,
        by_user: &Interactions,
        by_item: &Interactions,
        context: &FitContext,
    ) -> Result<Vec<Vec<f64>>, ModelError> {
        let n_items = by_user.n_items();
        let start = |at: usize| -> Vec<f64> {
            let draw = |item: usize| mix((at * n_items + item) as u64) >> 11;
            (0..n_items).map(|item| draw(item) as f64 / (1u64 << 52) as f64 - 1.0).collect()
        };
        let width = self.width(by_user.n_users(), n_items);
        let mut basis: Vec<Vec<f64>> = (0..width).into_par_iter().map(start).collect();
        orthonormalise(&mut basis);
        let square = |vector: &Vec<f64>| times(by_item, &times(by_user, vector));
        let wanted = self.factors.min(width);
        for iteration in 0..MOST_ITERATIONS {
            context.interrupt.check()?;
            let mut images: Vec<Vec<f64>> = basis.par_iter().map(square).collect();
            if iteration % BETWEEN == 0 {
                // Within the span of the basis, the best approximations to eigenvectors of RᵀR.
                let projected = basis
                    .par_iter()
                    .map(|left| images.iter().map(|right| dot(left, right)).collect::<Vec<f64>>());
                let (values, rotation) = symmetric_eigen(projected.collect());
                basis = combine(&basis, &rotation);
                images = combine(&images, &rotation);
                let highest = values.first().copied().unwrap_or(0.0);
                let residual = |at: usize| {
                    let of = images[at].iter().zip(&basis[at]);
                    of.map(|(image, v)| (image - values[at] * v).powi(2)).sum::<f64>().sqrt()
                };
                let worst = (0..wanted).into_par_iter().map(residual).reduce(|| 0.0, f64::max);
                (context.log)(&format!("iteration {iteration}: largest residual {worst:.1e}"));
                if worst <= TOLERANCE * highest {
                    return Ok(basis);
                }
            }
            (context.progress)(iteration as u64, 0);
            basis = images;
            orthonormalise(&mut basis);
        }
        Err(ModelError::Unsuitable(format!(
            "the singular vectors did not converge in {MOST_ITERATIONS} iterations: singular values around the \
             {wanted}th are too close to each other\n  = help: choose other `factors`"
        )))
    }
}

/// The sum of the values of each row's columns.
fn times(rows: &Interactions, values: &[f64]) -> Vec<f64> {
    let row = |at: usize| rows.items_of(UserIx(at as u32)).iter().map(|of| values[*of as usize]);
    (0..rows.n_users()).map(|at| row(at).sum()).collect()
}

/// Summed in eight lanes, always in the same order.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    for (left, right) in left.chunks(8).zip(right.chunks(8)) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    sums.iter().sum()
}

/// Modified Gram-Schmidt, twice. A vector that lies in the span of those before it becomes zero.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for pass in 0..2 {
        for at in 0..vectors.len() {
            let (done, rest) = vectors.split_at_mut(at + 1);
            let first = &mut done[at];
            let length = dot(first, first).sqrt();
            // Before the second pass all vectors have length 1 or 0.
            let scale = if pass == 0 || length > 0.5 { 1.0 / length } else { 0.0 };
            let scale = if scale.is_finite() { scale } else { 0.0 };
            first.iter_mut().for_each(|value| *value *= scale);
            rest.par_iter_mut().for_each(|other| {
                let along = dot(first, other);
                other.iter_mut().zip(&*first).for_each(|(value, of)| *value -= along * of);
            });
        }
    }
}

/// Sums of the vectors, with the weights of each column of `rotation`.
fn combine(vectors: &[Vec<f64>], rotation: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let sum = |column: usize| {
        let mut sum = vec![0f64; vectors[0].len()];
        for (vector, weights) in vectors.iter().zip(rotation) {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weights[column] * value);
        }
        sum
    };
    (0..vectors.len()).into_par_iter().map(sum).collect()
}

/// Eigenvalues of a symmetric matrix, highest first, and the eigenvectors as columns; by Jacobi rotations in cyclic
/// order.
fn symmetric_eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..n).map(|row| (0..n).map(|at| f64::from(u8::from(at == row))).collect()).collect();
    let rotate = |rows: &mut [Vec<f64>], p: usize, q: usize, cosine: f64, sine: f64| {
        for row in rows {
            let (of_p, of_q) = (row[p], row[q]);
            row[p] = cosine * of_p - sine * of_q;
            row[q] = sine * of_p + cosine * of_q;
        }
    };
    let size = matrix.iter().flatten().map(|value| value * value).sum::<f64>();
    for _ in 0..50 {
        let off = (0..n).flat_map(|p| (0..p).map(move |q| (p, q)));
        if off.map(|(p, q)| matrix[p][q].powi(2)).sum::<f64>() <= 1e-32 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                rotate(&mut matrix, p, q, cosine, sine);
                let (upper, lower) = matrix.split_at_mut(q);
                for (of_p, of_q) in upper[p].iter_mut().zip(&mut lower[0]) {
                    (*of_p, *of_q) = (cosine * *of_p - sine * *of_q, sine * *of_p + cosine * *of_q);
                }
                rotate(&mut vectors, p, q, cosine, sine);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| matrix[*b][*b].total_cmp(&matrix[*a][*a]));
    let values = order.iter().map(|at| matrix[*at][*at]).collect();
    let columns = vectors.iter().map(|row| order.iter().map(|at| row[*at]).collect()).collect();
    (values, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::interrupt::Interrupt, tasks::top_n::models::tests::liked};

    fn scores(data: &TrainingData, factors: usize) -> Vec<f32> {
        let interrupt = Interrupt::default();
        let context = FitContext::silent(1, &interrupt);
        let model = PureSvdParams { factors }.fit(data, &context).unwrap();
        let users: Vec<UserIx> = (0..data.positives.n_users() as u32).map(UserIx).collect();
        let mut scores = vec![f32::NAN; users.len() * data.positives.n_items()];
        model.score(&users, &mut scores);
        scores
    }

    #[test]
    fn groups_of_users_come_back_in_the_order_of_their_singular_values() {
        // Three users like items 0 and 1 (singular value √6), one likes item 2 and nobody item 3.
        let data = liked(4, &[&[0, 1], &[0, 1], &[0, 1], &[2], &[]]);
        let near = |found: Vec<f32>, expected: [[f32; 4]; 5]| {
            let pairs = found.iter().zip(expected.as_flattened());
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        let first = [[1.0, 1.0, 0.0, 0.0]; 3];
        let with = |fourth| [first[0], first[1], first[2], fourth, [0.0; 4]];
        near(scores(&data, 1), with([0.0; 4]));
        near(scores(&data, 2), with([0.0, 0.0, 1.0, 0.0]));
        // More factors than the rank: the matrix itself.
        near(scores(&data, 9), with([0.0, 0.0, 1.0, 0.0]));
    }

    #[test]
    fn eigenvalues_and_vectors_make_the_matrix_again() {
        let n = 9;
        let entry = |i: usize, j: usize| ((i * j + i + j) % 7) as f64 - 3.0;
        let matrix: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
        let (values, vectors) = symmetric_eigen(matrix.clone());
        assert!(values.is_sorted_by(|a, b| a >= b));
        for i in 0..n {
            for j in 0..n {
                let made = |of: &dyn Fn(usize) -> f64| {
                    (0..n).map(|k| of(k) * vectors[i][k] * vectors[j][k]).sum::<f64>()
                };
                assert!((made(&|k| values[k]) - matrix[i][j]).abs() < 1e-12);
                assert!((made(&|_| 1.0) - f64::from(u8::from(i == j))).abs() < 1e-13);
            }
        }
    }
}
