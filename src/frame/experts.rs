//! Residuals under distributions and contexts: docs/format.md, "Modelled residuals".
//!
//! An expert takes a pixel to be distributed logistically about a mean, with the scale that errors have had under
//! the same circumstances. So it has an opinion about every decision, also about the low bits of large residuals, which
//! no table of contexts could learn from one frame. So have histograms of what positions occurred.

use super::histogram::{Histogram, N_LEVELS};
use super::pixel::{N_BLEND_CONTEXTS, N_CONTEXTS};
use crate::domain::round_shift;
use crate::entropy::{AdaptiveBit, BitCoder, LogitMixer, squash, stretch};

pub(super) const N_EXPERTS: usize = 4;

/// Tables of contexts: those of other predicted pixels, and three of our own.
pub(super) const N_TABLES: usize = N_CONTEXTS + 3;

/// Contexts of each of our own tables.
pub(super) const N_OWN_CONTEXTS: u32 = 1024;

/// Sets of weights for each decision.
pub(super) const N_SETS: usize = 20;

/// Histograms: by the level of the guess, and by that of the pixels about.
pub(super) const N_HISTOGRAMS: usize = 2;

/// Who has an opinion about every decision.
const N_OPINIONS: usize = N_EXPERTS + N_HISTOGRAMS;

const N_LOGITS: usize = N_TABLES + N_OPINIONS + 1;

/// Decisions: not 0, sign, 16 for the class, 6 for the bit below the leading one, and one for each further bit.
const N_DECISIONS: usize = 32;
const FIRST_CLASS: usize = 2;
const FIRST_SECOND: usize = 17;
const FIRST_LOW: usize = 24;

/// Decisions that have tables; those about lower bits have experts alone.
const N_TABLED: usize = FIRST_LOW;

/// Bits below the leading one that are not even odds.
const N_MODELLED_BITS: u32 = 8;

/// Residuals stay below 2^63.
const LARGEST_CLASS: u32 = 62;

/// Weights at the start, in 1/65536: of tables, of experts, and of histograms, which begin empty.
const TABLE_WEIGHT: i32 = 9830;
const EXPERT_WEIGHT: i32 = 16384;
const HISTOGRAM_WEIGHT: i32 = 4096;
const LEARNING_SHIFT: u32 = 14;

/// What is known of a residual before it is coded.
pub(super) struct Circumstances {
    pub(super) contexts: [u32; N_TABLES],
    pub(super) sets: [usize; 2],
    pub(super) experts: [Expert; N_EXPERTS],
    pub(super) levels: [usize; N_HISTOGRAMS],
    /// What the residual is added to.
    pub(super) prediction: i64,
    /// A step is two to the power of this, in positions.
    pub(super) fraction_bits: u32,
}

/// A logistic distribution of the position, about the prediction.
#[derive(Clone, Copy)]
pub(super) struct Expert {
    mean: i64,
    /// Logits (1/256 nat) of one position, in 2^−36.
    slope: i64,
    /// No farther from the mean is the distribution looked at.
    reach: i64,
}

/// Largest scale of an expert, in 1/16 position.
const MAX_SCALE: i64 = 1 << 44;

/// 256 · 2 ln 2, rounded down: the mean error of a logistic distribution is 2 ln 2 times its scale.
const LOGITS_OF_MEAN_ERROR: i64 = 354;

impl Expert {
    /// `mean` less the prediction; the mean error in 1/16 position.
    pub(super) fn new(mean: i64, mean_error: i64) -> Self {
        let mean_error = mean_error.clamp(1, MAX_SCALE);
        Self { mean, slope: (LOGITS_OF_MEAN_ERROR << 40) / mean_error, reach: ((mean_error * 9) >> 4) + 1 }
    }

    /// Probability of less than `boundary`, in 1/65536.
    #[inline]
    fn below(&self, boundary: i64) -> i32 {
        let distance = (boundary - self.mean).clamp(-self.reach, self.reach);
        i32::from(squash(((distance * self.slope) >> 36) as i32))
    }
}

