//! All stages of a training, from patches to a model that is checked on held-out ones.

use std::collections::BTreeMap;
use std::time::Instant;

use h5z_sae::sae::Model;
use h5z_sae::{Error, ErrorKind, PatchShape};

use crate::checkpoint::Checkpoint;
use crate::fit::{FitOptions, Fitted, fit};
use crate::import;
use crate::loader::FrameSource;
use crate::metrics::Quality;
use crate::network::{Network, NetworkShape, Objective, Parameters};
use crate::observer::{Event, Observer};
use crate::options::TrainOptions;
use crate::outcome::{Finisher, Trained};
use crate::prepare::Prepared;
use crate::ranks::{Ranks, SingleRank, agree};
use crate::schedule::Budget;
use crate::search::{SEARCH_SHARE, Search, Trials, trial_steps};
use crate::state::{FitState, input_scale};
use crate::trial::plan;
use crate::watcher::{Watcher, evaluated, measure_reserve};

/// What a training begins with.
pub enum Start<'a> {
    /// Random weights, and the principal components of the data.
    Random,
    /// The weights and the basis of a model, to be fitted to other data.
    Model(&'a Model),
    /// Another training as it was left. The same data and options give the model of the uninterrupted one.
    Checkpoint(Box<Checkpoint>),
}

/// Training patches that scales and priors are taken from.
pub(crate) const CALIBRATION_PATCHES: usize = 8192;

/// Trains a model on the patches of a source.
///
/// # Errors
/// `InvalidArgument` for options that contradict each other, the data, the model or the checkpoint, and data that
/// nothing can be learnt from; `LimitExceeded` where the memory limit is too low; `System` if the observer gave up;
/// those of the source and the observer.
pub fn train(
    source: &mut (dyn FrameSource + Send),
    options: &TrainOptions,
    start: Start,
    observer: &mut dyn Observer,
) -> Result<Trained, Error> {
    train_on_ranks(source, options, start, observer, &mut SingleRank)
        .map(|trained| trained.expect("rank 0 has it"))
}

/// [`train`] on several ranks, all of which have the same source, start and options but for the number of threads. The
/// model comes out on rank 0, and is that of a single rank but for rounding; the others get `None`. Collective.
///
/// # Errors
/// Those of [`train`], whichever rank they happen on; `InvalidArgument` if a rank has other patches than rank 0.
pub fn train_on_ranks(
    source: &mut (dyn FrameSource + Send),
    options: &TrainOptions,
    start: Start,
    observer: &mut dyn Observer,
    ranks: &mut dyn Ranks,
) -> Result<Option<Trained>, Error> {
    let started = Instant::now();
    let is_same = check_same_source(source, ranks);
    agree(is_same, ranks)?;
    agree(check(source.patch(), options, &start), ranks)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|error| Error::new(ErrorKind::System, format!("no threads to train with: {error}")));
    let pool = agree(pool, ranks)?;
    pool.install(|| Session { source, options, observer, ranks, started }.run(start))
}

fn check_same_source(source: &dyn FrameSource, ranks: &mut dyn Ranks) -> Result<(), Error> {
    let PatchShape { rows, cols } = source.patch();
    let here = [source.n_patches() as f64, rows as f64, cols as f64];
    let mut first = here;
    ranks.broadcast(&mut first);
    if first == here {
        return Ok(());
    }
    let message = format!(
        "{} patches of {rows} x {cols} values, but {} of {} x {} on rank 0: the inputs are not the same",
        here[0], first[0], first[1], first[2]
    );
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

fn check(patch: PatchShape, options: &TrainOptions, start: &Start) -> Result<(), Error> {
    options.check(patch)?;
    match start {
        Start::Random => Ok(()),
        Start::Model(model) => import::check(model.spec(), options, patch),
        Start::Checkpoint(checkpoint) => checkpoint.check_options(&options.named(patch)),
    }
}

pub(crate) struct Session<'a> {
    pub source: &'a mut (dyn FrameSource + Send),
    pub options: &'a TrainOptions,
    pub observer: &'a mut dyn Observer,
    pub ranks: &'a mut dyn Ranks,
    started: Instant,
}

/// The network's training, about to begin or to go on.
struct Beginning {
    state: FitState,
    fit: FitOptions,
    /// Id of the model that it started from.
    init: Option<String>,
}

