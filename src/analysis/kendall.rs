//! Whether two evaluation settings put systems in the same order.

/// Kendall's τ-b of two columns of values (Kendall 1945; ties lower the denominator). None where one
/// of them ties everything, or fewer than two values are given.
pub fn tau_b(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mut agreement, mut untied_a, mut untied_b) = (0i64, 0u64, 0u64);
    for first in 0..a.len() {
        for second in 0..first {
            let sign = |values: &[f64]| {
                i64::from(values[first] > values[second])
                    - i64::from(values[first] < values[second])
            };
            agreement += sign(a) * sign(b);
            untied_a += sign(a).unsigned_abs();
            untied_b += sign(b).unsigned_abs();
        }
    }
    let scale = (untied_a as f64 * untied_b as f64).sqrt();
    (scale > 0.0).then(|| agreement as f64 / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.stats.kendalltau`.
    #[test]
    fn values_of_the_reference_library() {
        let of = |a: &[f64], b: &[f64]| tau_b(a, b);
        assert_eq!(of(&[1.0, 2.0, 3.0], &[2.0, 4.0, 9.0]), Some(1.0));
        assert_eq!(of(&[1.0, 2.0, 3.0], &[9.0, 4.0, 2.0]), Some(-1.0));
        let tied = of(&[1.0, 2.0, 2.0, 4.0, 5.0], &[3.0, 1.0, 2.0, 2.0, 5.0]).unwrap();
        assert!((tied - 0.222_222_222_222_222_2).abs() < 1e-12, "{tied}");
        assert_eq!(of(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(of(&[1.0], &[1.0]), None);
    }
}
