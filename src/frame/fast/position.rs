//! The integers in which positions are computed: 32 bits where the chunk's range allows, so that four fit in a vector
//! register, else 64. Both give the same results.

use std::ops::{Add, Mul, Shr, Sub};

/// Integers that hold positions, and sums of a few of them.
pub(crate) trait Position:
    Copy + Default + Ord + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Shr<u32, Output = Self>
{
    /// Largest magnitude of a position: sixteen times as much fits still, and twelve times is what predictions and
    /// interpolation take.
    const LARGEST: i64;

    /// A position, or one of the small numbers that positions are multiplied with.
    fn from_i64(number: i64) -> Self;
    fn to_i64(self) -> i64;
    fn to_f64(self) -> f64;
}

impl Position for i32 {
    const LARGEST: i64 = 1 << 26;

    #[inline(always)]
    fn from_i64(number: i64) -> Self {
        number as Self
    }

    #[inline(always)]
    fn to_i64(self) -> i64 {
        i64::from(self)
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Position for i64 {
    const LARGEST: i64 = crate::domain::MAX_POSITION;

    #[inline(always)]
    fn from_i64(number: i64) -> Self {
        number
    }

    #[inline(always)]
    fn to_i64(self) -> i64 {
        self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
}
