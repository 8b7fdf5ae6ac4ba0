//! Pixels that are coded one by one: docs/format.md, "Pixels of the fast coder".

use std::ops::Range;

use super::Position;
use crate::entropy::{AdaptiveBit, BitCoder};

/// Predictors of a pixel.
const N_PREDICTORS: usize = 4;

/// Errors of the predictors at a pixel, in quarters of a step, at most [`MAX_ERROR`].
pub(super) type Errors<P> = [P; N_PREDICTORS];

/// Errors are cut here, so that three of them add up in an i32.
const MAX_ERROR: i64 = 1 << 26;

/// Magnitudes of residuals count in contexts up to this.
const MAX_SIZE: u64 = 1 << 17;

/// Columns that a row of positions has to the left of the frame.
pub(super) const LEFT: usize = 2;

/// Columns that it has beyond the frame on both sides.
pub(super) const MARGINS: usize = LEFT + 1;

/// Buckets of the sizes of neighbouring residuals.
const N_BUCKETS: usize = 10;

/// From this sum of sizes on, the lower bits of a residual are not modelled.
const COARSE_FROM: u32 = 16;

/// Decisions about the class of a magnitude; the last serves all beyond it.
const N_CLASSES: usize = 12;

/// Residuals stay below 2⁶³.
const LARGEST_CLASS: u32 = 62;

/// Bits that probabilities seem to have seen when they begin.
const PRIOR_BITS: u16 = 4;

/// Where probabilities begin, in 1/256: what two sets of simulated scattering frames came to at bounds of 10⁻² to 10⁻⁴
/// of their maximum. Frozen. First: that a residual is not 0, by bucket and relief.
const RESIDUAL: [[u8; 8]; N_BUCKETS] = [
    [43, 114, 101, 112, 87, 228, 122, 105],
    [33, 146, 108, 133, 129, 226, 137, 127],
    [25, 156, 111, 116, 100, 171, 153, 119],
    [57, 168, 163, 146, 144, 205, 164, 153],
    [71, 186, 140, 190, 204, 219, 207, 195],
    [81, 222, 198, 213, 230, 235, 227, 226],
    [83, 228, 216, 227, 237, 241, 237, 237],
    [67, 210, 203, 233, 240, 244, 244, 243],
    [46, 192, 174, 208, 232, 243, 233, 236],
    [43, 182, 156, 216, 232, 241, 234, 240],
];

/// That it is negative, by fraction.
const NEGATIVE: [u8; 4] = [220, 181, 131, 47];

/// That its magnitude is beyond a class, by bucket and class; the last serves all beyond it.
const BEYOND: [[u8; 8]; N_BUCKETS] = [
    [9, 41, 96, 115, 172, 159, 150, 150],
    [15, 16, 35, 63, 115, 173, 160, 160],
    [37, 15, 48, 86, 131, 140, 160, 160],
    [59, 18, 40, 89, 96, 120, 160, 160],
    [120, 36, 31, 43, 63, 102, 112, 160],
    [178, 74, 33, 37, 50, 89, 122, 160],
    [213, 133, 38, 38, 45, 61, 89, 160],
    [230, 190, 67, 41, 44, 41, 73, 160],
    [222, 144, 52, 26, 57, 66, 72, 130],
    [229, 192, 70, 31, 49, 52, 73, 130],
];

/// That it is in the upper half of its class.
const SECOND: u8 = 64;

/// Range of all positions, and what an empty block holds.
#[derive(Clone, Copy)]
pub(super) struct Levels<P> {
    pub(super) lowest: P,
    pub(super) highest: P,
    /// The position nearest to 0 within the range.
    pub(super) ground: P,
}

