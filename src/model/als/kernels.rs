//! The arithmetic of ALS on rows of `dim` floats. `dim` is the number of factors.

use super::solve::Scratch;
use crate::model::simd::{dispatch, mul_add};

/// Rows of the matrix updated together.
const ROWS: usize = 4;
/// Columns of the matrix updated together.
const COLUMNS: usize = 32;

dispatch! {
    /// Adds Σ_n w_n y_n y_nᵀ to the upper triangle of `matrix` `[dim, dim]` for the rows y of
    /// `rows` `[n, dim]`; without weights w is 1. Entries below the diagonal are left undefined.
    pub fn add_outer_products = add_outer_products_kernel(
        matrix: &mut [f32], rows: &[f32], weights: Option<&[f32]>, dim: usize,
    )
}

#[inline(always)]
fn add_outer_products_kernel<const FMA: bool>(
    matrix: &mut [f32],
    rows: &[f32],
    weights: Option<&[f32]>,
    dim: usize,
) {
    for first_row in (0..dim).step_by(ROWS) {
        // Tiles wholly below the diagonal are not needed.
        for first_column in (first_row / COLUMNS * COLUMNS..dim).step_by(COLUMNS) {
            if first_row + ROWS <= dim && first_column + COLUMNS <= dim {
                tile::<FMA>(matrix, rows, weights, dim, first_row, first_column);
            } else {
                edge::<FMA>(matrix, rows, weights, dim, first_row, first_column);
            }
        }
    }
}

/// A whole tile, kept in registers over all rows.
#[inline(always)]
fn tile<const FMA: bool>(
    matrix: &mut [f32],
    rows: &[f32],
    weights: Option<&[f32]>,
    dim: usize,
    first_row: usize,
    first_column: usize,
) {
    let mut sums = [[0f32; COLUMNS]; ROWS];
    for (at, row) in rows.chunks_exact(dim).enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[at]);
        let (Some(left), Some(right)) =
            (row[first_row..].first_chunk::<ROWS>(), row[first_column..].first_chunk::<COLUMNS>())
        else {
            return;
        };
        for (sum, left) in sums.iter_mut().zip(left) {
            let left = left * weight;
            for (sum, right) in sum.iter_mut().zip(right) {
                *sum = mul_add::<FMA>(left, *right, *sum);
            }
        }
    }
    for (at, sum) in sums.iter().enumerate() {
        let target = &mut matrix[(first_row + at) * dim + first_column..][..COLUMNS];
        target.iter_mut().zip(sum).for_each(|(target, sum)| *target += sum);
    }
}

