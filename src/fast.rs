//! From a chunk to a payload of the fast coder: what `encode` and `target` do for the other one, with nothing tried.

use crate::array::ByteOrder;
use crate::atoms::{AtomCoder, PatchHeader};
use crate::bound::{exact_f32, may_differ_f32, within};
use crate::centre::find_centre;
use crate::domain::{Domain, Scale};
use crate::encode::{centre_may_exist, evenly_spread};
use crate::entropy::RangeEncoder;
use crate::frame::{FastCoder, FastTarget, FrameRules, Method, Position};
use crate::patch::PatchGrid;
use crate::stream::payload::{PayloadRules, default_patch};
use crate::symmetry::Centre;
use crate::target::{frequent_patterns, mark_of};

/// Frames on which the centre of symmetry is tried, and rows and columns of them.
const SAMPLE_FRAMES: usize = 3;
const SAMPLE_ROWS: usize = 16;
const SAMPLE_COLS: usize = 32;

/// Chunks of at least so many pixels are worth a search for their centre, if their frames are not so large that the
/// search takes longer than everything else; in others only the middle is tried.
const SEARCHED_FROM: usize = 1 << 19;
const LARGEST_SEARCHED: usize = 256 * 256;

/// Pixels that are brought to the grid together.
const BATCH: usize = 64;

/// Maxima that are kept apart meanwhile, for vectors.
const LANES: usize = 4;

/// A chunk to encode.
pub(crate) struct FastChunk<'a> {
    pub(crate) bytes: &'a [u8],
    /// Without fraction bits.
    pub(crate) domain: Domain,
    /// Largest error allowed.
    pub(crate) epsilon: f64,
    /// Fill and mask value.
    pub(crate) exact: [Option<u64>; 2],
    pub(crate) n_frames: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// All pixels of a chunk on the grid, or marked as special.
struct GridTarget<P> {
    positions: Vec<P>,
    /// By pixel 0, or 1 + the number of a pattern; empty if no pixel is special.
    marks: Vec<u8>,
    patterns: Option<Vec<u64>>,
    lowest: i64,
    highest: i64,
}

