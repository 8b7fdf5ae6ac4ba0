//! Predicted pixels and their residuals: docs/format.md, "Pixels".

use super::{FrameCoder, FrameJob, FrameTarget, Method, NO_ERRORS, Pixel};
use crate::domain::{MAX_POSITION, round_shift};
use crate::entropy::{
    AdaptiveBit, BitCoder, ContextMixer, Decision, MagnitudeBit, MixerRules, ONE, code_magnitude,
};
use crate::initial::InitialStates;
use crate::predict::{Blend, MAX_ERROR, Mirrored, Neighbours, Predictions, recent_errors};
use crate::symmetry::MirrorPoint;

pub(crate) type PixelMixer = ContextMixer<N_CONTEXTS, { N_CONTEXTS + 1 }>;

pub(super) const N_CONTEXTS: usize = 7;

/// Buckets of the local activity that choose a set of weights.
const N_ACTIVITY: u32 = 16;

/// Binary decisions of a residual that have contexts of their own.
const N_DECISIONS: u32 = 24;

/// Residuals stay below 2⁶³.
const LARGEST_CLASS: u32 = 62;

/// Buckets of a magnitude, and of one that may be missing.
const N_BUCKETS: u32 = 20;
/// Where a prediction lies between two steps, in sixths.
const N_FRACTIONS: u32 = 6;
/// Residuals as they count in contexts, −3 to 3; and missing ones.
const N_RESIDUALS: u32 = 7;
/// Rings about the centre.
const N_RADII: u32 = 64;

/// Contexts of predicted patches, in the order of `predicted_contexts`.
pub(super) const N_BLEND_CONTEXTS: [u32; N_CONTEXTS] = [
    N_BUCKETS * N_FRACTIONS * N_BUCKETS,
    N_BUCKETS * N_BUCKETS * 2,
    N_BUCKETS * N_FRACTIONS * N_BUCKETS,
    16 * 2 * N_BUCKETS,
    N_RADII * N_BUCKETS,
    (N_RESIDUALS + 1) * N_BUCKETS * N_FRACTIONS,
    N_RESIDUALS * N_RESIDUALS * N_FRACTIONS,
];

/// Contexts of network patches, in the order of `network_contexts`.
const N_NETWORK_CONTEXTS: [u32; N_CONTEXTS] = [
    N_BUCKETS * (N_RESIDUALS + 1),
    N_RESIDUALS * N_RESIDUALS * (N_RESIDUALS + 1),
    N_BUCKETS * 2 * N_BUCKETS,
    N_BUCKETS * N_BUCKETS,
    N_BUCKETS * N_BUCKETS,
    N_RADII * 16,
    N_BUCKETS * 2 * (N_RESIDUALS + 1),
];

/// A mixer for the residuals of patches of one method.
fn new_mixer(method: Method) -> PixelMixer {
    let rules = MixerRules {
        n_contexts: if method == Method::Network { N_NETWORK_CONTEXTS } else { N_BLEND_CONTEXTS },
        n_decisions: N_DECISIONS,
        n_sets: N_ACTIVITY,
        initial_weight: ONE * 3 / 10,
        learning_shift: 12,
    };
    PixelMixer::new(&rules, &InitialStates::get().residuals[method as usize - Method::Grid as usize])
}

/// Contexts of a pixel's decisions.
pub(super) struct PixelContexts {
    pub(super) contexts: [u32; N_CONTEXTS],
    pub(super) activity: u32,
    /// What the residual is added to.
    pub(super) prediction: i64,
    /// The same before it was rounded to whole steps.
    pub(super) exact_prediction: i64,
}

/// What is known about a pixel before it is coded.
pub(super) struct View {
    pub(super) at: Pixel,
    pub(super) around: Neighbours,
    pub(super) blend: Blend,
    pub(super) mirror: Option<MirrorPoint>,
}

impl FrameCoder {
    fn neighbours(&self, at: Pixel) -> Neighbours {
        let Pixel { index: i, row, col, .. } = at;
        let cols = self.rules.grid.cols;
        let p = &self.positions;
        let (mut w, mut n, mut nw, mut ne, mut ww, mut nn) = (0, 0, 0, 0, 0, 0);
        if col > 0 {
            w = p[i - 1];
            ww = if col > 1 { p[i - 2] } else { w };
        }
        if row > 0 {
            n = p[i - cols];
            nw = if col > 0 { p[i - cols - 1] } else { n };
            ne = if col + 1 < cols { p[i - cols + 1] } else { n };
            nn = if row > 1 { p[i - 2 * cols] } else { n };
        }
        if col == 0 {
            (w, ww) = (n, n);
        }
        if row == 0 {
            (n, nw, ne, nn) = (w, w, w, w);
        }
        Neighbours { w, n, nw, ne, ww, nn }
    }