/// A tile cut off by the edge of the matrix.
#[inline(always)]
fn edge<const FMA: bool>(
    matrix: &mut [f32],
    rows: &[f32],
    weights: Option<&[f32]>,
    dim: usize,
    first_row: usize,
    first_column: usize,
) {
    let columns = first_column..(first_column + COLUMNS).min(dim);
    for i in first_row..(first_row + ROWS).min(dim) {
        let target = &mut matrix[i * dim..][columns.clone()];
        for (at, row) in rows.chunks_exact(dim).enumerate() {
            let left = row[i] * weights.map_or(1.0, |weights| weights[at]);
            for (target, right) in target.iter_mut().zip(&row[columns.clone()]) {
                *target = mul_add::<FMA>(left, *right, *target);
            }
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
fn cholesky_kernel<const FMA: bool>(
    scratch: &mut Scratch,
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    solution: &mut [f32],
) {
    let dim = solution.len();
    let Scratch { gathered, matrix, residual, .. } = scratch;
    matrix.copy_from_slice(gram);
    for i in 0..dim {
        matrix[i * dim + i] += lambda;
    }
    // Confidences below 1 give negative weights, which are fine: the sum stays positive.
    let mut weights = [0f32; 256];
    for (rows, confidence) in gathered.chunks(256 * dim).zip(confidence.chunks(256)) {
        for (weight, confidence) in weights.iter_mut().zip(confidence) {
            *weight = confidence - 1.0;
        }
        add_outer_products_kernel::<FMA>(matrix, rows, Some(&weights), dim);
    }
    residual.fill(0.0);
    for (row, confidence) in gathered.chunks_exact(dim).zip(confidence) {
        add_scaled::<FMA>(residual, *confidence, row);
    }
    // A = UᵀU by rows of U, so that every inner loop runs along a row.
    for j in 0..dim {
        let (above, below) = matrix.split_at_mut((j + 1) * dim);
        let pivot_row = &mut above[j * dim..];
        let inverse = 1.0 / pivot_row[j].sqrt();
        pivot_row[j..].iter_mut().for_each(|value| *value *= inverse);
        for i in j + 1..dim {
            let factor = -pivot_row[i];
            let start = (i - j - 1) * dim;
            add_scaled::<FMA>(&mut below[start + i..start + dim], factor, &pivot_row[i..]);
        }
    }
    // Uᵀ z = b, then U x = z; `residual` goes from b to z.
    for i in 0..dim {
        let value = residual[i] / matrix[i * dim + i];
        residual[i] = value;
        let row = &matrix[i * dim + i + 1..(i + 1) * dim];
        add_scaled::<FMA>(&mut residual[i + 1..], -value, row);
    }
    for i in (0..dim).rev() {
        let row = &matrix[i * dim + i + 1..(i + 1) * dim];
        let known = dot::<FMA>(row, &solution[i + 1..]);
        solution[i] = (residual[i] - known) / matrix[i * dim + i];
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
fn cg_kernel<const FMA: bool>(
    scratch: &mut Scratch,
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    steps: usize,
    solution: &mut [f32],
) {
    // The usual sizes get loops of known length.
    match solution.len() {
        32 => cg_of::<FMA, 32>(scratch, gram, confidence, lambda, steps, solution),
        64 => cg_of::<FMA, 64>(scratch, gram, confidence, lambda, steps, solution),
        128 => cg_of::<FMA, 128>(scratch, gram, confidence, lambda, steps, solution),
        _ => cg_of::<FMA, 0>(scratch, gram, confidence, lambda, steps, solution),
    }
}

/// `DIM` is the number of factors, or 0 where only the slices know it.
#[inline(always)]
fn cg_of<const FMA: bool, const DIM: usize>(
    scratch: &mut Scratch,
    gram: &[f32],
    confidence: &[f32],
    lambda: f32,
    steps: usize,
    solution: &mut [f32],
) {
    let Scratch { gathered, residual, direction, product, .. } = scratch;
    // r = b − A x = Σ (c − (c−1) y·x) y − G x − λ x
    apply::<FMA, DIM>(gram, gathered, confidence, lambda, solution, product);
    residual.fill(0.0);
    for (row, confidence) in gathered.chunks_exact(solution.len()).zip(confidence) {
        add_scaled::<FMA>(residual, *confidence, row);
    }
    residual.iter_mut().zip(product.iter()).for_each(|(r, product)| *r -= product);
    direction.copy_from_slice(residual);
    let mut norm = dot::<FMA>(residual, residual);
    for _ in 0..steps {
        if norm < 1e-20 {
            return;
        }
        apply::<FMA, DIM>(gram, gathered, confidence, lambda, direction, product);
        let step = norm / dot::<FMA>(direction, product);
        add_scaled::<FMA>(solution, step, direction);
        add_scaled::<FMA>(residual, -step, product);
        let next = dot::<FMA>(residual, residual);
        let ratio = next / norm;
        for (direction, residual) in direction.iter_mut().zip(residual.iter()) {
            *direction = mul_add::<FMA>(ratio, *direction, *residual);
        }
        norm = next;
    }
}

/// out = (G + Σ (c−1) y yᵀ + λI) v
#[inline(always)]
fn apply<const FMA: bool, const DIM: usize>(
    gram: &[f32],
    gathered: &[f32],
    confidence: &[f32],
    lambda: f32,
    v: &[f32],
    out: &mut [f32],
) {
    if let (Some(v), Some(out)) = (v.first_chunk::<DIM>(), out.first_chunk_mut::<DIM>())
        && DIM > 0
    {
        return apply_fixed::<FMA, DIM>(gram, gathered, confidence, lambda, v, out);
    }
    let dim = v.len();
    for (out, v) in out.iter_mut().zip(v) {
        *out = lambda * v;
    }
    // G is symmetric: its rows serve as columns.
    for (row, v) in gram.chunks_exact(dim).zip(v) {
        add_scaled::<FMA>(out, *v, row);
    }
    for (row, confidence) in gathered.chunks_exact(dim).zip(confidence) {
        let weight = (confidence - 1.0) * dot::<FMA>(row, v);
        add_scaled::<FMA>(out, weight, row);
    }
}

/// The same with everything but the rows kept in registers; four rows at a time, so that their
/// dot products do not wait for each other.
#[inline(always)]
fn apply_fixed<const FMA: bool, const DIM: usize>(
    gram: &[f32],
    gathered: &[f32],
    confidence: &[f32],
    lambda: f32,
    v: &[f32; DIM],
    out: &mut [f32; DIM],
) {
    let mut sums = [0f32; DIM];
    for (sum, v) in sums.iter_mut().zip(v) {
        *sum = lambda * v;
    }
    for (row, v) in gram.chunks_exact(DIM).zip(v) {
        let Some(row) = row.first_chunk::<DIM>() else { return };
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum = mul_add::<FMA>(*v, *value, *sum);
        }
    }
    let mut fours = gathered.chunks_exact(4 * DIM);
    let mut weights = confidence.chunks_exact(4);
    for (rows, confidence) in fours.by_ref().zip(weights.by_ref()) {
        let mut scaled = [0f32; 4];
        for ((scaled, row), confidence) in
            scaled.iter_mut().zip(rows.chunks_exact(DIM)).zip(confidence)
        {
            *scaled = (confidence - 1.0) * dot_fixed::<FMA, DIM>(row, v);
        }
        for (row, scaled) in rows.chunks_exact(DIM).zip(scaled) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = mul_add::<FMA>(scaled, *value, *sum);
            }
        }
    }
    for (row, confidence) in fours.remainder().chunks_exact(DIM).zip(weights.remainder()) {
        let scaled = (confidence - 1.0) * dot_fixed::<FMA, DIM>(row, v);
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum = mul_add::<FMA>(scaled, *value, *sum);
        }
    }
    *out = sums;
}

#[inline(always)]
fn dot_fixed<const FMA: bool, const DIM: usize>(row: &[f32], v: &[f32; DIM]) -> f32 {
    match row.first_chunk::<DIM>() {
        Some(row) => dot::<FMA>(row, v),
        None => 0.0,
    }
}

/// y += a x
#[inline(always)]
fn add_scaled<const FMA: bool>(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = mul_add::<FMA>(a, *x, *y);
    }
}

/// Sixteen partial sums, added up in a fixed order.
#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = mul_add::<FMA>(*a, *b, *sum);
        }
    }
    for width in [8, 4, 2, 1] {
        for at in 0..width {
            sums[at] += sums[at + width];
        }
    }
    a_rest.iter().zip(b_rest).fold(sums[0], |sum, (a, b)| mul_add::<FMA>(*a, *b, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_products_equal_the_plain_sum_for_any_size() {
        for dim in [1, 3, 8, 31, 33, 64, 70] {
            let rows: Vec<f32> = (0..5 * dim).map(|at| (at * 31 % 17) as f32 / 8.0 - 1.0).collect();
            let weights = [0.5, -1.0, 2.0, 0.0, 3.0];
            let mut matrix = vec![0.25; dim * dim];
            add_outer_products(&mut matrix, &rows, Some(&weights), dim);
            for i in 0..dim {
                for j in i..dim {
                    let sum: f32 =
                        (0..5).map(|n| weights[n] * rows[n * dim + i] * rows[n * dim + j]).sum();
                    let found = matrix[i * dim + j];
                    assert!((found - 0.25 - sum).abs() < 1e-4, "{dim} {i} {j}: {found} {sum}");
                }
            }
        }
    }
}
