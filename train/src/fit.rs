//! The training loop: batches in shards, one for each thread; gradients summed in the shards' order, then over ranks.

use std::time::Instant;

use h5z_sae::{Error, ErrorKind};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::network::{BatchStats, Network, NetworkShape, Objective, Parameters};
use crate::optimiser::{Adam, sum_shards};
use crate::ranks::{Placement, Ranks, broadcast_parameters, sum_parameters, sum_stats};
use crate::revival::{Activity, revive};
use crate::schedule::{Budget, Schedule, TIMED_SHARE, TIMED_STEPS, annealed_active};

/// How to train a network on components.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// m.
    pub hidden: usize,
    /// ℓ.
    pub latents: usize,
    /// Loss.
    pub objective: Objective,
    /// When to stop; a time counts from `started`.
    pub budget: Budget,
    /// Patches of a batch.
    pub batch: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// The limit on active latents starts at this multiple of its end; 1 keeps it.
    pub active_start: f64,
    /// Most dead latents that are revived at a time; 0 leaves them dead.
    pub revived: usize,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Shards of a batch, one for each thread. Results depend on it by rounding.
    pub threads: usize,
}

/// What the loop tells while it runs: means over the steps since the last report.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps done.
    pub step: usize,
    /// All steps, once known.
    pub n_steps: Option<usize>,
    /// Loss per patch.
    pub loss: f64,
    /// Squared error per patch, in the basis.
    pub squared_error: f64,
    /// Nonzero entries of a code.
    pub nonzeros: f64,
    /// Latents that fired.
    pub latents_in_use: usize,
}

/// Receives reports; returns `false` to end the training early.
pub type Report<'a> = dyn FnMut(&StepReport) -> bool + Send + 'a;

/// Steps between two reports.
const REPORT_STEPS: usize = 20;
/// Clip of the gradient's norm: far above that of a settled training, so that only a burst is cut.
const CLIP_NORM: f32 = 10.0;
/// Steps of warm-up.
const WARM_UP_STEPS: usize = 300;
/// Passes over the data between two revivals.
const REVIVAL_EPOCHS: usize = 2;
/// Share of training after which dead latents stay so: a new one needs time to settle.
const REVIVAL_END: f64 = 0.6;
/// Inputs are scaled by σ^−0.6: whitening in full drowns the network in what hardly matters, none hides it.
const INPUT_WHITENING: f64 = 0.6;

/// A training under way.
struct Loop<'a> {
    /// Those of this rank's patches.
    components: &'a Array2<f32>,
    placement: Placement,
    ranks: &'a mut dyn Ranks,
    options: &'a FitOptions,
    network: Network<f32>,
    adam: Adam,
    /// One for each shard.
    gradients: Vec<Parameters<f32>>,
    rng: ChaCha8Rng,
    /// Of the patches of all ranks.
    order: Vec<usize>,
    next: usize,
}

/// A trained network and how long its training was.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The network.
    pub network: Network<f32>,
    /// Steps made.
    pub n_steps: usize,
    /// Seconds for one pass over the data.
    pub epoch_seconds: f64,
}

