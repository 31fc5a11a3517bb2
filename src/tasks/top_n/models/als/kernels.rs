//! The arithmetic of ALS. Vectors are padded with zeros to `dim`, a multiple of [`WIDTH`].

// Several arrays of registers are walked in step; an index says that more plainly than a zip of four.
#![allow(clippy::needless_range_loop)]

use super::solve::Scratch;
use crate::base::simd::{Lanes, WIDTH, block, block_mut, dispatch};

/// Rows of the matrix updated together.
const ROWS: usize = 4;

dispatch! {
    /// Adds Σ_n w_n y_n y_nᵀ to the upper triangle of `matrix` `[dim, dim]` for the rows y of
    /// `rows` `[n, dim]`, where w = c − 1 or, without confidences, 1. Entries below the diagonal
    /// are left undefined.
    pub fn add_outer_products = add_outer_products_kernel(
        matrix: &mut [f32], rows: &[f32], confidence: Option<&[f32]>, dim: usize,
    )
}

#[inline(always)]
fn add_outer_products_kernel<L: Lanes>(
    matrix: &mut [f32],
    rows: &[f32],
    confidence: Option<&[f32]>,
    dim: usize,
) {
    let mut row = 0;
    while row < dim {
        // Blocks wholly below the diagonal are not needed.
        let mut column = row / WIDTH * WIDTH;
        while column < dim {
            let left = (dim - column) / WIDTH;
            if left >= 4 {
                tile::<L, 4>(matrix, rows, confidence, dim, row, column);
                column += 4 * WIDTH;
            } else if left >= 2 {
                tile::<L, 2>(matrix, rows, confidence, dim, row, column);
                column += 2 * WIDTH;
            } else {
                tile::<L, 1>(matrix, rows, confidence, dim, row, column);
                column += WIDTH;
            }
        }
        row += ROWS;
    }
}

/// `ROWS` rows by `N` blocks, kept in registers over all of `rows`.
#[inline(always)]
fn tile<L: Lanes, const N: usize>(
    matrix: &mut [f32],
    rows: &[f32],
    confidence: Option<&[f32]>,
    dim: usize,
    row: usize,
    column: usize,
) {
    let mut sums = [[L::splat(0.0); N]; ROWS];
    let n = rows.len() / dim;
    for at in 0..n {
        let weight = match confidence {
            Some(confidence) => confidence[at] - 1.0,
            None => 1.0,
        };
        let vector = &rows[at * dim..(at + 1) * dim];
        let mut right = [L::splat(0.0); N];
        for j in 0..N {
            right[j] = L::load(block(vector, column + j * WIDTH));
        }
        for i in 0..ROWS {
            let left = L::splat(vector[row + i] * weight);
            for j in 0..N {
                sums[i][j] = left.mul_add(right[j], sums[i][j]);
            }
        }
    }
    for i in 0..ROWS {
        for j in 0..N {
            let target = block_mut(matrix, (row + i) * dim + column + j * WIDTH);
            L::splat(1.0).mul_add(sums[i][j], L::load(target)).store(target);
        }
    }
}

dispatch! {
    /// Solves (G + Σ (c−1) y yᵀ + λI) x = Σ c y exactly into `solution`; not finite where the matrix
    /// is not positive definite. `scratch.gathered` holds the y, `gram` is G.
    pub fn cholesky = cholesky_kernel(
        scratch: &mut Scratch, gram: &[f32], confidence: &[f32], lambda: f32, solution: &mut [f32],
    )
}

#[inline(always)]
fn cholesky_kernel<L: Lanes>(
    scratch: &mut Scratch,
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    solution: &mut [f32],
) {
    let dim = solution.len();
    let Scratch { gathered, matrix, residual, direction, padding } = scratch;
    matrix.copy_from_slice(gram);
    for i in 0..dim {
        // The padding solves to zero, whatever λ is.
        matrix[i * dim + i] += if i < dim - *padding { lambda } else { 1.0 };
    }
    add_outer_products_kernel::<L>(matrix, gathered, Some(confidence), dim);
    residual.fill(0.0);
    for at in 0..confidence.len() {
        add_scaled::<L>(residual, confidence[at], &gathered[at * dim..(at + 1) * dim], 0);
    }
    // A = UᵀU by rows of U, so that every inner loop runs along a row. Whole blocks are worked on:
    // what that does below the diagonal is never read.
    for j in 0..dim {
        let (above, below) = matrix.split_at_mut((j + 1) * dim);
        let pivot = &mut above[j * dim..];
        let inverse = 1.0 / pivot[j].sqrt();
        let first = j / WIDTH * WIDTH;
        let mut at = first;
        while at < dim {
            let values = block_mut(pivot, at);
            L::load(values).mul_add(L::splat(inverse), L::splat(0.0)).store(values);
            at += WIDTH;
        }
        for i in j + 1..dim {
            let start = (i - j - 1) * dim;
            add_scaled::<L>(&mut below[start..start + dim], -pivot[i], pivot, i / WIDTH * WIDTH);
        }
    }
    // Uᵀ z = b: `direction` becomes z while `residual` is used up. Then U x = z.
    for i in 0..dim {
        let row = &matrix[i * dim..(i + 1) * dim];
        let value = residual[i] / row[i];
        direction[i] = value;
        add_scaled::<L>(residual, -value, row, i / WIDTH * WIDTH);
    }
    solution.fill(0.0);
    for i in (0..dim).rev() {
        let row = &matrix[i * dim..(i + 1) * dim];
        let first = (i + 1) / WIDTH * WIDTH;
        let mut known = 0.0;
        for j in i + 1..(first + WIDTH).min(dim) {
            known += row[j] * solution[j];
        }
        if first + WIDTH < dim {
            known += dot::<L>(row, solution, first + WIDTH);
        }
        solution[i] = (direction[i] - known) / row[i];
    }
}