    /// Codes one pixel of a predicted or network patch.
    #[inline]
    pub(super) fn code_pixel<C: BitCoder>(
        &mut self,
        coder: &mut C,
        job: &FrameJob,
        method: Method,
        at: Pixel,
    ) {
        let special = self.rules.specials.is_some() && self.code_special(coder, job, at);
        let around = self.neighbours(at);
        let (mirror, mirrored) = self.mirror_image(at);
        let predictions = Predictions::new(&around, mirrored.as_ref());
        let step = self.rules.domain.step_positions();
        let blend = predictions.blend(&self.recent_errors(at), step / 2 + 1);
        let view = View { at, around, blend, mirror };
        let (position, exact, residual) = if self.modelled.is_some() && method != Method::Network {
            self.code_modelled(coder, job, method, &view, special)
        } else {
            self.code_unmodelled(coder, job, method, &view, special)
        };
        if let Some(target) = job.target.filter(|target| target.unbiased && !special) {
            self.balances[at.block].add(target.error(&self.rules.domain, at.index, position));
        }
        self.positions[at.index] = position;
        self.errors[at.index] = (position - exact).clamp(-MAX_ERROR, MAX_ERROR);
        self.residuals[at.index] = residual.clamp(-3, 3) as i8;
        // Without a mirror image a pixel stands for its own, so that differences of images vanish at the border.
        self.mirrored[at.index] = mirrored.map_or(position, |mirrored| mirrored.here);
        self.predictor_errors[self.lanes[0] + at.col + 2] = predictions.errors(position);
    }

    /// Codes the residual of a pixel against what is given or the blend. Returns its position, the prediction before
    /// rounding, and the residual.
    #[inline]
    fn code_unmodelled<C: BitCoder>(
        &mut self,
        coder: &mut C,
        job: &FrameJob,
        method: Method,
        view: &View,
        special: bool,
    ) -> (i64, i64, i64) {
        let contexts = match method {
            Method::Network => self.network_contexts(job, view),
            _ => self.predicted_contexts(method, view, view.blend.position),
        };
        let prediction = contexts.prediction;
        let mut residual = 0;
        if !special {
            let wanted = job.target.map_or(0, |target| self.residual(target, view.at, prediction));
            residual = self.code_residual(coder, method, &contexts, wanted);
        }
        (self.moved(prediction, residual), contexts.exact_prediction, residual)
    }

    /// The position so many steps from a prediction.
    #[inline]
    pub(super) fn moved(&self, prediction: i64, residual: i64) -> i64 {
        let step = self.rules.domain.step_positions();
        let moved = prediction.wrapping_add(residual.wrapping_mul(step));
        moved.clamp(-MAX_POSITION, MAX_POSITION)
    }

    /// The mirror image of a pixel: where it lies, and interpolated positions.
    #[inline]
    fn mirror_image(&self, at: Pixel) -> (Option<MirrorPoint>, Option<Mirrored>) {
        let Some(point) = self.mirror_point(at.row, at.col) else { return (None, None) };
        let cols = self.rules.grid.cols;
        let here = point.interpolate(&self.positions, cols);
        let mirrored = Mirrored {
            here,
            w: if at.col > 0 { self.mirrored[at.index - 1] } else { here },
            n: if at.row > 0 { self.mirrored[at.index - cols] } else { here },
        };
        (Some(point), Some(mirrored))
    }

    #[inline]
    fn recent_errors(&self, at: Pixel) -> [i32; 12] {
        let lane = |up: usize, col_plus_two: usize| match at.row >= up {
            true => &self.predictor_errors[self.lanes[up] + col_plus_two],
            false => &NO_ERRORS,
        };
        recent_errors([
            lane(0, at.col + 1),
            lane(1, at.col + 2),
            lane(1, at.col + 1),
            lane(1, at.col + 3),
            lane(0, at.col),
            lane(2, at.col + 2),
        ])
    }

    /// The residual that brings the prediction nearest to the target, or, where several keep the bound, the one nearest
    /// to 0; repaired by one where rounding to the element type would break the bound. Where nothing helps, the pixel is
    /// noted as unreachable.
    pub(super) fn residual(&mut self, target: &FrameTarget, at: Pixel, prediction: i64) -> i64 {
        let i = at.index;
        let step = self.rules.domain.step_positions();
        let bits = self.rules.domain.fraction_bits;
        let distance = target.positions.at(i) - prediction;
        let nearest = round_shift(distance, bits);
        let least = least_residual(distance, target.widths.of(i), bits);
        let mut candidates = [least, nearest, nearest + 1, nearest - 1];
        if target.unbiased {
            candidates = self.most_balanced_first(target, at, prediction, candidates);
        }
        for candidate in candidates {
            if self.reaches(target, i, prediction + candidate * step) {
                return candidate;
            }
        }
        if target.special(i) == 0 {
            self.unreachable.push(i);
        }
        nearest
    }