impl FastChunk<'_> {
    /// The payload. `steps` is how many of them the largest magnitude has.
    pub(crate) fn encode(&self, steps: f64) -> Vec<u8> {
        if steps < i32::LARGEST as f64 { self.encode_as::<i32>() } else { self.encode_as::<i64>() }
    }

    fn encode_as<P: Position>(&self) -> Vec<u8> {
        let target = self.target::<P>();
        let rules = self.rules(&target);
        let grid = rules.frames.grid;
        let mut coder = FastCoder::<P>::new(rules.frames.clone());
        let mut atoms = AtomCoder::new(None);
        let (mut header_body, mut pixel_body) = (RangeEncoder::new(), RangeEncoder::new());
        let mut constants: Vec<Option<i64>> = Vec::new();
        let mut methods: Vec<Method> = Vec::new();
        let n_pixels = self.rows * self.cols;
        let frame_bytes = n_pixels * self.domain.element.size_bytes();
        for frame in 0..self.n_frames {
            let pixels = frame * n_pixels..(frame + 1) * n_pixels;
            let job = FastTarget {
                positions: &target.positions[pixels.clone()],
                marks: target.marks.get(pixels).unwrap_or_default(),
                bytes: &self.bytes[frame * frame_bytes..][..frame_bytes],
            };
            constants.clear();
            constants.extend((0..grid.n_patches()).map(|patch| constant(grid, &job, patch)));
            for constant in &constants {
                let header = constant.map_or(PatchHeader::Pixels(Method::Grid), PatchHeader::Constant);
                let [left, before] = grid.neighbours(methods.len()).map(|i| i.map(|i| methods[i]));
                atoms.code(&mut header_body, Some(&header), left, before);
                methods.push(header.method());
            }
            coder.code_frame(&mut pixel_body, &constants, Some(&job));
        }
        rules.write(&header_body.finish(), &pixel_body.finish())
    }

    fn rules<P: Position>(&self, target: &GridTarget<P>) -> PayloadRules {
        PayloadRules {
            frames: FrameRules {
                domain: self.domain,
                grid: PatchGrid {
                    rows: self.rows,
                    cols: self.cols,
                    patch: default_patch(self.rows, self.cols),
                },
                lowest: target.lowest,
                highest: target.highest,
                centre: self.choose_centre(target),
                specials: target.patterns.clone(),
                latents_only: false,
                modelled: false,
            },
            network: None,
            fast: true,
        }
    }

    /// Brings all pixels to the grid.
    fn target<P: Position>(&self) -> GridTarget<P> {
        let element = self.domain.element;
        let n_pixels = self.n_frames * self.rows * self.cols;
        let mut positions = Vec::with_capacity(n_pixels);
        let mut special = Vec::new();
        if element.is_float() && element.size_bytes() == 4 && self.domain.scale != Scale::Ordered {
            self.place_f32(&mut positions, &mut special);
        } else {
            self.place(0..n_pixels, &mut positions, &mut special);
        }
        let mut target = GridTarget { positions, marks: Vec::new(), patterns: None, lowest: 0, highest: 0 };
        if !special.is_empty() {
            let patterns = frequent_patterns(special.iter().map(|&i| element.bits_at(self.bytes, i)));
            target.marks = vec![0; n_pixels];
            for &i in &special {
                target.marks[i] = mark_of(&patterns, element.bits_at(self.bytes, i));
            }
            target.patterns = Some(patterns);
        }
        (target.lowest, target.highest) = range(&target.positions, &target.marks);
        target
    }

    /// Brings some pixels to the grid, one by one, and notes those that stay off it.
    fn place<P: Position>(
        &self,
        pixels: std::ops::Range<usize>,
        positions: &mut Vec<P>,
        special: &mut Vec<usize>,
    ) {
        for i in pixels {
            let position = self.nearest(self.domain.element.bits_at(self.bytes, i), P::LARGEST);
            if position.is_none() {
                special.push(i);
            }
            positions.push(P::from_i64(position.unwrap_or(0)));
        }
    }

    /// The position that reconstructs a pattern within the bound, of magnitude at most `largest`.
    fn nearest(&self, pattern: u64, largest: i64) -> Option<i64> {
        let position = self.domain.position(pattern)?;
        let must_be_exact = self.exact.contains(&Some(pattern));
        // Rounding to the element's type may have made a neighbour the nearest.
        [position, position + 1, position - 1].into_iter().find(|&candidate| {
            let restored = self.domain.value_bits(candidate);
            candidate.abs() <= largest
                && (restored == pattern
                    || !must_be_exact && within(self.domain.element, restored, pattern, self.epsilon))
        })
    }

    /// As [`Self::place`] for all pixels of type f32, many at once where none is special.
    fn place_f32<P: Position>(&self, positions: &mut Vec<P>, special: &mut Vec<usize>) {
        let (batches, rest) = self.bytes.as_chunks::<{ 4 * BATCH }>();
        let exact = exact_f32(self.exact);
        let unit = self.domain.unit();
        let big = self.domain.element.order() == ByteOrder::Big;
        for (nth, batch) in batches.iter().enumerate() {
            let first = nth * BATCH;
            match place_batch(batch, big, unit, self.epsilon, exact) {
                Some(batch) => positions.extend(batch.map(|position| P::from_i64(i64::from(position)))),
                None => self.place(first..first + BATCH, positions, special),
            }
        }
        let placed = batches.len() * BATCH;
        self.place(placed..placed + rest.len() / 4, positions, special);
    }

    /// A centre of symmetry, if mirror images predict a sample of pixels better than their neighbours do.
    fn choose_centre<P: Position>(&self, target: &GridTarget<P>) -> Option<Centre> {
        if !centre_may_exist(self.rows, self.cols) {
            return None;
        }
        let n_pixels = self.rows * self.cols;
        let frame = |frame: usize| -> Vec<i64> {
            target.positions[frame * n_pixels..][..n_pixels]
                .iter()
                .map(|position| position.to_i64())
                .collect()
        };
        let frames: Vec<Vec<i64>> = evenly_spread(self.n_frames, SAMPLE_FRAMES).map(frame).collect();
        let pays = |centre: Centre| frames.iter().map(|frame| self.gain(frame, centre)).sum::<i64>() > 0;
        let middle = Centre::of_frame(self.rows, self.cols);
        if pays(middle) {
            return Some(middle);
        }
        if n_pixels > LARGEST_SEARCHED || target.positions.len() < SEARCHED_FROM {
            return None;
        }
        let positions: Vec<Option<i64>> = frames[frames.len() / 2].iter().map(|&p| Some(p)).collect();
        Some(find_centre(self.rows, self.cols, &positions, 1)).filter(|&centre| pays(centre))
    }

    /// About how many bits mirror images save on a sample of a frame's pixels, against the pixels above.
    fn gain(&self, frame: &[i64], centre: Centre) -> i64 {
        let bits = |difference: i64| i64::from(64 - difference.unsigned_abs().leading_zeros());
        let first_row = ((centre.twice_row / 8).max(0) as usize + 1).min(self.rows);
        let mut gain = 0;
        for row in (first_row..self.rows).step_by((self.rows - first_row).div_ceil(SAMPLE_ROWS).max(1)) {
            for col in (0..self.cols).step_by(self.cols.div_ceil(SAMPLE_COLS)) {
                let Some(point) = centre.mirror(row, col, self.rows, self.cols) else { continue };
                let here = frame[row * self.cols + col];
                let above = frame[(row - 1) * self.cols + col];
                gain += bits(here - above) - bits(here - point.interpolate(frame, self.cols));
            }
        }
        gain
    }
}

