//! All stages of a training, from patches to a model that is checked on held-out ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use h5z_sae::sae::{Model, ModelSpec, Penalty, Transform};
use h5z_sae::{Error, ErrorKind, PatchShape};
use h5z_sae_kernels::GemmBackend;
use ndarray::{Array2, ArrayView2, Axis, Slice};

use crate::export::{ExportMeta, ExportOptions, export, round_basis};
use crate::fit::{FitOptions, Fitted, StepReport, fit};
use crate::loader::{FrameSource, Preparation, Split, apply};
use crate::metrics::{Quality, evaluate, network_squared_error};
use crate::network::Objective;
use crate::pca::{Basis, Covariance, Folding};
use crate::ranks::{Placement, Ranks, SingleRank, agree, share};
use crate::schedule::Budget;

/// Everything that a training is asked for.
#[derive(Clone, Copy, Debug)]
pub struct TrainOptions {
    /// K, principal components: the rows of the output basis.
    pub components: usize,
    /// m, hidden units.
    pub hidden: usize,
    /// ℓ, latents.
    pub latents: usize,
    /// Loss.
    pub objective: Objective,
    /// Domain of the network.
    pub transform: Transform,
    /// When to stop, counted from the start of all stages.
    pub budget: Budget,
    /// Patches of a batch; fewer where there are few patches.
    pub batch: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// The limit on active latents starts at this multiple of its end; 1 keeps it.
    pub active_start: f64,
    /// Most dead latents that are revived at a time; 0 leaves them dead.
    pub revived: usize,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Threads. Results depend on their number by rounding.
    pub threads: usize,
    /// Share of patches that are held out.
    pub held_out: f64,
    /// Widths in the model file.
    pub export: ExportOptions,
}

/// Sees a training while it runs.
pub trait Observer: Send {
    /// A stage begins that will advance by `n_units`.
    fn stage(&mut self, name: &str, n_units: usize);

    /// Units of the stage are done.
    fn advance(&mut self, n_units: usize);

    /// Steps of the network's training are done. `false` ends it early.
    fn step(&mut self, report: &StepReport) -> bool;
}

/// A finished training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model, with its provenance.
    pub spec: ModelSpec,
    /// The model of that specification, as a reader gets it.
    pub model: Arc<Model>,
    /// Bytes of its file.
    pub file: Vec<u8>,
    /// On held-out patches, at the finest latent step.
    pub quality: Quality,
    /// The same at the step of `Bound::None`.
    pub quality_none: Quality,
    /// Mean squared error of the float network before it was written as integers.
    pub float_squared_error: f64,
    /// Share of the patches' variance that lies outside the basis.
    pub share_outside_basis: f64,
    /// Held-out patches scaled to a maximum of 1.
    pub held_out: Array2<f32>,
    /// Steps made.
    pub n_steps: usize,
    /// Seconds for one pass over the data.
    pub epoch_seconds: f64,
}

/// Patches for the covariance, at most: its error is that of a mean over them.
const COVARIANCE_PATCHES: usize = 20_000;
/// Patches on which symmetry is tried.
const SYMMETRY_PATCHES: usize = 1000;
/// Training patches that scales and priors are taken from.
const CALIBRATION_PATCHES: usize = 8192;
/// Least training patches for each component: with fewer, components are noise.
const LEAST_PATCHES_PER_COMPONENT: usize = 2;
/// Largest n′: the covariance of more takes gigabytes and its eigenvectors hours.
const LARGEST_PATCH: usize = 16_384;