    /// Candidates ordered by what they bring the errors of the pixel's block beyond balance, then by size.
    fn most_balanced_first(
        &self,
        target: &FrameTarget,
        at: Pixel,
        prediction: i64,
        mut candidates: [i64; 4],
    ) -> [i64; 4] {
        let domain = &self.rules.domain;
        let excess = |residual: i64| {
            let error = target.error(domain, at.index, prediction + residual * domain.step_positions());
            self.balances[at.block].excess(error)
        };
        candidates.sort_by(|&a, &b| excess(a).total_cmp(&excess(b)).then(a.abs().cmp(&b.abs())));
        candidates
    }

    /// Sum of the neighbours' errors with weights that add up to eight, over four.
    #[inline]
    fn activity(&self, at: Pixel) -> i64 {
        let Pixel { index: i, row, col, .. } = at;
        let cols = self.rules.grid.cols;
        let at = |present: bool, back: usize| if present { error_size(self.errors[i - back]) } else { 0 };
        let near = at(col > 0, 1) + at(row > 0, cols);
        let far = at(row > 0 && col > 0, cols + 1)
            + at(row > 0 && col + 1 < cols, cols.wrapping_sub(1))
            + at(col > 1, 2)
            + at(row > 1, 2 * cols);
        (2 * near + far) / 4
    }

    #[inline]
    fn causal_residuals(&self, at: Pixel) -> (u32, u32, u32) {
        let Pixel { index: i, row, col, .. } = at;
        let cols = self.rules.grid.cols;
        let at = |present: bool, back: usize| if present { self.residuals[i - back] } else { 0 };
        let (w, n) = (at(col > 0, 1), at(row > 0, cols));
        let nonzero = u32::from(w != 0)
            | u32::from(n != 0) << 1
            | u32::from(at(row > 0 && col > 0, cols + 1) != 0) << 2
            | u32::from(at(row > 0 && col + 1 < cols, cols.wrapping_sub(1)) != 0) << 3;
        ((w + 3) as u32, (n + 3) as u32, nonzero)
    }

    /// Contexts of a pixel whose position is guessed to be `guess`.
    #[inline]
    pub(super) fn predicted_contexts(&self, method: Method, view: &View, guess: i64) -> PixelContexts {
        let View { around, blend, .. } = *view;
        let mirror = view.mirror.map(|point| point.index);
        let bits = self.rules.domain.fraction_bits;
        let step = self.rules.domain.step_positions();
        let exact = guess.clamp(self.rules.lowest, self.rules.highest);
        let prediction = if method == Method::Grid { round_shift(exact, bits) << bits } else { exact };
        let fraction = (((exact - prediction) * 6 + 3 * step) >> bits).clamp(0, 5) as u32;
        let activity = bucket(self.activity(view.at), bits);
        let spread = bucket(blend.spread, bits);
        let least = bucket(blend.least_error / 4, bits);
        let mirror_error =
            mirror.map_or(0, |index| 1 + bucket(error_size(self.errors[index]) * 2, bits).min(18));
        let (w, n, nonzero) = self.causal_residuals(view.at);
        let pattern = if method == Method::Grid {
            u32::from(around.w != 0)
                | u32::from(around.n != 0) << 1
                | u32::from(around.nw != 0) << 2
                | u32::from(around.ne != 0) << 3
        } else {
            nonzero
        };
        let positive = u32::from(prediction >= step / 2 + i64::from(bits == 0));
        let mirror_residual = mirror.map_or(7, |index| (self.residuals[index] + 3) as u32);
        let contexts = [
            (activity * N_FRACTIONS + fraction) * N_BUCKETS + mirror_error,
            (spread * N_BUCKETS + activity) * 2 + positive,
            (least * N_FRACTIONS + fraction) * N_BUCKETS + mirror_error,
            (pattern * 2 + positive) * N_BUCKETS + spread,
            u32::from(self.radii[view.at.index]) * N_BUCKETS + activity,
            (mirror_residual * N_BUCKETS + activity) * N_FRACTIONS + fraction,
            (w * N_RESIDUALS + n) * N_FRACTIONS + fraction,
        ];
        PixelContexts { contexts, activity, prediction, exact_prediction: exact }
    }