/// Trains a network on components (patches × K) with the given variances. `started` is when the time budget began. Runs
/// in the caller's thread pool. Each rank gives the components of its own patches, and the same options; a batch is
/// drawn from the patches of all, and all return the same network. Collective.
///
/// # Errors
/// `InvalidArgument` if there are fewer patches, on all ranks, than a batch has.
pub fn fit(
    components: &Array2<f32>,
    variances: &Array1<f64>,
    options: &FitOptions,
    started: Instant,
    report: &mut Report,
    ranks: &mut dyn Ranks,
) -> Result<Fitted, Error> {
    let placement = Placement::new(components.nrows(), ranks);
    if placement.n_total < options.batch {
        let message =
            format!("{} training patches: fewer than a batch of {}", placement.n_total, options.batch);
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(Loop::new(components, placement, variances, options, ranks).run(started, report))
}

impl<'a> Loop<'a> {
    fn new(
        components: &'a Array2<f32>,
        placement: Placement,
        variances: &Array1<f64>,
        options: &'a FitOptions,
        ranks: &'a mut dyn Ranks,
    ) -> Self {
        let shape =
            NetworkShape { components: components.ncols(), hidden: options.hidden, latents: options.latents };
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut parameters = Parameters::random(shape, &mut rng);
        broadcast_parameters(&mut parameters, ranks);
        let network =
            Network { parameters, input_scale: input_scale(variances), objective: options.objective };
        let gradients = vec![Parameters::zeros(shape); options.threads.max(1)];
        let order: Vec<usize> = (0..placement.n_total).collect();
        let next = order.len();
        let adam = Adam::new(shape, CLIP_NORM);
        Self { components, placement, ranks, options, network, adam, gradients, rng, order, next }
    }

    fn run(mut self, started: Instant, report: &mut Report) -> Fitted {
        let steps_per_epoch = self.order.len() / self.options.batch;
        let mut n_steps = match self.options.budget {
            Budget::Epochs(epochs) => Some(((epochs * steps_per_epoch as f64).round() as usize).max(1)),
            Budget::Time(_) => None,
        };
        let mut activity = Activity::new(self.options.latents);
        let mut means = Means::default();
        let loop_started = Instant::now();
        let mut step = 0;
        while n_steps.is_none_or(|n_steps| step < n_steps) {
            // Until the number of steps is known, only the warm-up matters.
            let schedule = Schedule {
                peak: self.options.learning_rate,
                warm_up: WARM_UP_STEPS,
                n_steps: n_steps.unwrap_or(WARM_UP_STEPS * 100),
            };
            self.network.objective.active = self.active(step, schedule.n_steps);
            let stats = self.step(schedule.learning_rate(step));
            step += 1;
            activity.add(&stats.fired);
            means.add(&stats, self.options.objective.sparsity_lambda);
            if n_steps.is_none() {
                let n_steps_here = self.steps_within_budget(step, started, loop_started);
                n_steps = self.first_ranks(n_steps_here);
            }
            let may_revive = n_steps.is_some_and(|n_steps| (step as f64) < REVIVAL_END * n_steps as f64);
            if step.is_multiple_of(REVIVAL_EPOCHS * steps_per_epoch) && may_revive {
                self.revive(activity.take_dead());
            }
            let is_due = step.is_multiple_of(REPORT_STEPS) || n_steps == Some(step);
            if is_due {
                let is_stopped = !report(&means.take(step, n_steps));
                if self.ranks.any(is_stopped) {
                    break;
                }
            }
        }
        let epoch_seconds = loop_started.elapsed().as_secs_f64() * steps_per_epoch as f64 / step as f64;
        self.network.objective = self.options.objective;
        Fitted { network: self.network, n_steps: step, epoch_seconds }
    }

    fn active(&self, step: usize, n_steps: usize) -> usize {
        let options = self.options;
        annealed_active(options.objective.active, options.active_start, options.latents, step, n_steps)
    }

    /// All steps that the time budget allows, once `step` of them have shown how long one takes.
    fn steps_within_budget(&self, step: usize, started: Instant, loop_started: Instant) -> Option<usize> {
        let Budget::Time(time) = self.options.budget else { return Some(step) };
        let (elapsed, left) = (loop_started.elapsed().as_secs_f64(), time.saturating_sub(started.elapsed()));
        let is_known = step >= TIMED_STEPS && elapsed >= TIMED_SHARE * time.as_secs_f64();
        (is_known || left.is_zero()).then(|| step + (left.as_secs_f64() * step as f64 / elapsed) as usize)
    }

    /// Rank 0's number of steps: clocks differ.
    fn first_ranks(&mut self, n_steps: Option<usize>) -> Option<usize> {
        let mut known = [f64::from(u8::from(n_steps.is_some())), n_steps.unwrap_or(0) as f64];
        self.ranks.broadcast(&mut known);
        (known[0] > 0.0).then_some(known[1] as usize)
    }

    /// The patches of the next batch, in a new order after every pass over the data.
    fn next_batch(&mut self) -> Vec<usize> {
        if self.next + self.options.batch > self.order.len() {
            self.order.shuffle(&mut self.rng);
            self.next = 0;
        }
        let rows = self.order[self.next..self.next + self.options.batch].to_vec();
        self.next += self.options.batch;
        rows
    }

    fn step(&mut self, learning_rate: f32) -> BatchStats {
        let rows = self.next_batch();
        let batch = self.components.select(Axis(0), &self.placement.local(&rows));
        let (network, atoms, batch_len) = (&self.network, self.network.atoms(), rows.len());
        let shards = batch.axis_chunks_iter(Axis(0), batch.nrows().div_ceil(self.gradients.len()).max(1));
        let stats: Vec<BatchStats> = self
            .gradients
            .par_iter_mut()
            .zip(shards.into_par_iter())
            .map(|(gradient, rows)| {
                let pass = network.forward(rows, &atoms);
                gradient.clear();
                network.backward(&pass, &atoms, batch_len, gradient);
                network.stats(&pass)
            })
            .collect();
        if stats.is_empty() {
            self.gradients[0].clear();
        }
        sum_shards(&mut self.gradients[..stats.len()]);
        sum_parameters(&mut self.gradients[0], self.ranks);
        atoms.backward(&mut self.gradients[0].hidden);
        self.adam.step(&mut self.network.parameters, &self.gradients[0], learning_rate);
        sum_stats(stats, self.options.latents, self.ranks)
    }

    fn revive(&mut self, mut dead: Vec<usize>) {
        dead.shuffle(&mut self.rng);
        dead.truncate(self.options.revived);
        if !dead.is_empty() {
            let rows = self.next_batch();
            let batch = self.placement.gather(self.components, &rows, self.ranks);
            revive(&mut self.network, &mut self.adam, &dead, batch.view(), &mut self.rng);
            self.follow_first_rank();
        }
    }

    /// Takes over what revival changed on rank 0: its matrix products differ between CPUs by rounding, by which another
    /// patch may be drawn.
    fn follow_first_rank(&mut self) {
        if self.ranks.n_ranks() == 1 {
            return;
        }
        broadcast_parameters(&mut self.network.parameters, self.ranks);
        for moments in self.adam.moments_mut() {
            broadcast_parameters(moments, self.ranks);
        }
        // Exact in f64 up to 2^53 draws.
        let mut position = [self.rng.get_word_pos() as f64];
        self.ranks.broadcast(&mut position);
        self.rng.set_word_pos(position[0] as u128);
    }
}

/// σ^−0.6 of each component, such that the first one comes at unit variance.
fn input_scale(variances: &Array1<f64>) -> Array1<f32> {
    let first = variances[0].sqrt();
    variances.mapv(|variance| ((first / variance.sqrt()).powf(INPUT_WHITENING) / first) as f32)
}

/// Sums since the last report.
#[derive(Default)]
struct Means {
    n_patches: usize,
    squared_error: f64,
    penalty: f64,
    n_entries: usize,
    fired: Vec<u64>,
}

impl Means {
    fn add(&mut self, stats: &BatchStats, sparsity_lambda: f64) {
        self.n_patches += stats.n_patches;
        self.squared_error += stats.squared_error;
        self.penalty += sparsity_lambda * stats.l1;
        self.n_entries += stats.n_entries;
        self.fired.resize(stats.fired.len(), 0);
        for (total, &count) in self.fired.iter_mut().zip(&stats.fired) {
            *total += u64::from(count);
        }
    }

    fn take(&mut self, step: usize, n_steps: Option<usize>) -> StepReport {
        let sums = std::mem::take(self);
        let per_patch = 1.0 / sums.n_patches as f64;
        StepReport {
            step,
            n_steps,
            loss: (sums.squared_error + sums.penalty) * per_patch,
            squared_error: sums.squared_error * per_patch,
            nonzeros: sums.n_entries as f64 * per_patch,
            latents_in_use: sums.fired.iter().filter(|&&count| count > 0).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::SingleRank;
    use h5z_sae::sae::Penalty;
    use rand_distr::{Distribution, StandardNormal};

    /// Components that two of eight directions make up, with positive weights: what a sparse code is for.
    fn sparse_components() -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let directions: Array2<f32> =
            Array2::from_shape_simple_fn((8, 6), || StandardNormal.sample(&mut rng));
        Array2::from_shape_fn((2000, 8), |(row, atom)| {
            let is_used = atom == row % 8 || atom == (row / 8) % 8;
            if is_used { 0.5 + ((row * 7 + atom * 3) % 11) as f32 / 11.0 } else { 0.0 }
        })
        .dot(&directions)
    }

    fn options(penalty: Penalty) -> FitOptions {
        FitOptions {
            hidden: 32,
            latents: 48,
            objective: Objective { active: 4, penalty, sparsity_lambda: 1e-6 },
            budget: Budget::Epochs(60.0),
            batch: 100,
            learning_rate: 4e-3,
            active_start: 2.0,
            revived: 4,
            seed: 1,
            threads: 2,
        }
    }

    fn train(options: &FitOptions) -> (f64, Fitted) {
        let components = sparse_components();
        let variances = components.var_axis(Axis(0), 0.0).mapv(f64::from);
        let mut last = f64::NAN;
        let fitted = fit(
            &components,
            &variances,
            options,
            Instant::now(),
            &mut |report| {
                last = report.squared_error;
                true
            },
            &mut SingleRank,
        );
        (last / variances.sum(), fitted.unwrap())
    }

    #[test]
    fn learns_sparse_data_under_both_penalties() {
        for penalty in [Penalty::Z, Penalty::Grad] {
            let (share_missed, fitted) = train(&options(penalty));
            assert!(share_missed < 0.03, "{penalty:?}: misses {share_missed} of the variance");
            assert_eq!(fitted.n_steps, 1200);
        }
    }

    #[test]
    fn a_seed_and_thread_count_determine_every_bit() {
        let short = FitOptions { budget: Budget::Epochs(5.0), ..options(Penalty::Z) };
        let bits = |options: &FitOptions| {
            let parameters = train(options).1.network.parameters;
            parameters.tensors().map(|tensor| tensor.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
        };
        assert_eq!(bits(&short), bits(&short));
        assert_ne!(bits(&short), bits(&FitOptions { seed: 2, ..short }));
    }

    #[test]
    fn a_time_budget_becomes_a_number_of_steps() {
        let time = std::time::Duration::from_secs(1);
        let started = Instant::now();
        let (_, fitted) = train(&FitOptions { budget: Budget::Time(time), ..options(Penalty::Z) });
        assert!(fitted.n_steps > TIMED_STEPS);
        assert!(started.elapsed() < 4 * time, "{:?} for a budget of {time:?}", started.elapsed());
    }

    #[test]
    fn rejects_fewer_patches_than_a_batch() {
        let error = fit(
            &Array2::ones((7, 2)),
            &Array1::ones(2),
            &options(Penalty::Z),
            Instant::now(),
            &mut |_| true,
            &mut SingleRank,
        )
        .unwrap_err();
        assert!(error.to_string().contains("7 training patches"), "{error}");
    }
}
