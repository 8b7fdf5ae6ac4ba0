//! Arguments of `sae train`. Those that the result depends on are kept in checkpoints, so that `--resume` needs no
//! repetition; their defaults are filled in late, since a model to start from or a checkpoint may set them.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use h5z_sae::PatchShape;
use h5z_sae::sae::{ModelSpec, Penalty, Transform};
use h5z_sae_train::early_stop::EarlyStop;
use h5z_sae_train::export::{ExportOptions, Width};
use h5z_sae_train::import;
use h5z_sae_train::network::Objective;
use h5z_sae_train::options::{TrainOptions, name_of_transform};
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::search::Search;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parse::{at_least_one, parse_patch, parse_transform};
use crate::device::DeviceArgs;
use crate::error::CliError;

/// Train a model on frames like those that it shall compress
#[derive(ClapArgs, Clone, Serialize, Deserialize)]
pub struct Args {
    /// Datasets to learn from, FILE.h5:/DATASET each; the last two dimensions are a frame's
    #[arg(required_unless_present = "resume", value_name = "FILE.h5:/DATASET")]
    pub inputs: Vec<String>,
    /// The model file to write
    #[arg(short, long, required_unless_present = "resume", value_name = "MODEL.sae")]
    pub output: Option<PathBuf>,
    /// Rectangle of a frame that the network sees at once [default: the frame, at most 64x64]
    #[arg(long, value_name = "ROWSxCOLS")]
    patch: Option<String>,
    /// Principal components that the network works on [default: 256]
    #[arg(long, value_name = "K")]
    components: Option<usize>,
    /// Rows of the output basis: the components, and further ones for linear atoms alone, which tight bounds need
    /// [default: as many as components]
    #[arg(long, value_name = "K")]
    basis_rows: Option<usize>,
    /// Hidden units of encoder and decoder [default: 512]
    #[arg(long, value_name = "M")]
    hidden: Option<usize>,
    /// Latents [default: 1024]
    #[arg(long = "latent", alias = "latents", value_name = "L")]
    pub latents: Option<usize>,
    /// Latents kept in each patch, the largest ones; 0 keeps all [default: 16 for penalty z, 0 for grad]
    #[arg(long, value_name = "N")]
    active: Option<usize>,
    /// What the L1 term of the loss counts: latents z, or their steps, the discrete gradient of z [default: z]
    #[arg(long, value_enum)]
    penalty: Option<PenaltyName>,
    /// Weight of the L1 term [default: 1e-6]
    #[arg(long, value_name = "X")]
    lambda: Option<f64>,
    /// Passes over the data
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "steps"])]
    epochs: Option<f64>,
    /// Gradient steps
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    steps: Option<usize>,
    /// Time for everything, from the first read to the report. A trial turns it into a number of steps, which is
    /// reported: --steps with that number makes the same model [default: 10]
    #[arg(long, value_name = "T")]
    minutes: Option<f64>,
    /// End once held-out patches have not become smaller N times in a row, and write the network that coded them
    /// best. They are coded after every pass over the data, or every fortieth part of the steps if that is longer; the
    /// first quarter of the steps does not count
    #[arg(long, value_name = "N")]
    early_stop: Option<usize>,
    /// Bound at which --early-stop codes, for patches scaled to a maximum of 1 [default: 1e-3]
    #[arg(long, value_name = "E", requires = "early_stop")]
    early_stop_abs: Option<f64>,
    /// Absolute bound, in the data's units, that the model shall serve: --active, --rate-scale and --lambda, where they
    /// are not given, are chosen by the bytes of held-out patches, in a third of the time. May be given several times
    #[arg(long = "abs", value_name = "E")]
    absolute: Vec<f64>,
    /// The same for a bound relative to the range of values
    #[arg(long = "rel", value_name = "E")]
    relative: Vec<f64>,
    /// Principal components alone, without a network: the control, to see what the network is worth
    #[arg(long, conflicts_with_all = ["init", "absolute", "relative", "early_stop"])]
    pub control: bool,
    /// Start from a model: its basis, patch, transform and penalty stay, its weights are fitted to this data
    #[arg(long, value_name = "MODEL.sae", conflicts_with = "resume")]
    #[serde(skip)]
    pub init: Option<PathBuf>,
    /// Seed of everything that is drawn [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Domain of the network: none, sqrt or sqrt:C for sqrt(x + C), log or log:C for log(1 + x/C); x has a maximum
    /// of 1 [default: none]
    #[arg(long, value_name = "T")]
    transform: Option<String>,
    /// Share of the patches that is kept apart to report errors on, at most 4096 patches [default: 0.02]
    #[arg(long, value_name = "FRACTION")]
    held_out: Option<f64>,
    /// Learn from mirror images too: four of every patch, with quarter turns where it is square
    #[arg(long)]
    pub mirror: bool,
    /// Value that marks masked pixels (not-a-number does always)
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    pub mask_value: Option<f32>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    #[command(flatten)]
    #[serde(skip)]
    pub device: DeviceArgs,
    /// Most memory. Above it, an evenly spread part of the patches is learnt from
    #[arg(long, value_name = "MB")]
    memory_limit: Option<usize>,
    /// Patches of one gradient step [default: 500]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Largest learning rate [default: 2e-3]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Learn codes of various lengths: each step draws its limit on active latents from N to --active [default: off]
    #[arg(long, value_name = "N")]
    active_least: Option<usize>,
    /// Count errors of components beyond X by their logarithm, as the coded size does, rather than by their square;
    /// patches have a maximum of 1 [default: off; with --abs, a value that suits the bound]
    #[arg(long, value_name = "X")]
    rate_scale: Option<f64>,
    /// Share of the steps, at the end, in which the decoder learns from codes refined as the codec refines them
    /// [default: 0; with --abs, 0.25]
    #[arg(long, value_name = "SHARE")]
    refine: Option<f64>,
    /// Start with a limit on active latents of X times N, which falls to N over the first quarter: more latents stay
    /// in use, at a cost in short trainings [default: 1]
    #[arg(long, value_name = "X")]
    active_start: Option<f64>,
    /// Dead latents that get a new start after every second pass, at most; 0 leaves them dead (and out of the file)
    /// [default: 0]
    #[arg(long, value_name = "N")]
    revive: Option<usize>,
    /// Basis rows stored in 16 bits; the rest take 8 [default: 64]
    #[arg(long, value_name = "N")]
    wide_rows: Option<usize>,
    /// Width of the decoder's first layer in the file [default: 16]
    #[arg(long, value_name = "BITS", value_parser = ["8", "16"])]
    hidden_bits: Option<String>,
    /// Keep the training in this file, now and then and when it is interrupted
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub checkpoint: Option<PathBuf>,
    /// Minutes between two checkpoints
    #[arg(long, value_name = "T", default_value_t = 10.0)]
    #[serde(skip)]
    pub checkpoint_minutes: f64,
    /// Go on with the training in this checkpoint, which is kept up to date. Nothing else need be said; whatever is
    /// must agree with it
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub resume: Option<PathBuf>,
    /// Write the loss curve as a table: step,loss,squared_error,nonzeros,latents_in_use
    #[arg(long, value_name = "FILE.csv")]
    #[serde(skip)]
    pub log: Option<PathBuf>,
    /// Write everything that happens, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    #[serde(skip)]
    pub log_json: Option<PathBuf>,
    /// Draw the loss curve
    #[arg(long, value_name = "FILE.png")]
    #[serde(skip)]
    pub curve: Option<PathBuf>,
    /// Report as one JSON object
    #[arg(long)]
    #[serde(skip)]
    pub json: bool,
}

