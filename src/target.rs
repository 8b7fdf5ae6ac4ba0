//! What the encoder aims at: every pixel as a position in the chunk's domain, or as a special pattern.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::array::{ByteOrder, ElementType, Elements};
use crate::bound::Tolerance;
use crate::domain::{Domain, MAX_POSITION, Scale, is_special, number, to_root, ulp};
use crate::frame::{ESCAPE, FrameTarget, Widths, mark_at};
use crate::integers::Integers;
use crate::options::Options;

/// Fraction bits where the range of values leaves room for them: a residual of one step is 2⁶ positions, fine enough
/// that rounding a prediction to positions costs nothing.
const FRACTION_BITS: u32 = 6;

/// Of the values under a noise bound at most one in so many may be too large for it.
const FEW_EXACT: usize = 16;

/// The largest step, not above the given one, of which a stream stores all bits: it keeps the upper 24 of an f64.
fn storable_step(step: f64) -> f64 {
    f64::from_bits(step.to_bits() & !0xff_ffff_ffff)
}

/// The pattern of an f32 as an integer in the order of the values; its own inverse.
fn order_f32(pattern: u32) -> i32 {
    let pattern = pattern as i32;
    pattern ^ (pattern >> 31 & i32::MAX)
}

/// The widest step on whose multiples no value is further than `epsilon` from the next. `None` where the bound is too
/// fine for the range.
pub(crate) fn bounded_step(element: ElementType, range: ValueRange, epsilon: f64) -> Option<f64> {
    let step = storable_step(uniform_widths(element, range, epsilon).0);
    fraction_bits(range.magnitude(), step).map(|_| step)
}

