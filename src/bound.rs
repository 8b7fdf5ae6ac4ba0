//! Whether a value keeps its bound.

use crate::array::{ElementClass, ElementType};
use crate::domain::{number, sign_extend};

/// How far each value may be off, relative bounds worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tolerance {
    /// All by the same.
    Uniform(f64),
    /// A value x by this many times √max(x, 1).
    Noise(f64),
}

impl Tolerance {
    /// Nothing may be off.
    pub(crate) const EXACT: Self = Self::Uniform(0.0);

    /// Largest error of an original that is a finite number.
    pub(crate) fn epsilon(self, element: ElementType, original: u64) -> f64 {
        self.epsilon_of(number(element, original))
    }

    /// Largest error of this value.
    pub(crate) fn epsilon_of(self, value: f64) -> f64 {
        match self {
            Self::Uniform(epsilon) => epsilon,
            Self::Noise(deviations) => deviations * value.max(1.0).sqrt(),
        }
    }

    /// The same for a value of this type: integers are off by whole numbers.
    pub(crate) fn reach(self, element: ElementType, original: u64) -> f64 {
        let epsilon = self.epsilon(element, original);
        if element.is_float() { epsilon } else { epsilon.floor() }
    }

    /// Whether a value keeps its bound.
    pub(crate) fn allows(self, element: ElementType, original: u64, restored: u64) -> bool {
        within(element, restored, original, self.epsilon(element, original))
    }
}

/// Whether two bit patterns differ by at most `epsilon`: floats compared in f64, integers exactly. Equal patterns are
/// always within; NaN and infinities are within nothing else.
fn within(element: ElementType, a: u64, b: u64, epsilon: f64) -> bool {
    a == b
        || match element.class() {
            ElementClass::Float => distance(element, a, b) <= epsilon,
            // Distances above 2⁵³ are not exact in f64; the bound's whole part is exact in u128.
            _ => integer_distance(element, a, b) <= epsilon as u128,
        }
}

/// Distance of two values; infinite or NaN where one is not finite.
pub(crate) fn distance(element: ElementType, a: u64, b: u64) -> f64 {
    difference(element, a, b).abs()
}

/// What a value is above another; infinite or NaN where one is not finite.
pub(crate) fn difference(element: ElementType, a: u64, b: u64) -> f64 {
    match element.class() {
        ElementClass::Float => number(element, a) - number(element, b),
        _ => integer_difference(element, a, b) as f64,
    }
}

fn integer_distance(element: ElementType, a: u64, b: u64) -> u128 {
    integer_difference(element, a, b).unsigned_abs()
}

fn integer_difference(element: ElementType, a: u64, b: u64) -> i128 {
    let wide = |bits: u64| match element.class() {
        ElementClass::Signed => i128::from(sign_extend(element, bits)),
        _ => i128::from(bits),
    };
    wide(a) - wide(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ByteOrder;

    #[test]
    fn large_integers_are_compared_exactly() {
        let element = ElementType::try_new(ElementClass::Unsigned, 8, ByteOrder::Little).unwrap();
        assert!(!within(element, u64::MAX, u64::MAX - 2, 1.0));
        assert!(within(element, u64::MAX, u64::MAX - 2, 2.5));
        let signed = ElementType::try_new(ElementClass::Signed, 8, ByteOrder::Little).unwrap();
        assert!(within(signed, u64::MAX, 1, 2.0));
        let epsilon = 2f64.powi(60);
        assert!(within(element, 1 << 60, 0, epsilon) && !within(element, (1 << 60) + 1, 0, epsilon));
    }

    #[test]
    fn noise_tolerance_is_that_of_the_original_and_never_below_that_of_one() {
        let noise = Tolerance::Noise(0.5);
        let f32_bits = |value: f32| u64::from(value.to_bits());
        let allows =
            |original, restored| noise.allows(ElementType::F32, f32_bits(original), f32_bits(restored));
        assert!(allows(100.0, 105.0) && allows(100.0, 95.0) && !allows(100.0, 94.99));
        assert!(allows(0.0, -0.5) && allows(-40.0, -40.5) && !allows(-40.0, -40.6));
        let u16_type = ElementType::try_new(ElementClass::Unsigned, 2, ByteOrder::Little).unwrap();
        assert!(
            !noise.allows(u16_type, 3, 4) && noise.allows(u16_type, 4, 5) && !noise.allows(u16_type, 15, 17)
        );
    }

    #[test]
    fn nan_is_within_nothing_but_itself() {
        let nan = u64::from(f32::NAN.to_bits());
        assert!(within(ElementType::F32, nan, nan, 0.0));
        assert!(!within(ElementType::F32, nan, nan ^ 1, 1e30));
        assert!(!within(ElementType::F32, nan, 0, 1e30));
    }
}
