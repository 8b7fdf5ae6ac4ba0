//! Weighted sums of logits that learn: docs/format.md, "Mixing".

use super::logistic::squash;

/// Sets of `N` weights; the one that a decision names is used and moved along the gradient of its coding cost.
#[derive(Clone)]
pub(crate) struct LogitMixer<const N: usize> {
    weights: Vec<[i32; N]>,
    learning_shift: u32,
}

/// Largest weight, 16, in 1/65536.
const MAX_WEIGHT: i32 = 1 << 20;

impl<const N: usize> LogitMixer<N> {
    pub(crate) fn new(n_sets: usize, initial: [i32; N], learning_shift: u32) -> Self {
        Self { weights: vec![initial; n_sets], learning_shift }
    }

    /// The sum, in 1/256 nat.
    #[inline]
    pub(crate) fn mix(&self, set: usize, logits: &[i32; N]) -> i32 {
        weighted_sum(&self.weights[set], logits)
    }

    /// Learns from a bit that [`Self::mix`] gave the logit `mixed`.
    #[inline]
    pub(crate) fn learn(&mut self, set: usize, logits: &[i32; N], mixed: i32, bit: bool) {
        learn(&mut self.weights[set], logits, squash(mixed), bit, self.learning_shift);
    }
}

/// The sum of logits times weights, in 1/256 nat.
#[inline]
pub(super) fn weighted_sum<const N: usize>(weights: &[i32; N], logits: &[i32; N]) -> i32 {
    let mut sum = 0;
    for (&weight, &logit) in weights.iter().zip(logits) {
        sum += i64::from(weight) * i64::from(logit);
    }
    (sum >> 16).clamp(-4096, 4096) as i32
}

/// Moves weights along the gradient of the coding cost of a bit that had the probability `p1` of being 1.
#[inline]
pub(super) fn learn<const N: usize>(
    weights: &mut [i32; N],
    logits: &[i32; N],
    p1: u16,
    bit: bool,
    learning_shift: u32,
) {
    let error = (i32::from(bit) << 16) - i32::from(p1);
    let rounding = 1 << (learning_shift - 1);
    for (weight, &logit) in weights.iter_mut().zip(logits) {
        let step = (logit * error + rounding) >> learning_shift;
        *weight = (*weight + step).clamp(-MAX_WEIGHT, MAX_WEIGHT);
    }
}
