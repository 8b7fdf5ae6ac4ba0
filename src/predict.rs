//! Predictions of a position from its causal neighbours, and their blend: docs/format.md, "Prediction".

/// Predictors that always exist.
const N_LOCAL: usize = 8;

/// Local predictors and the two that use the mirror image; the rest of a lane is padding for vector code.
pub(crate) const N_PREDICTORS: usize = 10;

/// Error of every predictor at one pixel, in positions, at most [`MAX_ERROR`].
pub(crate) type PredictorErrors = [i32; 12];

/// Errors are cut here, so that eight of them add up in an i32.
pub(crate) const MAX_ERROR: i64 = 1 << 27;

/// Positions of the causal neighbours of a pixel, borders already filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbours {
    pub(crate) w: i64,
    pub(crate) n: i64,
    pub(crate) nw: i64,
    pub(crate) ne: i64,
    pub(crate) ww: i64,
    pub(crate) nn: i64,
}

/// The mirror image's position of a pixel, and of its neighbours to the left and above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mirrored {
    pub(crate) here: i64,
    pub(crate) w: i64,
    pub(crate) n: i64,
}

/// All predictions for a pixel; those beyond `count` are meaningless.
pub(crate) struct Predictions {
    pub(crate) values: [i64; 12],
    pub(crate) count: usize,
}

/// The blend of all predictions and what it says about their trust.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blend {
    pub(crate) position: i64,
    /// Mean distance of the predictions from the blend.
    pub(crate) spread: i64,
    /// Recent error of the best predictor: a sum over neighbours with weights that add up to eight.
    pub(crate) least_error: i64,
}

impl Predictions {
    #[inline]
    pub(crate) fn new(at: &Neighbours, mirrored: Option<&Mirrored>) -> Self {
        let Neighbours { w, n, nw, ne, ww, nn } = *at;
        let mut values = [0; 12];
        values[0] = median_edge(w, n, nw);
        values[1] = w + ((ne - n) >> 1);
        values[2] = (2 * (w + n) + ne - nw) >> 2;
        values[3] = 2 * w - ww;
        values[4] = 2 * n - nn;
        values[5] = (w + n + nw + ne) >> 2;
        values[6] = (2 * (w + n) + nw + ne + ww + nn) >> 3;
        values[7] = w + n - nw;
        let mut count = N_LOCAL;
        if let Some(mirrored) = mirrored {
            values[8] = mirrored.here;
            values[9] = mirrored.here + (((w - mirrored.w) + (n - mirrored.n)) >> 1);
            count = N_PREDICTORS;
        }
        Self { values, count }
    }

    /// Averages the predictions with weights that fall with the fourth power of their recent errors. `recent` are
    /// the sums of [`recent_errors`], `floor` what is added to each, in positions.
    #[inline]
    pub(crate) fn blend(&self, recent: &[i32; 12], floor: i64) -> Blend {
        let mut levels = [0u32; 12];
        let mut least_level = u32::MAX;
        let mut least_error = i32::MAX;
        for (level, &error) in levels.iter_mut().zip(recent).take(self.count) {
            *level = eighth_octave(i64::from(error) + floor);
            least_level = least_level.min(*level);
            least_error = least_error.min(error);
        }
        let base = self.values[0];
        let mut weights = 0;
        let mut sum = 0;
        for (&level, &value) in levels.iter().zip(&self.values).take(self.count) {
            let weight = trust(level - least_level);
            weights += weight;
            sum += weight * (value - base).clamp(-MAX_DISTANCE, MAX_DISTANCE);
        }
        let position = base + sum.div_euclid(weights);
        let mut spread = 0;
        for &value in &self.values[..self.count] {
            spread += (value - position).abs().min(MAX_DISTANCE);
        }
        Blend { position, spread: spread / self.count as i64, least_error: i64::from(least_error) }
    }

    /// Errors of all predictions against what was reconstructed; 0 for those that do not exist here.
    #[inline]
    pub(crate) fn errors(&self, position: i64) -> PredictorErrors {
        let mut errors = [0; 12];
        for (error, &value) in errors.iter_mut().zip(&self.values).take(self.count) {
            *error = (position - value).abs().min(MAX_ERROR) as i32;
        }
        errors
    }
}

/// Distances between predictions are cut here: the weighted sum then stays far inside an i64.
const MAX_DISTANCE: i64 = 1 << 42;

/// Gradient-adjusted median of JPEG-LS: the smaller or larger neighbour at an edge, else their plane.
#[inline]
fn median_edge(w: i64, n: i64, nw: i64) -> i64 {
    let (low, high) = (w.min(n), w.max(n));
    if nw >= high {
        low
    } else if nw <= low {
        high
    } else {
        w + n - nw
    }
}

/// Weighted sum of the errors of six neighbours: twice the nearest two, once the rest.
#[inline]
pub(crate) fn recent_errors(at: [&PredictorErrors; 6]) -> [i32; 12] {
    let [w, n, nw, ne, ww, nn] = at;
    let mut sum = [0; 12];
    for i in 0..12 {
        sum[i] = 2 * (w[i] + n[i]) + nw[i] + ne[i] + ww[i] + nn[i];
    }
    sum
}

/// log2 in eighths, the mantissa linear.
#[inline]
fn eighth_octave(x: i64) -> u32 {
    let x = x.max(1) as u64;
    let octave = x.ilog2();
    let mantissa = (x << 3 >> octave) as u32 & 7;
    octave * 8 + mantissa
}

/// 2^16 · 2^(−d/2), 0 from d = 32 on: the fourth power of an error ratio of 2^(d/8).
#[inline]
fn trust(d: u32) -> i64 {
    if d >= 32 { 0 } else { (if d & 1 == 0 { 65536 } else { 46341 }) >> (d / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_neighbourhood_predicts_itself() {
        let at = Neighbours { w: 7, n: 7, nw: 7, ne: 7, ww: 7, nn: 7 };
        let predictions = Predictions::new(&at, Some(&Mirrored { here: 7, w: 7, n: 7 }));
        let blend = predictions.blend(&[0; 12], 1);
        assert_eq!((blend.position, blend.spread), (7, 0));
        assert_eq!(predictions.errors(9)[..10], [2; 10]);
    }

    #[test]
    fn the_predictor_that_was_right_is_trusted() {
        let at = Neighbours { w: 10, n: 20, nw: 0, ne: 40, ww: 5, nn: 30 };
        let predictions = Predictions::new(&at, None);
        let mut recent = [1 << 20; 12];
        recent[3] = 0;
        assert_eq!(predictions.blend(&recent, 1).position, 15);
    }

    #[test]
    fn extreme_positions_do_not_overflow() {
        let far = 1 << 52;
        let at = Neighbours { w: far, n: -far, nw: far, ne: -far, ww: -far, nn: far };
        let blend = Predictions::new(&at, None).blend(&[i32::MAX / 2; 12], 1);
        assert!(blend.position.abs() <= far * 8);
    }
}