/// A number for each expert and histogram.
type Opinions = [i32; N_OPINIONS];

#[inline(always)]
fn difference(a: Opinions, b: Opinions) -> Opinions {
    std::array::from_fn(|i| a[i] - b[i])
}

/// Logits of a 1, from the shares of both outcomes.
#[inline]
fn logits(zero: Opinions, one: Opinions) -> Opinions {
    std::array::from_fn(|i| {
        let (zero, one) = (zero[i].max(0) + 1, one[i].max(0) + 1);
        let p = (i64::from(one) << 16) / i64::from(zero + one);
        stretch(p.clamp(32, 65503) as u16)
    })
}

/// Adaptive state of modelled residuals.
#[derive(Clone)]
pub(super) struct ResidualCoder {
    decisions: Decisions,
    histograms: [Vec<Histogram>; N_HISTOGRAMS],
}

/// Adaptive state of their decisions.
#[derive(Clone)]
struct Decisions {
    slots: Vec<AdaptiveBit>,
    mixers: [LogitMixer<N_LOGITS>; 2],
}

/// What is known of a pixel, and the histograms that it belongs to.
struct Pixel<'a> {
    at: &'a Circumstances,
    histograms: [&'a Histogram; N_HISTOGRAMS],
}

impl Pixel<'_> {
    /// Shares of positions below that of the prediction and so much more.
    #[inline]
    fn below(&self, boundary: i64) -> Opinions {
        let mut shares = [0; N_OPINIONS];
        for (share, expert) in shares.iter_mut().zip(&self.at.experts) {
            *share = expert.below(boundary);
        }
        let steps = round_shift(self.at.prediction + boundary, self.at.fraction_bits);
        for (share, histogram) in shares[N_EXPERTS..].iter_mut().zip(self.histograms) {
            *share = histogram.below(steps);
        }
        shares
    }

    /// Shares of all positions.
    fn all(&self) -> Opinions {
        let mut shares = [65536; N_OPINIONS];
        for (share, histogram) in shares[N_EXPERTS..].iter_mut().zip(self.histograms) {
            *share = histogram.total();
        }
        shares
    }
}

/// Where each table begins, and its contexts; and the slots of all.
const TABLES: ([(usize, u32); N_TABLES], usize) = {
    let mut tables = [(0, N_OWN_CONTEXTS); N_TABLES];
    let mut n_slots = 0;
    let mut i = 0;
    while i < N_TABLES {
        let n_contexts = if i < N_CONTEXTS { N_BLEND_CONTEXTS[i] } else { N_OWN_CONTEXTS };
        tables[i] = (n_slots, n_contexts);
        n_slots += n_contexts as usize * N_TABLED;
        i += 1;
    }
    (tables, n_slots)
};

impl ResidualCoder {
    pub(super) fn new() -> Self {
        let mut weights = [TABLE_WEIGHT; N_LOGITS];
        weights[N_TABLES..N_TABLES + N_EXPERTS].fill(EXPERT_WEIGHT);
        weights[N_TABLES + N_EXPERTS..N_LOGITS - 1].fill(HISTOGRAM_WEIGHT);
        weights[N_LOGITS - 1] = 0;
        let mixer = LogitMixer::new(N_DECISIONS * N_SETS, weights, LEARNING_SHIFT);
        Self {
            decisions: Decisions { slots: vec![AdaptiveBit::EVEN; TABLES.1], mixers: [mixer.clone(), mixer] },
            histograms: std::array::from_fn(|_| vec![Histogram::new(); N_LEVELS]),
        }
    }

    /// Zero or not, sign, class in unary, then the bits below the leading one.
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, at: &Circumstances, residual: i64) -> i64 {
        let pixel = Pixel { at, histograms: std::array::from_fn(|i| &self.histograms[i][at.levels[i]]) };
        self.decisions.code_residual(coder, &pixel, residual)
    }

    /// Notes what position the pixel came to have.
    pub(super) fn learn(&mut self, at: &Circumstances, position: i64) {
        let steps = round_shift(position, at.fraction_bits);
        for (histograms, &level) in self.histograms.iter_mut().zip(&at.levels) {
            histograms[level].add(steps);
        }
    }
}