/// A row of a frame and what is known around it.
pub(super) struct Row<'a, P> {
    /// Positions, with [`LEFT`] columns before the frame's first and one behind its last.
    pub(super) here: &'a mut [P],
    pub(super) above: &'a [P],
    pub(super) above_that: &'a [P],
    /// Errors and sizes, with one column on each side of the frame.
    pub(super) errors: &'a mut [Errors<P>],
    pub(super) errors_above: &'a [Errors<P>],
    pub(super) sizes: &'a mut [u32],
    pub(super) sizes_above: &'a [u32],
    /// The mirror image of the row, of the row above, and the columns where it exists.
    pub(super) mirrored: &'a [P],
    pub(super) mirrored_above: Option<&'a [P]>,
    pub(super) mirror_cols: Range<usize>,
}

/// Adaptive probabilities of residuals.
pub(super) struct ResidualModel {
    nonzero: [[AdaptiveBit; 64]; N_BUCKETS],
    sign: [AdaptiveBit; 8],
    classes: [[AdaptiveBit; N_CLASSES]; N_BUCKETS],
    seconds: [[AdaptiveBit; N_CLASSES]; N_BUCKETS],
}

/// What a residual is coded under.
struct Context {
    /// Sum of the sizes of the residuals to the left, above and above right.
    activity: u32,
    /// Quarters of a step by which the prediction was rounded, from −2, plus 2; mirror image or none.
    fraction: usize,
    /// Which of the three neighbours are off the ground.
    relief: usize,
}

impl ResidualModel {
    pub(super) fn new() -> Self {
        let prior = |share: u8| AdaptiveBit::with_prior(u16::from(share) << 8, PRIOR_BITS);
        Self {
            nonzero: RESIDUAL.map(|shares| std::array::from_fn(|context| prior(shares[context / 8]))),
            sign: std::array::from_fn(|fraction| prior(NEGATIVE[fraction % 4])),
            classes: BEYOND.map(|shares| std::array::from_fn(|class| prior(shares[class.min(7)]))),
            seconds: [[prior(SECOND); N_CLASSES]; N_BUCKETS],
        }
    }

    /// Where residuals nearby are large, those below are as good as random in their lower bits: these are coded apart,
    /// with even odds.
    #[inline(always)]
    fn code<C: BitCoder>(&mut self, coder: &mut C, context: &Context, residual: i64) -> i64 {
        if context.activity < COARSE_FROM {
            return self.code_modelled(coder, context, residual);
        }
        let n_bits = context.activity.ilog2() - 3;
        let half = 1i64 << (n_bits - 1);
        let raised = residual.wrapping_add(half);
        let coarse = self.code_modelled(coder, context, raised >> n_bits);
        let fine = coder.code_uniform((raised & ((1 << n_bits) - 1)) as u64, n_bits);
        (coarse << n_bits | fine as i64).wrapping_sub(half)
    }

    /// Zero or not, sign, class in unary, then the bits below the leading one.
    #[inline(always)]
    fn code_modelled<C: BitCoder>(&mut self, coder: &mut C, context: &Context, residual: i64) -> i64 {
        let bucket = bucket(context.activity);
        let nonzero = &mut self.nonzero[bucket][context.relief * 8 + context.fraction];
        if !nonzero.code(coder, residual != 0) {
            return 0;
        }
        let negative = self.sign[context.fraction].code(coder, residual < 0);
        let magnitude = residual.unsigned_abs().max(1);
        let class = magnitude.ilog2();
        let mut coded_class = 0;
        let classes = &mut self.classes[bucket];
        while coded_class < LARGEST_CLASS
            && classes[(coded_class as usize).min(N_CLASSES - 1)].code(coder, coded_class < class)
        {
            coded_class += 1;
        }
        let mut coded = 1;
        if coded_class > 0 {
            let second = &mut self.seconds[bucket][(coded_class as usize).min(N_CLASSES - 1)];
            let n_rest = coded_class - 1;
            coded = 2 | u64::from(second.code(coder, magnitude >> n_rest & 1 != 0));
            if n_rest > 0 {
                coded = code_rest(coder, coded, magnitude, n_rest);
            }
        }
        if negative { (coded as i64).wrapping_neg() } else { coded as i64 }
    }
}

