//! Lossless coding of elements one by one, without regard to frames, by the `pco` codec: docs/format.md, "Pco payload".
//!
//! The mode is chosen here: `pco`'s own choice goes through hash tables of random order, so that ties give other bytes
//! at another time.

use half::f16;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, ModeSpec};

use crate::array::{ElementClass, ElementType};
use crate::domain::{POWERS_OF_TEN, is_special, number, number_bits};
use crate::error::{Error, ErrorKind};

/// Stamps out a match over the number types of `pco`.
macro_rules! for_number_type {
    ($element:expr, $body:ident) => {
        match ($element.class(), $element.size_bytes()) {
            (ElementClass::Unsigned, 1) => $body!(u8, |bits| bits as u8, |n| u64::from(n)),
            (ElementClass::Unsigned, 2) => $body!(u16, |bits| bits as u16, |n| u64::from(n)),
            (ElementClass::Unsigned, 4) => $body!(u32, |bits| bits as u32, |n| u64::from(n)),
            (ElementClass::Unsigned, _) => $body!(u64, |bits| bits, |n| n),
            (ElementClass::Signed, 1) => $body!(i8, |bits| bits as i8, |n| u64::from(n as u8)),
            (ElementClass::Signed, 2) => $body!(i16, |bits| bits as i16, |n| u64::from(n as u16)),
            (ElementClass::Signed, 4) => $body!(i32, |bits| bits as i32, |n| u64::from(n as u32)),
            (ElementClass::Signed, _) => $body!(i64, |bits| bits as i64, |n| n as u64),
            (ElementClass::Float, 2) => {
                $body!(f16, |bits| f16::from_bits(bits as u16), |n| u64::from(n.to_bits()))
            }
            (ElementClass::Float, 4) => {
                $body!(f32, |bits| f32::from_bits(bits as u32), |n| u64::from(n.to_bits()))
            }
            (ElementClass::Float, _) => $body!(f64, |bits| f64::from_bits(bits), |n| n.to_bits()),
        }
    };
}

/// Compresses bit patterns; `None` where `pco` refuses.
pub(crate) fn compress(element: ElementType, bits: &[u64]) -> Option<Vec<u8>> {
    macro_rules! compress_as {
        ($number:ty, $from_bits:expr, $to_bits:expr) => {{
            let from_bits: fn(u64) -> $number = $from_bits;
            let numbers: Vec<$number> = bits.iter().map(|&pattern| from_bits(pattern)).collect();
            let modes = [Some(ModeSpec::Classic), special_mode(element, bits)].into_iter().flatten();
            let payloads = modes.filter_map(|mode| {
                simple_compress(&numbers, &ChunkConfig::default().with_mode_spec(mode)).ok()
            });
            payloads.min_by_key(Vec::len)
        }};
    }
    for_number_type!(element, compress_as)
}

/// A mode for elements that lie on a grid: integers on multiples of one, floats on short decimals or short mantissas.
fn special_mode(element: ElementType, bits: &[u64]) -> Option<ModeSpec> {
    if !element.is_float() {
        return common_divisor(bits).map(ModeSpec::TryIntMult);
    }
    let decimals = decimals(element, bits).map(|digits| 1.0 / POWERS_OF_TEN[digits]);
    let base = decimals.or_else(|| common_unit(element, bits)).map(ModeSpec::TryFloatMult);
    base.or_else(|| unused_mantissa_bits(element, bits).map(ModeSpec::TryFloatQuant))
}

/// Largest number above 1 that divides all differences of integers.
fn common_divisor(bits: &[u64]) -> Option<u64> {
    let first = *bits.first()?;
    let mut divisor = 0;
    for &pattern in bits {
        let mut rest = pattern.abs_diff(first);
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        if divisor == 1 {
            return None;
        }
    }
    (divisor > 1).then_some(divisor)
}

/// One value in so many may be none that a grid describes.
const MOST_MISFITS: usize = 20;

/// Fewest decimals that say nearly all values exactly.
fn decimals(element: ElementType, bits: &[u64]) -> Option<usize> {
    let fits = |pattern: u64, power: f64| {
        number_bits(element, (number(element, pattern) * power).round() / power) == pattern
    };
    // Most data can be told from a few values.
    let few = bits.iter().step_by(bits.len().div_ceil(256));
    (0..POWERS_OF_TEN.len()).find(|&digits| {
        [few.clone(), bits.iter().step_by(1)].into_iter().all(|values| {
            let n_values = values.len();
            let n_misfits = values.filter(|&&pattern| !fits(pattern, POWERS_OF_TEN[digits])).count();
            n_misfits <= n_values / MOST_MISFITS
        })
    })
}

/// A number of which most values are whole multiples but for rounding: counts times a constant have one.
fn common_unit(element: ElementType, bits: &[u64]) -> Option<f64> {
    let precision_bits = [11, 24, 53][element.size_bytes().ilog2() as usize - 1];
    let few = bits.iter().step_by(bits.len().div_ceil(512)).map(|&pattern| number(element, pattern).abs());
    let mut few: Vec<f64> = few.filter(|value| value.is_normal()).collect();
    let (pairs, _) = few.as_chunks::<2>();
    let mut units: Vec<f64> =
        pairs.iter().filter_map(|&[a, b]| approximate_divisor(a, b, precision_bits)).collect();
    if units.len() < pairs.len() / 4 || units.is_empty() {
        return None;
    }
    // Six pairs in ten have no other common divisor; a low one is safe even where half of the values are constants.
    let quarter = units.len() / 4;
    let (_, &mut mut unit, _) = units.select_nth_unstable_by(quarter, f64::total_cmp);
    // Each larger value tells more digits.
    few.sort_unstable_by(f64::total_cmp);
    for value in few {
        let multiple = (value / unit).round();
        if multiple >= 1.0 && (value / unit - multiple).abs() < 0.02 {
            unit = value / multiple;
        }
    }
    unit.is_normal().then_some(unit)
}