/// What may stand for a pixel: how wide that is, and how wide the part of it on one side, the pixel's value counted in.
/// Of positions so far apart as that, each prediction reaches one on either side.
fn uniform_widths(element: ElementType, range: ValueRange, epsilon: f64) -> (f64, f64) {
    if element.is_float() {
        // Rounding a position's value to the element type takes up to half an ulp of the bound.
        // A bound that is larger still has nothing to add but overflow.
        let reach = epsilon.min(f64::MAX / 4.0) - 0.5 * ulp(element, range.magnitude());
        (2.0 * reach, reach)
    } else {
        // Beyond 2⁵³ a position's value and the pixel's own are rounded to f64, each by up to half of its ulp.
        let rounded = ulp(ElementType::F64, range.magnitude()).floor();
        let reach = epsilon.floor().min(2f64.powi(62)) - rounded;
        (2.0 * reach + 1.0, reach + 1.0)
    }
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
pub(crate) struct Target<'a> {
    pub(crate) domain: Domain,
    /// As they came, since their patterns would take twice as much or more.
    bytes: Cow<'a, [u8]>,
    pub(crate) positions: Integers,
    /// As in [`FrameTarget`].
    specials: Vec<u8>,
    /// Patterns with numbers of their own; `None` if no pixel is special.
    pub(crate) patterns: Option<Vec<u64>>,
    /// As in [`FrameTarget`]; `None` where all are the same.
    widths: Option<Integers>,
    uniform_width: i64,
    tolerance: Tolerance,
    unbiased: bool,
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
    fn of(elements: Elements, options: &Options) -> Option<Self> {
        let mut range: Option<Self> = None;
        for pattern in elements.iter() {
            if options.is_mark(pattern) {
                continue;
            }
            let value = number(elements.element, pattern);
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
            return Self::of(Elements::new(element, bytes), options);
        }
        // Bit patterns become integers in the order of the values, of which vectors are compared.
        let excluded = options.marks().map(|p| p.unwrap_or(u64::from(u32::MAX)) as u32);
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

impl<'a> Target<'a> {
    /// Pixels within their bounds. `None` where these are too fine for the range: then lossless coding serves.
    pub(crate) fn bounded(
        element: ElementType,
        bytes: &'a [u8],
        range: ValueRange,
        tolerance: Tolerance,
        options: &Options,
    ) -> Option<Self> {
        match tolerance {
            Tolerance::Uniform(epsilon) => Self::linear(element, bytes, range, epsilon, options),
            Tolerance::Noise(_) => Self::square_root(element, bytes, range, tolerance, options),
        }
    }

    fn linear(
        element: ElementType,
        bytes: &'a [u8],
        range: ValueRange,
        epsilon: f64,
        options: &Options,
    ) -> Option<Self> {
        let (width, one_sided) = uniform_widths(element, range, epsilon);
        let step = storable_step(if options.unbiased { one_sided } else { width });
        let fraction_bits = fraction_bits(range.magnitude(), step)?;
        let domain = Domain { element, scale: Scale::Linear { step }, fraction_bits };
        let mut target = Self::new(domain, bytes, Tolerance::Uniform(epsilon), options);
        target.uniform_width = (width / domain.unit()) as i64;
        target.unbiased = options.unbiased;
        Some(target)
    }

    /// What a noise bound allows about each value is a range of about the same width on the square-root scale. The
    /// narrowest is the step, and the middle of each is its pixel's position, so that every prediction has a residual
    /// within reach.
    fn square_root(
        element: ElementType,
        bytes: &'a [u8],
        range: ValueRange,
        tolerance: Tolerance,
        options: &Options,
    ) -> Option<Self> {
        if !element.is_float() && tolerance.epsilon_of(range.greatest) < 1.0 {
            return None;
        }
        let elements = Elements::new(element, bytes);
        let allowed: Vec<Option<Allowed>> = elements
            .iter()
            .map(|pattern| Allowed::about(element, pattern, tolerance).filter(|_| !options.is_mark(pattern)))
            .map(|allowed| if options.unbiased { allowed.map(Allowed::even_sided) } else { allowed })
            .collect();
        let room = |allowed: &Allowed| if options.unbiased { allowed.one_sided() } else { allowed.width() };
        let narrowest = allowed.iter().flatten().map(room).fold(f64::INFINITY, f64::min);
        let n_exact = elements
            .iter()
            .zip(&allowed)
            .filter(|&(pattern, allowed)| {
                allowed.is_none() && !is_special(element, pattern) && !options.is_mark(pattern)
            })
            .count();
        let step = storable_step(narrowest.min(f64::MAX / 4.0));
        let magnitude = to_root(range.greatest).abs().max(to_root(range.least).abs());
        let fraction_bits =
            fraction_bits(magnitude, step).filter(|_| n_exact <= elements.len() / FEW_EXACT)?;
        let domain = Domain { element, scale: Scale::SquareRoot { step }, fraction_bits };
        let unit = domain.unit();
        let positions = allowed.iter().map(|allowed| {
            let middle = allowed.map(|allowed| (allowed.middle() / unit).round());
            let middle = middle.filter(|middle| middle.abs() <= MAX_POSITION as f64);
            (middle.unwrap_or(0.0) as i64, u8::from(middle.is_none()))
        });
        let mut target = Self::at(domain, positions.unzip(), bytes, tolerance);
        let width = |allowed: &Allowed| (allowed.width() / unit).min(2.0 * MAX_POSITION as f64) as i64;
        target.widths = Some(allowed.iter().map(|allowed| allowed.as_ref().map_or(0, width)).collect());
        target.unbiased = options.unbiased;
        Some(target)
    }

    /// All elements exactly, in a domain where each finite value sits on a step.
    pub(crate) fn exact(domain: Domain, bytes: &'a [u8]) -> Self {
        let no_extras = Options::new(crate::options::Bound::Lossless);
        Self::new(domain, bytes, Tolerance::EXACT, &no_extras)
    }

    fn new(domain: Domain, bytes: &'a [u8], tolerance: Tolerance, options: &Options) -> Self {
        let elements = Elements::new(domain.element, bytes);
        let n_elements = elements.len();
        // Fill and mask values are exact wherever the grid may put their neighbours.
        let mut positions = Integers::with_capacity(n_elements);
        let mut specials = Vec::with_capacity(n_elements);
        domain.for_each_position(elements, |position| {
            positions.push(position.unwrap_or(0));
            specials.push(u8::from(position.is_none()));
        });
        if options.marks() != [None; 2] {
            for (special, pattern) in specials.iter_mut().zip(elements.iter()) {
                *special |= u8::from(options.is_mark(pattern));
            }
        }
        Self::at(domain, (positions, specials), bytes, tolerance)
    }

    /// With pixels at these positions, special where marked so.
    fn at(
        domain: Domain,
        (positions, specials): (Integers, Vec<u8>),
        bytes: &'a [u8],
        tolerance: Tolerance,
    ) -> Self {
        let mut target = Self {
            domain,
            bytes: Cow::Borrowed(bytes),
            positions,
            specials,
            patterns: None,
            widths: None,
            uniform_width: domain.step_positions(),
            tolerance,
            unbiased: false,
            lowest: 0,
            highest: 0,
        };
        target.number_specials();
        target
    }

    /// Whether nothing may be off.
    pub(crate) fn is_exact(&self) -> bool {
        self.tolerance == Tolerance::EXACT
    }

    /// Width of the range of positions within the bound, where it is the same for all pixels.
    pub(crate) fn uniform_width(&self) -> i64 {
        self.uniform_width
    }

    /// Whether positions are proportional to values, as the network's output is, and may be off.
    pub(crate) fn suits_network(&self) -> bool {
        matches!(self.domain.scale, Scale::Linear { .. }) && !self.is_exact()
    }

    /// Makes pixels special that no residual can bring within the bound.
    pub(crate) fn exclude(&mut self, pixels: &[usize]) {
        self.specials.resize(self.n_pixels(), 0);
        for &pixel in pixels {
            self.specials[pixel] = 1;
        }
        self.number_specials();
    }

    /// Numbers the most frequent special patterns, and takes the range of everything else. Marks are there for all pixels
    /// before, and after if one is special.
    fn number_specials(&mut self) {
        let elements = Elements::new(self.domain.element, &self.bytes);
        let special = (0..).zip(&self.specials).filter(|(_, special)| **special != 0);
        let patterns = frequent_patterns(special.map(|(index, _)| elements.at(index)));
        let mut range: Option<(i64, i64)> = None;
        for (i, special) in self.specials.iter_mut().enumerate() {
            if *special != 0 {
                *special = mark_of(&patterns, elements.at(i));
            } else {
                let position = self.positions.at(i);
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
        if self.patterns.is_none() {
            self.specials = Vec::new();
        }
    }

    /// 0, or what stands for the pixel's special pattern.
    pub(crate) fn special(&self, pixel: usize) -> u8 {
        mark_at(&self.specials, pixel)
    }

    fn elements(&self) -> Elements<'_> {
        Elements::new(self.domain.element, &self.bytes)
    }

    /// How many pixels there are.
    pub(crate) fn n_pixels(&self) -> usize {
        self.positions.len()
    }

    /// Some of the pixels, in the given order.
    pub(crate) fn select(&self, pixels: impl Iterator<Item = usize> + Clone) -> Self {
        let size = self.domain.element.size_bytes();
        let bytes = pixels.clone().flat_map(|i| &self.bytes[i * size..(i + 1) * size]);
        Self {
            domain: self.domain,
            bytes: bytes.copied().collect(),
            positions: pixels.clone().map(|i| self.positions.at(i)).collect(),
            specials: pixels.clone().filter_map(|i| self.specials.get(i).copied()).collect(),
            patterns: self.patterns.clone(),
            widths: self.widths.as_ref().map(|widths| pixels.map(|i| widths.at(i)).collect()),
            uniform_width: self.uniform_width,
            tolerance: self.tolerance,
            unbiased: self.unbiased,
            lowest: self.lowest,
            highest: self.highest,
        }
    }

    /// One frame of the chunk.
    pub(crate) fn frame(&self, pixels: std::ops::Range<usize>) -> FrameTarget<'_> {
        FrameTarget {
            elements: self.elements().slice(pixels.clone()),
            positions: self.positions.slice(pixels.clone()),
            specials: self.specials.get(pixels.clone()).unwrap_or_default(),
            widths: match &self.widths {
                Some(widths) => Widths::Each(widths.slice(pixels)),
                None => Widths::Uniform(self.uniform_width),
            },
            tolerance: self.tolerance,
            unbiased: self.unbiased,
        }
    }

    /// Whether a position reconstructs a pixel within the bound.
    pub(crate) fn reaches(&self, pixel: usize, position: i64) -> bool {
        self.tolerance.allows(
            self.domain.element,
            self.elements().at(pixel),
            self.domain.value_bits(position),
        )
    }
}

/// Fraction bits of a domain with such steps; `None` where it does not reach so far, or has no steps.
fn fraction_bits(magnitude: f64, step: f64) -> Option<u32> {
    let steps = magnitude / step;
    if !(step > 0.0 && step.is_finite() && steps < MAX_POSITION as f64 / 4.0) {
        return None;
    }
    let room = (MAX_POSITION as f64 / 2.0 / steps.max(1.0)).log2().floor() as u32;
    Some(FRACTION_BITS.min(room))
}

/// What may stand for a value, on the square-root scale.
#[derive(Clone, Copy)]
struct Allowed {
    low: f64,
    high: f64,
    /// The part of it that stands for the value itself: one point, or for integers all that is rounded to it.
    own: (f64, f64),
}

impl Allowed {
    /// `None` where the element type's own spacing takes up most of the bound, and for what is no number.
    fn about(element: ElementType, pattern: u64, tolerance: Tolerance) -> Option<Self> {
        if is_special(element, pattern) {
            return None;
        }
        let value = number(element, pattern);
        let half = if element.is_float() { 0.0 } else { 0.5 };
        let reach = tolerance.reach(element, pattern) + half;
        let farthest = (value.abs() + reach).min(f64::MAX / 4.0);
        let spacing = match element.is_float() {
            true => 0.5 * ulp(element, farthest),
            false => ulp(ElementType::F64, farthest).floor(),
        };
        let within = |reach: f64| (to_root(value - reach), to_root(value + reach));
        let (low, high) = within(reach - spacing);
        let is_wide = spacing < reach / 2.0 && low.is_finite() && high.is_finite();
        is_wide.then(|| Self { low, high, own: within(half) })
    }

    fn width(&self) -> f64 {
        self.high - self.low
    }

    fn middle(&self) -> f64 {
        (self.low + self.high) / 2.0
    }

    /// Width of the narrower part on one side of the value, what stands for the value itself counted in.
    fn one_sided(&self) -> f64 {
        (self.own.1 - self.low).min(self.high - self.own.0)
    }

    /// As wide on either side of the value as on the narrower one.
    fn even_sided(self) -> Self {
        let side = self.one_sided();
        Self { low: self.own.1 - side, high: self.own.0 + side, ..self }
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
            let bytes: Vec<u8> = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
            let ends = |range: Option<ValueRange>| range.map(|range| (range.least, range.greatest));
            let found = ends(ValueRange::of_bytes(element, &bytes, &options));
            assert_eq!(found, ends(ValueRange::of(Elements::new(element, &bytes), &options)), "{values:?}");
        }
    }
}