#[derive(Clone, Copy, ValueEnum, Serialize, Deserialize)]
enum PenaltyName {
    Z,
    Grad,
}

impl From<PenaltyName> for Penalty {
    fn from(name: PenaltyName) -> Self {
        match name {
            PenaltyName::Z => Self::Z,
            PenaltyName::Grad => Self::Grad,
        }
    }
}

/// Bounds at which the coded size of held-out patches is reported.
const REPORTED_BOUNDS: [f64; 2] = [1e-2, 1e-3];

/// Share of the steps with refined codes in trainings for a bound.
const REFINED_SHARE: f64 = 0.25;

/// Arguments that say the same thing in different units: one of them replaces any of a checkpoint's.
const BUDGETS: [&str; 3] = ["epochs", "steps", "minutes"];

impl Args {
    /// These arguments on top of those in a checkpoint.
    ///
    /// # Errors
    /// If the checkpoint's arguments are none.
    pub fn on_top_of(&self, stored: &Value) -> Result<Self, CliError> {
        let wrong = |error| CliError::new(format!("the checkpoint's arguments: {error}"));
        let given = serde_json::to_value(self).map_err(wrong)?;
        let mut merged = stored.clone();
        let says_something = |value: &Value| {
            !(value.is_null() || *value == Value::Bool(false) || *value == Value::from([0; 0]))
        };
        if BUDGETS.iter().any(|&name| says_something(&given[name])) {
            BUDGETS.iter().for_each(|&name| merged[name] = Value::Null);
        }
        for (name, value) in given.as_object().into_iter().flatten().filter(|(_, v)| says_something(v)) {
            merged[name] = value.clone();
        }
        let merged: Self = serde_json::from_value(merged).map_err(wrong)?;
        Ok(Self {
            init: None,
            device: self.device.clone(),
            checkpoint: self.checkpoint.clone().or_else(|| self.resume.clone()),
            checkpoint_minutes: self.checkpoint_minutes,
            resume: self.resume.clone(),
            log: self.log.clone(),
            log_json: self.log_json.clone(),
            curve: self.curve.clone(),
            json: self.json,
            ..merged
        })
    }

