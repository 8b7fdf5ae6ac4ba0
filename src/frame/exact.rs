//! Pixels that are kept bit for bit: special values by number, and lossless patches: docs/format.md, "Pixels".

use super::special::MarksAround;
use super::{ESCAPE, FrameCoder, FrameJob, Pixel};
use crate::entropy::{AdaptiveBit, BitCoder, EXP_GOLOMB_DECISIONS, code_exp_golomb};

impl FrameCoder {
    /// Codes whether a pixel is special and if so, its pattern.
    pub(super) fn code_special<C: BitCoder>(&mut self, coder: &mut C, job: &FrameJob, at: Pixel) -> bool {
        let Pixel { index: i, row, col, .. } = at;
        let cols = self.rules.grid.cols;
        let mark = |inside: bool, index: usize| if inside { self.exact[index] } else { 0 };
        let around = MarksAround {
            left: mark(col > 0, i.wrapping_sub(1)),
            above: mark(row > 0, i.wrapping_sub(cols)),
            above_left: mark(row > 0 && col > 0, i.wrapping_sub(cols + 1)),
            above_right: mark(row > 0 && col + 1 < cols, i.wrapping_sub(cols.wrapping_sub(1))),
            before: self.previous_exact[i],
        };
        let wanted = job.target.map(|target| (target.special(i), target.elements.at(i)));
        let patterns = self.rules.specials.as_deref().unwrap_or_default();
        let coded = self.specials.code(coder, &around, patterns, self.rules.domain.element, wanted);
        if let Some((mark, pattern)) = coded {
            (self.exact[i], self.exact_bits[i]) = (mark, pattern);
        }
        coded.is_some()
    }

    /// Codes a bit pattern by its difference from the one to the left, as wrapping integers.
    pub(super) fn code_lossless<C: BitCoder>(&mut self, coder: &mut C, job: &FrameJob, i: usize) {
        let element = self.rules.domain.element;
        let unused = 64 - element.bits();
        let previous = if i > 0 {
            if self.exact[i - 1] != 0 {
                self.exact_bits[i - 1]
            } else {
                self.rules.domain.value_bits(self.positions[i - 1])
            }
        } else {
            0
        };
        let difference = job
            .target
            .map_or(0, |target| (target.elements.at(i).wrapping_sub(previous) << unused) as i64 >> unused);
        let zigzag = (difference << 1 ^ difference >> 63) as u64;
        // The plane still holds what was coded last; nothing of this frame precedes its first pixel.
        let before = if i > 0 { self.errors[i - 1].unsigned_abs() } else { 0 };
        let activity = (64 - before.leading_zeros() as usize) / 9;
        let decisions = &mut self.lossless[activity * EXP_GOLOMB_DECISIONS..][..EXP_GOLOMB_DECISIONS];
        let zigzag = code_halves(coder, decisions, zigzag);
        let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let bits = previous.wrapping_add(difference as u64) & (u64::MAX >> unused);
        let position =
            self.rules.domain.position(bits).unwrap_or(0).clamp(self.rules.lowest, self.rules.highest);
        self.settle(i, position);
        self.errors[i] = difference;
        self.exact_bits[i] = bits;
        self.exact[i] = ESCAPE + 1;
    }
}

/// A 64-bit number as its upper and lower half, so that exp-Golomb codes stay in range.
fn code_halves<C: BitCoder>(coder: &mut C, decisions: &mut [AdaptiveBit], value: u64) -> u64 {
    let (wide, narrow) = decisions.split_at_mut(33);
    let upper = code_exp_golomb(coder, narrow, value >> 32) & 0xffff_ffff;
    let lower = code_exp_golomb(coder, wide, value & 0xffff_ffff) & 0xffff_ffff;
    upper << 32 | lower
}