/// Adding it rounds a number below 2³¹ to an integer, which the lower half of the sum's bits holds.
const ROUNDER: f64 = 1.5 * (1u64 << 52) as f64;

/// Brings values of type f32 to the grid; `None` if one of them needs a closer look.
#[inline]
fn place_batch(
    bytes: &[u8; 4 * BATCH],
    big: bool,
    unit: f64,
    epsilon: f64,
    exact: [u32; 2],
) -> Option<[i32; BATCH]> {
    let (words, _) = bytes.as_chunks::<4>();
    let patterns: [u32; BATCH] =
        std::array::from_fn(
            |i| {
                if big { u32::from_be_bytes(words[i]) } else { u32::from_le_bytes(words[i]) }
            },
        );
    let mut positions = [0; BATCH];
    let mut largest = [0.0f64; LANES];
    let per_unit = 1.0 / unit;
    for first in (0..BATCH).step_by(LANES) {
        for lane in 0..LANES {
            let value = f64::from(f32::from_bits(patterns[first + lane]));
            let position = (value * per_unit + ROUNDER).to_bits() as i32;
            let error = (f64::from((f64::from(position) * unit) as f32) - value).abs();
            positions[first + lane] = position;
            largest[lane] = if error > largest[lane] { error } else { largest[lane] };
        }
    }
    let mut fits = largest.into_iter().fold(0.0, f64::max) <= epsilon;
    for (&pattern, &position) in patterns.iter().zip(&positions) {
        let is_small = (position <= i32::LARGEST as i32) & (position >= -(i32::LARGEST as i32));
        fits &= is_small & may_differ_f32(pattern, exact);
    }
    fits.then_some(positions)
}

