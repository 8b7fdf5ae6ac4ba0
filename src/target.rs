//! What the encoder aims at: every pixel as a position in the chunk's domain, or as a special pattern.

use std::collections::HashMap;

use crate::array::ElementType;
use crate::bound::within;
use crate::domain::{Domain, MAX_POSITION, Scale, number, ulp};
use crate::frame::{ESCAPE, FrameTarget};
use crate::options::Options;

/// Fraction bits where the range of values leaves room for them: a residual of one step is 2⁶ positions, fine enough
/// that rounding a prediction to positions costs nothing.
const FRACTION_BITS: u32 = 6;

/// The largest step, not above the given one, of which a stream stores all bits: it keeps the upper 24 of an f64.
fn storable_step(step: f64) -> f64 {
    f64::from_bits(step.to_bits() & !0xff_ffff_ffff)
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
        if !(step > 0.0 && step.is_finite() && steps < MAX_POSITION as f64 / 4.0) {
            return None;
        }
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
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for (i, _) in self.specials.iter().enumerate().filter(|(_, special)| **special != 0) {
            *counts.entry(self.bits[i]).or_default() += 1;
        }
        let mut patterns: Vec<(u64, usize)> = counts.into_iter().collect();
        // Frequent ones first; ties by pattern, so that equal input gives equal bytes.
        patterns.sort_unstable_by_key(|&(pattern, count)| (std::cmp::Reverse(count), pattern));
        patterns.truncate(usize::from(ESCAPE));
        let patterns: Vec<u64> = patterns.into_iter().map(|(pattern, _)| pattern).collect();
        let mut range: Option<(i64, i64)> = None;
        for (i, special) in self.specials.iter_mut().enumerate() {
            if *special != 0 {
                let number = patterns.iter().position(|&pattern| pattern == self.bits[i]);
                *special = number.map_or(ESCAPE, |number| number as u8) + 1;
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
