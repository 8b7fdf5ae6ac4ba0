//! What the training loop tells while it runs.

use crate::network::BatchStats;

/// What the loop tells while it runs: means over the steps since the last report.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps done.
    pub step: usize,
    /// All steps.
    pub n_steps: usize,
    /// Loss per patch.
    pub loss: f64,
    /// Squared error per patch, in the basis.
    pub squared_error: f64,
    /// Nonzero entries of a code.
    pub nonzeros: f64,
    /// Latents that fired.
    pub latents_in_use: usize,
    /// No step comes after this one.
    pub is_last: bool,
}

/// Sums since the last report.
#[derive(Default)]
pub(crate) struct Means {
    n_patches: usize,
    squared_error: f64,
    loss: f64,
    n_entries: usize,
    fired: Vec<u64>,
}

impl Means {
    /// Adds a batch.
    pub(crate) fn add(&mut self, stats: &BatchStats, sparsity_lambda: f64) {
        self.n_patches += stats.n_patches;
        self.squared_error += stats.squared_error;
        self.loss += stats.distortion + sparsity_lambda * stats.l1;
        self.n_entries += stats.n_entries;
        self.fired.resize(stats.fired.len(), 0);
        for (total, &count) in self.fired.iter_mut().zip(&stats.fired) {
            *total += u64::from(count);
        }
    }

    /// Means over the steps since this was called last.
    pub(crate) fn take(&mut self, step: usize, n_steps: usize, is_last: bool) -> StepReport {
        let sums = std::mem::take(self);
        let per_patch = 1.0 / sums.n_patches as f64;
        StepReport {
            step,
            n_steps,
            loss: sums.loss * per_patch,
            squared_error: sums.squared_error * per_patch,
            nonzeros: sums.n_entries as f64 * per_patch,
            latents_in_use: sums.fired.iter().filter(|&&count| count > 0).count(),
            is_last,
        }
    }
}
