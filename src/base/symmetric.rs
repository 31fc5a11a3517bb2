//! Symmetric matrices in 64-bit floats, stored as the tiles of one triangle, and their inverse in place.

// Several arrays of registers are walked in step; an index says that more plainly than a zip of four.
#![allow(clippy::needless_range_loop)]

use rayon::prelude::*;

use super::simd::{DOUBLES, Doubles, Lanes, dispatch};

/// Rows and columns of a tile.
pub const TILE: usize = 128;
/// Numbers in a tile.
const AREA: usize = TILE * TILE;
/// Rows, and blocks of [`DOUBLES`] columns, whose sums are kept in registers.
const ROWS: usize = 8;
const BLOCKS: usize = 2;
const COLUMNS: usize = BLOCKS * DOUBLES;

/// A symmetric matrix. Beyond its size it is padded with the identity.
pub struct Symmetric {
    n: usize,
    /// Tiles (i, j), i ≥ j, row by row, each `[TILE, TILE]`.
    tiles: Vec<f64>,
}

/// Numbers that never cross a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Block([f64; DOUBLES]);

/// Where tile (i, j), i ≥ j, starts.
fn start(i: usize, j: usize) -> usize {
    (i * (i + 1) / 2 + j) * AREA
}

/// Bytes that an `n × n` matrix takes.
pub fn bytes(n: usize) -> usize {
    let tiles = n.div_ceil(TILE);
    8 * tiles * (tiles + 1) / 2 * AREA
}

impl Symmetric {
    /// A matrix of `n` rows. `row(at, values)` writes the numbers of row `at` up to its diagonal, `values` of the length
    /// `at + 1`, which holds zeros; `memory` makes what it works with.
    pub fn new<T>(
        n: usize,
        memory: impl Fn() -> T + Sync + Send,
        row: impl Fn(usize, &mut [f64], &mut T) + Sync,
    ) -> Self {
        let n_tiles = n.div_ceil(TILE);
        let mut tiles = vec![0.0; bytes(n) / 8];
        let mut rows: Vec<(usize, &mut [f64])> = Vec::with_capacity(n_tiles);
        let mut rest = &mut tiles[..];
        for i in 0..n_tiles {
            let (row, after) = rest.split_at_mut((i + 1) * AREA);
            rows.push((i, row));
            rest = after;
        }
        // The longest rows first.
        rows.into_par_iter().rev().for_each_init(
            || (vec![0.0; n], memory()),
            |(values, memory), (i, tiles)| {
                for at in 0..TILE {
                    let number = i * TILE + at;
                    if number >= n {
                        tiles[i * AREA + at * TILE + at] = 1.0;
                        continue;
                    }
                    let values = &mut values[..=number];
                    values.fill(0.0);
                    row(number, values, memory);
                    for (tile, part) in tiles.chunks_mut(AREA).zip(values.chunks(TILE)) {
                        tile[at * TILE..][..part.len()].copy_from_slice(part);
                    }
                    // Tiles on the diagonal hold both triangles.
                    let tile = &mut tiles[i * AREA..];
                    for before in 0..at {
                        tile[before * TILE + at] = tile[at * TILE + before];
                    }
                }
            },
        );
        Self { n, tiles }
    }

