//! What the encoder aims at: every pixel as a position in the chunk's domain, or as a special pattern.

use std::collections::HashMap;

use crate::array::{ByteOrder, ElementType};
use crate::bound::within;
use crate::domain::{Domain, MAX_POSITION, Scale, number, ulp};
use crate::frame::{ESCAPE, FrameTarget};
use crate::options::Options;

/// Fraction bits where the range of values leaves room for them: a residual of one step is 2⁶ positions, fine enough
/// that rounding a prediction to positions costs nothing.
const FRACTION_BITS: u32 = 6;

/// The largest step, not above the given one, of which a stream stores all bits: it keeps the upper half of an f64.
fn storable_step(step: f64) -> f64 {
    f64::from_bits(step.to_bits() & !0xffff_ffff)
}

/// The pattern of an f32 as an integer in the order of the values; its own inverse.
fn order_f32(pattern: u32) -> i32 {
    let pattern = pattern as i32;
    pattern ^ (pattern >> 31 & i32::MAX)
}

/// The widest step on whose multiples no value is further than `epsilon` from the next. `None` where the bound is too
/// fine for the range.
pub(crate) fn bounded_step(element: ElementType, range: ValueRange, epsilon: f64) -> Option<f64> {
    let step = if element.is_float() {
        // Rounding a position's value to the element type takes up to half an ulp of the bound.
        // A bound that is larger still has nothing to add but overflow.
        2.0 * (epsilon.min(f64::MAX / 4.0) - 0.5 * ulp(element, range.magnitude()))
    } else {
        // Beyond 2⁵³ a position's value and the pixel's own are rounded to f64, each by up to half of its ulp.
        let rounded = ulp(ElementType::F64, range.magnitude()).floor();
        2.0 * (epsilon.floor().min(2f64.powi(62)) - rounded) + 1.0
    };
    let step = storable_step(step);
    let steps = range.magnitude() / step;
    (step > 0.0 && step.is_finite() && steps < MAX_POSITION as f64 / 4.0).then_some(step)
}

/// The most frequent of some patterns, in the order of their numbers.
pub(crate) fn frequent_patterns(special: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for pattern in special {
        *counts.entry(pattern).or_default() += 1;
    }
    let mut patterns: Vec<(u64, usize)> = counts.into_iter().collect();
    // Frequent ones first; ties by pattern, so that equal input gives equal bytes.
    patterns.sort_unstable_by_key(|&(pattern, count)| (std::cmp::Reverse(count), pattern));
    patterns.truncate(usize::from(ESCAPE));
    patterns.into_iter().map(|(pattern, _)| pattern).collect()
}

/// 1 + the number of a special pattern.
pub(crate) fn mark_of(patterns: &[u64], pattern: u64) -> u8 {
    let number = patterns.iter().position(|&known| known == pattern);
    number.map_or(ESCAPE, |number| number as u8) + 1
}

/// A chunk's pixels as the coder sees them.
pub(crate) struct Target {
    pub(crate) domain: Domain,
    pub(crate) bits: Vec<u64>,
    pub(crate) positions: Vec<i64>,
    pub(crate) specials: Vec<u8>,
    /// Patterns with numbers of their own; `None` if no pixel is special.
    pub(crate) patterns: Option<Vec<u64>>,
    pub(crate) epsilon: f64,
    /// Range of all positions, in whole steps.
    pub(crate) lowest: i64,
    pub(crate) highest: i64,
}

/// Range and largest magnitude of the values that a bound is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueRange {
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl ValueRange {
    /// Of the finite values that are neither fill nor mask; `None` if there are none.
    pub(crate) fn of(element: ElementType, bits: &[u64], options: &Options) -> Option<Self> {
        let mut range: Option<Self> = None;
        for &pattern in bits {
            if Some(pattern) == options.fill_value || Some(pattern) == options.mask_value {
                continue;
            }
            let value = number(element, pattern);
            if value.is_finite() {
                let (least, greatest) =
                    range.map_or((value, value), |r| (r.least.min(value), r.greatest.max(value)));
                range = Some(Self { least, greatest });
            }
        }
        range
    }

    /// The same of a chunk's bytes.
    pub(crate) fn of_bytes(element: ElementType, bytes: &[u8], options: &Options) -> Option<Self> {
        if !(element.is_float() && element.size_bytes() == 4 && element.order() == ByteOrder::Little) {
            return Self::of(element, &element.read_bits(bytes), options);
        }
        // Bit patterns become integers in the order of the values, of which vectors are compared.
        let excluded =
            [options.fill_value, options.mask_value].map(|p| p.unwrap_or(u64::from(u32::MAX)) as u32);
        let (words, _) = bytes.as_chunks::<4>();
        let (mut least, mut greatest) = (i32::MAX, i32::MIN);
        for &word in words {
            let pattern = u32::from_le_bytes(word);
            let rank = order_f32(pattern);
            let counts = pattern << 1 < 0xff00_0000 && pattern != excluded[0] && pattern != excluded[1];
            least = least.min(if counts { rank } else { i32::MAX });
            greatest = greatest.max(if counts { rank } else { i32::MIN });
        }
        let value = |rank: i32| f64::from(f32::from_bits(order_f32(rank as u32) as u32));
        (least <= greatest).then(|| Self { least: value(least), greatest: value(greatest) })
    }

    pub(crate) fn magnitude(self) -> f64 {
        self.least.abs().max(self.greatest.abs())
    }
}