/// Appends the lowest `n_bits` of a magnitude to what is coded of it.
#[inline]
fn code_rest<C: BitCoder>(coder: &mut C, mut coded: u64, magnitude: u64, n_bits: u32) -> u64 {
    let mut left = n_bits;
    while left > 0 {
        let n_now = left.min(16);
        left -= n_now;
        coded = coded << n_now | coder.code_uniform(magnitude >> left & ((1 << n_now) - 1), n_now);
    }
    coded
}

/// Half octaves of a sum of sizes; beyond [`COARSE_FROM`] only where in its octave it lies.
#[inline(always)]
fn bucket(activity: u32) -> usize {
    if activity < 2 {
        return activity as usize;
    }
    let octave = activity.ilog2();
    let half = activity >> (octave - 1) & 1;
    (2 * octave.min(4) + half) as usize
}

/// Positions around a pixel.
struct Around<P> {
    ww: P,
    w: P,
    nw: P,
    n: P,
    ne: P,
}

impl<P: Position> Around<P> {
    /// In quarters of a step, without a mirror image; `nn` is the position two above.
    #[inline(always)]
    fn predictions(&self, nn: P) -> [P; N_PREDICTORS] {
        let [two, four] = [2, 4].map(P::from_i64);
        let [first, second] = self.averages();
        [first, second, four * (two * self.w - self.ww), four * (two * self.n - nn)]
    }

    /// The same with a mirror image of the pixel, and of those to the left and above.
    #[inline(always)]
    fn predictions_by_image(&self, x: P, xw: P, xn: P) -> [P; N_PREDICTORS] {
        let [two, four] = [2, 4].map(P::from_i64);
        let [first, second] = self.averages();
        [first, second, four * x, four * x + two * ((self.w - xw) + (self.n - xn))]
    }

    /// With the slope of the row above, and without.
    #[inline(always)]
    fn averages(&self) -> [P; 2] {
        let Self { w, nw, n, ne, .. } = *self;
        [P::from_i64(2) * (w + n) + ne - nw, w + n + nw + ne]
    }

    /// Which of the three nearest to what is still to come are off the ground.
    #[inline(always)]
    fn relief(&self, ground: P) -> usize {
        let off = |neighbour: P, weight: usize| if neighbour == ground { 0 } else { weight };
        off(self.w, 1) | off(self.n, 2) | off(self.ne, 4)
    }
}

/// The prediction with the least recent error; the first of several.
#[inline(always)]
fn most_trusted<P: Position>(predictions: [P; N_PREDICTORS], recent: Errors<P>) -> P {
    let pick = |a: (P, P), b: (P, P)| if b.0 < a.0 { b } else { a };
    let [p0, p1, p2, p3] = predictions;
    let [r0, r1, r2, r3] = recent;
    pick(pick((r0, p0), (r1, p1)), pick((r2, p2), (r3, p3))).1
}

/// Codes pixels of a row, before, in and behind the columns that have a mirror image. `wanted` are the row's positions,
/// for an encoder; `code_special` says of a column whether it is special, after coding that.
#[inline]
pub(super) fn code_runs<C: BitCoder, P: Position>(
    coder: &mut C,
    model: &mut ResidualModel,
    levels: Levels<P>,
    row: &mut Row<P>,
    cols: Range<usize>,
    wanted: Option<&[P]>,
    mut code_special: impl FnMut(&mut C, usize) -> bool,
) {
    let [start, end] =
        [row.mirror_cols.start, row.mirror_cols.end].map(|col| col.clamp(cols.start, cols.end));
    let special = &mut code_special;
    code_pixels::<C, P, false>(coder, model, levels, row, cols.start..start, wanted, &mut *special);
    code_pixels::<C, P, true>(coder, model, levels, row, start..end, wanted, &mut *special);
    code_pixels::<C, P, false>(coder, model, levels, row, end..cols.end, wanted, &mut *special);
}