    /// The number in a row and a column.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        let (row, column) = (row.max(column), row.min(column));
        self.tiles[start(row / TILE, column / TILE) + row % TILE * TILE + column % TILE]
    }

    /// The diagonal, `[n]`.
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.n).map(|at| self.get(at, at)).collect()
    }

    /// Writes the numbers of the rows from `first` on, a multiple of [`TILE`], as many as `rows` of length n has, at most a
    /// tile: `of(number, column)` of each.
    pub fn write_rows(&self, first: usize, rows: &mut [f32], of: impl Fn(f64, usize) -> f32) {
        let i = first / TILE;
        for (j, at) in (0..self.n).step_by(TILE).enumerate() {
            let width = TILE.min(self.n - at);
            let tile = &self.tiles[start(i.max(j), i.min(j))..][..AREA];
            for (row, out) in rows.chunks_mut(self.n).enumerate() {
                for (column, out) in out[at..at + width].iter_mut().enumerate() {
                    let number = match j <= i {
                        true => tile[row * TILE + column],
                        false => tile[column * TILE + row],
                    };
                    *out = of(number, at + column);
                }
            }
        }
    }

    /// The inverse of a positive definite matrix, in its place; none where it is not one. The bytes do not depend on the
    /// number of threads.
    ///
    /// Sweeps (Beaton 1964; Goodnight 1979) of whole tiles: with the pivot tile's inverse P, every A_ij becomes
    /// A_ij − A_ik P A_kj, A_ik becomes A_ik P, and the pivot −P. After all sweeps the matrix is −A⁻¹. That is n³ operations,
    /// as many as a Cholesky decomposition and the inverse from it take, nearly all of them products of tiles.
    /// `step` is called before each sweep with those done and their number, and may end it with an error.
    pub fn inverse<E>(
        mut self,
        mut step: impl FnMut(u64, u64) -> Result<(), E>,
    ) -> Result<Option<Self>, E> {
        let n_tiles = self.n.div_ceil(TILE);
        // Tile k of every row i: `right` is A_ki, `left` is A_ik P, in the order in which `subtract` reads them.
        let mut right = vec![Block([0.0; DOUBLES]); n_tiles * AREA / DOUBLES];
        let mut left = vec![0.0; n_tiles * AREA];
        for k in 0..n_tiles {
            step(k as u64, n_tiles as u64)?;
            let pivot = &mut self.tiles[start(k, k)..][..AREA];
            if !invert_tile(pivot) {
                return Ok(None);
            }
            let pivot = self.tiles[start(k, k)..][..AREA].to_vec();
            let packed = pack::<ROWS>(&pivot);
            let tiles = &self.tiles;
            let panels: Vec<Vec<f64>> = right
                .par_chunks_mut(AREA / DOUBLES)
                .zip(left.par_chunks_mut(AREA))
                .enumerate()
                .map(|(i, (right, left))| {
                    if i == k {
                        return Vec::new();
                    }
                    // [column of A_ik, row of A_ik]
                    let tile = &tiles[start(i.max(k), i.min(k))..][..AREA];
                    let panel = if i < k { tile.to_vec() } else { transposed(tile) };
                    let packed_panel = pack::<COLUMNS>(&panel);
                    for (block, values) in right.iter_mut().zip(packed_panel.as_chunks().0) {
                        block.0 = *values;
                    }
                    let mut product = vec![0.0; AREA];
                    subtract(&mut product, &packed, right);
                    product.iter_mut().for_each(|value| *value = -*value);
                    left.copy_from_slice(&pack::<ROWS>(&product));
                    product
                })
                .collect();
            let (left, right) = (&left, &right);
            let places = |at: usize| {
                let i = (((8 * at + 1) as f64).sqrt() as usize - 1) / 2;
                // The square root may be off by a little.
                let i = (i.saturating_sub(1)..).find(|i| (i + 1) * (i + 2) / 2 > at).unwrap_or(i);
                (i, at - i * (i + 1) / 2)
            };
            self.tiles.par_chunks_mut(AREA).enumerate().for_each(|(at, tile)| match places(at) {
                (i, j) if i == k && j == k => tile.iter_mut().for_each(|of| *of = -*of),
                (i, j) if i == k => tile.copy_from_slice(&panels[j]),
                (i, j) if j == k => tile.copy_from_slice(&transposed(&panels[i])),
                (i, j) => {
                    let right = &right[j * AREA / DOUBLES..][..AREA / DOUBLES];
                    subtract(tile, &left[i * AREA..][..AREA], right);
                }
            });
        }
        self.tiles.par_iter_mut().for_each(|value| *value = -*value);
        let is_finite = self.tiles.par_iter().all(|value| value.is_finite());
        Ok(is_finite.then_some(self))
    }
}

fn transposed(tile: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; AREA];
    for row in 0..TILE {
        for column in 0..TILE {
            out[column * TILE + row] = tile[row * TILE + column];
        }
    }
    out
}

/// Strips of `WIDTH` columns one after the other, each `[TILE, WIDTH]`.
fn pack<const WIDTH: usize>(tile: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(AREA);
    for first in (0..TILE).step_by(WIDTH) {
        tile.chunks(TILE).for_each(|row| out.extend_from_slice(&row[first..first + WIDTH]));
    }
    out
}

