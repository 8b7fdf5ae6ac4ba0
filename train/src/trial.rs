//! Turns a time budget into a number of steps.
//!
//! A trial is a training in miniature, with the same course of learning rate and limit on active latents. It is
//! thrown away: a training that went on from it would depend on how fast the machine was, while this one depends on
//! the number of steps alone, and whoever asks for that number gets the same model. It takes a twentieth of the time.
//!
//! Times are means without the fastest and the slowest quarter, since another program's burst should not shorten the
//! training. Only the last third of the trial counts where the limit on active latents stays the same: at the start
//! codes are dense, and steps several times slower.

use std::time::{Duration, Instant};

use h5z_sae::Error;
use ndarray::Array2;

use crate::early_stop::steps_between;
use crate::fit::{FitOptions, Loop};
use crate::network::Network;
use crate::ranks::{Ranks, on_first};
use crate::schedule::ANNEALED_SHARE;
use crate::state::FitState;

/// Share of the time that the trial may take.
const TRIAL_SHARE: f64 = 0.05;
/// Steps that a trial has at least, and at most: more do not make it more exact.
const LEAST_STEPS: usize = 8;
const MOST_STEPS: usize = 4000;
/// Steps whose duration sets the length of the trial. The first one of them is not counted.
const PRELUDE_STEPS: usize = 4;

/// What comes after the last step, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reserve {
    /// Export, and errors and coded sizes of held-out patches.
    pub end: f64,
    /// One evaluation of early stopping.
    pub evaluation: f64,
}

/// The number of steps, and what it was computed from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All steps.
    pub n_steps: usize,
    /// Seconds of one step.
    pub step_seconds: f64,
    /// Seconds left for what comes after the steps.
    pub reserved_seconds: f64,
}

/// How many steps fit before `deadline`. `state`: before the first step. `reserve` measures what comes after the
/// steps, with the trial's network, on rank 0; a trial that need not go on is cut short. Clocks differ: rank 0's counts.
/// In the caller's thread pool. Collective.
///
/// # Errors
/// Those of `reserve`.
pub fn plan(
    components: &Array2<f32>,
    state: &FitState,
    options: &FitOptions,
    deadline: Instant,
    goes_on: &mut dyn FnMut() -> bool,
    reserve: impl FnOnce(&Network<f32>) -> Result<Reserve, Error>,
    ranks: &mut dyn Ranks,
) -> Result<Plan, Error> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let n_trial = trial_length(components, state, options, left(), goes_on, ranks);
    let trial_options = FitOptions { n_steps: n_trial, ..options.clone() };
    let mut trial = Loop::new(components, state.clone(), &trial_options, ranks);
    let seconds = time_steps(&mut trial, n_trial, left().mul_f64(2.0 * TRIAL_SHARE), goes_on);
    let network = trial.network();
    let mut reserved = Reserve::default();
    on_first(ranks, || {
        reserved = reserve(&network)?;
        Ok(0.0)
    })?;
    let step_seconds = mean_step(&seconds, options.active_start > 1.0 && options.objective.active > 0);
    let steps_per_epoch = state.order.len() / options.batch;
    let mut plan = fill(left().as_secs_f64(), step_seconds, reserved, options, steps_per_epoch);
    plan.n_steps = ranks.first(plan.n_steps as f64) as usize;
    Ok(plan)
}

fn trial_length(
    components: &Array2<f32>,
    state: &FitState,
    options: &FitOptions,
    left: Duration,
    goes_on: &mut dyn FnMut() -> bool,
    ranks: &mut dyn Ranks,
) -> usize {
    let mut prelude = Loop::new(components, state.clone(), options, ranks);
    let seconds = time_steps(&mut prelude, PRELUDE_STEPS, left, goes_on);
    let n_steps = TRIAL_SHARE * left.as_secs_f64() / usual(&seconds[1.min(seconds.len() - 1)..]);
    ranks.first((n_steps as usize).clamp(LEAST_STEPS, MOST_STEPS) as f64) as usize
}

/// Seconds of each of at most `n_steps` steps, fewer if they take too long; at least one.
fn time_steps(
    training: &mut Loop,
    n_steps: usize,
    most: Duration,
    goes_on: &mut dyn FnMut() -> bool,
) -> Vec<f64> {
    let started = Instant::now();
    let mut seconds = Vec::with_capacity(n_steps);
    while seconds.len() < n_steps
        && (seconds.is_empty() || training.all_ranks_say(started.elapsed() < most && goes_on()))
    {
        let step_started = Instant::now();
        training.advance();
        seconds.push(step_started.elapsed().as_secs_f64());
    }
    seconds
}

/// What a step of the whole training takes on average.
fn mean_step(seconds: &[f64], is_annealed: bool) -> f64 {
    let settled = usual(&seconds[seconds.len() * 2 / 3..]);
    if !is_annealed {
        return settled;
    }
    let n_annealed = (seconds.len() as f64 * ANNEALED_SHARE).ceil() as usize;
    ANNEALED_SHARE * usual(&seconds[..n_annealed]) + (1.0 - ANNEALED_SHARE) * settled
}

/// Mean without the fastest and the slowest quarter.
fn usual(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let kept = &sorted[sorted.len() / 4..sorted.len() - sorted.len() / 4];
    (kept.iter().sum::<f64>() / kept.len() as f64).max(1e-9)
}

/// Evaluations of early stopping take from the steps' time, and their number depends on that of the steps.
fn fill(left: f64, step: f64, reserve: Reserve, options: &FitOptions, steps_per_epoch: usize) -> Plan {
    let for_steps = (left - reserve.end).max(0.0);
    let steps_without = (for_steps / step) as usize;
    let n_evaluations = match options.early_stop {
        Some(_) => steps_without / steps_between(steps_without, steps_per_epoch) + 1,
        None => 0,
    };
    let evaluations = n_evaluations as f64 * reserve.evaluation;
    Plan {
        n_steps: (((for_steps - evaluations) / step) as usize).max(1),
        step_seconds: step,
        reserved_seconds: reserve.end + evaluations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_start_and_a_burst_do_not_count() {
        let mut seconds = vec![5.0; 20];
        seconds.extend([1.0; 40]);
        seconds[50] = 100.0;
        assert_eq!(mean_step(&seconds, false), 1.0);
        assert_eq!(mean_step(&seconds, true), 2.0);
    }
}
