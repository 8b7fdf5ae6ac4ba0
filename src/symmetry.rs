//! Point symmetry of a frame, I(q) = I(−q) about a beam centre: docs/format.md, "Point symmetry".

use crate::patch::Region;

/// Centre of symmetry. The mirror image of (row, col) is (twice_row/4 − row, twice_col/4 − col): the fields are
/// twice the centre's coordinates in quarters of a pixel, so that the centre is known to an eighth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Centre {
    pub(crate) twice_row: i64,
    pub(crate) twice_col: i64,
}

/// Up to four pixels around a mirrored position, with weights that sum to 16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MirrorPoint {
    /// Index of the upper left pixel.
    pub(crate) index: usize,
    /// Weights, in 1/16, of this pixel, its right neighbour, the one below, and the one below right.
    pub(crate) weights: [i64; 4],
}

impl Centre {
    /// The centre of a frame of this shape.
    pub(crate) fn of_frame(rows: usize, cols: usize) -> Self {
        Self { twice_row: 4 * (rows as i64 - 1), twice_col: 4 * (cols as i64 - 1) }
    }

    /// The mirror image of a pixel, if all pixels that it needs come before that pixel in raster order.
    #[inline]
    pub(crate) fn mirror(&self, row: usize, col: usize, rows: usize, cols: usize) -> Option<MirrorPoint> {
        let mirror_row = self.twice_row - 4 * row as i64;
        let mirror_col = self.twice_col - 4 * col as i64;
        let (down, right) = (mirror_row & 3, mirror_col & 3);
        let (top, left) = (mirror_row >> 2, mirror_col >> 2);
        let bottom = top + i64::from(down > 0);
        let last = left + i64::from(right > 0);
        let inside = top >= 0 && left >= 0 && bottom < rows as i64 && last < cols as i64;
        let causal = bottom < row as i64 || (bottom == row as i64 && last < col as i64);
        (inside && causal).then(|| MirrorPoint {
            index: top as usize * cols + left as usize,
            weights: [(4 - down) * (4 - right), (4 - down) * right, down * (4 - right), down * right],
        })
    }

    /// Whether the mirror images of all pixels of a region lie inside the frame and need only rows above the region.
    pub(crate) fn mirrors_above(&self, region: &Region, cols: usize) -> bool {
        // Quarters of a pixel, of the farthest pixels that the first and the last of the region need.
        let ends = |twice_centre: i64, first: usize, n: usize| {
            let last = first + n - 1;
            (twice_centre - 4 * first as i64 + 3, twice_centre - 4 * last as i64)
        };
        let (bottom, top) = ends(self.twice_row, region.row, region.rows);
        let (right, left) = ends(self.twice_col, region.col, region.cols);
        top >= 0 && left >= 0 && bottom >> 2 < region.row as i64 && right >> 2 < cols as i64
    }
}

impl MirrorPoint {
    /// Interpolates a plane of the frame at this point.
    #[inline]
    pub(crate) fn interpolate(&self, plane: &[i64], cols: usize) -> i64 {
        if self.weights[0] == 16 {
            return plane[self.index];
        }
        let offsets = [0, 1, cols, cols + 1];
        let mut sum = 8;
        for (offset, weight) in offsets.into_iter().zip(self.weights) {
            if weight > 0 {
                sum += plane[self.index + offset] * weight;
            }
        }
        sum >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_about_the_frames_centre() {
        let centre = Centre::of_frame(4, 6);
        assert!(centre.mirror(0, 0, 4, 6).is_none());
        let point = centre.mirror(3, 5, 4, 6).unwrap();
        assert_eq!((point.index, point.weights), (0, [16, 0, 0, 0]));
        assert_eq!(centre.mirror(2, 0, 4, 6).unwrap().index, 6 + 5);
    }

    #[test]
    fn interpolates_between_pixels() {
        let centre = Centre { twice_row: 4 * 3, twice_col: 4 * 3 + 2 };
        let plane: Vec<i64> = (0..16).map(|i| (i % 4) * 16 + (i / 4) * 1600).collect();
        let point = centre.mirror(3, 2, 4, 4).unwrap();
        assert_eq!(point.interpolate(&plane, 4), 16 + 8);
    }
}