dispatch! {
    /// Takes `steps` steps of conjugate gradients towards the solution of the same equations,
    /// starting from what `solution` holds.
    pub fn cg = cg_kernel(
        scratch: &mut Scratch, gram: &[f32], confidence: &[f32], lambda: f32, steps: usize,
        solution: &mut [f32],
    )
}

#[inline(always)]
fn cg_kernel<L: Lanes>(
    scratch: &mut Scratch,
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    steps: usize,
    solution: &mut [f32],
) {
    // The usual sizes are kept in registers.
    match solution.len() / WIDTH {
        2 => cg_fixed::<L, 2>(&scratch.gathered, gram, confidence, lambda, steps, solution),
        4 => cg_fixed::<L, 4>(&scratch.gathered, gram, confidence, lambda, steps, solution),
        _ => cg_any::<L>(scratch, gram, confidence, lambda, steps, solution),
    }
}

/// `N` blocks of factors.
#[inline(always)]
fn cg_fixed<L: Lanes, const N: usize>(
    gathered: &[f32],
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    steps: usize,
    solution: &mut [f32],
) {
    let mut x = [L::splat(0.0); N];
    for j in 0..N {
        x[j] = L::load(block(solution, j * WIDTH));
    }
    // r = b − A x = Σ (c − (c−1) y·x) y − G x − λ x: `apply` with the other sign and c added.
    let mut residual = apply::<L, N, true>(gathered, gram, confidence, lambda, x);
    let mut direction = residual;
    let mut norm = inner::<L, N>(&residual, &residual);
    for _ in 0..steps {
        if norm < 1e-20 {
            break;
        }
        let product = apply::<L, N, false>(gathered, gram, confidence, lambda, direction);
        let step = norm / inner::<L, N>(&direction, &product);
        for j in 0..N {
            x[j] = L::splat(step).mul_add(direction[j], x[j]);
            residual[j] = L::splat(-step).mul_add(product[j], residual[j]);
        }
        let next = inner::<L, N>(&residual, &residual);
        for j in 0..N {
            direction[j] = L::splat(next / norm).mul_add(direction[j], residual[j]);
        }
        norm = next;
    }
    for j in 0..N {
        x[j].store(block_mut(solution, j * WIDTH));
    }
}

/// (G + Σ (c−1) y yᵀ + λI) v, or with `RESIDUAL` Σ c y minus that.
#[inline(always)]
fn apply<L: Lanes, const N: usize, const RESIDUAL: bool>(
    gathered: &[f32],
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    v: [L; N],
) -> [L; N] {
    let sign = if RESIDUAL { -1.0 } else { 1.0 };
    let zero = L::splat(0.0);
    let mut values = [[0f32; WIDTH]; N];
    let mut even = [zero; N];
    let mut odd = [zero; N];
    for j in 0..N {
        v[j].store(&mut values[j]);
        even[j] = L::splat(sign * lambda).mul_add(v[j], zero);
    }
    // G is symmetric: its rows serve as columns. Two sums, so that additions do not wait.
    for j in 0..N {
        for lane in (0..WIDTH).step_by(2) {
            let row = (j * WIDTH + lane) * N * WIDTH;
            let (a, b) = (L::splat(sign * values[j][lane]), L::splat(sign * values[j][lane + 1]));
            for i in 0..N {
                even[i] = a.mul_add(L::load(block(gram, row + i * WIDTH)), even[i]);
                odd[i] = b.mul_add(L::load(block(gram, row + (N + i) * WIDTH)), odd[i]);
            }
        }
    }
    let weight = |c: f32, product: f32| {
        if RESIDUAL { c - (c - 1.0) * product } else { (c - 1.0) * product }
    };
    let n = confidence.len();
    let mut at = 0;
    while at + 2 <= n {
        let rows = &gathered[at * N * WIDTH..(at + 2) * N * WIDTH];
        let mut first = [zero; N];
        let mut second = [zero; N];
        let (mut dot_first, mut dot_second) = (zero, zero);
        for j in 0..N {
            first[j] = L::load(block(rows, j * WIDTH));
            second[j] = L::load(block(rows, (N + j) * WIDTH));
            dot_first = first[j].mul_add(v[j], dot_first);
            dot_second = second[j].mul_add(v[j], dot_second);
        }
        let a = L::splat(weight(confidence[at], dot_first.sum()));
        let b = L::splat(weight(confidence[at + 1], dot_second.sum()));
        for j in 0..N {
            even[j] = a.mul_add(first[j], even[j]);
            odd[j] = b.mul_add(second[j], odd[j]);
        }
        at += 2;
    }
    if at < n {
        let row = &gathered[at * N * WIDTH..(at + 1) * N * WIDTH];
        let mut product = zero;
        for j in 0..N {
            product = L::load(block(row, j * WIDTH)).mul_add(v[j], product);
        }
        let a = L::splat(weight(confidence[at], product.sum()));
        for j in 0..N {
            even[j] = a.mul_add(L::load(block(row, j * WIDTH)), even[j]);
        }
    }
    for j in 0..N {
        even[j] = L::splat(1.0).mul_add(odd[j], even[j]);
    }
    even
}