impl Target {
    /// Pixels within ±`epsilon`. `None` where the bound is too fine for the range: then lossless coding serves.
    pub(crate) fn bounded(
        element: ElementType,
        bits: Vec<u64>,
        range: ValueRange,
        epsilon: f64,
        options: &Options,
    ) -> Option<Self> {
        let step = bounded_step(element, range, epsilon)?;
        let steps = range.magnitude() / step;
        let room = (MAX_POSITION as f64 / 2.0 / steps.max(1.0)).log2().floor() as u32;
        let domain =
            Domain { element, scale: Scale::Linear { step }, fraction_bits: FRACTION_BITS.min(room) };
        Some(Self::new(domain, bits, epsilon, options))
    }

    /// All elements exactly, in a domain where each finite value sits on a step.
    pub(crate) fn exact(domain: Domain, bits: Vec<u64>) -> Self {
        let no_extras = Options::new(crate::options::Bound::Lossless);
        Self::new(domain, bits, 0.0, &no_extras)
    }

    fn new(domain: Domain, bits: Vec<u64>, epsilon: f64, options: &Options) -> Self {
        let mut positions = vec![0; bits.len()];
        let mut specials = vec![0; bits.len()];
        for (i, &pattern) in bits.iter().enumerate() {
            match domain.position(pattern) {
                // Fill and mask values are exact wherever the grid may put their neighbours.
                Some(position)
                    if options.fill_value != Some(pattern) && options.mask_value != Some(pattern) =>
                {
                    positions[i] = position;
                }
                _ => specials[i] = 1,
            }
        }
        let mut target =
            Self { domain, bits, positions, specials, patterns: None, epsilon, lowest: 0, highest: 0 };
        target.number_specials();
        target
    }

    /// Makes pixels special that no residual can bring within the bound.
    pub(crate) fn exclude(&mut self, pixels: &[usize]) {
        for &pixel in pixels {
            self.specials[pixel] = 1;
        }
        self.number_specials();
    }

    /// Numbers the most frequent special patterns, and takes the range of everything else.
    fn number_specials(&mut self) {
        let special = self.bits.iter().zip(&self.specials).filter(|(_, special)| **special != 0);
        let patterns = frequent_patterns(special.map(|(&pattern, _)| pattern));
        let mut range: Option<(i64, i64)> = None;
        for (i, special) in self.specials.iter_mut().enumerate() {
            if *special != 0 {
                *special = mark_of(&patterns, self.bits[i]);
            } else {
                let position = self.positions[i];
                range = Some(range.map_or((position, position), |(l, h)| (l.min(position), h.max(position))));
            }
        }
        let (lowest, highest) = range.unwrap_or((0, 0));
        let bits = self.domain.fraction_bits;
        let step = self.domain.step_positions();
        // Whole steps around all positions, so that rounding to the grid stays inside.
        self.lowest = lowest >> bits << bits;
        self.highest = (highest + step - 1) >> bits << bits;
        self.patterns = self.specials.iter().any(|&special| special != 0).then_some(patterns);
    }

    /// Some of the pixels, in the given order.
    pub(crate) fn select(&self, pixels: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            domain: self.domain,
            bits: pixels.clone().map(|i| self.bits[i]).collect(),
            positions: pixels.clone().map(|i| self.positions[i]).collect(),
            specials: pixels.map(|i| self.specials[i]).collect(),
            patterns: self.patterns.clone(),
            epsilon: self.epsilon,
            lowest: self.lowest,
            highest: self.highest,
        }
    }

    /// One frame of the chunk.
    pub(crate) fn frame(&self, pixels: std::ops::Range<usize>) -> FrameTarget<'_> {
        FrameTarget {
            bits: &self.bits[pixels.clone()],
            positions: &self.positions[pixels.clone()],
            specials: &self.specials[pixels],
            epsilon: self.epsilon,
        }
    }

    /// Whether a position reconstructs a pixel within the bound.
    pub(crate) fn reaches(&self, pixel: usize, position: i64) -> bool {
        within(self.domain.element, self.domain.value_bits(position), self.bits[pixel], self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ElementClass;
    use crate::options::Bound;

    #[test]
    fn ranges_of_f32_are_found_many_at_once() {
        let element = ElementType::try_new(ElementClass::Float, 4, ByteOrder::Little).unwrap();
        let mut options = Options::new(Bound::Lossless);
        options.mask_value = Some(u64::from(7f32.to_bits()));
        for values in [
            vec![f32::NAN, -1.5, 3.0, 7.0, f32::INFINITY],
            vec![-0.0, 0.0],
            vec![-2.0, -1.0, f32::NEG_INFINITY],
            vec![7.0, f32::NAN],
            vec![],
        ] {
            let bits: Vec<u64> = values.iter().map(|value: &f32| u64::from(value.to_bits())).collect();
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let ends = |range: Option<ValueRange>| range.map(|range| (range.least, range.greatest));
            let found = ends(ValueRange::of_bytes(element, &bytes, &options));
            assert_eq!(found, ends(ValueRange::of(element, &bits, &options)), "{values:?}");
        }
    }
}