    /// Fills in what the machine and, if there is one, the model to start from say.
    pub fn fill_in(&mut self, model: Option<&ModelSpec>) {
        let cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        self.threads.get_or_insert(cores);
        let Some(spec) = model else { return };
        let shape = import::shape(spec);
        self.patch.get_or_insert_with(|| format!("{}x{}", spec.patch.rows, spec.patch.cols));
        self.components.get_or_insert(shape.components);
        self.basis_rows.get_or_insert(import::basis_rows(spec));
        self.hidden.get_or_insert(shape.hidden);
        self.latents.get_or_insert(shape.latents);
        self.active.get_or_insert(spec.active as usize);
        self.lambda.get_or_insert(spec.sparsity_lambda);
        self.wide_rows.get_or_insert_with(|| import::wide_rows(spec));
        self.transform.get_or_insert_with(|| name_of_transform(spec.transform));
        self.penalty.get_or_insert(match spec.penalty {
            Penalty::Z => PenaltyName::Z,
            Penalty::Grad => PenaltyName::Grad,
        });
    }

    /// What the trainer is asked for; without a device, which the caller opens.
    ///
    /// # Errors
    /// If an argument is out of range.
    pub fn options(&self) -> Result<TrainOptions, CliError> {
        let penalty: Penalty = self.penalty.unwrap_or(PenaltyName::Z).into();
        let default_active = if penalty == Penalty::Z { 16 } else { 0 };
        let sparsity_lambda = self.lambda.unwrap_or(1e-6);
        let active = self.active.unwrap_or(default_active);
        let learning_rate = self.learning_rate.unwrap_or(2e-3);
        let search = self.search()?;
        let components = self.components.unwrap_or(256);
        let rate_scale = self.rate_scale.unwrap_or(0.0);
        let numbers =
            [("--lambda", sparsity_lambda), ("--learning-rate", learning_rate), ("--rate-scale", rate_scale)];
        for (name, value) in numbers {
            if !(value.is_finite() && value >= 0.0) {
                return Err(CliError::new(format!("{name} {value}: expected a finite number from 0")));
            }
        }
        Ok(TrainOptions {
            components,
            basis_rows: self.basis_rows.unwrap_or(components),
            hidden: self.hidden.unwrap_or(512),
            latents: self.latents.unwrap_or(1024),
            objective: Objective { active, penalty, sparsity_lambda, rate_scale },
            transform: self.transform()?,
            budget: self.budget()?,
            batch: at_least_one("--batch", self.batch.unwrap_or(500))?,
            learning_rate,
            active_least: self.active_least.unwrap_or(0),
            active_start: self.active_start()?,
            refined_share: self.refine.unwrap_or(if search.is_some() { REFINED_SHARE } else { 0.0 }),
            revived: self.revive.unwrap_or(0),
            seed: self.seed.unwrap_or(1),
            threads: self.threads.map_or(1, NonZero::get),
            held_out: self.held_out.unwrap_or(0.02),
            early_stop: self.early_stop()?,
            device: None,
            memory_limit: self.memory_limit.map(|megabytes| megabytes.saturating_mul(1_000_000)),
            search,
            control: self.control,
            reported_bounds: REPORTED_BOUNDS.to_vec(),
            export: ExportOptions {
                wide_rows: self.wide_rows.unwrap_or(64),
                hidden_width: if self.hidden_bits.as_deref() == Some("8") { Width::I8 } else { Width::I16 },
            },
        })
    }

