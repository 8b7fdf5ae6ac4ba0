//! Pixels that are kept bit for bit, by number where they repeat: docs/format.md, "Special values".

use crate::array::ElementType;
use crate::entropy::{AdaptiveBit, BitCoder, code_bits, code_symbol};

/// Adaptive state of special pixels over the frames of a chunk, and which pixels of the frame are special.
pub(crate) struct SpecialCoder {
    element: ElementType,
    /// Patterns that are coded by number.
    patterns: Vec<u64>,
    cols: usize,
    flags: [AdaptiveBit; 32],
    numbers: [[AdaptiveBit; 16]; 17],
    /// By pixel: 0, or 1 + the number of a pattern.
    marks: Vec<u8>,
    marks_before: Vec<u8>,
    /// Patterns of the frame's pixels whose number stands for none, in raster order.
    unnumbered: Vec<u64>,
}

impl SpecialCoder {
    pub(super) fn new(element: ElementType, patterns: Vec<u64>, rows: usize, cols: usize) -> Self {
        Self {
            element,
            patterns,
            cols,
            flags: [AdaptiveBit::EVEN; 32],
            numbers: [[AdaptiveBit::EVEN; 16]; 17],
            marks: vec![0; rows * cols],
            marks_before: vec![0; rows * cols],
            unnumbered: Vec::new(),
        }
    }

    pub(super) fn begin_frame(&mut self) {
        std::mem::swap(&mut self.marks, &mut self.marks_before);
        self.marks.fill(0);
        self.unnumbered.clear();
    }

    /// Writes the patterns of the frame's special pixels to their places among its elements.
    pub(super) fn write(&self, frame: &mut [u8]) {
        let size = self.element.size_bytes();
        let mut unnumbered = self.unnumbered.iter();
        for (word, &mark) in frame.chunks_exact_mut(size).zip(&self.marks).filter(|(_, mark)| **mark != 0) {
            let pattern = self.patterns.get(usize::from(mark - 1)).or_else(|| unnumbered.next());
            self.element.put_bits(word, pattern.copied().unwrap_or(0));
        }
    }

    /// Codes whether a pixel is special and if so, its pattern. An encoder passes its mark and pattern.
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        (row, col): (usize, usize),
        wanted: Option<(u8, u64)>,
    ) -> bool {
        let index = row * self.cols + col;
        let mark = |inside: bool, back: usize| if inside { self.marks[index - back] } else { 0 };
        let left = mark(col > 0, 1);
        let before = self.marks_before[index];
        let context = usize::from(left != 0)
            | usize::from(mark(row > 0, self.cols) != 0) << 1
            | usize::from(mark(row > 0 && col + 1 < self.cols, self.cols.wrapping_sub(1)) != 0) << 2
            | usize::from(before != 0) << 3
            | usize::from(mark(row > 0 && col > 0, self.cols + 1) != 0) << 4;
        let (wanted, pattern) = wanted.unwrap_or((0, 0));
        if !self.flags[context].code(coder, wanted != 0) {
            return false;
        }
        let nodes = &mut self.numbers[usize::from(if left != 0 { left } else { before })];
        let number = code_symbol(coder, nodes, u32::from(wanted.saturating_sub(1)), 4) as u8;
        if usize::from(number) >= self.patterns.len() {
            self.unnumbered.push(code_bits(coder, pattern, self.element.bits()));
        }
        self.marks[index] = number + 1;
        true
    }
}
