//! Vectors of sixteen floats, with the widest instructions of the machine.
//!
//! A kernel is an `#[inline(always)]` function over [`Lanes`]; [`dispatch`] compiles it once for each
//! instruction set and picks at run time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Number of floats.
pub const WIDTH: usize = 16;

/// Number of doubles.
pub const DOUBLES: usize = 8;

/// Eight doubles. [`Doubles::mul`] and [`Doubles::add`] are rounded one after the other: the same bytes with any
/// instructions.
pub trait Doubles: Copy {
    fn splat(value: f64) -> Self;
    fn load(from: &[f64; DOUBLES]) -> Self;
    fn store(self, to: &mut [f64; DOUBLES]);
    /// `self · b`
    fn mul(self, b: Self) -> Self;
    /// `self + b`
    fn add(self, b: Self) -> Self;
    /// `self · b + c`, rounded once where the machine can.
    fn mul_add(self, b: Self, c: Self) -> Self;
}

/// Sixteen floats.
pub trait Lanes: Copy {
    /// Eight doubles with the same instructions.
    type Doubles: Doubles;

    fn splat(value: f32) -> Self;
    fn load(from: &[f32; WIDTH]) -> Self;
    fn store(self, to: &mut [f32; WIDTH]);
    /// `self · b + c`
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self · b`
    fn mul(self, b: Self) -> Self;
    /// `self + b`
    fn add(self, b: Self) -> Self;
    /// Lane by lane, `then` if `self` is above 0, otherwise `otherwise`.
    fn if_positive(self, then: Self, otherwise: Self) -> Self;
    /// The sum, in an order fixed for each instruction set.
    fn sum(self) -> f32;
}

/// Without special instructions.
#[derive(Clone, Copy)]
pub struct Portable([f32; WIDTH]);

impl Lanes for Portable {
    type Doubles = PortableDoubles;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; WIDTH])
    }

    #[inline(always)]
    fn load(from: &[f32; WIDTH]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH]) {
        *to = self.0;
    }

    #[inline(always)]
    fn mul_add(mut self, b: Self, c: Self) -> Self {
        for at in 0..WIDTH {
            self.0[at] = self.0[at] * b.0[at] + c.0[at];
        }
        self
    }

    #[inline(always)]
    fn mul(mut self, b: Self) -> Self {
        for at in 0..WIDTH {
            self.0[at] *= b.0[at];
        }
        self
    }

    #[inline(always)]
    fn add(mut self, b: Self) -> Self {
        for at in 0..WIDTH {
            self.0[at] += b.0[at];
        }
        self
    }

    #[inline(always)]
    fn if_positive(mut self, then: Self, otherwise: Self) -> Self {
        for at in 0..WIDTH {
            self.0[at] = if self.0[at] > 0.0 { then.0[at] } else { otherwise.0[at] };
        }
        self
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        self.0.iter().sum()
    }
}

/// Without special instructions.
#[derive(Clone, Copy)]
pub struct PortableDoubles([f64; DOUBLES]);

impl Doubles for PortableDoubles {
    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([value; DOUBLES])
    }

    #[inline(always)]
    fn load(from: &[f64; DOUBLES]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; DOUBLES]) {
        *to = self.0;
    }

    #[inline(always)]
    fn mul(mut self, b: Self) -> Self {
        for at in 0..DOUBLES {
            self.0[at] *= b.0[at];
        }
        self
    }

    #[inline(always)]
    fn add(mut self, b: Self) -> Self {
        for at in 0..DOUBLES {
            self.0[at] += b.0[at];
        }
        self
    }

    #[inline(always)]
    fn mul_add(mut self, b: Self, c: Self) -> Self {
        for at in 0..DOUBLES {
            self.0[at] = self.0[at] * b.0[at] + c.0[at];
        }
        self
    }
}

/// AVX2 and FMA. Created only if [`dispatch`] has detected them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

/// AVX2 and FMA. Created only if [`dispatch`] has detected them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2Doubles(__m256d, __m256d);

// SAFETY of all blocks below: values of these types exist only in functions that dispatch calls after it has detected the
// instructions; loads and stores use references to arrays of their length.
#[cfg(target_arch = "x86_64")]
impl Doubles for Avx2Doubles {
    #[inline(always)]
    fn splat(value: f64) -> Self {
        unsafe { Self(_mm256_set1_pd(value), _mm256_set1_pd(value)) }
    }

    #[inline(always)]
    fn load(from: &[f64; DOUBLES]) -> Self {
        unsafe { Self(_mm256_loadu_pd(from.as_ptr()), _mm256_loadu_pd(from.as_ptr().add(4))) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; DOUBLES]) {
        unsafe {
            _mm256_storeu_pd(to.as_mut_ptr(), self.0);
            _mm256_storeu_pd(to.as_mut_ptr().add(4), self.1);
        }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        unsafe { Self(_mm256_mul_pd(self.0, b.0), _mm256_mul_pd(self.1, b.1)) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        unsafe { Self(_mm256_add_pd(self.0, b.0), _mm256_add_pd(self.1, b.1)) }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm256_fmadd_pd(self.0, b.0, c.0), _mm256_fmadd_pd(self.1, b.1, c.1)) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    type Doubles = Avx2Doubles;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    fn load(from: &[f32; WIDTH]) -> Self {
        unsafe { Self(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH]) {
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), self.1);
        }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm256_fmadd_ps(self.0, b.0, c.0), _mm256_fmadd_ps(self.1, b.1, c.1)) }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        unsafe { Self(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        unsafe { Self(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
    }

    #[inline(always)]
    fn if_positive(self, then: Self, otherwise: Self) -> Self {
        unsafe {
            let zero = _mm256_setzero_ps();
            let left = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, zero);
            let right = _mm256_cmp_ps::<_CMP_GT_OQ>(self.1, zero);
            Self(
                _mm256_blendv_ps(otherwise.0, then.0, left),
                _mm256_blendv_ps(otherwise.1, then.1, right),
            )
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

/// AVX-512. Created only if [`dispatch`] has detected it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

/// AVX-512. Created only if [`dispatch`] has detected it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512Doubles(__m512d);

#[cfg(target_arch = "x86_64")]
impl Doubles for Avx512Doubles {
    #[inline(always)]
    fn splat(value: f64) -> Self {
        unsafe { Self(_mm512_set1_pd(value)) }
    }

    #[inline(always)]
    fn load(from: &[f64; DOUBLES]) -> Self {
        unsafe { Self(_mm512_loadu_pd(from.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; DOUBLES]) {
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        unsafe { Self(_mm512_mul_pd(self.0, b.0)) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        unsafe { Self(_mm512_add_pd(self.0, b.0)) }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm512_fmadd_pd(self.0, b.0, c.0)) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    type Doubles = Avx512Doubles;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        unsafe { Self(_mm512_set1_ps(value)) }
    }

    #[inline(always)]
    fn load(from: &[f32; WIDTH]) -> Self {
        unsafe { Self(_mm512_loadu_ps(from.as_ptr())) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        unsafe { Self(_mm512_fmadd_ps(self.0, b.0, c.0)) }
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        unsafe { Self(_mm512_mul_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        unsafe { Self(_mm512_add_ps(self.0, b.0)) }
    }

    #[inline(always)]
    fn if_positive(self, then: Self, otherwise: Self) -> Self {
        unsafe {
            let over = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
            Self(_mm512_mask_blend_ps(over, otherwise.0, then.0))
        }
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
}

/// Defines `$name`, which runs `$kernel` with AVX-512, with AVX2 and FMA, or without special instructions.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident = $kernel:ident($($arg:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        $vis fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn avx512($($arg: $type),*) { $kernel::<$crate::base::simd::Avx512>($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) { $kernel::<$crate::base::simd::Avx2>($($arg),*) }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the machine has the instructions that the function was compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $kernel::<$crate::base::simd::Portable>($($arg),*)
        }
    };
}

pub(crate) use dispatch;

/// The sixteen floats that start at `at`.
#[inline(always)]
pub fn block(values: &[f32], at: usize) -> &[f32; WIDTH] {
    match values[at..].first_chunk() {
        Some(block) => block,
        None => unreachable!("vectors are padded to whole lanes"),
    }
}

/// The same, mutable.
#[inline(always)]
pub fn block_mut(values: &mut [f32], at: usize) -> &mut [f32; WIDTH] {
    match values[at..].first_chunk_mut() {
        Some(block) => block,
        None => unreachable!("vectors are padded to whole lanes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees<L: Lanes>() {
        let a: [f32; WIDTH] = std::array::from_fn(|at| at as f32 - 3.5);
        let mut out = [0.0; WIDTH];
        L::load(&a).mul_add(L::splat(2.0), L::splat(1.0)).store(&mut out);
        assert!(a.iter().zip(out).all(|(a, out)| out == 2.0 * a + 1.0));
        let (lanes, two) = (L::load(&a), L::splat(2.0));
        assert_eq!((lanes.mul(two).sum(), lanes.add(two).sum()), (128.0, 96.0));
        assert_eq!(lanes.if_positive(two, L::splat(1.0)).sum(), 2.0 * 12.0 + 4.0);
        assert_eq!(L::load(&a).sum(), 64.0);

        // Rounded twice: with one rounding the product would keep its last digits.
        let thirds: [f64; DOUBLES] = std::array::from_fn(|at| at as f64 / 3.0);
        let mut out = [0.0; DOUBLES];
        let of = L::Doubles::load(&thirds);
        of.mul(of).add(L::Doubles::splat(-0.1)).store(&mut out);
        assert!(thirds.iter().zip(out).all(|(third, out)| out == third * third + -0.1));
        let (two, one) = (L::Doubles::splat(2.0), L::Doubles::splat(1.0));
        of.mul_add(two, one).store(&mut out);
        assert!(thirds.iter().zip(out).all(|(third, out)| out == 2.0 * third + 1.0));
    }

    #[test]
    fn all_instruction_sets_give_the_same_results() {
        agrees::<Portable>();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                agrees::<Avx2>();
            }
            if is_x86_feature_detected!("avx512f") {
                agrees::<Avx512>();
            }
        }
    }
}
