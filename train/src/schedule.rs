//! How many steps there are, and how large each is.

use std::time::Duration;

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// After this many passes over the training patches.
    Epochs(f64),
    /// After this many steps.
    Steps(usize),
    /// After about this much time for all stages. A trial turns it into a number of steps, which is then kept: time
    /// never enters the result after that, and the same number asked for gives the same result.
    Time(Duration),
}

/// Learning rate over the steps: a linear warm-up, then half a cosine down to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Largest learning rate.
    pub peak: f64,
    /// Steps of warm-up, at most a tenth of all.
    pub warm_up: usize,
    /// All steps.
    pub n_steps: usize,
}

impl Schedule {
    /// For step number `step`, from 0.
    pub fn learning_rate(&self, step: usize) -> f32 {
        let warm_up = self.warm_up.min(self.n_steps / 10).max(1);
        let progress = (step as f64 / self.n_steps as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        (self.peak * cosine * ((step + 1) as f64 / warm_up as f64).min(1.0)) as f32
    }
}

/// Share of the steps over which the limit on active latents falls to its end.
pub(crate) const ANNEALED_SHARE: f64 = 0.25;

/// The limit on active latents for step number `step` of `n_steps`: it starts at `start` times the final one and
/// falls to it geometrically. With the final limit from the start the few latents that lead at random take
/// everything, and most of the others never get a gradient. A limit of 0 (none) stays so; above the final one it is
/// at most a quarter of the latents.
pub fn annealed_active(active: usize, start: f64, latents: usize, step: usize, n_steps: usize) -> usize {
    let progress = step as f64 / (ANNEALED_SHARE * n_steps as f64);
    if active == 0 || progress >= 1.0 {
        return active;
    }
    let limit = (active as f64 * start.powf(1.0 - progress)).round() as usize;
    limit.min(latents / 4).max(active)
}

/// Share of the steps over which the scale of the rate falls to its end.
const RATE_ANNEALED_SHARE: f64 = 0.7;

/// The error from which on components count by their logarithm, for step number `step` of `n_steps`: it falls from
/// `first` to `last` geometrically.
pub fn annealed_rate_scale(first: f64, last: f64, step: usize, n_steps: usize) -> f64 {
    let progress = (step as f64 / (RATE_ANNEALED_SHARE * n_steps as f64)).min(1.0);
    first.max(last) * (last / first.max(last)).powf(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_active_latents_falls_to_its_end() {
        let limits: Vec<usize> = (0..1000).map(|step| annealed_active(8, 8.0, 1024, step, 1000)).collect();
        assert_eq!((limits[0], limits[250], limits[999]), (64, 8, 8));
        assert!(limits.is_sorted_by(|a, b| a >= b));
        assert_eq!(annealed_active(8, 8.0, 100, 0, 1000), 25);
        assert_eq!(annealed_active(0, 8.0, 100, 0, 1000), 0);
    }

    #[test]
    fn warms_up_then_falls_to_nothing() {
        let schedule = Schedule { peak: 2e-3, warm_up: 100, n_steps: 2000 };
        let rates: Vec<f32> = (0..2000).map(|step| schedule.learning_rate(step)).collect();
        assert!((rates[0] - 2e-5).abs() < 1e-7);
        assert!(rates[..99].is_sorted() && rates[100..].is_sorted_by(|a, b| a >= b));
        assert!(rates[99] > 1.95e-3 && rates[1999] < 1e-8);
    }
}
