//! Predictions of a position from its causal neighbours, and their blend: docs/format.md, "Prediction".

/// Predictors that always exist.
const N_LOCAL: usize = 8;

/// Local predictors and the two that use the mirror image; the rest of a lane is padding for vector code.
pub(crate) const N_PREDICTORS: usize = 10;

/// Values of a lane.
const LANES: usize = 12;

/// Error of every predictor at one pixel, in positions, at most [`MAX_ERROR`].
pub(crate) type PredictorErrors = [i32; LANES];

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
    pub(crate) values: [i64; LANES],
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
        let mut values = [0; LANES];
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
    pub(crate) fn blend(&self, recent: &[i32; LANES], floor: i64) -> Blend {
        match self.count {
            N_LOCAL => self.blend_of::<N_LOCAL>(recent, floor),
            _ => self.blend_of::<N_PREDICTORS>(recent, floor),
        }
    }

    #[inline]
    fn blend_of<const N: usize>(&self, recent: &[i32; LANES], floor: i64) -> Blend {
        let levels: [i32; N] = std::array::from_fn(|i| eighth_octave(i64::from(recent[i]) + floor));
        let least_level = levels.into_iter().fold(i32::MAX, i32::min);
        let least_error = recent[..N].iter().copied().fold(i32::MAX, i32::min);
        let base = self.values[0];
        let mut weights = 0;
        let mut sum = 0;
        for (level, &value) in levels.into_iter().zip(&self.values) {
            let weight = i64::from(TRUST[(level - least_level).min(MOST_DISTRUSTED) as usize]);
            weights += weight;
            sum += weight * (value - base).clamp(-MAX_DISTANCE, MAX_DISTANCE);
        }
        let position = base + floored_quotient(sum, weights);
        let mut spread = 0;
        for &value in &self.values[..N] {
            spread += (value - position).abs().min(MAX_DISTANCE);
        }
        Blend { position, spread: spread / N as i64, least_error: i64::from(least_error) }
    }

    /// Errors of all predictions against what was reconstructed; 0 for those that do not exist here.
    #[inline]
    pub(crate) fn errors(&self, position: i64) -> PredictorErrors {
        let mut errors = [0; LANES];
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
pub(crate) fn recent_errors(at: [&PredictorErrors; 6]) -> [i32; LANES] {
    let [w, n, nw, ne, ww, nn] = at;
    let mut sum = [0; LANES];
    for i in 0..LANES {
        sum[i] = 2 * (w[i] + n[i]) + nw[i] + ne[i] + ww[i] + nn[i];
    }
    sum
}

/// log2 in eighths, the mantissa linear, of x from 1 to 2^53; 0 below. It is what an f64 keeps in front.
#[inline]
fn eighth_octave(x: i64) -> i32 {
    ((x.max(1) as f64).to_bits() >> 49) as i32 - (1023 << 3)
}

/// Levels above the least from which on a predictor has no weight.
const MOST_DISTRUSTED: i32 = 32;

/// 2^16 · 2^(−d/2), 0 from d = 32 on: the fourth power of an error ratio of 2^(d/8).
static TRUST: [u32; MOST_DISTRUSTED as usize + 1] = {
    let mut table = [0; MOST_DISTRUSTED as usize + 1];
    let mut d = 0;
    while d < MOST_DISTRUSTED as usize {
        table[d] = (if d & 1 == 0 { 65536 } else { 46341 }) >> (d / 2);
        d += 1;
    }
    table
};

/// ⌊sum / weights⌋ for weights from 2^16 to 2^20. A quotient of f64 is off by less than 2^−22 while |sum| is below
/// 2^47, and no quotient that is not an integer is nearer to one than 2^−20: its integer part is right. That division
/// is the faster one.
#[inline]
fn floored_quotient(sum: i64, weights: i64) -> i64 {
    if sum.unsigned_abs() >= 1 << 47 {
        return sum.div_euclid(weights);
    }
    let towards_zero = (sum as f64 / weights as f64) as i64;
    towards_zero - i64::from(towards_zero * weights > sum)
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
