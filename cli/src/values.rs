//! Numbers of any element type: their range, and how far two copies lie apart.

use h5z_sae::{Bound, ByteOrder, ElementClass, ElementType};
use half::f16;

/// A value of a dataset, exact.
#[derive(Clone, Copy, Debug)]
enum Number {
    Float(f64),
    Integer(i128),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Float(value) => value,
            Self::Integer(value) => value as f64,
        }
    }
}

/// Bit pattern of one element, in native order, zero-extended.
pub fn bits(element: ElementType, bytes: &[u8]) -> u64 {
    let push = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
    match element.order() {
        ByteOrder::Big => bytes.iter().fold(0, push),
        ByteOrder::Little => bytes.iter().rev().fold(0, push),
    }
}

fn number(element: ElementType, bits: u64) -> Number {
    let unused_bits = 64 - element.bits();
    match (element.class(), element.size_bytes()) {
        (ElementClass::Float, 2) => Number::Float(f16::from_bits(bits as u16).to_f64()),
        (ElementClass::Float, 4) => Number::Float(f64::from(f32::from_bits(bits as u32))),
        (ElementClass::Float, _) => Number::Float(f64::from_bits(bits)),
        (ElementClass::Unsigned, _) => Number::Integer(i128::from(bits)),
        (ElementClass::Signed, _) => Number::Integer(i128::from((bits << unused_bits) as i64 >> unused_bits)),
    }
}

/// All values as f64, for pictures.
pub fn to_f64(element: ElementType, bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(element.size_bytes())
        .map(|value| number(element, bits(element, value)).as_f64())
        .collect()
}

/// Bit patterns that are no data: they come back exactly and count in no range.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// The fill value.
    pub fill: Option<u64>,
    /// The value of masked pixels.
    pub mask: Option<u64>,
}

impl Marks {
    fn holds(&self, bits: u64) -> bool {
        self.fill == Some(bits) || self.mask == Some(bits)
    }
}

/// Smallest and largest value; `None` before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range(Option<(f64, f64)>);

impl Range {
    /// The range of all finite values that are not marked.
    pub fn of(element: ElementType, bytes: &[u8], marks: &Marks) -> Self {
        let mut range = Self::default();
        for value in bytes.chunks_exact(element.size_bytes()) {
            let bits = bits(element, value);
            let value = number(element, bits).as_f64();
            if value.is_finite() && !marks.holds(bits) {
                range.join(Self(Some((value, value))));
            }
        }
        range
    }

    /// Takes in another range.
    pub fn join(&mut self, other: Self) {
        let Some((other_least, other_greatest)) = other.0 else { return };
        let (least, greatest) = self.0.unwrap_or((other_least, other_greatest));
        self.0 = Some((least.min(other_least), greatest.max(other_greatest)));
    }

    /// Largest minus smallest; 0 without values.
    pub fn width(&self) -> f64 {
        self.0.map_or(0.0, |(least, greatest)| greatest - least)
    }
}

/// How two copies of some values differ.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Largest distance of two finite values.
    pub max_abs_err: f64,
    /// Largest distance that was allowed; infinite where nothing was promised.
    pub allowed: f64,
    /// Values that broke the promise.
    pub n_broken: u64,
    /// Index of the first of them, and what happened to it.
    pub first_broken: Option<(usize, String)>,
}

/// Compares values with their copies under a bound. Values that are not finite, negative zeros and marked values have
/// to be equal bit for bit, whatever the bound; so has everything under a lossless one.
pub fn compare(
    element: ElementType,
    original: &[u8],
    copy_element: ElementType,
    copy: &[u8],
    bound: Bound,
    marks: &Marks,
) -> Difference {
    let promise = Promise::of(element, original, bound, marks);
    let mut difference = Difference { allowed: promise.floor(), ..Difference::default() };
    let pairs = original.chunks_exact(element.size_bytes()).zip(copy.chunks_exact(copy_element.size_bytes()));
    for (index, (original, copy)) in pairs.enumerate() {
        let (original, copy) = (bits(element, original), bits(copy_element, copy));
        let from = number(element, original);
        let allowed = promise.allowed(from);
        difference.allowed = difference.allowed.max(allowed);
        if original == copy {
            continue;
        }
        let to = number(element, copy);
        let distance = distance(from, to);
        difference.max_abs_err = difference.max_abs_err.max(distance.unwrap_or(0.0));
        let kept = !must_be_exact(from, original, bound, marks) && distance.is_some_and(|d| d <= allowed);
        if !kept {
            difference.n_broken += 1;
            let sentence = || format!("{} became {}, allowed is {allowed:e}", show(from), show(to));
            difference.first_broken = difference.first_broken.take().or_else(|| Some((index, sentence())));
        }
    }
    difference
}

/// The distances that a bound allows for the values of a chunk.
enum Promise {
    /// One for all.
    Uniform(f64),
    /// So many times the square root of a value, or of 1.
    Noise(f64),
}

impl Promise {
    fn of(element: ElementType, original: &[u8], bound: Bound, marks: &Marks) -> Self {
        Self::Uniform(match bound {
            Bound::Lossless => 0.0,
            Bound::Absolute(value) => value,
            Bound::Noise(deviations) => return Self::Noise(deviations),
            Bound::Relative(fraction) => fraction * Range::of(element, original, marks).width(),
            Bound::None => f64::INFINITY,
        })
    }

