//! How patches and their blocks tile a frame: docs/format.md, "Patches and blocks".

use crate::array::PatchShape;

/// Edge of a block: the rectangle that one decision can declare empty.
pub(crate) const BLOCK: usize = 8;

/// Patches of a frame, in raster order; those at the right and lower edge may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PatchGrid {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) patch: PatchShape,
}

/// A rectangle of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Region {
    /// The blocks that tile it, in raster order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Self> {
        let Self { row, col, rows, cols } = *self;
        (0..rows).step_by(BLOCK).flat_map(move |down| {
            (0..cols).step_by(BLOCK).map(move |right| Self {
                row: row + down,
                col: col + right,
                rows: BLOCK.min(rows - down),
                cols: BLOCK.min(cols - right),
            })
        })
    }
}

impl PatchGrid {
    /// Patches across a frame.
    pub(crate) fn across(&self) -> usize {
        self.cols.div_ceil(self.patch.cols)
    }

    /// Patches of a frame.
    pub(crate) fn n_patches(&self) -> usize {
        self.rows.div_ceil(self.patch.rows) * self.across()
    }

    /// Of a patch, counted through all frames of a chunk: those to the left and in the frame before, where they exist.
    pub(crate) fn neighbours(&self, index: usize) -> [Option<usize>; 2] {
        let left = (!index.is_multiple_of(self.across())).then(|| index - 1);
        [left, index.checked_sub(self.n_patches())]
    }

    /// Where a patch lies, cut to the frame.
    pub(crate) fn region(&self, patch: usize) -> Region {
        let row = patch / self.across() * self.patch.rows;
        let col = patch % self.across() * self.patch.cols;
        Region {
            row,
            col,
            rows: self.patch.rows.min(self.rows - row),
            cols: self.patch.cols.min(self.cols - col),
        }
    }

    /// Gathers a patch of a frame, its missing rows and columns filled by repeating the last ones.
    pub(crate) fn gather<T: Copy>(&self, frame: &[T], patch: usize, out: &mut Vec<T>) {
        let region = self.region(patch);
        for row in 0..self.patch.rows {
            let start = (region.row + row.min(region.rows - 1)) * self.cols + region.col;
            let pixels = &frame[start..start + region.cols];
            out.extend_from_slice(pixels);
            out.extend(std::iter::repeat_n(pixels[region.cols - 1], self.patch.cols - region.cols));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_patches_repeat_their_edge() {
        let grid = PatchGrid { rows: 3, cols: 5, patch: PatchShape { rows: 2, cols: 4 } };
        assert_eq!((grid.across(), grid.n_patches()), (2, 4));
        assert_eq!(grid.region(3), Region { row: 2, col: 4, rows: 1, cols: 1 });
        let frame: Vec<i32> = (0..15).collect();
        let mut out = Vec::new();
        grid.gather(&frame, 1, &mut out);
        assert_eq!(out, [4, 4, 4, 4, 9, 9, 9, 9]);
    }
}
