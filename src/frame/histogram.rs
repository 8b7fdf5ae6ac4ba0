//! How often a position occurred: docs/format.md, "Modelled residuals".
//!
//! Frames of few photons, scaled to intensities, hold values in clusters: none, one, two of them. A prediction lies
//! between clusters, and no distribution about it has gaps; counts of what occurred under a similar prediction do.

use crate::octaves::quarter_octave;

/// Levels of positions from 0 on; those below 0 have a quarter as many.
const N_POSITIVE_LEVELS: usize = 32;
pub(super) const N_LEVELS: usize = N_POSITIVE_LEVELS + N_POSITIVE_LEVELS / 4;

/// Half octaves of a position from one step on; below 0, double octaves.
pub(super) fn level_of(position: i64, fraction_bits: u32) -> usize {
    let halves = (quarter_octave((4 * position.abs()) >> fraction_bits) / 2).min(N_POSITIVE_LEVELS - 1);
    if position < 0 { N_POSITIVE_LEVELS + halves / 4 } else { halves }
}

/// Whole steps that are counted. Where none has been, as with the ranks of floats, a histogram has no opinion.
const FIRST_STEP: i64 = -1024;
const N_BINS: usize = 4096;

/// What one occurrence counts. All counts are halved before their sum goes beyond 16 bits.
const INCREMENT: u16 = 8;

/// Counts of whole steps, as a Fenwick tree: the last sum is that of all.
#[derive(Clone)]
pub(super) struct Histogram {
    sums: [u16; N_BINS + 1],
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { sums: [0; N_BINS + 1] }
    }

    pub(super) fn total(&self) -> i32 {
        i32::from(self.sums[N_BINS])
    }

    /// Count of all below so many steps.
    #[inline]
    pub(super) fn below(&self, steps: i64) -> i32 {
        let mut bin = (steps - FIRST_STEP).clamp(0, N_BINS as i64) as usize;
        let mut sum = 0;
        while bin > 0 {
            sum += i32::from(self.sums[bin]);
            bin &= bin - 1;
        }
        sum
    }

    pub(super) fn add(&mut self, steps: i64) {
        let bin = steps - FIRST_STEP;
        if !(0..N_BINS as i64).contains(&bin) {
            return;
        }
        if self.sums[N_BINS] > u16::MAX - INCREMENT {
            self.halve();
        }
        add(&mut self.sums, bin as usize + 1, INCREMENT);
    }

    fn halve(&mut self) {
        let mut halved = [0; N_BINS + 1];
        let mut below = 0;
        for (bin, steps) in (1..=N_BINS).zip(FIRST_STEP + 1..) {
            let with = self.below(steps);
            add(&mut halved, bin, ((with - below) / 2) as u16);
            below = with;
        }
        self.sums = halved;
    }
}

fn add(sums: &mut [u16; N_BINS + 1], mut bin: usize, count: u16) {
    while bin <= N_BINS {
        sums[bin] += count;
        bin += bin & bin.wrapping_neg();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_below_of_what_lies_within() {
        let mut histogram = Histogram::new();
        for steps in [i64::MIN / 2, -1025, -1024, -3, 0, 0, 7, 3071, 3072, 1 << 50] {
            histogram.add(steps);
        }
        let below = [-1025, -1024, -1023, -3, -2, 0, 1, 8, 3071, 3072, 1 << 50].map(|s| histogram.below(s));
        assert_eq!(below, [0, 0, 1, 1, 2, 2, 4, 5, 5, 6, 6].map(|n| n * i32::from(INCREMENT)));
        assert_eq!(histogram.total(), 6 * i32::from(INCREMENT));
    }

    #[test]
    fn counts_keep_their_shares_when_they_are_halved() {
        let mut histogram = Histogram::new();
        for i in 0..100_000 {
            histogram.add([-7, 11, 11, 900][i % 4]);
            assert!(histogram.total() <= i32::from(u16::MAX));
        }
        let quarter = histogram.total() / 4;
        assert!((histogram.below(0) - quarter).abs() < 64, "{} of {quarter}", histogram.below(0));
        assert!((histogram.below(500) - 3 * quarter).abs() < 64, "{} of {quarter}", histogram.below(500));
    }
}
