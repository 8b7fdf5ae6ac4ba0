//! The one integer domain in which everything is reconstructed: docs/format.md, "Reconstruction".
//!
//! A position in the domain is an i64 in units of step / 2^`fraction_bits`. In the linear domain it stands for a
//! value, position × unit, rounded once to the element type. In the square-root domain that product is bent so that equal
//! steps are equal shares of a count's standard deviation. In the ordered domain the step is one representable
//! value of the type, so that every finite value has a position of its own and nothing is lost.

use half::f16;

use crate::array::{ElementClass, ElementType, Elements};

/// Positions end here on both sides: their product with the unit is then one exact i64-to-f64 conversion and one
/// multiplication.
pub(crate) const MAX_POSITION: i64 = 1 << 52;

/// Meaning of the positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// Values in steps of this size.
    Linear { step: f64 },
    /// Values above 1 by their square root, in steps of this size; it goes on smoothly as the linear scale below.
    SquareRoot { step: f64 },
    /// Values of so many decimals, 1 to [`MAX_DECIMALS`]: whole steps over a power of ten. Floats only.
    Decimal { digits: usize },
    /// Ranks of representable values.
    Ordered,
}

/// 10⁰ to 10⁹.
pub(crate) const POWERS_OF_TEN: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Most decimals of a scale.
pub(crate) const MAX_DECIMALS: usize = POWERS_OF_TEN.len() - 1;

/// Element type, scale and fraction bits of a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Domain {
    pub(crate) element: ElementType,
    pub(crate) scale: Scale,
    pub(crate) fraction_bits: u32,
}

impl Domain {
    /// Size of one position: in the dataset's units in the linear domain, in those of [`from_root`] in the square-root
    /// one.
    pub(crate) fn unit(&self) -> f64 {
        match self.scale {
            Scale::Linear { step } | Scale::SquareRoot { step } => step / (1u64 << self.fraction_bits) as f64,
            Scale::Decimal { digits } => 1.0 / POWERS_OF_TEN[digits] / (1u64 << self.fraction_bits) as f64,
            Scale::Ordered => 1.0,
        }
    }

    /// One step in positions.
    pub(crate) fn step_positions(&self) -> i64 {
        1 << self.fraction_bits
    }

    /// Bit pattern of the value at a position.
    pub(crate) fn value_bits(&self, position: i64) -> u64 {
        match self.scale {
            Scale::Linear { .. } => number_bits(self.element, position as f64 * self.unit()),
            Scale::SquareRoot { .. } => number_bits(self.element, from_root(position as f64 * self.unit())),
            Scale::Decimal { digits } => {
                // One division of exact numbers: the float nearest to the decimal.
                let steps = round_shift(position, self.fraction_bits);
                number_bits(self.element, steps as f64 / POWERS_OF_TEN[digits])
            }
            Scale::Ordered => ordered_bits(self.element, round_shift(position, self.fraction_bits)),
        }
    }

    /// Appends the bit patterns of the values at some positions.
    pub(crate) fn append_values(&self, positions: &[i64], bits: &mut Vec<u64>) {
        match self.scale {
            Scale::Linear { .. } => {
                let (element, unit) = (self.element, self.unit());
                bits.extend(positions.iter().map(|&position| number_bits(element, position as f64 * unit)));
            }
            _ => bits.extend(positions.iter().map(|&position| self.value_bits(position))),
        }
    }

    /// The position nearest to a value, or `None` where the value has none: NaN, infinities, −0.0 and numbers
    /// beyond [`MAX_POSITION`].
    pub(crate) fn position(&self, bits: u64) -> Option<i64> {
        self.position_in_units(self.unit(), bits)
    }

    /// Calls `put` with the [`Self::position`] of each of several values.
    pub(crate) fn for_each_position(&self, elements: Elements, mut put: impl FnMut(Option<i64>)) {
        let unit = self.unit();
        let is_f32 = self.element.is_float() && self.element.size_bytes() == 4;
        if let (Scale::Linear { .. }, true) = (self.scale, is_f32) {
            for pattern in elements.iter() {
                let position = nearest(f64::from(f32::from_bits(pattern as u32)) / unit);
                put(position.filter(|_| pattern != 1 << 31));
            }
        } else {
            elements.iter().for_each(|pattern| put(self.position_in_units(unit, pattern)));
        }
    }

    fn position_in_units(&self, unit: f64, bits: u64) -> Option<i64> {
        if is_special(self.element, bits) {
            return None;
        }
        nearest(match self.scale {
            Scale::Linear { .. } => number(self.element, bits) / unit,
            Scale::SquareRoot { .. } => to_root(number(self.element, bits)) / unit,
            Scale::Decimal { digits } => {
                (number(self.element, bits) * POWERS_OF_TEN[digits]).round() * self.step_positions() as f64
            }
            Scale::Ordered => (rank(self.element, bits) as f64) * self.step_positions() as f64,
        })
    }
}

