//! Pixels that are predicted by regression, and whose errors have a scale: docs/format.md, "Modelled pixels".
//!
//! Noise needs what smooth frames do without: a mean over many neighbours, of weights that follow the data, and the
//! distribution of what is left. It costs time, so that a chunk says whether its pixels are modelled.

use super::experts::{Circumstances, Expert, N_EXPERTS, N_OWN_CONTEXTS, N_SETS, N_TABLES, ResidualCoder};
use super::histogram::level_of;
use super::pixel::{N_CONTEXTS, PixelContexts, View};
use super::{FrameCoder, FrameJob, Method, Pixel};
use crate::domain::round_shift;
use crate::entropy::BitCoder;
use crate::octaves::quarter_octave;
use crate::regression::{MAX_INPUTS, Regression};
use crate::symmetry::MirrorPoint;

/// Neighbours that a regression sees, as rows up and columns to the right.
const NEIGHBOURS: [(usize, isize); 14] = [
    (0, -1),
    (1, 0),
    (1, -1),
    (1, 1),
    (0, -2),
    (2, 0),
    (1, -2),
    (1, 2),
    (2, -1),
    (2, 1),
    (0, -3),
    (2, -2),
    (2, 2),
    (3, 0),
];

/// Neighbours whose errors tell the scale: the nearest, and some more.
const NEAR: [(usize, isize); 4] = [(0, -1), (1, 0), (1, -1), (1, 1)];
const FAR: [(usize, isize); 8] = [(0, -2), (2, 0), (1, -2), (1, 2), (2, -1), (2, 1), (0, -3), (3, 0)];

/// Inputs from about the mirror point, and from about the same pixel of the frame before.
const N_MIRRORED: usize = 5;
const N_BEFORE: usize = 5;

/// Errors are cut here.
const MAX_PIXEL_ERROR: i64 = 1 << 30;

/// Scales by circumstances: for each of three kinds.
const N_SCALES: usize = 256;

/// Pixels that a scale remembers.
const SCALE_MEMORY: i64 = 250;

/// Size of the errors of regression and of the blend, at a pixel of the frame.
pub(super) type ModelErrors = [i32; 2];

/// Mean size of an error, in 1/16 position, of so many.
#[derive(Clone, Copy, Default)]
struct Scale {
    mean: i64,
    count: i64,
}

/// Adaptive state of modelled pixels.
#[derive(Clone)]
pub(super) struct Modelled {
    /// By whether the pixel has a mirror point, and whether there is a frame before.
    regressions: [[Regression; 2]; 2],
    scales: [[Scale; N_SCALES]; 3],
    residuals: ResidualCoder,
}

impl Modelled {
    pub(super) fn new() -> Self {
        let regressions = [0, N_MIRRORED].map(|mirrored| {
            [0, N_BEFORE].map(|before| Regression::new(NEIGHBOURS.len() + mirrored + before))
        });
        Self { regressions, scales: [[Scale::default(); N_SCALES]; 3], residuals: ResidualCoder::new() }
    }
}

/// How large errors have been about a pixel, in 1/16 position.
struct Surroundings {
    /// The blend was better than the regression by far.
    blend_wins: bool,
    /// Scales that the pixel belongs to.
    kinds: [usize; 3],
    /// The mean over all neighbours.
    mean_error: i64,
}

impl FrameCoder {
    /// Codes a pixel of a grid or aligned patch. Returns its position, the prediction before rounding, and the residual.
    pub(super) fn code_modelled<C: BitCoder>(
        &mut self,
        coder: &mut C,
        job: &FrameJob,
        method: Method,
        view: &View,
        special: bool,
    ) -> (i64, i64, i64) {
        let Some(mut state) = self.modelled.take() else { return (0, 0, 0) };
        let at = view.at;
        let base = view.blend.position;
        let inputs = self.inputs(view, base);
        let before = usize::from(self.has_before);
        let regression = &mut state.regressions[usize::from(view.mirror.is_some())][before];
        let regressed = base + regression.predict(&inputs);
        let mut around = self.surroundings(at);
        let (guess, other) = if around.blend_wins { (base, regressed) } else { (regressed, base) };
        around.kinds[2] += self.amplitude(guess) * 8;
        let scales: [i64; 3] = std::array::from_fn(|i| {
            let scale = state.scales[i][around.kinds[i]];
            if scale.count == 0 {
                around.mean_error + 4 * self.rules.domain.step_positions()
            } else {
                scale.mean
            }
        });
        let contexts = self.predicted_contexts(method, view, guess);
        let mut position = contexts.prediction;
        let mut residual = 0;
        if !special {
            let wanted = job.target.map_or(0, |target| self.residual(target, at, position));
            let circumstances = self.circumstances(&contexts, &around, (guess, other), scales, view);
            residual = state.residuals.code(coder, &circumstances, wanted);
            position = self.moved(position, residual);
            state.residuals.learn(&circumstances, position);
            let least = (self.rules.domain.step_positions() / 8).max(1);
            regression.learn(&inputs, position - base, (scales[1] >> 4).clamp(least, 1 << 27));
            state.learn_scales(&around.kinds, (position - guess).abs().min(MAX_PIXEL_ERROR) * 16);
            self.model_errors[at.index] =
                [regressed, base].map(|mean| (position - mean).abs().min(MAX_PIXEL_ERROR) as i32);
        }
        self.modelled = Some(state);
        (position, contexts.exact_prediction, residual)
    }

