//! Scores of factor models: the product of user and item factors.

use std::path::Path;

use rayon::prelude::*;

use super::ModelError;
use crate::{
    base::{
        arrays,
        arrays::{Array, Saved},
        simd::{Lanes, WIDTH, block, block_mut, dispatch},
    },
    data::{TrainingData, UserIx},
    ranking::Scorer,
};

/// Items looked at together: one tile of the factors, small enough to stay in the first cache.
const TILE: usize = 2 * WIDTH;
/// Users looked at together, their sums kept in registers.
const ROWS: usize = 8;
/// Users of one task: each tile is used for all of them.
const GROUP: usize = 4 * ROWS;

/// User and item factors, ready to score.
pub struct Factors {
    pub dim: usize,
    n_items: usize,
    /// `[n_users, dim]`
    pub users: Vec<f32>,
    /// `[n_items, dim]`
    pub items: Vec<f32>,
    /// `[tiles, dim, TILE]`: the factors of each tile's items, transposed; padded with zeros.
    tiles: Vec<f32>,
}

impl Factors {
    /// Takes row-major factors.
    pub fn new(dim: usize, users: Vec<f32>, items: Vec<f32>) -> Self {
        let n_items = items.len() / dim;
        let mut tiles = vec![0.0; dim * n_items.next_multiple_of(TILE)];
        for (item, row) in items.chunks(dim).enumerate() {
            let tile = &mut tiles[item / TILE * TILE * dim..];
            for (at, &value) in row.iter().enumerate() {
                tile[at * TILE + item % TILE] = value;
            }
        }
        Self { dim, n_items, users, items, tiles }
    }

    /// Reads what `save` wrote for data of so many users and items.
    pub fn load(dir: &Path, dim: usize, data: &TrainingData) -> Result<Self, ModelError> {
        let saved = Saved::read(dir)?;
        let users = saved.floats("users", &[data.positives.n_users(), dim])?;
        let items = saved.floats("items", &[data.positives.n_items(), dim])?;
        Ok(Self::new(dim, users, items))
    }

    /// Writes what [`Self::load`] reads.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let [users, items] = [&self.users, &self.items].map(|values| Array::rows(self.dim, values));
        Ok(arrays::save(dir, &[("users", users), ("items", items)])?)
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Scores of all items for each of `users`: `[users.len(), n_items]`.
    /// Every score is summed over the factors in order, however users are batched.
    pub fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        scores.par_chunks_mut(GROUP * self.n_items).zip(users.par_chunks(GROUP)).for_each(
            |(scores, users)| {
                let mut rows = vec![0.0; users.len().next_multiple_of(ROWS) * self.dim];
                for (row, user) in rows.chunks_mut(self.dim).zip(users) {
                    row.copy_from_slice(&self.users[user.at() * self.dim..][..self.dim]);
                }
                score_rows(&rows, users.len(), &self.tiles, self.dim, scores);
            },
        );
    }
}

dispatch! {
    fn score_rows = score_rows_kernel(
        users: &[f32], n_users: usize, tiles: &[f32], dim: usize, scores: &mut [f32],
    )
}

#[inline(always)]
fn score_rows_kernel<L: Lanes>(
    users: &[f32],
    n_users: usize,
    tiles: &[f32],
    dim: usize,
    scores: &mut [f32],
) {
    let n_items = scores.len() / n_users;
    let mut first = 0;
    while first < n_items {
        let tile = &tiles[first * dim..(first + TILE) * dim];
        let width = TILE.min(n_items - first);
        let mut user = 0;
        while user < n_users {
            let rows = &users[user * dim..(user + ROWS) * dim];
            let mut sums = [[L::splat(0.0); TILE / WIDTH]; ROWS];
            for at in 0..dim {
                let left = L::load(block(tile, at * TILE));
                let right = L::load(block(tile, at * TILE + WIDTH));
                for row in 0..ROWS {
                    let factor = L::splat(rows[row * dim + at]);
                    sums[row][0] = factor.mul_add(left, sums[row][0]);
                    sums[row][1] = factor.mul_add(right, sums[row][1]);
                }
            }
            for row in 0..ROWS.min(n_users - user) {
                let mut out = [0f32; TILE];
                sums[row][0].store(block_mut(&mut out, 0));
                sums[row][1].store(block_mut(&mut out, WIDTH));
                scores[(user + row) * n_items + first..][..width].copy_from_slice(&out[..width]);
            }
            user += ROWS;
        }
        first += TILE;
    }
}

/// Factor models that are nothing but their factors.
impl Scorer for Factors {
    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        Self::score(self, users, scores);
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
