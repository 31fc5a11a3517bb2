//! Scores of factor models: the product of user and item factors.

use rayon::prelude::*;

use super::simd::{dispatch, mul_add};
use crate::data::UserIx;

/// Items looked at together; the transposed factors are padded to a multiple of it.
const TILE: usize = 32;
/// Users looked at together.
const ROWS: usize = 4;

/// User and item factors, ready to score.
pub struct Factors {
    pub dim: usize,
    n_items: usize,
    /// `[n_users, dim]`
    pub users: Vec<f32>,
    /// `[n_items, dim]`
    pub items: Vec<f32>,
    /// `[dim, padded n_items]`
    transposed: Vec<f32>,
    padded: usize,
}

impl Factors {
    /// Takes row-major factors.
    pub fn new(dim: usize, users: Vec<f32>, items: Vec<f32>) -> Self {
        let n_items = items.len() / dim;
        let padded = n_items.next_multiple_of(TILE);
        let mut transposed = vec![0.0; dim * padded];
        for (item, row) in items.chunks(dim).enumerate() {
            for (at, &value) in row.iter().enumerate() {
                transposed[at * padded + item] = value;
            }
        }
        Self { dim, n_items, users, items, transposed, padded }
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Scores of all items for each of `users`: `[users.len(), n_items]`.
    /// Every score is summed over the factors in order, however users are batched.
    pub fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        scores.par_chunks_mut(ROWS * self.n_items).zip(users.par_chunks(ROWS)).for_each(
            |(scores, users)| {
                let mut rows = [&self.users[..0]; ROWS];
                for (at, row) in rows.iter_mut().enumerate() {
                    // Missing users of the last group: the last one again, its result not kept.
                    let user = users[at.min(users.len() - 1)].at();
                    *row = &self.users[user * self.dim..][..self.dim];
                }
                score_rows(&rows, users.len(), &self.transposed, self.padded, scores, self.n_items);
            },
        );
    }
}

dispatch! {
    fn score_rows = score_rows_kernel(
        users: &[&[f32]; ROWS], kept: usize, transposed: &[f32], padded: usize,
        scores: &mut [f32], n_items: usize,
    )
}

#[inline(always)]
fn score_rows_kernel<const FMA: bool>(
    users: &[&[f32]; ROWS],
    kept: usize,
    transposed: &[f32],
    padded: usize,
    scores: &mut [f32],
    n_items: usize,
) {
    let dim = users[0].len();
    for first in (0..n_items).step_by(TILE) {
        let mut sums = [[0f32; TILE]; ROWS];
        for at in 0..dim {
            let column: &[f32; TILE] = match transposed[at * padded + first..].first_chunk() {
                Some(column) => column,
                None => return,
            };
            for (sum, user) in sums.iter_mut().zip(users) {
                let factor = user[at];
                for (sum, value) in sum.iter_mut().zip(column) {
                    *sum = mul_add::<FMA>(factor, *value, *sum);
                }
            }
        }
        let width = TILE.min(n_items - first);
        for (row, sum) in scores.chunks_mut(n_items).zip(&sums).take(kept) {
            row[first..first + width].copy_from_slice(&sum[..width]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_equal_dot_products_for_odd_sizes() {
        let (dim, n_users, n_items) = (7, 6, 45);
        let value = |at: usize| ((at * 37 % 19) as f32 - 9.0) / 5.0;
        let users: Vec<f32> = (0..n_users * dim).map(value).collect();
        let items: Vec<f32> = (0..n_items * dim).map(|at| value(at + 5)).collect();
        let factors = Factors::new(dim, users.clone(), items.clone());
        let asked: Vec<UserIx> = (0..n_users as u32).map(UserIx).collect();
        let mut scores = vec![f32::NAN; n_users * n_items];
        factors.score(&asked, &mut scores);
        for user in 0..n_users {
            for item in 0..n_items {
                let slow: f32 =
                    (0..dim).map(|at| users[user * dim + at] * items[item * dim + at]).sum();
                assert!((scores[user * n_items + item] - slow).abs() < 1e-4);
            }
        }
        let mut alone = vec![0f32; n_items];
        factors.score(&[UserIx(5)], &mut alone);
        assert_eq!(alone, scores[5 * n_items..]);
    }
}