    /// Differences of the neighbours from `base`; 0 for those outside the frame.
    fn inputs(&self, view: &View, base: i64) -> [i64; MAX_INPUTS] {
        let Pixel { index, row, col, .. } = view.at;
        let cols = self.rules.grid.cols;
        let mut inputs = [0; MAX_INPUTS];
        for (input, (up, right)) in inputs.iter_mut().zip(NEIGHBOURS) {
            let col = col.wrapping_add_signed(right);
            if row >= up && col < cols {
                *input = self.positions[(row - up) * cols + col] - base;
            }
        }
        let mut next = NEIGHBOURS.len();
        if let Some(point) = &view.mirror {
            for (input, position) in inputs[next..].iter_mut().zip(self.about_mirror(view.at, point)) {
                *input = position - base;
            }
            next += N_MIRRORED;
        }
        if self.has_before {
            let last = self.before.len() - 1;
            let about = [index, index.saturating_sub(1), index + 1, index.saturating_sub(cols), index + cols];
            for (input, pixel) in inputs[next..].iter_mut().zip(about) {
                *input = self.before[pixel.min(last)] - base;
            }
        }
        inputs
    }

    /// Positions at the mirror point and at those of the pixel's four neighbours, of which two are not decoded yet.
    fn about_mirror(&self, at: Pixel, point: &MirrorPoint) -> [i64; N_MIRRORED] {
        let cols = self.rules.grid.cols;
        let here = point.interpolate(&self.positions, cols);
        let left = if at.col > 0 { self.mirrored[at.index - 1] } else { here };
        let above = if at.row > 0 { self.mirrored[at.index - cols] } else { here };
        let back = |n: usize| point.index.checked_sub(n).map_or(here, |index| self.positions[index]);
        [here, left, above, back(1), back(cols)]
    }

    fn surroundings(&self, at: Pixel) -> Surroundings {
        let step = self.rules.domain.step_positions();
        let near = [0, 1].map(|which| self.mean_error(at, which, &NEAR));
        let blend_wins = near[1] < near[0] / 2;
        let nearest = near[0].min(near[1]);
        let mean_error = (nearest + 2 * self.mean_error(at, usize::from(blend_wins), &FAR)) / 3;
        let distant = quarter_octave(mean_error + step) / 2;
        let distant = distant.saturating_sub(quarter_octave(step) / 2).min(7);
        let kinds = [
            quarter_octave((nearest + mean_error) / 2 + step),
            quarter_octave(mean_error + step / 2),
            distant,
        ];
        Surroundings { blend_wins, kinds, mean_error }
    }

    /// Mean error of regression (0) or blend (1) at neighbours, in 1/16 position; a step where there are none.
    fn mean_error(&self, at: Pixel, which: usize, offsets: &[(usize, isize)]) -> i64 {
        let cols = self.rules.grid.cols;
        let (mut n, mut sum) = (0, 0);
        for &(up, right) in offsets {
            let col = at.col.wrapping_add_signed(right);
            if at.row >= up && col < cols {
                n += 1;
                sum += i64::from(self.model_errors[(at.row - up) * cols + col][which]);
            }
        }
        if n == 0 { self.rules.domain.step_positions() } else { sum * 16 / n }
    }

    /// Octave of a position's magnitude, 0 to 31.
    fn amplitude(&self, position: i64) -> usize {
        (quarter_octave(position.abs()) / 4).min(31)
    }

    fn circumstances(
        &self,
        contexts: &PixelContexts,
        around: &Surroundings,
        (guess, other): (i64, i64),
        scales: [i64; 3],
        view: &View,
    ) -> Circumstances {
        let View { at, around: near, .. } = view;
        let (bits, step) = (self.rules.domain.fraction_bits, self.rules.domain.step_positions());
        let exact = contexts.exact_prediction;
        let steps = round_shift(exact, bits);
        let left = if at.col > 0 { round_shift(self.positions[at.index - 1], bits) } else { 0 };
        let size =
            (quarter_octave(exact.abs() + 4) as u32 * 2 + u32::from(exact < 0)).min(N_OWN_CONTEXTS - 1);
        let mut all = [0; N_TABLES];
        all[..N_CONTEXTS].copy_from_slice(&contexts.contexts);
        all[N_CONTEXTS..].copy_from_slice(&[
            (steps.clamp(-512, 511) + 512) as u32,
            size,
            ((left.clamp(-16, 15) + 16) * 32 + steps.clamp(-16, 15) + 16) as u32,
        ]);
        let expert = |mean: i64, scale: usize| Expert::new(mean - contexts.prediction, scales[scale]);
        let experts: [Expert; N_EXPERTS] =
            [expert(guess, 0), expert(guess, 1), expert(guess, 2), expert(other, 1)];
        let level = around.kinds[1].saturating_sub(quarter_octave(step / 2)) / 2;
        let sets = [contexts.activity as usize, level].map(|set| set.min(N_SETS - 1));
        Circumstances {
            contexts: all,
            sets,
            experts,
            levels: [exact, (near.w + near.n) >> 1].map(|position| level_of(position, bits)),
            prediction: contexts.prediction,
            fraction_bits: bits,
        }
    }
}

impl Modelled {
    fn learn_scales(&mut self, kinds: &[usize; 3], error: i64) {
        for (scales, &kind) in self.scales.iter_mut().zip(kinds) {
            let scale = &mut scales[kind];
            scale.mean += (error - scale.mean) * 2 / (2 * scale.count + 3);
            scale.count = (scale.count + 1).min(SCALE_MEMORY);
        }
    }
}
