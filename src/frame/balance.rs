//! Errors of a block that cancel out, for encoders that are asked to keep the mean near 0. Decoders know nothing of it.

use super::FrameTarget;
use crate::bound::difference;
use crate::domain::Domain;
use crate::patch::Region;

/// The errors of a block may add up to so small a share of what its pixels may be off together; of 64 pixels under one
/// bound, to four times that bound.
const SHARE: f64 = 1.0 / 16.0;

/// The sum of the errors of a block so far, and what it may come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Balance {
    sum: f64,
    most: f64,
}

impl Balance {
    /// For pixels that may be off by so much each. What one of them may be off is always allowed: there is a residual
    /// with an error of either sign, so that more is never needed.
    fn new(epsilons: impl Iterator<Item = f64>) -> Self {
        let (total, largest) =
            epsilons.fold((0.0, 0.0f64), |(total, largest), epsilon| (total + epsilon, largest.max(epsilon)));
        Self { sum: 0.0, most: largest.max(total * SHARE) }
    }

    pub(super) fn add(&mut self, error: f64) {
        self.sum += error;
    }

    /// How far another error would bring the sum beyond what it may come to: 0 where it stays within.
    pub(super) fn excess(self, error: f64) -> f64 {
        let sum = (self.sum + error).abs();
        if sum <= self.most { 0.0 } else { sum }
    }
}

impl FrameTarget<'_> {
    /// The balance of an area of frames so wide, before any of its pixels.
    pub(super) fn balance(&self, domain: &Domain, cols: usize, area: &Region) -> Balance {
        Balance::new(
            self.ordinary(cols, area).map(|i| self.tolerance.reach(domain.element, self.elements.at(i))),
        )
    }

    /// What a position is off.
    pub(super) fn error(&self, domain: &Domain, i: usize, position: i64) -> f64 {
        difference(domain.element, domain.value_bits(position), self.elements.at(i))
    }

    /// Whether the errors of all blocks of a region cancel out at such positions, or need not.
    pub(crate) fn is_balanced(
        &self,
        domain: &Domain,
        cols: usize,
        region: &Region,
        position: impl Fn(usize) -> i64,
    ) -> bool {
        !self.unbiased
            || region.blocks().all(|block| {
                let mut balance = self.balance(domain, cols, &block);
                self.ordinary(cols, &block).for_each(|i| balance.add(self.error(domain, i, position(i))));
                balance.excess(0.0) == 0.0
            })
    }

    /// Pixels of an area that are not special.
    fn ordinary(&self, cols: usize, area: &Region) -> impl Iterator<Item = usize> {
        let (first, n_cols) = (area.row * cols + area.col, area.cols);
        let pixels = (0..area.rows).flat_map(move |row| first + row * cols..first + row * cols + n_cols);
        pixels.filter(|&i| self.special(i) == 0)
    }
}
