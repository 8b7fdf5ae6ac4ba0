//! The encoder's search for a beam centre, about which frames are point-symmetric.

use crate::symmetry::Centre;

/// Edge, in pixels, of the coarsest picture of a frame on which the search starts.
const COARSE_EDGE: usize = 16;

/// Share of a frame's pixels that a centre must map into the frame to be considered.
const LEAST_OVERLAP: f64 = 0.3;

/// A mismatch below this share of the variance is as good as symmetry gets: nothing better is looked for.
const NEAR_PERFECT: f64 = 1e-3;

/// A frame for the search: log-compressed, NaN where a pixel has no value.
struct Picture {
    rows: usize,
    cols: usize,
    values: Vec<f32>,
}

/// The most convincing centre of a frame whose pixels are given as positions (`None` where special); `step` is the
/// bound's step in positions. The caller finds out by coding whether it pays.
pub(crate) fn find_centre(rows: usize, cols: usize, positions: &[Option<i64>], step: i64) -> Centre {
    let values = positions.iter().map(|p| match p {
        Some(p) => (p.signum() as f64 * (1.0 + p.abs() as f64 / step as f64).ln()) as f32,
        None => f32::NAN,
    });
    let full = Picture { rows, cols, values: values.collect() };
    let middle = Centre::of_frame(rows, cols);
    if full.mismatch(middle, full.stride()) < NEAR_PERFECT * full.variance() {
        return middle;
    }
    let mut pyramid = vec![full];
    while let Some(last) =
        pyramid.last().filter(|p| p.rows.max(p.cols) > COARSE_EDGE && p.rows.min(p.cols) >= 4)
    {
        let half = last.halved();
        pyramid.push(half);
    }
    let mut best = pyramid[pyramid.len() - 1].search_everywhere();
    for picture in pyramid.iter().rev().skip(1) {
        // The centre of pixel (r, c) of the coarse picture is at (2r + ½, 2c + ½) of the finer one.
        best = picture
            .refine(Centre { twice_row: best.twice_row * 2 + 4, twice_col: best.twice_col * 2 + 4 }, 4);
    }
    let best = pyramid[0].refine(best, 2);
    pyramid[0].refine(best, 1)
}

impl Picture {
    /// Half the size, each pixel the mean of four; a last odd row or column is dropped.
    fn halved(&self) -> Self {
        let (rows, cols) = (self.rows / 2, self.cols / 2);
        let at = |row: usize, col: usize| self.values[row * self.cols + col];
        let values = (0..rows * cols)
            .map(|i| {
                let (row, col) = (i / cols * 2, i % cols * 2);
                (at(row, col) + at(row, col + 1) + at(row + 1, col) + at(row + 1, col + 1)) / 4.0
            })
            .collect();
        Self { rows, cols, values }
    }

    /// Every how many pixels a large picture is sampled.
    fn stride(&self) -> usize {
        (self.rows.max(self.cols) / 256).max(1)
    }

    fn variance(&self) -> f64 {
        let finite = || self.values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
        let count = finite().count().max(1) as f64;
        let mean = finite().sum::<f64>() / count;
        finite().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count
    }

    /// Mean squared difference between the picture and its mirror image; infinite where they overlap too little.
    fn mismatch(&self, centre: Centre, stride: usize) -> f64 {
        let (mut sum, mut count) = (0.0, 0usize);
        for row in (0..self.rows).step_by(stride) {
            for col in (0..self.cols).step_by(stride) {
                // Half of the pixels are enough: the others are their mirror images.
                let Some(point) = centre.mirror(row, col, self.rows, self.cols) else { continue };
                let mirrored: f32 = [0, 1, self.cols, self.cols + 1]
                    .into_iter()
                    .zip(point.weights)
                    .filter(|&(_, weight)| weight > 0)
                    .map(|(offset, weight)| self.values[point.index + offset] * weight as f32 / 16.0)
                    .sum();
                let difference = f64::from(mirrored - self.values[row * self.cols + col]);
                if difference.is_finite() {
                    sum += difference * difference;
                    count += 1;
                }
            }
        }
        let n_sampled = self.rows.div_ceil(stride) * self.cols.div_ceil(stride);
        if (count as f64) < LEAST_OVERLAP / 2.0 * n_sampled as f64 {
            f64::INFINITY
        } else {
            sum / count as f64
        }
    }

    /// Tries every half pixel.
    fn search_everywhere(&self) -> Centre {
        let middle = Centre::of_frame(self.rows, self.cols);
        let mut best = (self.mismatch(middle, 1), middle);
        for row in 0..2 * self.rows as i64 {
            for col in 0..2 * self.cols as i64 {
                let centre = Centre { twice_row: 4 * row, twice_col: 4 * col };
                let mismatch = self.mismatch(centre, 1);
                if mismatch < best.0 {
                    best = (mismatch, centre);
                }
            }
        }
        best.1
    }

    /// Tries the neighbourhood of a centre, `spacing` quarters of a pixel (of twice the centre) apart.
    fn refine(&self, around: Centre, spacing: i64) -> Centre {
        let stride = self.stride();
        let mut best = (self.mismatch(around, stride), around);
        for row in -2..=2 {
            for col in -2..=2 {
                let centre = Centre {
                    twice_row: around.twice_row + row * spacing,
                    twice_col: around.twice_col + col * spacing,
                };
                let mismatch = self.mismatch(centre, stride);
                if mismatch < best.0 {
                    best = (mismatch, centre);
                }
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(rows: usize, cols: usize, row: f64, col: f64) -> Vec<Option<i64>> {
        (0..rows * cols)
            .map(|i| {
                let (dy, dx) = ((i / cols) as f64 - row, (i % cols) as f64 - col);
                let r = (dy * dy + 2.0 * dx * dx + dx * dy).sqrt();
                Some((1e6 * (-r / 12.0).exp() * (1.2 + (r * 0.9).cos())) as i64)
            })
            .collect()
    }

    #[test]
    fn finds_the_centre_to_an_eighth_of_a_pixel() {
        for (rows, cols, row, col) in [(64, 64, 31.5, 31.5), (80, 96, 37.25, 51.5), (150, 130, 80.0, 60.75)] {
            let centre = find_centre(rows, cols, &rings(rows, cols, row, col), 64);
            assert!((centre.twice_row as f64 / 8.0 - row).abs() <= 0.126, "{centre:?} for {row}");
            assert!((centre.twice_col as f64 / 8.0 - col).abs() <= 0.126, "{centre:?} for {col}");
        }
    }
}