impl Decisions {
    /// Codes one decision: the mean of what two mixers make of it.
    fn decide<C: BitCoder>(
        &mut self,
        coder: &mut C,
        at: &Circumstances,
        number: usize,
        opinions: Opinions,
        bit: bool,
    ) -> bool {
        let mut logits = [0; N_LOGITS];
        let mut slots = [0; N_TABLES];
        let tables = if number < N_TABLED { &TABLES.0[..] } else { &[] };
        for (i, &(start, n_contexts)) in tables.iter().enumerate() {
            slots[i] = start + number * n_contexts as usize + at.contexts[i] as usize;
            logits[i] = stretch(self.slots[slots[i]].p1());
        }
        logits[N_TABLES..N_LOGITS - 1].copy_from_slice(&opinions);
        logits[N_LOGITS - 1] = 256;
        let sets = at.sets.map(|set| number * N_SETS + set);
        let mixed = [0, 1].map(|i| self.mixers[i].mix(sets[i], &logits));
        let bit = coder.code(bit, squash((mixed[0] + mixed[1]) >> 1));
        for i in 0..2 {
            self.mixers[i].learn(sets[i], &logits, mixed[i], bit);
        }
        for &slot in &slots[..tables.len()] {
            self.slots[slot].update(bit, 255);
        }
        bit
    }

    fn code_residual<C: BitCoder>(&mut self, coder: &mut C, pixel: &Pixel, residual: i64) -> i64 {
        let at = pixel.at;
        let step = 1i64 << at.fraction_bits;
        let half = step / 2;
        let all = pixel.all();
        let (low, high) = (pixel.below(-half), pixel.below(half));
        let inside = difference(high, low);
        let outside = difference(all, inside);
        if !self.decide(coder, at, 0, logits(inside, outside), residual != 0) {
            return 0;
        }
        let above = difference(all, high);
        let positive = self.decide(coder, at, 1, logits(low, above), residual > 0);
        let beyond = |magnitude: u64| {
            let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
            let edge = (magnitude.saturating_mul(step) - half).min(1 << 58);
            if positive { difference(all, pixel.below(edge)) } else { pixel.below(-edge) }
        };
        let coded = self.code_magnitude(coder, at, &beyond, residual.unsigned_abs().max(1));
        if positive { coded as i64 } else { (coded as i64).wrapping_neg() }
    }

    /// A magnitude from 1; `beyond` says how probable this magnitude or a larger one is.
    fn code_magnitude<C: BitCoder>(
        &mut self,
        coder: &mut C,
        at: &Circumstances,
        beyond: &impl Fn(u64) -> Opinions,
        wanted: u64,
    ) -> u64 {
        let mut least = beyond(1);
        let mut class = 0;
        let mut next = beyond(2);
        while class < LARGEST_CLASS {
            let number = FIRST_CLASS + class.min(15) as usize;
            if !self.decide(coder, at, number, logits(difference(least, next), next), class < wanted.ilog2())
            {
                break;
            }
            class += 1;
            least = next;
            next = beyond(1 << (class + 1));
        }
        let mut magnitude = 1 << class;
        for shift in (0..class).rev() {
            let middle = magnitude | 1 << shift;
            let bit = wanted >> shift & 1 != 0;
            let depth = class - 1 - shift;
            let bit = if depth < N_MODELLED_BITS {
                let split = beyond(middle);
                let number = match depth {
                    0 => FIRST_SECOND + class.min(6) as usize,
                    _ => FIRST_LOW + depth as usize,
                };
                let opinions = logits(difference(least, split), difference(split, next));
                let bit = self.decide(coder, at, number, opinions, bit);
                *(if bit { &mut least } else { &mut next }) = split;
                bit
            } else {
                coder.code(bit, 1 << 15)
            };
            if bit {
                magnitude = middle;
            }
        }
        magnitude
    }
}
