//! Special pixels of the frames of the fast coder: docs/format.md, "Special values".

use crate::array::ElementType;
use crate::entropy::BitCoder;
use crate::frame::special::{MarksAround, SpecialSymbols};

/// Adaptive state of special pixels over the frames of a chunk, and which pixels of the frame are special.
pub(crate) struct SpecialCoder {
    element: ElementType,
    /// Patterns that are coded by number.
    patterns: Vec<u64>,
    cols: usize,
    symbols: SpecialSymbols,
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
            symbols: SpecialSymbols::new(),
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
        let around = MarksAround {
            left: mark(col > 0, 1),
            above: mark(row > 0, self.cols),
            above_left: mark(row > 0 && col > 0, self.cols + 1),
            above_right: mark(row > 0 && col + 1 < self.cols, self.cols.wrapping_sub(1)),
            before: self.marks_before[index],
        };
        let Some((mark, pattern)) = self.symbols.code(coder, &around, &self.patterns, self.element, wanted)
        else {
            return false;
        };
        if usize::from(mark) > self.patterns.len() {
            self.unnumbered.push(pattern);
        }
        self.marks[index] = mark;
        true
    }
}