    /// What is allowed whatever the value.
    fn floor(&self) -> f64 {
        let (Self::Uniform(floor) | Self::Noise(floor)) = *self;
        floor
    }

    fn allowed(&self, value: Number) -> f64 {
        match *self {
            Self::Uniform(allowed) => allowed,
            Self::Noise(deviations) => {
                let value = Some(value.as_f64()).filter(|value| value.is_finite());
                deviations * value.unwrap_or(0.0).max(1.0).sqrt()
            }
        }
    }
}

fn must_be_exact(value: Number, bits: u64, bound: Bound, marks: &Marks) -> bool {
    let special = match value {
        Number::Float(value) => !value.is_finite() || (value == 0.0 && value.is_sign_negative()),
        Number::Integer(_) => false,
    };
    special || bound == Bound::Lossless || marks.holds(bits)
}

/// |a − b|; `None` where one of them is not finite.
fn distance(a: Number, b: Number) -> Option<f64> {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => Some((a - b).abs() as f64),
        _ => Some((a.as_f64() - b.as_f64()).abs()).filter(|distance| distance.is_finite()),
    }
}

fn show(value: Number) -> String {
    match value {
        Number::Float(value) => format!("{value:e}"),
        Number::Integer(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn f32_difference(original: &[f32], copy: &[f32], bound: Bound, marks: &Marks) -> Difference {
        let element = crate::bound::parse_element("f4").unwrap();
        compare(element, &f32_bytes(original), element, &f32_bytes(copy), bound, marks)
    }

    #[test]
    fn bounds_are_kept_up_to_their_last_digit() {
        let near = f32_difference(&[1.0, 2.0], &[1.0, 2.5], Bound::Absolute(0.5), &Marks::default());
        assert_eq!((near.n_broken, near.max_abs_err), (0, 0.5));
        let far = f32_difference(&[1.0, 2.0], &[1.0, 2.5], Bound::Absolute(0.499), &Marks::default());
        assert_eq!((far.n_broken, far.first_broken.unwrap().0), (1, 1));
    }

    #[test]
    fn noise_bounds_grow_with_the_square_root_of_the_original() {
        let within =
            f32_difference(&[100.0, 0.0, -9.0], &[105.0, 0.5, -9.5], Bound::Noise(0.5), &Marks::default());
        assert_eq!((within.n_broken, within.max_abs_err, within.allowed), (0, 5.0, 5.0));
        let beyond = f32_difference(&[100.0, -9.0], &[94.9, -9.6], Bound::Noise(0.5), &Marks::default());
        assert_eq!((beyond.n_broken, beyond.first_broken.unwrap().0), (2, 0));
        let nan =
            f32_difference(&[f32::NAN, f32::INFINITY], &[1.0, 1.0], Bound::Noise(1e9), &Marks::default());
        assert_eq!(nan.n_broken, 2);
    }

    #[test]
    fn special_values_must_be_exact_under_any_bound() {
        for (original, copy) in
            [(f32::NAN, 0.0), (f32::INFINITY, f32::MAX), (-0.0, 0.0), (1.0, f32::NAN), (f32::NAN, -f32::NAN)]
        {
            let difference = f32_difference(&[original], &[copy], Bound::Absolute(1e30), &Marks::default());
            assert_eq!(difference.n_broken, 1, "{original} {copy}");
        }
        let equal = f32_difference(&[f32::NAN, -0.0], &[f32::NAN, -0.0], Bound::None, &Marks::default());
        assert_eq!(equal.n_broken, 0);
    }

    #[test]
    fn marked_values_must_be_exact_and_do_not_widen_the_range() {
        let marks = Marks { fill: None, mask: Some(u64::from((-1000f32).to_bits())) };
        let kept = f32_difference(&[-1000.0, 0.0, 1.0], &[-1000.0, 0.1, 1.0], Bound::Relative(0.2), &marks);
        assert_eq!(kept.n_broken, 0);
        assert_eq!(kept.allowed, 0.2);
        let moved = f32_difference(&[-1000.0, 0.0, 1.0], &[-1000.1, 0.0, 1.0], Bound::Absolute(1.0), &marks);
        assert_eq!(moved.n_broken, 1);
    }

    #[test]
    fn distances_of_wide_integers_are_exact() {
        let element = crate::bound::parse_element(">u8").unwrap();
        let (a, b) = (u64::MAX.to_be_bytes(), (u64::MAX - 3).to_be_bytes());
        let difference = compare(element, &a, element, &b, Bound::Absolute(2.0), &Marks::default());
        assert_eq!((difference.max_abs_err, difference.n_broken), (3.0, 1));
        let element = crate::bound::parse_element("i8").unwrap();
        let (a, b) = (i64::MIN.to_le_bytes(), i64::MAX.to_le_bytes());
        let difference = compare(element, &a, element, &b, Bound::Absolute(2.0), &Marks::default());
        assert!(difference.max_abs_err > 1.8e19);
    }
}