/// The position of a patch whose pixels all share it.
fn constant<P: Position>(grid: PatchGrid, target: &FastTarget<P>, patch: usize) -> Option<i64> {
    let region = grid.region(patch);
    let first = target.positions[region.row * grid.cols + region.col];
    let is_constant = (region.row..region.row + region.rows).all(|row| {
        let pixels = row * grid.cols + region.col..row * grid.cols + region.col + region.cols;
        target.positions[pixels.clone()].iter().all(|&position| position == first)
            && target.marks.get(pixels).unwrap_or_default().iter().all(|&mark| mark == 0)
    });
    is_constant.then(|| first.to_i64())
}

/// Least and greatest of the positions that are not special.
fn range<P: Position>(positions: &[P], marks: &[u8]) -> (i64, i64) {
    let fold = |(least, greatest): (P, P), &position: &P| (position.min(least), position.max(greatest));
    let is_ordinary = |i: &usize| marks.get(*i).is_none_or(|&mark| mark == 0);
    let Some(first) = (0..positions.len()).find(is_ordinary) else { return (0, 0) };
    let ends = (positions[first], positions[first]);
    let (least, greatest) = if marks.is_empty() {
        positions.iter().fold(ends, fold)
    } else {
        positions
            .iter()
            .zip(marks)
            .filter(|(_, mark)| **mark == 0)
            .map(|(position, _)| position)
            .fold(ends, fold)
    };
    (least.to_i64(), greatest.to_i64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ElementType;

    const EDGE: usize = 96;

    /// Rings about a centre that is not the frame's.
    fn rings(n_frames: usize) -> Vec<f32> {
        (0..n_frames * EDGE * EDGE)
            .map(|i| {
                let (row, col) = ((i / EDGE % EDGE) as f32, (i % EDGE) as f32);
                let r = (row - 40.25).hypot(1.3 * (col - 50.75)) + (i / EDGE / EDGE) as f32;
                100.0 * (-r / 20.0).exp() * (1.2 + (r / 2.0).cos())
            })
            .collect()
    }

    fn with_chunk<T>(values: &[f32], epsilon: f64, f: impl FnOnce(&FastChunk) -> T) -> T {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let scale = Scale::Linear { step: 1.999 * epsilon };
        f(&FastChunk {
            bytes: &bytes,
            domain: Domain { element: ElementType::F32, scale, fraction_bits: 0 },
            epsilon,
            exact: [None; 2],
            n_frames: values.len() / EDGE / EDGE,
            rows: EDGE,
            cols: EDGE,
        })
    }

    #[test]
    fn both_widths_of_integers_write_the_same_bytes() {
        let mut values = rings(60);
        values.iter_mut().step_by(89).for_each(|value| *value = f32::NAN);
        for epsilon in [1.0, 1e-2, 1e-5] {
            with_chunk(&values, epsilon, |chunk| {
                assert!(chunk.encode_as::<i32>() == chunk.encode_as::<i64>(), "a bound of {epsilon}");
            });
        }
    }

    #[test]
    fn a_centre_off_the_middle_is_found() {
        with_chunk(&rings(60), 1e-2, |chunk| {
            let centre = chunk.choose_centre(&chunk.target::<i32>()).unwrap();
            assert!((centre.twice_row - 322).abs() <= 1 && (centre.twice_col - 406).abs() <= 1, "{centre:?}");
        });
    }

    #[test]
    fn values_are_placed_alike_one_by_one_and_many_at_once() {
        let mut values = rings(1);
        values[77] = -0.0;
        values[500] = f32::INFINITY;
        values[900] = 1e30;
        with_chunk(&values, 1e-3, |chunk| {
            let (mut many, mut special_of_many) = (Vec::<i32>::new(), Vec::new());
            chunk.place_f32(&mut many, &mut special_of_many);
            let (mut single, mut special) = (Vec::<i32>::new(), Vec::new());
            chunk.place(0..values.len(), &mut single, &mut special);
            assert_eq!((special_of_many, special.len()), (special, 3));
            let n_different = many.iter().zip(&single).filter(|(a, b)| a != b).count();
            // Halves are rounded to even and away from zero.
            assert!(n_different <= 2, "{n_different} positions differ");
        });
    }
}
