//! Blocks that one decision declares empty: docs/format.md, "Pixels".

use super::{Balance, FrameCoder, FrameJob, FramePlan, FrameTarget, Method};
use crate::entropy::BitCoder;
use crate::patch::{BLOCK, Region};

impl FrameCoder {
    /// One decision for each block of a patch in this band: whether all of it is what was given (network patches)
    /// or at position 0 (predicted patches).
    pub(super) fn code_block_flags<C: BitCoder>(
        &mut self,
        coder: &mut C,
        job: &FrameJob,
        patch: usize,
        band: usize,
    ) {
        let method = job.plan.methods[patch];
        if matches!(method, Method::Constant | Method::Lossless) || self.flags_are_known(method) {
            return;
        }
        let region = self.rules.grid.region(patch);
        let rows = BLOCK.min(region.rows - band);
        for block in 0..region.cols.div_ceil(BLOCK) {
            let area = Region {
                row: region.row + band,
                col: region.col + block * BLOCK,
                rows,
                cols: BLOCK.min(region.cols - block * BLOCK),
            };
            let index = self.block_index(&region, patch, band, block);
            let context = self.block_context(method, index, &area);
            let empty = job.target.is_some_and(|target| self.is_empty(method, job.plan, target, &area));
            if let Some(target) = job.target.filter(|target| target.unbiased) {
                self.balances.resize(self.empty.len(), Balance::default());
                self.balances[index] = target.balance(&self.rules.domain, self.rules.grid.cols, &area);
            }
            self.empty[index] = u8::from(self.block_flags[context].code(coder, empty));
        }
    }

    /// Network patches of `Bound::None` have only empty blocks and no flags.
    pub(super) fn flags_are_known(&self, method: Method) -> bool {
        self.rules.latents_only && method == Method::Network
    }

    fn block_context(&self, method: Method, index: usize, area: &Region) -> usize {
        let (across, empty) = (self.blocks_across, &self.empty);
        let col = index % across;
        let left = col > 0 && empty[index - 1] != 0;
        let above = index >= across && empty[index - across] != 0;
        let above_left = index > across && col > 0 && empty[index - across - 1] != 0;
        let above_right = index >= across && col + 1 < across && empty[index + 1 - across] != 0;
        let neighbours = usize::from(left)
            | usize::from(above) << 1
            | usize::from(above_left) << 2
            | usize::from(above_right) << 3;
        let mirror = self.mirrored_block(method, area);
        let kind = method as usize - Method::Grid as usize;
        (kind * 16 + neighbours) * 3 + mirror
    }

    /// What the mirror image of a block looks like: 0 if unknown, 1 with pixels that are not empty, 2 empty.
    fn mirrored_block(&self, method: Method, area: &Region) -> usize {
        let Some(centre) = &self.rules.centre else { return 0 };
        let grid = &self.rules.grid;
        let mut known = 0;
        for (row, col) in [
            (0, 0),
            (0, area.cols - 1),
            (area.rows - 1, 0),
            (area.rows - 1, area.cols - 1),
            (area.rows / 2, area.cols / 2),
        ] {
            let Some(point) = centre.mirror(area.row + row, area.col + col, grid.rows, grid.cols) else {
                continue;
            };
            // The band itself is not decoded yet.
            if point.index / grid.cols >= area.row {
                continue;
            }
            let busy = match method {
                Method::Network => self.residuals[point.index] != 0,
                _ => self.positions[point.index] != 0,
            };
            if busy {
                return 1;
            }
            known = 2;
        }
        known
    }

    fn is_empty(&self, method: Method, plan: &FramePlan, target: &FrameTarget, area: &Region) -> bool {
        let cols = self.rules.grid.cols;
        let position = |i: usize| if method == Method::Network { plan.given[i] } else { 0 };
        let within = (area.row..area.row + area.rows).all(|row| {
            (row * cols + area.col..row * cols + area.col + area.cols).all(|i| {
                let position = position(i);
                if target.specials[i] == 0 {
                    self.reaches(target, i, position)
                } else {
                    // A fill value of 0 need not break up the blocks of zeros around it.
                    target.bits[i] == self.rules.domain.value_bits(position)
                }
            })
        });
        within && target.is_balanced(&self.rules.domain, cols, area, position)
    }
}
