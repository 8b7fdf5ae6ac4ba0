//! The training loop: draws batches, has steps made of them, and does what is due between steps.

use std::sync::Arc;
use std::time::Instant;

use h5z_sae::{Error, ErrorKind};
use h5z_sae_cuda::Device;
use ndarray::{Array2, Axis};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::backend::{Backend, CpuBackend, Step, choose};
use crate::early_stop::{Best, EarlyStop, steps_between};
use crate::network::{BatchStats, Network, NetworkShape, Objective};
use crate::ranks::{Placement, Ranks, agree, broadcast_parameters, on_first};
use crate::report::{Means, StepReport};
use crate::revival::revive;
use crate::schedule::{Schedule, annealed_active, annealed_rate_scale};
use crate::state::FitState;

/// How to train a network on components.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// Sizes of the layers.
    pub shape: NetworkShape,
    /// Loss.
    pub objective: Objective,
    /// All steps.
    pub n_steps: usize,
    /// Patches of a batch.
    pub batch: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Each step draws its limit on active latents between this and that of the objective, so that the largest
    /// latents of a code are a good code by themselves; 0 keeps the limit.
    pub active_least: usize,
    /// The limit on active latents starts at this multiple of its end; 1 keeps it.
    pub active_start: f64,
    /// Share of the steps, at the end, in which the decoder learns from refined codes.
    pub refined_share: f64,
    /// Most dead latents that are revived at a time; 0 leaves them dead.
    pub revived: usize,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Shards of a batch, one for each thread. Results depend on it by rounding.
    pub threads: usize,
    /// Whether to end once held-out patches stop getting smaller.
    pub early_stop: Option<EarlyStop>,
    /// Makes the steps of a single rank, if there is one that can be used.
    pub device: Option<Arc<Device>>,
}

/// Follows the loop, on each rank.
pub trait Watch: Send {
    /// Steps are done. `false` ends the training here.
    fn step(&mut self, report: &StepReport) -> bool;

    /// Takes the state after the reported step, if it wants it.
    ///
    /// # Errors
    /// If it cannot be kept; that ends the training.
    fn state(&mut self, state: &FitState) -> Result<(), Error>;

    /// Bytes of held-out patches, coded with this network. Asked on rank 0 alone.
    ///
    /// # Errors
    /// Those of export and codec.
    fn coded_bytes(&mut self, network: &Network<f32>, step: usize) -> Result<usize, Error>;
}

/// Steps between two reports.
const REPORT_STEPS: usize = 20;
/// Steps of warm-up.
const WARM_UP_STEPS: usize = 300;
/// Passes over the data between two revivals.
const REVIVAL_EPOCHS: usize = 2;
/// Share of training after which dead latents stay so: a new one needs time to settle.
const REVIVAL_END: f64 = 0.6;
/// Where the scale of the rate begins: patches have a maximum of 1, and the first components are about as large.
const FIRST_RATE_SCALE: f64 = 1.0;

/// A training under way.
pub(crate) struct Loop<'a> {
    /// Those of this rank's patches.
    components: &'a Array2<f32>,
    placement: Placement,
    ranks: &'a mut dyn Ranks,
    options: &'a FitOptions,
    backend: Box<dyn Backend>,
    /// Between two calls of `settle`, weights and moments are those of the earlier one: the backend has the newer.
    state: FitState,
    /// The state at the last call of `settle`, which the CPU goes on from where a device fails.
    settled: Option<Box<FitState>>,
}

/// A trained network and how long its training was.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The network; with early stopping, the one that coded held-out patches best.
    pub network: Network<f32>,
    /// Steps made.
    pub n_steps: usize,
    /// Steps after which the network was what it is.
    pub best_step: usize,
    /// Whether a rank's observer ended the training before its time.
    pub is_interrupted: bool,
    /// Seconds for one pass over the data.
    pub epoch_seconds: f64,
}

