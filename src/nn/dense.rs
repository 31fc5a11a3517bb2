//! Dense linear algebra on libtorch: the one place of these models that meets tch.
//! Called through [`INVERT`] alone.

use std::sync::Once;

use tch::{Kind, Tensor};

use crate::base::programs::Slot;

type Invert = fn(Vec<f64>, usize) -> Option<Vec<f64>>;

/// [`inverse_of_positive_definite`]
pub static INVERT: Slot<Invert> = Slot::of(inverse_of_positive_definite);

/// The inverse of a symmetric positive definite matrix, row-major `[n, n]`; none where it is not.
pub fn inverse_of_positive_definite(matrix: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    static ONE_THREAD: Once = Once::new();
    // The same bytes whatever the machine's load: libtorch's own threads are not used.
    ONE_THREAD.call_once(|| tch::set_num_threads(1));
    let size = n as i64;
    let tensor = Tensor::from_slice(&matrix).reshape([size, size]);
    drop(matrix);
    let factor = tensor.f_linalg_cholesky(false).ok()?;
    let inverse =
        factor.f_cholesky_inverse(false).ok()?.to_kind(Kind::Double).contiguous().view(-1);
    let values: Vec<f64> = inverse.try_into().ok()?;
    values.iter().all(|value| value.is_finite()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_inverts() {
        let matrix = vec![4.0, 1.0, 0.5, 1.0, 3.0, 0.2, 0.5, 0.2, 2.0];
        let inverse = inverse_of_positive_definite(matrix.clone(), 3).unwrap();
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| matrix[3 * i + k] * inverse[3 * k + j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
        assert!(inverse_of_positive_definite(vec![0.0, 1.0, 1.0, 0.0], 2).is_none());
    }
}
