//! The number type of the network: f32 to train with, f64 to check gradients with.

use std::iter::Sum;
use std::ops::{AddAssign, MulAssign, SubAssign};

use ndarray::{LinalgScalar, ScalarOperand};
use num_traits::Float;

/// What layers ask of their numbers. Implemented for f32 and f64, whose matrix products are `matrixmultiply`'s.
pub trait Real:
    LinalgScalar
    + ScalarOperand
    + Float
    + Default
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
    + Send
    + Sync
    + std::fmt::Debug
{
    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// This number in f64.
    fn wide(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }
}