    /// The patch that was asked for.
    ///
    /// # Errors
    /// If it is none.
    pub fn patch(&self) -> Result<Option<PatchShape>, CliError> {
        let patch = self.patch.as_deref().map(parse_patch).transpose();
        patch.map_err(|expected| CliError::new(format!("--patch: {expected}")))
    }

    fn transform(&self) -> Result<Transform, CliError> {
        let transform = parse_transform(self.transform.as_deref().unwrap_or("none"));
        transform.map_err(|expected| CliError::new(format!("--transform: {expected}")))
    }

    fn active_start(&self) -> Result<f64, CliError> {
        match self.active_start.unwrap_or(1.0) {
            start @ 1.0..=1e3 => Ok(start),
            start => Err(CliError::new(format!("--active-start {start}: expected 1 to 1000"))),
        }
    }

    fn search(&self) -> Result<Option<Search>, CliError> {
        for (name, bounds) in [("--abs", &self.absolute), ("--rel", &self.relative)] {
            if let Some(bound) = bounds.iter().find(|bound| !(bound.is_finite() && **bound > 0.0)) {
                return Err(CliError::new(format!("{name} {bound}: expected a finite number above 0")));
            }
        }
        let search = Search {
            absolute: self.absolute.clone(),
            relative: self.relative.clone(),
            active: self.active.is_none(),
            rate_scale: self.rate_scale.is_none(),
            lambda: self.lambda.is_none(),
        };
        Ok((search.absolute.len() + search.relative.len() > 0).then_some(search))
    }

    fn early_stop(&self) -> Result<Option<EarlyStop>, CliError> {
        let Some(patience) = self.early_stop else { return Ok(None) };
        let bound = self.early_stop_abs.unwrap_or(1e-3);
        if !(bound > 0.0 && bound < 1.0) {
            return Err(CliError::new(format!(
                "--early-stop-abs {bound}: expected a number between 0 and 1"
            )));
        }
        Ok(Some(EarlyStop { patience: at_least_one("--early-stop", patience)?, bound }))
    }

    fn budget(&self) -> Result<Budget, CliError> {
        if let Some(steps) = self.steps {
            return Ok(Budget::Steps(at_least_one("--steps", steps)?));
        }
        let (name, value) = match (self.epochs, self.minutes) {
            (Some(epochs), _) => ("--epochs", epochs),
            (None, minutes) => ("--minutes", minutes.unwrap_or(10.0)),
        };
        if !(value > 0.0 && value <= 1e6) {
            return Err(CliError::new(format!("{name} {value}: expected a number above 0, at most 1000000")));
        }
        Ok(if self.epochs.is_some() {
            Budget::Epochs(value)
        } else {
            Budget::Time(Duration::from_secs_f64(value * 60.0))
        })
    }
}