/// Trains a network on components (patches × K), from `state` on. Runs in the caller's thread pool. Each rank gives the
/// components of its own patches, and the same state and options; a batch is drawn from the patches of all, and all
/// return the same network. Collective.
///
/// # Errors
/// `InvalidArgument` if there are fewer patches, on all ranks, than a batch has; those of `watch`.
pub fn fit(
    components: &Array2<f32>,
    state: FitState,
    options: &FitOptions,
    watch: &mut dyn Watch,
    ranks: &mut dyn Ranks,
) -> Result<Fitted, Error> {
    if state.order.len() < options.batch {
        let message =
            format!("{} training patches: fewer than a batch of {}", state.order.len(), options.batch);
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Loop::new(components, state, options, ranks).run(watch)
}

impl<'a> Loop<'a> {
    /// Before the next step. Collective.
    pub(crate) fn new(
        components: &'a Array2<f32>,
        mut state: FitState,
        options: &'a FitOptions,
        ranks: &'a mut dyn Ranks,
    ) -> Self {
        let placement = Placement::new(components.nrows(), ranks);
        broadcast_parameters(&mut state.network.parameters, ranks);
        let backend = choose(&state, options, ranks);
        let settled = backend.device().map(|_| Box::new(state.clone()));
        Self { components, placement, ranks, options, backend, state, settled }
    }

    fn run(mut self, watch: &mut dyn Watch) -> Result<Fitted, Error> {
        let mut means = Means::default();
        let (started, first) = (Instant::now(), self.state.step);
        let mut is_interrupted = false;
        while !self.is_finished() && !is_interrupted {
            let stats = self.advance();
            means.add(&stats, self.options.objective.sparsity_lambda);
            self.evaluate_if_due(watch)?;
            let is_last = self.is_finished();
            if is_last || self.state.step.is_multiple_of(REPORT_STEPS) {
                // Sums start anew at each report: a state that is taken here needs none of them.
                self.settle();
                let go_on = watch.step(&means.take(self.state.step, self.options.n_steps, is_last));
                is_interrupted = self.ranks.any(!go_on) && !is_last;
                agree(watch.state(&self.state), self.ranks)?;
            }
        }
        let n_steps = (self.state.step - first).max(1);
        let epoch_seconds = started.elapsed().as_secs_f64() * self.steps_per_epoch() as f64 / n_steps as f64;
        Ok(self.fitted(epoch_seconds, is_interrupted))
    }

    fn fitted(self, epoch_seconds: f64, is_interrupted: bool) -> Fitted {
        let FitState { mut network, best, step, .. } = self.state;
        network.objective = self.options.objective;
        let best_step = best.as_ref().map_or(step, |best| best.step);
        if let Some(best) = best {
            network.parameters = best.parameters;
        }
        Fitted { network, n_steps: step, best_step, is_interrupted, epoch_seconds }
    }

    /// Whether it is so on every rank. Collective.
    pub(crate) fn all_ranks_say(&mut self, is_so: bool) -> bool {
        !self.ranks.any(!is_so)
    }

    /// The network as it is.
    pub(crate) fn network(&mut self) -> Network<f32> {
        self.settle();
        Network { objective: self.options.objective, ..self.state.network.clone() }
    }

    fn steps_per_epoch(&self) -> usize {
        self.state.order.len() / self.options.batch
    }

    fn is_finished(&self) -> bool {
        let patience = self.options.early_stop.map_or(usize::MAX, |stop| stop.patience);
        let is_hopeless = self.state.best.as_ref().is_some_and(|best| best.n_since >= patience);
        self.state.step >= self.options.n_steps || is_hopeless
    }

    /// Makes one step, and whatever is due after it.
    pub(crate) fn advance(&mut self) -> BatchStats {
        let n_steps = self.state.step + 1;
        match self.try_advance() {
            Ok(stats) => stats,
            Err(reason) => self.catch_up(n_steps, &reason).expect("a step at least was lost"),
        }
    }

    /// Brings the state up to date.
    fn settle(&mut self) {
        if self.settled.is_none() {
            return;
        }
        match self.backend.read(&mut self.state) {
            Ok(()) => self.settled = Some(Box::new(self.state.clone())),
            Err(reason) => drop(self.catch_up(self.state.step, &reason)),
        }
    }

    /// Gives the device up, and makes those of `n_steps` steps again that were lost with it. The last one's sums.
    fn catch_up(&mut self, n_steps: usize, reason: &str) -> Option<BatchStats> {
        if let Some(device) = self.backend.device() {
            device.give_up(reason);
        }
        self.backend = Box::new(CpuBackend::new(self.options));
        if let Some(settled) = self.settled.take() {
            self.state = *settled;
        }
        let mut stats = None;
        while self.state.step < n_steps {
            stats = Some(self.try_advance().expect("the CPU does not fail"));
        }
        stats
    }

    fn try_advance(&mut self) -> Result<BatchStats, String> {
        let (step, n_steps) = (self.state.step, self.options.n_steps);
        let schedule = Schedule { peak: self.options.learning_rate, warm_up: WARM_UP_STEPS, n_steps };
        let limit = self.active(step, n_steps);
        self.state.network.objective.active = self.draw_active(limit);
        self.state.network.objective.rate_scale = self.rate_scale(step, n_steps);
        let stats = self.step(schedule.learning_rate(step), self.refines(step))?;
        self.state.step += 1;
        self.state.activity.add(&stats.fired);
        let may_revive = (self.state.step as f64) < REVIVAL_END * n_steps as f64;
        if self.state.step.is_multiple_of(REVIVAL_EPOCHS * self.steps_per_epoch()) && may_revive {
            let dead = self.state.activity.take_dead();
            self.revive(dead)?;
        }
        Ok(stats)
    }

    fn evaluate_if_due(&mut self, watch: &mut dyn Watch) -> Result<(), Error> {
        let step = self.state.step;
        let interval = steps_between(self.options.n_steps, self.steps_per_epoch());
        let is_due = step.is_multiple_of(interval) || step >= self.options.n_steps;
        if self.options.early_stop.is_some() && is_due {
            let network = self.network();
            let coded = || watch.coded_bytes(&network, step).map(|bytes| bytes as f64);
            let coded_bytes = on_first(self.ranks, coded)? as usize;
            Best::update(&mut self.state.best, &network, (step, self.options.n_steps), coded_bytes);
            if let Some(settled) = &mut self.settled {
                settled.best = self.state.best.clone();
            }
        }
        Ok(())
    }

    fn active(&self, step: usize, n_steps: usize) -> usize {
        let options = self.options;
        annealed_active(options.objective.active, options.active_start, options.shape.latents, step, n_steps)
    }

    /// A number of active latents, equally likely in each octave from `active_least` to `limit`.
    fn draw_active(&mut self, limit: usize) -> usize {
        let least = self.options.active_least;
        if least == 0 || least >= limit {
            return limit;
        }
        let octaves = self.state.rng.random::<f64>() * (limit as f64 / least as f64).log2();
        (least as f64 * octaves.exp2()).round() as usize
    }

    /// c for a step: that of the objective is reached late. Far from the end everything is far off, and squared error
    /// shows the way better.
    fn rate_scale(&self, step: usize, n_steps: usize) -> f64 {
        let last = self.options.objective.rate_scale;
        if last == 0.0 { 0.0 } else { annealed_rate_scale(FIRST_RATE_SCALE, last, step, n_steps) }
    }

    fn refines(&self, step: usize) -> bool {
        step as f64 >= (1.0 - self.options.refined_share) * self.options.n_steps as f64
    }

    /// The patches of the next batch, in a new order after every pass over the data.
    fn next_batch(&mut self) -> Vec<usize> {
        if self.state.next + self.options.batch > self.state.order.len() {
            self.state.order.shuffle(&mut self.state.rng);
            self.state.next = 0;
        }
        let rows = self.state.order[self.state.next..self.state.next + self.options.batch].to_vec();
        self.state.next += self.options.batch;
        rows
    }

    fn step(&mut self, learning_rate: f32, refines: bool) -> Result<BatchStats, String> {
        let rows = self.next_batch();
        let batch = self.components.select(Axis(0), &self.placement.local(&rows));
        let step = Step { batch: &batch, batch_len: rows.len(), learning_rate, refines };
        self.backend.step(&mut self.state, &step, self.ranks)
    }

    fn revive(&mut self, mut dead: Vec<usize>) -> Result<(), String> {
        dead.shuffle(&mut self.state.rng);
        dead.truncate(self.options.revived);
        if dead.is_empty() {
            return Ok(());
        }
        self.backend.read(&mut self.state)?;
        let rows = self.next_batch();
        let batch = self.placement.gather(self.components, &rows, self.ranks);
        revive(&mut self.state.network, &mut self.state.adam, &dead, batch.view(), &mut self.state.rng);
        self.follow_first_rank();
        self.backend.write(&self.state)
    }

    /// Takes over what revival changed on rank 0: its matrix products differ between CPUs by rounding, by which another
    /// patch may be drawn.
    fn follow_first_rank(&mut self) {
        if self.ranks.n_ranks() == 1 {
            return;
        }
        broadcast_parameters(&mut self.state.network.parameters, self.ranks);
        for moments in self.state.adam.moments_mut() {
            broadcast_parameters(moments, self.ranks);
        }
        // Exact in f64 up to 2^53 draws.
        let position = self.ranks.first(self.state.rng.get_word_pos() as f64);
        self.state.rng.set_word_pos(position as u128);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::SingleRank;
    use h5z_sae::sae::Penalty;
    use ndarray::Array1;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
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
            shape: NetworkShape { components: 6, hidden: 32, latents: 48 },
            objective: Objective { active: 4, penalty, sparsity_lambda: 1e-6, rate_scale: 0.0 },
            n_steps: 1200,
            batch: 100,
            learning_rate: 4e-3,
            active_least: 0,
            active_start: 2.0,
            refined_share: 0.5,
            revived: 4,
            seed: 1,
            threads: 2,
            early_stop: None,
            device: None,
        }
    }

    /// Remembers the last report, and keeps the state after the step at which it stops the training.
    #[derive(Default)]
    struct Record {
        squared_error: f64,
        stop_at: Option<usize>,
        state: Option<FitState>,
        coded_bytes: Vec<usize>,
    }

    impl Watch for Record {
        fn step(&mut self, report: &StepReport) -> bool {
            self.squared_error = report.squared_error;
            self.stop_at.is_none_or(|stop_at| report.step < stop_at)
        }

        fn state(&mut self, state: &FitState) -> Result<(), Error> {
            self.state = Some(state.clone());
            Ok(())
        }

        fn coded_bytes(&mut self, _network: &Network<f32>, _step: usize) -> Result<usize, Error> {
            Ok(self.coded_bytes.remove(0))
        }
    }

    fn train(options: &FitOptions) -> (f64, Fitted) {
        let components = sparse_components();
        let variances = components.var_axis(Axis(0), 0.0).mapv(f64::from);
        let mut record = Record::default();
        let state = FitState::random(components.nrows(), &variances, options);
        let fitted = fit(&components, state, options, &mut record, &mut SingleRank).unwrap();
        (record.squared_error / variances.sum(), fitted)
    }

    fn bits(fitted: &Fitted) -> Vec<Vec<u32>> {
        let tensors = fitted.network.parameters.tensors();
        tensors.map(|tensor| tensor.iter().map(|value| value.to_bits()).collect()).to_vec()
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
        let short = FitOptions { n_steps: 100, ..options(Penalty::Z) };
        let trained = |options: &FitOptions| bits(&train(options).1);
        assert_eq!(trained(&short), trained(&short));
        assert_ne!(trained(&short), trained(&FitOptions { seed: 2, ..short }));
    }

    #[test]
    fn goes_on_from_any_state_bit_for_bit() {
        // Revivals come every 40 steps, and a pass over the data has 20.
        let options = FitOptions { n_steps: 210, ..options(Penalty::Z) };
        let whole = bits(&train(&options).1);
        let components = sparse_components();
        let variances = components.var_axis(Axis(0), 0.0).mapv(f64::from);
        for stop_at in [20, 60, 140, 200] {
            let mut record = Record { stop_at: Some(stop_at), ..Record::default() };
            let state = FitState::random(components.nrows(), &variances, &options);
            let part = fit(&components, state, &options, &mut record, &mut SingleRank).unwrap();
            assert_eq!(part.n_steps, stop_at);
            let state = record.state.take().unwrap();
            let rest = fit(&components, state, &options, &mut Record::default(), &mut SingleRank).unwrap();
            assert_eq!((rest.n_steps, bits(&rest)), (210, whole.clone()), "stopped at {stop_at}");
        }
    }

    #[test]
    fn stops_when_patience_is_over_and_keeps_the_best() {
        let early_stop = Some(EarlyStop { patience: 2, bound: 1e-3 });
        let options = FitOptions { early_stop, n_steps: 400, ..options(Penalty::Z) };
        let components = sparse_components();
        let variances = components.var_axis(Axis(0), 0.0).mapv(f64::from);
        // Evaluations come every 20 steps; those of the first 100 are no failures.
        let sizes = vec![90, 90, 90, 95, 90, 80, 85, 80, 70];
        let mut record = Record { coded_bytes: sizes.clone(), ..Record::default() };
        let state = FitState::random(components.nrows(), &variances, &options);
        let fitted = fit(&components, state, &options, &mut record, &mut SingleRank).unwrap();
        assert_eq!((fitted.n_steps, fitted.best_step), (160, 120));
        let mut until_best = Record { stop_at: Some(120), coded_bytes: sizes, ..Record::default() };
        let state = FitState::random(components.nrows(), &variances, &options);
        assert_eq!(
            bits(&fit(&components, state, &options, &mut until_best, &mut SingleRank).unwrap()),
            bits(&fitted)
        );
    }

    #[test]
    fn rejects_fewer_patches_than_a_batch() {
        let options = FitOptions {
            shape: NetworkShape { components: 2, ..options(Penalty::Z).shape },
            ..options(Penalty::Z)
        };
        let state = FitState::random(7, &Array1::ones(2), &options);
        let error =
            fit(&Array2::ones((7, 2)), state, &options, &mut Record::default(), &mut SingleRank).unwrap_err();
        assert!(error.to_string().contains("7 training patches"), "{error}");
    }
}