/// Codes pixels of a row, of which all or none have a mirror image.
#[inline]
fn code_pixels<C: BitCoder, P: Position, const MIRRORED: bool>(
    coder: &mut C,
    model: &mut ResidualModel,
    levels: Levels<P>,
    row: &mut Row<P>,
    cols: Range<usize>,
    wanted: Option<&[P]>,
    mut code_special: impl FnMut(&mut C, usize) -> bool,
) {
    let (start, n_cols) = (cols.start, cols.len());
    if n_cols == 0 {
        return;
    }
    let wanted = wanted.map(|wanted| &wanted[start..][..n_cols]);
    let (mut ww, mut w) = (row.here[start], row.here[start + 1]);
    let here = &mut row.here[start + LEFT..][..n_cols];
    let (mut nw, mut n) = (row.above[start + 1], row.above[start + 2]);
    let right_above = &row.above[start + LEFT + 1..][..n_cols];
    let above_that = &row.above_that[start + LEFT..][..n_cols];
    let mut errors_w = row.errors[start];
    let errors = &mut row.errors[start + 1..][..n_cols];
    let mut errors_n = row.errors_above[start + 1];
    let errors_right_above = &row.errors_above[start + 2..][..n_cols];
    let mut size_w = row.sizes[start];
    let sizes = &mut row.sizes[start + 1..][..n_cols];
    let mut size_n = row.sizes_above[start + 1];
    let sizes_right_above = &row.sizes_above[start + 2..][..n_cols];
    let mirrored = if MIRRORED { &row.mirrored[start..][..n_cols] } else { &[] };
    let mirrored_above =
        row.mirrored_above.filter(|_| MIRRORED).map_or(mirrored, |above| &above[start..][..n_cols]);
    let mut xw = mirrored.first().copied().unwrap_or_default();
    if MIRRORED && start > row.mirror_cols.start {
        xw = row.mirrored[start - 1];
    }
    for i in 0..n_cols {
        let ne = right_above[i];
        let around = Around { ww, w, nw, n, ne };
        let predictions = if MIRRORED {
            around.predictions_by_image(mirrored[i], xw, mirrored_above[i])
        } else {
            around.predictions(above_that[i])
        };
        if MIRRORED {
            xw = mirrored[i];
        }
        let errors_ne = errors_right_above[i];
        let recent = std::array::from_fn(|k| errors_w[k] + errors_n[k] + errors_ne[k]);
        let quarters = most_trusted(predictions, recent) + P::from_i64(2);
        let prediction = (quarters >> 2).max(levels.lowest).min(levels.highest).to_i64();
        let size_ne = sizes_right_above[i];
        let context = Context {
            activity: size_w + size_n + size_ne,
            fraction: (quarters.to_i64() & 3) as usize | if MIRRORED { 4 } else { 0 },
            relief: around.relief(levels.ground),
        };
        let mut residual = 0;
        if !code_special(coder, start + i) {
            residual =
                model.code(coder, &context, wanted.map_or(0, |wanted| wanted[i].to_i64() - prediction));
        }
        let moved = prediction.wrapping_add(residual);
        let position = P::from_i64(moved.clamp(levels.lowest.to_i64(), levels.highest.to_i64()));
        (ww, w, nw, n) = (w, position, n, ne);
        here[i] = position;
        size_w = residual.unsigned_abs().min(MAX_SIZE) as u32;
        sizes[i] = size_w;
        size_n = size_ne;
        errors_w = errors_of(predictions, position);
        errors[i] = errors_w;
        errors_n = errors_ne;
    }
}

#[inline(always)]
fn errors_of<P: Position>(predictions: [P; N_PREDICTORS], position: P) -> Errors<P> {
    let (here, most) = (P::from_i64(4) * position, P::from_i64(MAX_ERROR));
    predictions.map(|prediction| {
        let difference = here - prediction;
        difference.max(P::default() - difference).min(most)
    })
}
