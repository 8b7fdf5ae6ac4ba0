//! Whether a value keeps its bound.

use crate::array::{ElementClass, ElementType};
use crate::domain::{number, sign_extend};

/// Whether two bit patterns differ by at most `epsilon`: floats compared in f64, integers exactly. Equal patterns are
/// always within; NaN and infinities are within nothing else.
pub(crate) fn within(element: ElementType, a: u64, b: u64, epsilon: f64) -> bool {
    a == b
        || match element.class() {
            ElementClass::Float => distance(element, a, b) <= epsilon,
            // Distances above 2⁵³ are not exact in f64; the bound's whole part is exact in u128.
            _ => integer_distance(element, a, b) <= epsilon as u128,
        }
}

/// Distance of two values; infinite or NaN where one is not finite.
pub(crate) fn distance(element: ElementType, a: u64, b: u64) -> f64 {
    match element.class() {
        ElementClass::Float => (number(element, a) - number(element, b)).abs(),
        _ => integer_distance(element, a, b) as f64,
    }
}

fn integer_distance(element: ElementType, a: u64, b: u64) -> u128 {
    let wide = |bits: u64| match element.class() {
        ElementClass::Signed => i128::from(sign_extend(element, bits)),
        _ => i128::from(bits),
    };
    (wide(a) - wide(b)).unsigned_abs()
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
    fn nan_is_within_nothing_but_itself() {
        let nan = u64::from(f32::NAN.to_bits());
        assert!(within(ElementType::F32, nan, nan, 0.0));
        assert!(!within(ElementType::F32, nan, nan ^ 1, 1e30));
        assert!(!within(ElementType::F32, nan, 0, 1e30));
    }
}