/// A remainder below this share of the divisor counts as rounding.
const NEARLY_NOTHING: f64 = 1.0 / 1024.0;

/// Greatest common divisor of two positive numbers that are multiples of one but for rounding; Euclid's way, as long as
/// what is left is above what rounding may have left.
fn approximate_divisor(a: f64, b: f64, precision_bits: i32) -> Option<f64> {
    let (mut larger, mut smaller) = (a.max(b), a.min(b));
    let noise = larger * 2f64.powi(-precision_bits / 2 - 1);
    while smaller > noise {
        let rest = (larger - (larger / smaller).round() * smaller).abs();
        if rest < smaller * NEARLY_NOTHING {
            return Some(smaller);
        }
        (larger, smaller) = (smaller, rest);
    }
    None
}

/// Mantissa bits, counted from the lowest, that are 0 in all finite values; at least 4.
fn unused_mantissa_bits(element: ElementType, bits: &[u64]) -> Option<u32> {
    let finite = bits.iter().filter(|&&pattern| !is_special(element, pattern) && pattern != 0);
    let unused = finite.map(|pattern| pattern.trailing_zeros()).min()?;
    let mantissa_bits = [10, 23, 52][element.size_bytes().ilog2() as usize - 1];
    (unused >= 4).then_some(unused.min(mantissa_bits))
}

/// Decompresses to `n_values` elements in the chunk's byte order.
pub(crate) fn decompress(element: ElementType, n_values: usize, payload: &[u8]) -> Result<Vec<u8>, Error> {
    macro_rules! decompress_as {
        ($number:ty, $from_bits:expr, $to_bits:expr) => {{
            let from_bits: fn(u64) -> $number = $from_bits;
            let to_bits: fn($number) -> u64 = $to_bits;
            let mut numbers: Vec<$number> = Vec::new();
            numbers.try_reserve_exact(n_values).map_err(|_| no_memory(n_values))?;
            numbers.resize(n_values, from_bits(0));
            let progress = simple_decompress_into(payload, &mut numbers)
                .map_err(|error| Error::corrupt(format!("pco payload: {error}")))?;
            if progress.n_processed != n_values || !progress.finished {
                return Err(Error::corrupt(format!(
                    "pco payload of {} elements, the header says {n_values}",
                    progress.n_processed
                )));
            }
            numbers.into_iter().map(to_bits).collect::<Vec<u64>>()
        }};
    }
    let bits = for_number_type!(element, decompress_as);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(n_values * element.size_bytes()).map_err(|_| no_memory(n_values))?;
    element.write_bits(&bits, &mut bytes);
    Ok(bytes)
}

fn no_memory(n_values: usize) -> Error {
    Error::new(ErrorKind::System, format!("no memory for {n_values} elements"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ByteOrder;

    /// Bytes by the mode chosen here, and by the plain one.
    fn sizes(element: ElementType, bits: &[u64]) -> (usize, usize) {
        let payload = compress(element, bits).unwrap();
        let mut expected = Vec::new();
        element.write_bits(bits, &mut expected);
        assert_eq!(decompress(element, bits.len(), &payload).unwrap(), expected);
        let plain = ChunkConfig::default().with_mode_spec(ModeSpec::Classic);
        (payload.len(), simple_compress(bits, &plain).unwrap().len())
    }

    #[test]
    fn grids_are_seen() {
        let u64_type = ElementType::try_new(ElementClass::Unsigned, 8, ByteOrder::NATIVE).unwrap();
        let random = |i: u64| {
            let mixed = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 50
        };
        let multiples: Vec<u64> = (0..3000).map(|i| random(i) * 1000 + 7).collect();
        let decimals: Vec<u64> = (0..3000).map(|i| (random(i) as f64 / 100.0).to_bits()).collect();
        let short: Vec<u64> =
            (0..3000).map(|i| f64::from(1.0 / (1.0 + random(i) as f32)).to_bits()).collect();
        let scaled: Vec<u64> = (0..3000).map(|i| (random(i) as f64 * 0.123_456_789).to_bits()).collect();
        for (element, bits) in [
            (u64_type, &multiples),
            (ElementType::F64, &decimals),
            (ElementType::F64, &short),
            (ElementType::F64, &scaled),
        ] {
            let (chosen, plain) = sizes(element, bits);
            assert!(chosen * 3 < plain * 2, "{chosen} bytes, {plain} plain");
        }
    }

    #[test]
    fn values_on_no_grid_survive() {
        let nan = f64::NAN.to_bits();
        for bits in [vec![0], vec![nan], vec![0, 1 << 63, nan, 1, nan + 1], vec![u64::MAX, 0, 7]] {
            sizes(ElementType::F64, &bits);
        }
    }
}