/// The position nearest to a number, halves away from zero; `None` beyond the last one and for NaN.
fn nearest(number: f64) -> Option<i64> {
    // Not `round`, which is a call where the compiler may not use SSE 4.1.
    (number.abs() <= MAX_POSITION as f64).then(|| (number + 0.5f64.copysign(number)) as i64)
}

/// The square-root scale: its slope is √v where the value v is at least 1, and 1 below. Two additions and products at
/// most, each rounded: docs/numerics.md says why that is the same everywhere.
pub(crate) fn from_root(root: f64) -> f64 {
    if root < 1.0 {
        return root;
    }
    let half = (root + 1.0) * 0.5;
    half * half
}

/// Inverse of [`from_root`] but for rounding.
pub(crate) fn to_root(value: f64) -> f64 {
    if value < 1.0 { value } else { 2.0 * value.sqrt() - 1.0 }
}

/// `(x + 2^(shift−1)) >> shift`
pub(crate) fn round_shift(x: i64, shift: u32) -> i64 {
    if shift == 0 { x } else { (x + (1 << (shift - 1))) >> shift }
}

/// NaN, ±Inf and −0.0: patterns that no arithmetic may touch.
pub(crate) fn is_special(element: ElementType, bits: u64) -> bool {
    let negative_zero = 1u64 << (element.bits() - 1);
    element.is_float() && (bits == negative_zero || !number(element, bits).is_finite())
}

/// Numeric value of a bit pattern; exact for all but 64-bit integers beyond 2⁵³.
pub(crate) fn number(element: ElementType, bits: u64) -> f64 {
    match (element.class(), element.size_bytes()) {
        (ElementClass::Unsigned, _) => bits as f64,
        (ElementClass::Signed, _) => sign_extend(element, bits) as f64,
        (ElementClass::Float, 2) => f16::from_bits(bits as u16).to_f64_const(),
        (ElementClass::Float, 4) => f64::from(f32::from_bits(bits as u32)),
        (ElementClass::Float, _) => f64::from_bits(bits),
    }
}

/// Bit pattern of the element nearest to a number, ties to even for floats; integers round half up and saturate,
/// so that what a position reaches does not depend on the side of zero.
pub(crate) fn number_bits(element: ElementType, number: f64) -> u64 {
    match (element.class(), element.size_bytes()) {
        (ElementClass::Unsigned, 8) => (number + 0.5).floor() as u64,
        (ElementClass::Unsigned, _) => ((number + 0.5).floor() as u64).min((1 << element.bits()) - 1),
        (ElementClass::Signed, _) => {
            let largest = i64::MAX >> (64 - element.bits());
            let integer = ((number + 0.5).floor() as i64).clamp(-largest - 1, largest);
            integer as u64 & (u64::MAX >> (64 - element.bits()))
        }
        (ElementClass::Float, 2) => half_bits(number),
        (ElementClass::Float, 4) => u64::from((number as f32).to_bits()),
        (ElementClass::Float, _) => number.to_bits(),
    }
}

/// IEEE binary16 nearest to a number, ties to even. Our own, since `half` may use the CPU's instructions, which round
/// twice on the way from f64, and its portable conversion leaves out half of the mantissa.
fn half_bits(number: f64) -> u64 {
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = number.abs();
    if magnitude.is_nan() {
        return sign | 0x7e00;
    }
    // From halfway between the largest finite number and the next power of two on, all is infinite.
    if magnitude >= 65520.0 {
        return sign | 0x7c00;
    }
    let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(-14);
    let significand = (magnitude * 2f64.powi(10 - exponent)).round_ties_even() as u64;
    // A significand below 2¹⁰ is subnormal; one of 2¹¹ carries into the exponent.
    sign | ((((exponent + 14) as u64) << 10) + significand)
}

pub(crate) fn sign_extend(element: ElementType, bits: u64) -> i64 {
    let unused = 64 - element.bits();
    (bits << unused) as i64 >> unused
}

/// Rank of an element among all of its type, 0 for zero, so that neighbours in value are neighbours in rank.
/// Floats of −0.0 share the rank of +0.0.
fn rank(element: ElementType, bits: u64) -> i64 {
    match element.class() {
        ElementClass::Unsigned => bits as i64,
        ElementClass::Signed => sign_extend(element, bits),
        ElementClass::Float => {
            let sign = 1u64 << (element.bits() - 1);
            let magnitude = (bits & !sign) as i64;
            if bits & sign != 0 { -magnitude } else { magnitude }
        }
    }
}