/// Bytes that a training holds at its largest, on the first of `n_ranks`, for a statement before it starts. The stage of
/// the covariance and that of the network do not overlap.
pub fn memory_bytes(source: &dyn FrameSource, options: &TrainOptions, n_ranks: usize) -> usize {
    let n_values = source.patch().n_values();
    let block = crate::loader::BLOCK_PATCHES * n_values * 4 * 3;
    let held_out = Split::new(source.n_patches(), options.held_out).held_out.len() * n_values * 4;
    // Sums, a copy for the solver, its eigenvectors and work space, all in f64.
    let covariance = n_values * n_values * 8 * 4;
    let weights = 2 * options.hidden * (options.components + options.latents) * 4;
    let activations = options.batch * (2 * options.components + 4 * options.hidden + 2 * options.latents) * 4;
    let components = source.n_patches().div_ceil(n_ranks) * options.components * 4;
    let network = components + weights * (4 + options.threads) + activations;
    held_out + block + covariance.max(network)
}

/// Trains a model on the patches of a source.
///
/// # Errors
/// `InvalidArgument` for options that contradict each other or the data, and data that nothing can be learnt from;
/// those of the source.
pub fn train(
    source: &mut (dyn FrameSource + Send),
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<Trained, Error> {
    train_on_ranks(source, options, observer, &mut SingleRank).map(|trained| trained.expect("rank 0 has it"))
}

/// [`train`] on several ranks, all of which have the same source and options but for the number of threads. The model
/// comes out on rank 0, and is that of a single rank but for rounding; the others get `None`. Collective.
///
/// # Errors
/// Those of [`train`], whichever rank they happen on; `InvalidArgument` if a rank has other patches than rank 0.
pub fn train_on_ranks(
    source: &mut (dyn FrameSource + Send),
    options: &TrainOptions,
    observer: &mut dyn Observer,
    ranks: &mut dyn Ranks,
) -> Result<Option<Trained>, Error> {
    let started = Instant::now();
    let is_same = check_same_source(source, ranks);
    agree(is_same, ranks)?;
    check_options(source, options)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|error| Error::new(ErrorKind::System, format!("no threads to train with: {error}")));
    let pool = agree(pool, ranks)?;
    pool.install(|| Session { source, options, observer, ranks, started }.run())
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

fn check_options(source: &dyn FrameSource, options: &TrainOptions) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
    let n_values = source.patch().n_values();
    let (rows, cols) = (source.patch().rows, source.patch().cols);
    if n_values > LARGEST_PATCH {
        return refuse(format!(
            "patches of {rows} x {cols} values: at most {LARGEST_PATCH} values can be trained"
        ));
    }
    for (name, number) in
        [("components", options.components), ("hidden", options.hidden), ("latents", options.latents)]
    {
        if number == 0 || number > 1 << 16 {
            return refuse(format!("{name} is {number}: 1 to 65536 allowed"));
        }
    }
    if options.components > n_values {
        return refuse(format!("{} components of patches that have {n_values} values", options.components));
    }
    let (penalty, active) = (options.objective.penalty, options.objective.active);
    if penalty == Penalty::Grad && active > 0 {
        return refuse(format!(
            "active is {active}: a limit on nonzero latents belongs to penalty z, not grad"
        ));
    }
    if active > options.latents {
        return refuse(format!("active is {active}: there are {} latents", options.latents));
    }
    if !(0.0..=0.5).contains(&options.held_out) {
        return refuse(format!("held-out fraction of {}: 0 to 0.5 allowed", options.held_out));
    }
    Ok(())
}

struct Session<'a> {
    source: &'a mut (dyn FrameSource + Send),
    options: &'a TrainOptions,
    observer: &'a mut dyn Observer,
    ranks: &'a mut dyn Ranks,
    started: Instant,
}