#[inline(always)]
fn inner<L: Lanes, const N: usize>(a: &[L; N], b: &[L; N]) -> f32 {
    let mut sum = L::splat(0.0);
    for j in 0..N {
        sum = a[j].mul_add(b[j], sum);
    }
    sum.sum()
}

/// The same for any number of blocks.
#[inline(always)]
fn cg_any<L: Lanes>(
    scratch: &mut Scratch,
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    steps: usize,
    solution: &mut [f32],
) {
    let dim = solution.len();
    let Scratch { gathered, matrix, residual, direction, .. } = scratch;
    let product = &mut matrix[..dim];
    apply_any::<L>(gathered, gram, confidence, lambda, solution, product);
    residual.fill(0.0);
    for at in 0..confidence.len() {
        add_scaled::<L>(residual, confidence[at], &gathered[at * dim..(at + 1) * dim], 0);
    }
    add_scaled::<L>(residual, -1.0, product, 0);
    direction.copy_from_slice(residual);
    let mut norm = dot::<L>(residual, residual, 0);
    for _ in 0..steps {
        if norm < 1e-20 {
            return;
        }
        apply_any::<L>(gathered, gram, confidence, lambda, direction, product);
        let step = norm / dot::<L>(direction, product, 0);
        add_scaled::<L>(solution, step, direction, 0);
        add_scaled::<L>(residual, -step, product, 0);
        let next = dot::<L>(residual, residual, 0);
        for at in 0..dim {
            direction[at] = residual[at] + next / norm * direction[at];
        }
        norm = next;
    }
}

#[inline(always)]
fn apply_any<L: Lanes>(
    gathered: &[f32],
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    v: &[f32],
    out: &mut [f32],
) {
    let dim = v.len();
    out.fill(0.0);
    add_scaled::<L>(out, lambda, v, 0);
    for at in 0..dim {
        add_scaled::<L>(out, v[at], &gram[at * dim..(at + 1) * dim], 0);
    }
    for at in 0..confidence.len() {
        let row = &gathered[at * dim..(at + 1) * dim];
        let weight = (confidence[at] - 1.0) * dot::<L>(row, v, 0);
        add_scaled::<L>(out, weight, row, 0);
    }
}

/// y += a x, from the block that starts at `from`.
#[inline(always)]
fn add_scaled<L: Lanes>(y: &mut [f32], a: f32, x: &[f32], from: usize) {
    let a = L::splat(a);
    let mut at = from;
    while at < y.len() {
        let target = block_mut(y, at);
        a.mul_add(L::load(block(x, at)), L::load(target)).store(target);
        at += WIDTH;
    }
}

#[inline(always)]
fn dot<L: Lanes>(a: &[f32], b: &[f32], from: usize) -> f32 {
    let mut sum = L::splat(0.0);
    let mut at = from;
    while at < a.len() {
        sum = L::load(block(a, at)).mul_add(L::load(block(b, at)), sum);
        at += WIDTH;
    }
    sum.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_products_equal_the_plain_sum_for_any_size() {
        for dim in [16, 32, 48, 64, 80, 112] {
            let rows: Vec<f32> = (0..5 * dim).map(|at| (at * 31 % 17) as f32 / 8.0 - 1.0).collect();
            let confidence = [1.5, 0.0, 3.0, 1.0, 4.0];
            let mut matrix = vec![0.25; dim * dim];
            add_outer_products(&mut matrix, &rows, Some(&confidence), dim);
            for i in 0..dim {
                for j in i..dim {
                    let sum: f32 = (0..5)
                        .map(|n| (confidence[n] - 1.0) * rows[n * dim + i] * rows[n * dim + j])
                        .sum();
                    let found = matrix[i * dim + j];
                    assert!((found - 0.25 - sum).abs() < 1e-4, "{dim} {i} {j}: {found} {sum}");
                }
            }
        }
    }
}
