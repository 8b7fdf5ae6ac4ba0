//! What a patch's residuals will cost, without running the coder: code lengths under contexts, fitted to a sample.
//!
//! Two kinds of symbols, as in docs/format.md, "Pixels": whether a block of 8 × 8 pixels is empty, given the blocks to
//! the left and above; and the residuals of the others, given their neighbours and the residual at the mirrored place.
//! The real coder has more contexts and adapts; for choosing steps and atoms the ratio of costs is what matters.

use crate::patch::BLOCK;

/// Sums of the neighbours' magnitudes, each cut to 2; residuals at the mirrored place: none, 0, ±1, beyond.
const N_PIXEL_CONTEXTS: usize = 5 * 4;
/// Magnitudes; the last one stands for all beyond, which cost two bits more for each doubling.
const N_MAGNITUDES: usize = 16;
/// Empty ones among the block to the left and the one above.
const N_BLOCK_CONTEXTS: usize = 3;
/// Symbols that are taken as seen once before any: a sample is small.
const UNSEEN: f64 = 0.4;

/// Residuals of one patch, in steps, row by row.
pub(super) struct ResidualPatch<'a> {
    pub(super) cols: usize,
    pub(super) residuals: &'a [i32],
}

/// How often each symbol was seen in each context.
#[derive(Clone)]
pub(super) struct SymbolCounts {
    pixels: [[f64; N_MAGNITUDES]; N_PIXEL_CONTEXTS],
    blocks: [[f64; 2]; N_BLOCK_CONTEXTS],
}

/// Bits of each symbol in each context.
pub(super) struct ResidualCosts {
    pixels: [[f64; N_MAGNITUDES]; N_PIXEL_CONTEXTS],
    blocks: [[f64; 2]; N_BLOCK_CONTEXTS],
}

impl SymbolCounts {
    pub(super) fn new() -> Self {
        Self { pixels: [[0.0; N_MAGNITUDES]; N_PIXEL_CONTEXTS], blocks: [[0.0; 2]; N_BLOCK_CONTEXTS] }
    }

    pub(super) fn add(&mut self, patch: &ResidualPatch) {
        patch.visit(
            |context, is_empty| self.blocks[context][usize::from(is_empty)] += 1.0,
            |context, residual| self.pixels[context][magnitude(residual)] += 1.0,
        );
    }

    pub(super) fn costs(&self) -> ResidualCosts {
        ResidualCosts { pixels: self.pixels.map(code_lengths), blocks: self.blocks.map(code_lengths) }
    }
}

fn code_lengths<const N: usize>(counts: [f64; N]) -> [f64; N] {
    let total = counts.iter().sum::<f64>() + UNSEEN * N as f64;
    counts.map(|count| (total / (count + UNSEEN)).log2())
}

fn magnitude(residual: i32) -> usize {
    (residual.unsigned_abs() as usize).min(N_MAGNITUDES - 1)
}

impl ResidualCosts {
    /// Bits of a patch.
    pub(super) fn of(&self, patch: &ResidualPatch) -> f64 {
        let (mut blocks, mut pixels) = (0.0, 0.0);
        patch.visit(
            |context, is_empty| blocks += self.blocks[context][usize::from(is_empty)],
            |context, residual| {
                // The sign is known where the residual is mirrored from one that is not 0.
                let sign = f64::from(u8::from(residual != 0 && context % 4 < 2));
                let beyond = residual.unsigned_abs() / N_MAGNITUDES as u32;
                let escape = 2.0 * f64::from(u32::BITS - beyond.leading_zeros());
                pixels += self.pixels[context][magnitude(residual)] + sign + escape;
            },
        );
        blocks + pixels
    }
}

impl ResidualPatch<'_> {
    /// Calls `on_block` with the context of each block and whether it is empty, `on_pixel` with context and residual
    /// of every pixel of the others.
    fn visit(&self, mut on_block: impl FnMut(usize, bool), mut on_pixel: impl FnMut(usize, i32)) {
        let rows = self.residuals.len() / self.cols;
        let mut above = vec![false; self.cols.div_ceil(BLOCK)];
        for top in (0..rows).step_by(BLOCK) {
            let bottom = rows.min(top + BLOCK);
            let mut left_is_empty = false;
            for (block, left) in (0..self.cols).step_by(BLOCK).enumerate() {
                let right = self.cols.min(left + BLOCK);
                let is_empty = (top..bottom).all(|row| {
                    self.residuals[row * self.cols + left..row * self.cols + right].iter().all(|&r| r == 0)
                });
                on_block(usize::from(left_is_empty) + usize::from(above[block]), is_empty);
                (left_is_empty, above[block]) = (is_empty, is_empty);
                if !is_empty {
                    for row in top..bottom {
                        for col in left..right {
                            on_pixel(self.context(row, col), self.residuals[row * self.cols + col]);
                        }
                    }
                }
            }
        }
    }

    fn context(&self, row: usize, col: usize) -> usize {
        let index = row * self.cols + col;
        let size = |residual: i32| residual.unsigned_abs().min(2) as usize;
        let west = if col > 0 { size(self.residuals[index - 1]) } else { 0 };
        let north = if row > 0 { size(self.residuals[index - self.cols]) } else { 0 };
        let mirrored = self.residuals.len() - 1 - index;
        let mirror = if mirrored < index { 1 + size(self.residuals[mirrored]) } else { 0 };
        (west + north) * 4 + mirror
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(costs: &ResidualCosts, residuals: &[i32]) -> f64 {
        costs.of(&ResidualPatch { cols: 16, residuals })
    }

    #[test]
    fn empty_patches_cost_next_to_nothing_and_nonzeros_cost_more_the_larger_they_are() {
        let mut sparse = vec![0; 256];
        sparse[5] = 1;
        let mut counts = SymbolCounts::new();
        for _ in 0..20 {
            counts.add(&ResidualPatch { cols: 16, residuals: &[0; 256] });
        }
        counts.add(&ResidualPatch { cols: 16, residuals: &sparse });
        let costs = counts.costs();
        assert!(cost(&costs, &[0; 256]) < 1.0);
        let with = |value: i32| {
            let mut residuals = sparse.clone();
            residuals[5] = value;
            cost(&costs, &residuals)
        };
        assert!(with(1) > 5.0 && with(100) > with(1) && with(100_000) > with(100) + 15.0);
    }

    #[test]
    fn what_is_mirrored_costs_less_than_what_is_not() {
        let noise = |index: usize| ((index * 7919) % 13) as i32 % 3 - 1;
        let symmetric: Vec<i32> = (0..256).map(|p| noise(p.min(255 - p))).collect();
        let other: Vec<i32> = (0..256).map(|p| noise(p * p + 31)).collect();
        let bits = |residuals: &[i32]| {
            let mut counts = SymbolCounts::new();
            counts.add(&ResidualPatch { cols: 16, residuals });
            cost(&counts.costs(), residuals)
        };
        assert!(bits(&symmetric) < 0.75 * bits(&other));
    }
}
