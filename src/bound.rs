//! Whether a value keeps its bound.

use crate::array::{ByteOrder, ElementClass, ElementType};
use crate::domain::{is_special, number, sign_extend};

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

/// Largest distance between the elements of a chunk and what they are decoded to. `None` if one is further than it may be
/// from the original, or is not the same although it must be: values that are special, or one of `exact`.
pub(crate) fn largest_error(
    element: ElementType,
    original: &[u8],
    decoded: &[u8],
    tolerance: Tolerance,
    exact: [Option<u64>; 2],
) -> Option<f64> {
    if original.len() != decoded.len() {
        return None;
    }
    if let Tolerance::Uniform(epsilon) = tolerance
        && element.is_float()
        && element.size_bytes() == 4
        && element.order() == ByteOrder::Little
    {
        return largest_error_f32(original, decoded, epsilon, exact);
    }
    let mut largest = 0.0f64;
    for i in 0..original.len() / element.size_bytes() {
        let (a, b) = (element.bits_at(original, i), element.bits_at(decoded, i));
        if a != b {
            let must_be_exact = is_special(element, a) || exact.contains(&Some(a));
            if must_be_exact || !tolerance.allows(element, a, b) {
                return None;
            }
            largest = largest.max(distance(element, b, a));
        }
    }
    Some(largest)
}

/// Values that are compared together, and maxima that are kept apart meanwhile: what vectors can do at once.
const BATCH: usize = 64;
const LANES: usize = 4;

/// As [`largest_error`] for f32, without a branch for each value.
fn largest_error_f32(original: &[u8], decoded: &[u8], epsilon: f64, exact: [Option<u64>; 2]) -> Option<f64> {
    let exact = exact_f32(exact);
    let mut largest = [0.0f64; LANES];
    let mut is_broken = false;
    let (original, original_rest) = original.as_chunks::<{ 4 * BATCH }>();
    let (decoded, decoded_rest) = decoded.as_chunks::<{ 4 * BATCH }>();
    for (original, decoded) in original.iter().zip(decoded) {
        is_broken |= breaks_promises(original, decoded, exact);
        raise_errors(original, decoded, &mut largest);
    }
    let [original, decoded] = [original_rest, decoded_rest].map(|rest| {
        let mut padded = [0; 4 * BATCH];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    });
    is_broken |= breaks_promises(&original, &decoded, exact);
    raise_errors(&original, &decoded, &mut largest);
    let largest = largest.into_iter().fold(0.0, f64::max);
    (!is_broken && largest <= epsilon).then_some(largest)
}

const NEGATIVE_ZERO: u32 = 1 << 31;

/// Patterns of f32 that must be exact, for [`may_differ_f32`]; −0.0, which must be anyway, in place of those that do not
/// exist.
pub(crate) fn exact_f32(exact: [Option<u64>; 2]) -> [u32; 2] {
    exact.map(|pattern| pattern.map_or(NEGATIVE_ZERO, |pattern| pattern as u32))
}

#[inline]
fn is_finite_f32(pattern: u32) -> bool {
    pattern & i32::MAX as u32 <= 0x7f7f_ffff
}

/// Whether a value of type f32 need not be exact, without a branch.
#[inline]
pub(crate) fn may_differ_f32(pattern: u32, exact: [u32; 2]) -> bool {
    is_finite_f32(pattern) & (pattern != NEGATIVE_ZERO) & (pattern != exact[0]) & (pattern != exact[1])
}

/// Whether a value that must be exact is not.
#[inline]
fn breaks_promises(original: &[u8; 4 * BATCH], decoded: &[u8; 4 * BATCH], exact: [u32; 2]) -> bool {
    let mut is_broken = 0;
    for (a, b) in original.as_chunks::<4>().0.iter().zip(decoded.as_chunks::<4>().0) {
        let (a, b) = (u32::from_le_bytes(*a), u32::from_le_bytes(*b));
        let may_differ = may_differ_f32(a, exact) & is_finite_f32(b);
        is_broken |= u32::from(!may_differ & (a != b));
    }
    is_broken != 0
}

/// Takes the errors of finite values into account.
#[inline]
fn raise_errors(original: &[u8; 4 * BATCH], decoded: &[u8; 4 * BATCH], largest: &mut [f64; LANES]) {
    let value = |word: [u8; 4]| f64::from(f32::from_le_bytes(word));
    let mut most = *largest;
    let (original, _) = original.as_chunks::<{ 4 * LANES }>();
    let (decoded, _) = decoded.as_chunks::<{ 4 * LANES }>();
    for (original, decoded) in original.iter().zip(decoded) {
        let ((original, _), (decoded, _)) = (original.as_chunks::<4>(), decoded.as_chunks::<4>());
        for lane in 0..LANES {
            let error = (value(original[lane]) - value(decoded[lane])).abs();
            // No `max`: a comparison with NaN is to keep what is there.
            most[lane] = if error > most[lane] { error } else { most[lane] };
        }
    }
    *largest = most;
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

    #[test]
    fn errors_of_f32_are_found_many_at_once() {
        let element = ElementType::try_new(ElementClass::Float, 4, ByteOrder::Little).unwrap();
        let big = ElementType::try_new(ElementClass::Float, 4, ByteOrder::Big).unwrap();
        let patterns =
            [0, 1 << 31, 0x3f80_0000, 0x3f80_0010, 0x7f80_0000, 0x7fc0_0001, 0xc000_0000, 0x4000_0000];
        for (a, b) in patterns.iter().flat_map(|&a| patterns.map(|b| (a, b))) {
            for exact in [[None; 2], [Some(0x3f80_0000), None], [None, Some(0)]] {
                let write = |element: ElementType, pattern: u32| {
                    let mut bits = vec![0x3f00_0000; 130];
                    bits[70] = u64::from(pattern);
                    let mut bytes = Vec::new();
                    element.write_bits(&bits, &mut bytes);
                    bytes
                };
                let largest = |element: ElementType| {
                    largest_error(
                        element,
                        &write(element, a),
                        &write(element, b),
                        Tolerance::Uniform(1e-3),
                        exact,
                    )
                };
                assert_eq!(largest(element), largest(big), "{a:#x} as {b:#x}, exact {exact:?}");
            }
        }
        let one_more = [0; 4];
        assert_eq!(largest_error(element, &[], &one_more, Tolerance::Uniform(1.0), [None; 2]), None);
    }
}
