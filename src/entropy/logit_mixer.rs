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
        let mut sum = 0;
        for (&weight, &logit) in self.weights[set].iter().zip(logits) {
            sum += i64::from(weight) * i64::from(logit);
        }
        (sum >> 16).clamp(-4096, 4096) as i32
    }

    /// Learns from a bit that [`Self::mix`] gave the logit `mixed`.
    #[inline]
    pub(crate) fn learn(&mut self, set: usize, logits: &[i32; N], mixed: i32, bit: bool) {
        let error = (i32::from(bit) << 16) - i32::from(squash(mixed));
        let rounding = 1 << (self.learning_shift - 1);
        for (weight, &logit) in self.weights[set].iter_mut().zip(logits) {
            let step = (logit * error + rounding) >> self.learning_shift;
            *weight = (*weight + step).clamp(-MAX_WEIGHT, MAX_WEIGHT);
        }
    }
}