/// Inverse of [`rank`]; ranks beyond the type's wrap around, which only corrupt streams reach.
fn ordered_bits(element: ElementType, rank: i64) -> u64 {
    let mask = u64::MAX >> (64 - element.bits());
    match element.class() {
        ElementClass::Unsigned | ElementClass::Signed => rank as u64 & mask,
        ElementClass::Float => {
            let sign = 1u64 << (element.bits() - 1);
            let magnitude = rank.unsigned_abs() & (sign - 1);
            if rank < 0 { magnitude | sign } else { magnitude }
        }
    }
}

/// Distance between a float of this magnitude and the next one; 0 for integers.
pub(crate) fn ulp(element: ElementType, magnitude: f64) -> f64 {
    if !element.is_float() {
        return 0.0;
    }
    let bits = number_bits(element, magnitude);
    let next = number(element, bits + 1);
    let gap = next - number(element, bits);
    if gap.is_finite() { gap } else { number(element, bits) - number(element, bits - 1) }
}

/// Fraction bits of exact domains: predictions between steps still tell which residual is likely.
const EXACT_FRACTION_BITS: u32 = 4;

/// Domains in which every finite element of a chunk sits on a step: of integers the numbers themselves; of floats the
/// largest power of two that divides all of them, if the range is narrow; else decimals, if all have few, or the ranks
/// of representable values.
pub(crate) fn exact_domains(element: ElementType, bits: &[u64]) -> Vec<Domain> {
    let mut domains = Vec::new();
    let most = MAX_POSITION as f64 / (1 << EXACT_FRACTION_BITS) as f64;
    let finite = bits.iter().map(|&b| number(element, b)).filter(|v| v.is_finite());
    let (magnitude, divisor) = finite.fold((0.0f64, i32::MAX), |(magnitude, divisor), value| {
        (magnitude.max(value.abs()), divisor.min(trailing_exponent(value)))
    });
    let step = if element.is_float() { 2f64.powi(divisor.clamp(-1074, 1023)) } else { 1.0 };
    // Beyond 2²⁴ steps a float's own ranks describe it better.
    let narrow = if element.is_float() && element.size_bytes() <= 4 { 2f64.powi(24) } else { most };
    // A stream stores the upper bits of a step, which those of subnormal ones are not.
    if step >= f64::MIN_POSITIVE && magnitude / step <= narrow {
        domains.push(Domain { element, scale: Scale::Linear { step }, fraction_bits: EXACT_FRACTION_BITS });
    }
    if domains.is_empty()
        && let Some(decimals) = decimal_domain(element, bits, magnitude)
    {
        return vec![decimals];
    }
    if element.is_float() && element.size_bytes() <= 4 {
        domains.push(Domain { element, scale: Scale::Ordered, fraction_bits: EXACT_FRACTION_BITS });
    }
    domains
}

/// The domain of fewest decimals in which every finite float of a chunk is exact. With so many that the largest needs
/// nearly all bits of the mantissa, any float would be.
fn decimal_domain(element: ElementType, bits: &[u64], magnitude: f64) -> Option<Domain> {
    let most = match element.size_bytes() {
        2 => 2f64.powi(7),
        4 => 2f64.powi(20),
        _ => 2f64.powi(46),
    };
    let is_exact = |domain: &Domain, pattern: u64| {
        is_special(element, pattern)
            || domain.position(pattern).is_some_and(|position| domain.value_bits(position) == pattern)
    };
    // Most data can be told from a few values.
    let few = bits.iter().step_by(bits.len().div_ceil(256));
    (1..=MAX_DECIMALS)
        .filter(|&digits| element.is_float() && magnitude * POWERS_OF_TEN[digits] <= most)
        .map(|digits| Domain {
            element,
            scale: Scale::Decimal { digits },
            fraction_bits: EXACT_FRACTION_BITS,
        })
        .filter(|domain| few.clone().all(|&pattern| is_exact(domain, pattern)))
        .find(|domain| bits.iter().all(|&pattern| is_exact(domain, pattern)))
}