impl Session<'_> {
    fn run(mut self) -> Result<Option<Trained>, Error> {
        let split = Split::new(self.source.n_patches(), self.options.held_out);
        self.check_enough(split.training.len())?;
        let first = (self.ranks.rank() == 0).then(|| self.held_out_and_basis(&split)).transpose();
        let (held_out, basis) = agree(first, self.ranks)?.unzip();
        let patch_len = self.source.patch().n_values();
        let basis = Basis::broadcast(basis, patch_len, self.options.components, self.ranks);
        let components = self.project(share(&split.training, self.ranks), &basis);
        let components = agree(components, self.ranks)?;
        let placement = Placement::new(components.nrows(), self.ranks);
        self.check_enough(placement.n_total)?;
        let fitted = self.fit(&components, placement.n_total, &basis)?;
        let calibration = self.calibration(&components, placement);
        let Some(held_out) = held_out else { return Ok(None) };
        self.finish(&fitted, &basis, &calibration, placement.n_total, held_out).map(Some)
    }

    /// What rank 0 finds alone: a basis from sums over all ranks would save little beside its eigenvectors, and rounding
    /// turns components of nearly equal variance into each other.
    fn held_out_and_basis(&mut self, split: &Split) -> Result<(Array2<f32>, Basis), Error> {
        Ok((self.read_scaled(&split.held_out)?, self.find_basis(&split.training)?))
    }

    fn preparation(&self) -> Preparation {
        Preparation { patch: self.source.patch(), transform: self.options.transform }
    }

    fn check_enough(&self, n_training: usize) -> Result<(), Error> {
        let least = LEAST_PATCHES_PER_COMPONENT * self.options.components;
        if n_training >= least {
            return Ok(());
        }
        let message = format!(
            "{n_training} training patches that are not blank: {} components need at least {least}",
            self.options.components
        );
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// Held-out patches, scaled but not transformed.
    fn read_scaled(&mut self, numbers: &[usize]) -> Result<Array2<f32>, Error> {
        let preparation = Preparation { transform: Transform::None, ..self.preparation() };
        let mut blocks = Vec::new();
        preparation.for_each_block(self.source, numbers, |block| {
            blocks.push(block);
            Ok(())
        })?;
        let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
        let n_values = self.source.patch().n_values();
        Ok(ndarray::concatenate(Axis(0), &views).unwrap_or_else(|_| Array2::zeros((0, n_values))))
    }

    fn find_basis(&mut self, training: &[usize]) -> Result<Basis, Error> {
        let sample = spread(training, COVARIANCE_PATCHES);
        let preparation = self.preparation();
        let observer = &mut *self.observer;
        observer.stage("covariance", sample.len());
        let mut sums: Option<(Folding, Covariance)> = None;
        let n_used = preparation.for_each_block(self.source, &sample, |block| {
            let (folding, covariance) = sums.get_or_insert_with(|| {
                let first = block.slice_axis(Axis(0), Slice::from(..SYMMETRY_PATCHES.min(block.nrows())));
                let folding = Folding::detect(first);
                (folding, Covariance::new(folding.fold(first).view()))
            });
            covariance.add(folding.fold(block.view()));
            observer.advance(block.nrows());
            Ok(())
        })?;
        self.check_enough(n_used * training.len() / sample.len())?;
        let (folding, covariance) = sums.expect("enough patches were not blank");
        if folding.folded_len() < self.options.components {
            let message = format!(
                "{} components of patches that have {} values up to their point symmetry",
                self.options.components,
                folding.folded_len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.observer.stage("principal components", 0);
        let wide_rows = self.options.export.wide_rows;
        covariance
            .finish(folding, self.options.components)?
            .rounded(|rows| round_basis(rows, folding, wide_rows))
    }

    fn project(&mut self, training: &[usize], basis: &Basis) -> Result<Array2<f32>, Error> {
        self.observer.stage("projection", training.len());
        let preparation = self.preparation();
        let observer = &mut *self.observer;
        let mut components = Vec::with_capacity(training.len() * self.options.components);
        let n_used = preparation.for_each_block(self.source, training, |block| {
            components.extend(basis.project(block.view()));
            observer.advance(block.nrows());
            Ok(())
        })?;
        Ok(Array2::from_shape_vec((n_used, self.options.components), components).expect("whole rows"))
    }

    fn fit(&mut self, components: &Array2<f32>, n_training: usize, basis: &Basis) -> Result<Fitted, Error> {
        let options = FitOptions {
            hidden: self.options.hidden,
            latents: self.options.latents,
            objective: self.options.objective,
            budget: self.options.budget,
            batch: self.options.batch.min(n_training / 2).max(1),
            learning_rate: self.options.learning_rate,
            active_start: self.options.active_start,
            revived: self.options.revived,
            seed: self.options.seed,
            threads: self.options.threads,
        };
        self.observer.stage("network", 0);
        let observer = &mut *self.observer;
        fit(
            components,
            &basis.variances,
            &options,
            self.started,
            &mut |report| observer.step(report),
            self.ranks,
        )
    }

    /// Components of training patches that scales and priors are taken from, of all ranks.
    fn calibration(&mut self, components: &Array2<f32>, placement: Placement) -> Array2<f32> {
        let all: Vec<usize> = (0..placement.n_total).collect();
        placement.gather(components, &spread(&all, CALIBRATION_PATCHES), self.ranks)
    }

    fn finish(
        &mut self,
        fitted: &Fitted,
        basis: &Basis,
        calibration: &Array2<f32>,
        n_training: usize,
        held_out: Array2<f32>,
    ) -> Result<Trained, Error> {
        self.observer.stage("export and check", 0);
        let meta = ExportMeta {
            patch: self.source.patch(),
            transform: self.options.transform,
            provenance: BTreeMap::new(),
        };
        let mut spec = export(&fitted.network, basis, calibration.view(), self.options.export, meta)?;
        let model = Model::parse(&spec.to_bytes()?)?;
        let transformed = held_out.mapv(|value| apply(self.options.transform, value));
        let (quality, quality_none) = self.qualities(&model, transformed.view())?;
        let float_squared_error = network_squared_error(&fitted.network, basis, transformed.view());
        spec.provenance = self.provenance(fitted, n_training, &quality_none);
        let file = spec.to_bytes()?;
        Ok(Trained {
            model: Model::parse(&file)?,
            spec,
            file,
            quality,
            quality_none,
            float_squared_error,
            share_outside_basis: basis.floor() / basis.total_variance,
            held_out,
            n_steps: fitted.n_steps,
            epoch_seconds: fitted.epoch_seconds,
        })
    }

    fn qualities(&self, model: &Model, patches: ArrayView2<f32>) -> Result<(Quality, Quality), Error> {
        let backend = GemmBackend::default();
        let finest = evaluate(model, &backend, patches, model.latent_frac_bits())?;
        let none = evaluate(model, &backend, patches, model.spec().none_step_log2)?;
        Ok((finest, none))
    }

    fn provenance(&self, fitted: &Fitted, n_training: usize, quality: &Quality) -> BTreeMap<String, String> {
        let options = self.options;
        let entries = [
            ("data", self.source.describe()),
            ("training_patches", n_training.to_string()),
            ("seed", options.seed.to_string()),
            ("steps", fitted.n_steps.to_string()),
            ("batch", options.batch.to_string()),
            ("learning_rate", options.learning_rate.to_string()),
            ("held_out_patches", quality.n_patches.to_string()),
            ("held_out_squared_error", format!("{:.6}", quality.squared_error)),
            ("held_out_nonzeros", format!("{:.2}", quality.nonzeros)),
            ("trainer", format!("h5z-sae-train {}", env!("CARGO_PKG_VERSION"))),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// At most `most` of the numbers, evenly spread, in runs of one block each so that reading stays sequential.
fn spread(numbers: &[usize], most: usize) -> Vec<usize> {
    const RUN: usize = 32;
    if numbers.len() <= most {
        return numbers.to_vec();
    }
    let runs: Vec<&[usize]> = numbers.chunks(RUN).collect();
    let n_kept = (most / RUN).max(1);
    (0..n_kept).flat_map(|kept| runs[kept * runs.len() / n_kept]).copied().collect()
}