/// The inverse of a positive definite tile by Gauss-Jordan steps; whether it is one.
fn invert_tile(tile: &mut [f64]) -> bool {
    let mut row = [0.0; TILE];
    for k in 0..TILE {
        let pivot = tile[k * TILE + k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        let scale = 1.0 / pivot;
        row.copy_from_slice(&tile[k * TILE..][..TILE]);
        row.iter_mut().for_each(|value| *value *= scale);
        row[k] = scale;
        for (i, of_row) in tile.chunks_mut(TILE).enumerate() {
            if i == k {
                of_row.copy_from_slice(&row);
                continue;
            }
            let factor = of_row[k];
            of_row[k] = 0.0;
            of_row.iter_mut().zip(&row).for_each(|(value, of)| *value -= factor * of);
        }
    }
    // Rounding must not make the triangles differ.
    for i in 0..TILE {
        for j in 0..i {
            tile[j * TILE + i] = tile[i * TILE + j];
        }
    }
    true
}

dispatch! {
    /// Subtracts Σ_k left[k][row] · right[k][column] from every number of a tile; `left` is packed in strips of [`ROWS`],
    /// `right` in strips of [`COLUMNS`].
    fn subtract = subtract_kernel(tile: &mut [f64], left: &[f64], right: &[Block])
}

#[inline(always)]
fn subtract_kernel<L: Lanes>(tile: &mut [f64], left: &[f64], right: &[Block]) {
    for (strip, right) in right.as_chunks::<{ TILE * BLOCKS }>().0.iter().enumerate() {
        for (row, left) in left.as_chunks::<{ TILE * ROWS }>().0.iter().enumerate() {
            let mut sums = [[L::Doubles::splat(0.0); BLOCKS]; ROWS];
            for k in 0..TILE {
                let mut blocks = [L::Doubles::splat(0.0); BLOCKS];
                for at in 0..BLOCKS {
                    blocks[at] = L::Doubles::load(&right[k * BLOCKS + at].0);
                }
                for i in 0..ROWS {
                    let factor = L::Doubles::splat(left[k * ROWS + i]);
                    for at in 0..BLOCKS {
                        sums[i][at] = factor.mul_add(blocks[at], sums[i][at]);
                    }
                }
            }
            for i in 0..ROWS {
                let out = &mut tile[(row * ROWS + i) * TILE + strip * COLUMNS..][..COLUMNS];
                for (out, sum) in out.as_chunks_mut::<DOUBLES>().0.iter_mut().zip(sums[i]) {
                    let less = L::Doubles::splat(-1.0).mul_add(sum, L::Doubles::load(out));
                    less.store(out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn entry(i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        let off = ((i * 31 + j * 17) % 23) as f64 / 40.0 - 0.25;
        if i == j { 200.0 + (i % 7) as f64 } else { off }
    }

    fn matrix(n: usize) -> Symmetric {
        Symmetric::new(
            n,
            || (),
            |row, values, ()| {
                values
                    .iter_mut()
                    .enumerate()
                    .for_each(|(column, value)| *value = entry(row, column));
            },
        )
    }

    fn inverse(matrix: Symmetric) -> Option<Symmetric> {
        matrix.inverse(|_, _| Ok::<(), Infallible>(())).unwrap()
    }

    #[test]
    fn the_inverse_inverts_whatever_part_of_a_tile_is_left() {
        for n in [1, 3, 127, 128, 129, 300] {
            let inverse = inverse(matrix(n)).unwrap();
            assert_eq!(inverse.n, n);
            for i in (0..n).step_by(1 + n / 40) {
                for j in 0..n {
                    let product: f64 = (0..n).map(|k| entry(i, k) * inverse.get(k, j)).sum();
                    let off = (product - f64::from(u8::from(i == j))).abs();
                    assert!(off < 1e-12, "{n}: {i} {j} {off:e}");
                }
            }
        }
    }

    #[test]
    fn the_inverse_is_the_same_with_any_number_of_threads() {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| inverse(matrix(400)).unwrap().tiles)
        };
        assert!(with(1) == with(3));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_none() {
        let with = |row: usize, diagonal: f64| {
            Symmetric::new(
                200,
                || (),
                move |at, values, ()| {
                    values[at] = if at == row { diagonal } else { 1.0 };
                },
            )
        };
        assert!(inverse(with(0, 2.0)).is_some());
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(inverse(with(0, wrong)).is_none());
            assert!(inverse(with(150, wrong)).is_none());
        }
    }

    #[test]
    fn rows_are_written_with_both_triangles() {
        let n = 150;
        let matrix = matrix(n);
        assert_eq!(matrix.diagonal()[n - 1], entry(n - 1, n - 1));
        let mut rows = vec![0f32; n * n];
        for (at, rows) in rows.chunks_mut(TILE * n).enumerate() {
            matrix.write_rows(at * TILE, rows, |number, column| (number + column as f64) as f32);
        }
        for i in 0..n {
            for j in 0..n {
                assert_eq!(rows[i * n + j], (entry(i, j) + j as f64) as f32);
            }
        }
    }
}
