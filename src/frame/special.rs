//! Pixels that are kept bit for bit, by number where their pattern repeats: docs/format.md, "Special values".

use super::ESCAPE;
use crate::array::ElementType;
use crate::entropy::{AdaptiveBit, BitCoder, code_bits, code_symbol};

/// Marks of a pixel's neighbours, and of the same pixel in the frame before: 0, or 1 + the number of a pattern.
pub(super) struct MarksAround {
    pub(super) left: u8,
    pub(super) above: u8,
    pub(super) above_left: u8,
    pub(super) above_right: u8,
    pub(super) before: u8,
}

/// Adaptive state of special values over the frames of a chunk.
#[derive(Clone)]
pub(super) struct SpecialSymbols {
    flags: [AdaptiveBit; 32],
    numbers: [[AdaptiveBit; 16]; ESCAPE as usize + 2],
}

impl SpecialSymbols {
    pub(super) fn new() -> Self {
        Self { flags: [AdaptiveBit::EVEN; 32], numbers: [[AdaptiveBit::EVEN; 16]; ESCAPE as usize + 2] }
    }

    /// Codes whether a pixel is special and if so, which pattern of the chunk's table it has, or its own. An encoder
    /// passes its mark and pattern. Returns mark and pattern of a special pixel.
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        around: &MarksAround,
        patterns: &[u64],
        element: ElementType,
        wanted: Option<(u8, u64)>,
    ) -> Option<(u8, u64)> {
        let MarksAround { left, above, above_left, above_right, before } = *around;
        let context = usize::from(left != 0)
            | usize::from(above != 0) << 1
            | usize::from(above_right != 0) << 2
            | usize::from(before != 0) << 3
            | usize::from(above_left != 0) << 4;
        let (wanted, pattern) = wanted.unwrap_or((0, 0));
        if !self.flags[context].code(coder, wanted != 0) {
            return None;
        }
        let nodes = &mut self.numbers[usize::from(if left != 0 { left } else { before })];
        let number = code_symbol(coder, nodes, u32::from(wanted.saturating_sub(1)), 4) as u8;
        let pattern = match patterns.get(usize::from(number)) {
            Some(&known) => known,
            None => code_bits(coder, pattern, element.bits()),
        };
        Some((number + 1, pattern))
    }
}