    #[inline]
    fn network_contexts(&self, job: &FrameJob, view: &View) -> PixelContexts {
        let View { at: Pixel { index: i, row, col, .. }, around, blend, mirror } = *view;
        let mirror = mirror.map(|point| point.index);
        let bits = self.rules.domain.fraction_bits;
        let prediction = job.plan.given[i];
        let cols = self.rules.grid.cols;
        let local = (blend.position - prediction).clamp(-MAX_ERROR, MAX_ERROR);
        let side = u32::from(local > 0);
        let local = bucket(local.abs(), bits);
        let activity = bucket(self.activity(view.at), bits);
        let (w, n, nonzero) = self.causal_residuals(view.at);
        // Beyond the border of its patch nothing need be given: a neighbour there may be of another method.
        let patch = self.rules.grid.patch;
        let left = if col.is_multiple_of(patch.cols) { prediction } else { job.plan.given[i - 1] };
        let above = if row.is_multiple_of(patch.rows) { prediction } else { job.plan.given[i - cols] };
        let slope = bucket(((prediction - left).abs() + (prediction - above).abs()).min(MAX_ERROR), bits);
        let amplitude = bucket(prediction.abs().min(MAX_ERROR * 16) / 8, bits);
        let mirror_residual = mirror.map_or(7, |index| (self.residuals[index] + 3) as u32);
        let drift = bucket((around.w - left + around.n - above).abs().min(MAX_ERROR), bits);
        let contexts = [
            activity * (N_RESIDUALS + 1) + mirror_residual,
            (w * N_RESIDUALS + n) * (N_RESIDUALS + 1) + mirror_residual,
            (local * 2 + side) * N_BUCKETS + activity,
            slope * N_BUCKETS + activity,
            amplitude * N_BUCKETS + slope,
            u32::from(self.radii[view.at.index]) * 16 + nonzero,
            (drift * 2 + side) * (N_RESIDUALS + 1) + mirror_residual,
        ];
        PixelContexts { contexts, activity, prediction, exact_prediction: prediction }
    }

    /// Zero or not, sign, class in unary, then the bits below the leading one: the first of them under contexts.
    fn code_residual<C: BitCoder>(
        &mut self,
        coder: &mut C,
        method: Method,
        contexts: &PixelContexts,
        residual: i64,
    ) -> i64 {
        let marked = self.journal.is_some();
        let mixer = self.mixers[method as usize - Method::Grid as usize].get_or_insert_with(|| {
            let mut mixer = new_mixer(method);
            if marked {
                mixer.mark();
            }
            mixer
        });
        let mut decide = |coder: &mut C, number: u32, bit: bool| {
            let set = contexts.activity.min(N_ACTIVITY - 1);
            let decision = Decision { number, contexts: &contexts.contexts, set, prior: AdaptiveBit::EVEN };
            mixer.code(coder, &decision, bit)
        };
        if !decide(coder, 0, residual != 0) {
            return 0;
        }
        let positive = decide(coder, 1, residual > 0);
        let coded = code_magnitude(coder, residual.unsigned_abs(), LARGEST_CLASS, |coder, step, bit| {
            let number = match step {
                MagnitudeBit::GoesOn(class) => 2 + class.min(15),
                MagnitudeBit::Second(class) => 17 + class.min(6),
            };
            decide(coder, number, bit)
        });
        if positive { coded as i64 } else { (coded as i64).wrapping_neg() }
    }
}

/// The residual nearest to 0 among those that move a prediction, so far below the target, into a range of positions about
/// it; where the range is no wider than a step, the one that moves it nearest to the middle.
#[inline]
fn least_residual(distance: i64, width: i64, fraction_bits: u32) -> i64 {
    let highest = (2 * distance + width) >> (fraction_bits + 1);
    let lowest = -((width - 2 * distance) >> (fraction_bits + 1));
    if width > 1 << fraction_bits && lowest <= highest {
        0.clamp(lowest, highest)
    } else {
        round_shift(distance, fraction_bits)
    }
}

/// Magnitude of an error, cut where sums of several stay in range: differences of stored patterns have 64 bits.
#[inline]
fn error_size(error: i64) -> i64 {
    error.clamp(-MAX_ERROR, MAX_ERROR).abs()
}

/// Bucket of a magnitude in positions: half steps up to two steps, then half octaves; 0 to 19.
#[inline]
fn bucket(magnitude: i64, fraction_bits: u32) -> u32 {
    let half_steps = (magnitude as u64) << 1 >> fraction_bits;
    if half_steps < 4 {
        return half_steps as u32;
    }
    let octave = half_steps.ilog2();
    let half = (half_steps >> (octave - 1)) as u32 & 1;
    (octave * 2 + half).min(19)
}
