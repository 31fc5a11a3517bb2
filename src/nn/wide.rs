//! Several numbers at a time, of either precision: 32 bits for work, 64 for comparison with reference
//! libraries.

use tch::Kind;

use crate::base::simd::{Lanes, WIDTH};

/// A number that networks are made of.
pub trait Real: Copy + Send + Sync + PartialOrd + std::fmt::Debug + 'static {
    const KIND: Kind;
    fn of(value: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    const KIND: Kind = Kind::Float;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const KIND: Kind = Kind::Double;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}

/// Lanes of [`Real`]s.
pub trait Wide: Copy {
    type Elem: Real;
    /// How many there are.
    const LANES: usize;
    fn splat(value: Self::Elem) -> Self;
    /// The numbers from `at` on.
    fn load(from: &[Self::Elem], at: usize) -> Self;
    fn store(self, to: &mut [Self::Elem], at: usize);
    /// `self · b + c`
    fn mul_add(self, b: Self, c: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn add(self, b: Self) -> Self;
    /// `then` where `self` is over 0, else `otherwise`.
    fn if_positive(self, then: Self, otherwise: Self) -> Self;
    fn sum(self) -> Self::Elem;
}

impl<L: Lanes> Wide for L {
    type Elem = f32;
    const LANES: usize = WIDTH;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Lanes::splat(value)
    }

    #[inline(always)]
    fn load(from: &[f32], at: usize) -> Self {
        Lanes::load(crate::base::simd::block(from, at))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32], at: usize) {
        Lanes::store(self, crate::base::simd::block_mut(to, at));
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        Lanes::mul_add(self, b, c)
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Lanes::mul(self, b)
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Lanes::add(self, b)
    }

    #[inline(always)]
    fn if_positive(self, then: Self, otherwise: Self) -> Self {
        Lanes::if_positive(self, then, otherwise)
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        Lanes::sum(self)
    }
}

/// Eight 64-bit floats without special instructions.
#[derive(Clone, Copy)]
pub struct Double([f64; 8]);

impl Wide for Double {
    type Elem = f64;
    const LANES: usize = 8;

    fn splat(value: f64) -> Self {
        Self([value; 8])
    }

    fn load(from: &[f64], at: usize) -> Self {
        Self(std::array::from_fn(|lane| from[at + lane]))
    }

    fn store(self, to: &mut [f64], at: usize) {
        to[at..at + 8].copy_from_slice(&self.0);
    }

    fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * b.0[lane] + c.0[lane]))
    }

    fn mul(self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * b.0[lane]))
    }

    fn add(self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + b.0[lane]))
    }

    fn if_positive(self, then: Self, otherwise: Self) -> Self {
        let lane = |lane: usize| if self.0[lane] > 0.0 { then.0[lane] } else { otherwise.0[lane] };
        Self(std::array::from_fn(lane))
    }

    fn sum(self) -> f64 {
        self.0.iter().sum()
    }
}