/// Exponent of the lowest set bit of a finite number; the largest there is for 0.
fn trailing_exponent(value: f64) -> i32 {
    if value == 0.0 {
        return i32::MAX;
    }
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & ((1 << 52) - 1);
    if exponent == 0 {
        return mantissa.trailing_zeros() as i32 - 1074;
    }
    (mantissa | 1 << 52).trailing_zeros() as i32 + exponent - 1075
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ByteOrder;

    fn types() -> Vec<ElementType> {
        let mut types = Vec::new();
        for class in [ElementClass::Unsigned, ElementClass::Signed, ElementClass::Float] {
            for size in [1, 2, 4, 8] {
                types.extend(ElementType::try_new(class, size, ByteOrder::Little));
            }
        }
        types
    }

    #[test]
    fn ordered_positions_are_exact() {
        for element in types().into_iter().filter(|t| t.size_bytes() <= 4) {
            let domain = Domain { element, scale: Scale::Ordered, fraction_bits: 4 };
            for i in 0..2000u64 {
                let bits = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - element.bits());
                match domain.position(bits) {
                    Some(position) => assert_eq!(domain.value_bits(position), bits),
                    None => assert!(is_special(element, bits)),
                }
            }
        }
    }

    #[test]
    fn the_square_root_scale_is_smooth_and_its_steps_grow_with_the_deviation() {
        assert_eq!([from_root(-7.5), from_root(0.0), from_root(0.5), from_root(1.0)], [-7.5, 0.0, 0.5, 1.0]);
        assert_eq!([from_root(3.0), from_root(199.0)], [4.0, 10_000.0]);
        for value in [-1e30, -1.0, 0.0, 0.3, 1.0, 1.7, 1e3, 1e12, 1e30] {
            let back = from_root(to_root(value));
            assert!((back - value).abs() <= 4.0 * f64::EPSILON * value.abs(), "{value} came back as {back}");
            let slope =
                (from_root(to_root(value) + 0.5) - from_root(to_root(value) - 0.5)) / value.max(1.0).sqrt();
            assert!(
                value == -1e30 || value == 1e30 || (slope - 1.0).abs() < 0.1,
                "slope of {slope} at {value}"
            );
        }
    }

    #[test]
    fn decimals_come_back_as_the_floats_nearest_to_them() {
        for element in [ElementType::F32, ElementType::F64] {
            for digits in 1..=5 {
                let step = 10f64.powi(digits);
                let bits: Vec<u64> =
                    (-300..300).map(|i| number_bits(element, f64::from(i * 7 + 1) / step)).collect();
                let domains = exact_domains(element, &bits);
                assert_eq!(domains[0].scale, Scale::Decimal { digits: digits as usize });
                for &pattern in &bits {
                    let position = domains[0].position(pattern).unwrap();
                    assert_eq!(domains[0].value_bits(position), pattern);
                    assert_eq!(position % domains[0].step_positions(), 0);
                }
            }
        }
        let thirds: Vec<u64> = (0..50).map(|i| (f64::from(i) / 3.0).to_bits()).collect();
        assert!(exact_domains(ElementType::F64, &thirds).is_empty());
        // Nine decimals would tell these f32 apart, too, but no better than their ranks.
        let thirds: Vec<u64> = (800..900).map(|i| u64::from((i as f32 / 3.0).to_bits())).collect();
        assert_eq!(exact_domains(ElementType::F32, &thirds).last().unwrap().scale, Scale::Ordered);
    }

    #[test]
    fn positions_round_to_the_nearest_value() {
        for (element, scale) in types().into_iter().flat_map(|element| {
            [Scale::Linear { step: 3.0 }, Scale::SquareRoot { step: 0.2 }].map(|s| (element, s))
        }) {
            let domain = Domain { element, scale, fraction_bits: 2 };
            for value in [0.0, 1.0, 7.0, 100.0] {
                let position = domain.position(number_bits(element, value)).unwrap();
                assert!(
                    (number(element, domain.value_bits(position)) - value).abs() <= 0.5,
                    "{}",
                    element.name()
                );
            }
        }
    }

    #[test]
    fn special_values_have_no_position() {
        let domain =
            Domain { element: ElementType::F32, scale: Scale::Linear { step: 1.0 }, fraction_bits: 6 };
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0] {
            assert_eq!(domain.position(u64::from(special.to_bits())), None);
        }
        assert_eq!(domain.position(u64::from(1e30f32.to_bits())), None);
    }

    #[test]
    fn halves_round_to_the_nearest() {
        for bits in 0..0x7c00u16 {
            let value = f16::from_bits(bits).to_f64_const();
            assert_eq!(half_bits(value), u64::from(bits));
            assert_eq!(half_bits(-value), u64::from(bits | 0x8000));
            let next = f16::from_bits(bits + 1).to_f64_const();
            if next.is_finite() {
                let middle = (value + next) / 2.0;
                assert_eq!(half_bits(middle), u64::from(bits + (bits & 1)), "tie above {bits:#06x}");
                assert_eq!(half_bits(middle.next_up()), u64::from(bits + 1));
                assert_eq!(half_bits(middle.next_down()), u64::from(bits));
            }
        }
        assert_eq!(half_bits(65519.9), 0x7bff);
        assert_eq!(half_bits(65520.0), 0x7c00);
        assert_eq!(half_bits(f64::NEG_INFINITY), 0xfc00);
    }

    #[test]
    fn ulp_is_the_gap_to_the_next_value() {
        assert_eq!(ulp(ElementType::F32, 1.0), f64::from(f32::EPSILON));
        assert_eq!(ulp(ElementType::F64, 1.0), f64::EPSILON);
        assert_eq!(ulp(ElementType::F32, f64::from(f32::MAX)), 2f64.powi(104));
    }
}