impl Session<'_> {
    fn run(mut self, start: Start) -> Result<Option<Trained>, Error> {
        let prepared = self.prepare(&start)?;
        let finisher = Finisher {
            options: self.options,
            patch: self.source.patch(),
            basis: &prepared.basis,
            leading: &prepared.leading,
            calibration: &prepared.calibration,
            held_out: &prepared.held_out,
        };
        let beginning = self.begin(start, &prepared, &finisher)?;
        let init = beginning.init.clone();
        let (fitted, fit_options) = if self.options.control {
            (control(&beginning), beginning.fit)
        } else {
            self.fit(beginning, &prepared, &finisher)?
        };
        if self.ranks.rank() > 0 {
            return Ok(None);
        }
        self.observer.stage("export and check", 0);
        let (mut spec, model) = finisher.model(&fitted.network)?;
        let check = finisher.check_all(&fitted.network, &model, fitted.is_interrupted)?;
        spec.provenance = self.provenance(&fitted, &fit_options, &prepared, &check.quality_none, init);
        let file = spec.to_bytes()?;
        Ok(Some(Trained {
            model: Model::parse(&file)?,
            spec,
            file,
            check,
            share_outside_basis: prepared.basis.floor() / prepared.basis.total_variance,
            held_out: prepared.held_out,
            n_steps: fitted.n_steps,
            n_planned: fit_options.n_steps,
            is_interrupted: fitted.is_interrupted,
            best_step: fitted.best_step,
            epoch_seconds: fitted.epoch_seconds,
        }))
    }

    fn begin(&mut self, start: Start, prepared: &Prepared, finisher: &Finisher) -> Result<Beginning, Error> {
        self.observer.stage("network", 0);
        let n_patches = prepared.placement.n_total;
        let mut fit = self.fit_options(n_patches);
        let (mut state, init) = match start {
            Start::Checkpoint(checkpoint) => {
                let Checkpoint { n_steps, init, objective, mut state, .. } = *checkpoint;
                fit.objective = objective;
                state.network.objective = objective;
                fit.n_steps = n_steps;
                self.observer.event(&Event::Steps { n_steps, done: state.step, measured: None });
                return Ok(Beginning { state, fit, init });
            }
            Start::Random => (FitState::random(n_patches, &prepared.leading.variances, &fit), None),
            Start::Model(model) => {
                let scale = input_scale(&import::variances(prepared.components.view(), self.ranks));
                let network = import::network(model.spec(), &prepared.leading, scale, self.options);
                (FitState::of_network(network, n_patches, &fit), Some(model.id().to_string()))
            }
        };
        if self.options.control {
            return Ok(Beginning { state, fit, init });
        }
        let n_steps = self.count_steps(&state, &fit, prepared, finisher)?;
        fit.n_steps = n_steps;
        if let Some(search) = &self.options.search {
            fit.objective = self.choose_objective(search, &state, fit.clone(), prepared, finisher)?;
            state.network.objective = fit.objective;
            if let Budget::Time(_) = self.options.budget {
                fit.n_steps = (n_steps as f64 * (1.0 - SEARCH_SHARE)) as usize;
            }
            self.observer.event(&Event::Steps { n_steps: fit.n_steps, done: 0, measured: None });
        }
        Ok(Beginning { state, fit, init })
    }

    fn choose_objective(
        &mut self,
        search: &Search,
        state: &FitState,
        fit: FitOptions,
        prepared: &Prepared,
        finisher: &Finisher,
    ) -> Result<Objective, Error> {
        self.observer.stage("trials for the bound", 0);
        let trials = Trials {
            components: &prepared.components,
            state,
            fit: FitOptions { n_steps: trial_steps(fit.n_steps), ..fit },
            finisher,
            patches: evaluated(finisher.held_out),
            bounds: search.scaled_bounds(prepared.typical_maximum),
        };
        let objective = trials.choose(search, self.observer, self.ranks)?;
        self.observer.stage("network", 0);
        Ok(objective)
    }

    /// Options of the loop; the number of steps is not yet known.
    fn fit_options(&self, n_patches: usize) -> FitOptions {
        let options = self.options;
        FitOptions {
            shape: options.shape(),
            objective: options.objective,
            n_steps: 1,
            batch: options.batch.min(n_patches / 2).max(1),
            learning_rate: options.learning_rate,
            active_least: options.active_least,
            active_start: options.active_start,
            refined_share: options.refined_share,
            revived: options.revived,
            seed: options.seed,
            threads: options.threads,
            early_stop: options.early_stop,
            device: options.device.clone(),
        }
    }

    fn count_steps(
        &mut self,
        state: &FitState,
        fit: &FitOptions,
        prepared: &Prepared,
        finisher: &Finisher,
    ) -> Result<usize, Error> {
        let steps_per_epoch = (prepared.placement.n_total / fit.batch) as f64;
        let (n_steps, measured) = match self.options.budget {
            Budget::Epochs(epochs) => (((epochs * steps_per_epoch).round() as usize).max(1), None),
            Budget::Steps(n_steps) => (n_steps.max(1), None),
            Budget::Time(time) => {
                let deadline = self.started + time;
                let reserve = |network: &Network<f32>| measure_reserve(network, fit, finisher);
                let mut goes_on = || self.observer.advance(0);
                let plan =
                    plan(&prepared.components, state, fit, deadline, &mut goes_on, reserve, self.ranks)?;
                (plan.n_steps, Some((plan.step_seconds, plan.reserved_seconds)))
            }
        };
        self.observer.event(&Event::Steps { n_steps, done: 0, measured });
        Ok(n_steps)
    }

    fn fit(
        &mut self,
        beginning: Beginning,
        prepared: &Prepared,
        finisher: &Finisher,
    ) -> Result<(Fitted, FitOptions), Error> {
        let Beginning { state, fit: options, init } = beginning;
        let mut watcher = Watcher {
            observer: &mut *self.observer,
            finisher,
            options: self.options.named(finisher.patch),
            data: prepared.data,
            n_steps: options.n_steps,
            init,
            objective: options.objective,
            evaluated: evaluated(finisher.held_out),
        };
        let fitted = fit(&prepared.components, state, &options, &mut watcher, self.ranks)?;
        Ok((fitted, options))
    }

    fn provenance(
        &self,
        fitted: &Fitted,
        fit: &FitOptions,
        prepared: &Prepared,
        quality: &Quality,
        init: Option<String>,
    ) -> BTreeMap<String, String> {
        let mut entries = vec![
            ("data", self.source.describe()),
            ("training_patches", prepared.placement.n_total.to_string()),
            ("seed", fit.seed.to_string()),
            ("threads", fit.threads.to_string()),
            ("steps", fitted.n_steps.to_string()),
            ("planned_steps", fit.n_steps.to_string()),
            ("batch", fit.batch.to_string()),
            ("learning_rate", fit.learning_rate.to_string()),
            ("rate_scale", fit.objective.rate_scale.to_string()),
            ("refined_share", fit.refined_share.to_string()),
            ("held_out_patches", quality.n_patches.to_string()),
            ("held_out_squared_error", format!("{:.6}", quality.squared_error)),
            ("held_out_nonzeros", format!("{:.2}", quality.nonzeros)),
            ("trainer", format!("h5z-sae-train {}", env!("CARGO_PKG_VERSION"))),
        ];
        if fit.early_stop.is_some() {
            entries.push(("best_step", fitted.best_step.to_string()));
        }
        if let Some(device) = fit.device.as_ref().filter(|device| device.is_usable()) {
            entries.push(("device", device.platform().to_string()));
        }
        entries.extend(init.map(|id| ("started_from", id)));
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// A network of one latent that never fires and speaks for nothing: linear atoms do all.
fn control(beginning: &Beginning) -> Fitted {
    let components = beginning.fit.shape.components;
    let mut parameters = Parameters::zeros(NetworkShape { components, hidden: 1, latents: 1 });
    parameters.hidden[[0, 0]] = 1.0;
    parameters.latent_bias[0] = -1.0;
    let objective = Objective { active: 1, ..beginning.fit.objective };
    let network = Network { parameters, input_scale: beginning.state.network.input_scale.clone(), objective };
    Fitted { network, n_steps: 0, best_step: 0, is_interrupted: false, epoch_seconds: 0.0 }
}
