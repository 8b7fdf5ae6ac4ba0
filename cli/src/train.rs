//! `sae train`: trains a model on the frames of HDF5 datasets and writes it as a `.sae` file.

use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use h5z_sae::PatchShape;
use h5z_sae::sae::{Model, Penalty, Transform};
use h5z_sae_kernels::GemmBackend;
use h5z_sae_train::augment::Mirrored;
use h5z_sae_train::export::{ExportOptions, Width};
use h5z_sae_train::loader::FrameSource;
use h5z_sae_train::metrics::{CodedSize, Quality, coded_size};
use h5z_sae_train::network::Objective;
use h5z_sae_train::ranks::Ranks;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::{self, Observer, TrainOptions, Trained};

use crate::error::{At, CliError};
use crate::output::PendingFile;

mod bars;
mod ranks;
mod source;

use bars::Bars;
use ranks::Quiet;
use source::Hdf5Frames;

/// Train a model on frames like those that it shall compress
#[derive(ClapArgs)]
pub struct Args {
    /// Datasets to learn from, FILE.h5:/DATASET each; the last two dimensions are a frame's
    #[arg(required = true, value_name = "FILE.h5:/DATASET")]
    inputs: Vec<String>,
    /// The model file to write
    #[arg(short, long, value_name = "MODEL.sae")]
    output: PathBuf,
    /// Rectangle of a frame that the network sees at once [default: the frame, at most 64x64]
    #[arg(long, value_name = "ROWSxCOLS", value_parser = parse_patch)]
    patch: Option<PatchShape>,
    /// Principal components that make up the output basis
    #[arg(long, value_name = "K", default_value_t = 256)]
    components: usize,
    /// Hidden units of encoder and decoder
    #[arg(long, value_name = "M", default_value_t = 512)]
    hidden: usize,
    /// Latents
    #[arg(long = "latent", alias = "latents", value_name = "L", default_value_t = 1024)]
    latents: usize,
    /// Latents kept in each patch, the largest ones; 0 keeps all [default: 16 for penalty z, 0 for grad]
    #[arg(long, value_name = "N")]
    active: Option<usize>,
    /// What the L1 term of the loss counts: latents z, or their steps, the discrete gradient of z
    #[arg(long, value_enum, default_value_t = PenaltyName::Z)]
    penalty: PenaltyName,
    /// Weight of the L1 term
    #[arg(long, value_name = "X", default_value_t = 1e-6)]
    lambda: f64,
    /// Passes over the data
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Time for the whole training [default: 10]
    #[arg(long, value_name = "T")]
    minutes: Option<f64>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Domain of the network: none, sqrt or sqrt:C for sqrt(x + C), log or log:C for log(1 + x/C); x has a maximum of 1
    #[arg(long, value_name = "T", default_value = "none", value_parser = parse_transform)]
    transform: Transform,
    /// Share of the patches that is kept apart to report errors on, at most 4096 patches
    #[arg(long, value_name = "FRACTION", default_value_t = 0.02)]
    held_out: f64,
    /// Learn from mirror images too: four of every patch, with quarter turns where it is square
    #[arg(long)]
    mirror: bool,
    /// Value that marks masked pixels (not-a-number does always)
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    mask_value: Option<f32>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Patches of one gradient step
    #[arg(long, value_name = "N", default_value_t = 500)]
    batch: usize,
    /// Largest learning rate
    #[arg(long, value_name = "X", default_value_t = 2e-3)]
    learning_rate: f64,
    /// Start with a limit on active latents of X times N, which falls to N over the first quarter: more latents stay
    /// in use, at a cost in short trainings
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    active_start: f64,
    /// Dead latents that get a new start after every second pass, at most; 0 leaves them dead (and out of the file)
    #[arg(long, value_name = "N", default_value_t = 0)]
    revive: usize,
    /// Basis rows stored in 16 bits; the rest take 8
    #[arg(long, value_name = "N", default_value_t = 64)]
    wide_rows: usize,
    /// Width of the decoder's first layer in the file
    #[arg(long, value_name = "BITS", value_parser = ["8", "16"], default_value = "16")]
    hidden_bits: String,
    /// Write the loss curve: step,loss,squared_error,nonzeros,latents_in_use
    #[arg(long, value_name = "FILE.csv")]
    log: Option<PathBuf>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PenaltyName {
    Z,
    Grad,
}

/// Bounds at which the coded size of held-out patches is reported.
const REPORTED_BOUNDS: [f64; 2] = [1e-2, 1e-3];

/// Offsets c of transforms that are given without one: sqrt bends below 0.1 %, log below 0.01 % of the maximum.
const DEFAULT_SQRT_OFFSET: f64 = 1e-3;
const DEFAULT_LOG_OFFSET: f64 = 1e-4;

/// Patches of more than this many rows or columns are only used if asked for.
const LARGEST_DEFAULT_EDGE: usize = 64;

fn parse_patch(text: &str) -> Result<PatchShape, String> {
    let edges =
        text.split_once(['x', 'X']).and_then(|(rows, cols)| Some((rows.parse().ok()?, cols.parse().ok()?)));
    match edges {
        Some((rows @ 1..=4096, cols @ 1..=4096)) => Ok(PatchShape { rows, cols }),
        _ => Err("expected ROWSxCOLS, such as 64x64, each 1 to 4096".to_owned()),
    }
}

fn parse_transform(text: &str) -> Result<Transform, String> {
    let (name, offset) = match text.split_once(':') {
        Some((name, offset)) => (name, Some(offset)),
        None => (text, None),
    };
    let offset_q24 = |default: f64, least: u32| {
        let offset: f64 = match offset {
            None => default,
            Some(offset) => offset.parse().map_err(|_| format!("offset {offset:?}: expected a number"))?,
        };
        let q24 = (offset * f64::from(1 << 24)).round();
        if q24 >= f64::from(least) && q24 <= f64::from(1 << 24) {
            return Ok(q24 as u32);
        }
        Err(format!("offset {offset}: expected {:.0e} to 1", f64::from(least) / f64::from(1 << 24)))
    };
    match (name, offset) {
        ("none", None) => Ok(Transform::None),
        ("sqrt", _) => Ok(Transform::Sqrt { offset_q24: offset_q24(DEFAULT_SQRT_OFFSET, 0)? }),
        ("log", _) => Ok(Transform::Log { offset_q24: offset_q24(DEFAULT_LOG_OFFSET, 1)? }),
        _ => Err("expected none, sqrt, sqrt:C, log or log:C".to_owned()),
    }
}

/// Runs the verb.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    ranks::run(|ranks| train(args, ranks))
}

fn train(args: &Args, ranks: &mut dyn Ranks) -> Result<(), CliError> {
    let prepared = Prepared::try_new(args, ranks.rank() == 0);
    let Prepared { options, mut frames, mut written } = ranks::agree(prepared, ranks)?;
    if written.is_some() && !args.json {
        announce(&*frames, &options, ranks.n_ranks());
    }
    let observer: &mut dyn Observer = match &mut written {
        Some((_, bars)) => bars,
        None => &mut Quiet,
    };
    let trained =
        trainer::train_on_ranks(&mut *frames, &options, observer, ranks).at(args.inputs.join(", "))?;
    let (Some(trained), Some((output, bars))) = (trained, written) else { return Ok(()) };
    bars.finish()?;
    std::fs::write(output.path(), &trained.file).at(args.output.display())?;
    output.finish()?;
    report(args, &trained)
}

/// What a rank needs before it can train.
struct Prepared {
    options: TrainOptions,
    frames: Box<dyn FrameSource + Send>,
    /// Model file and loss curve, of rank 0.
    written: Option<(PendingFile, Bars)>,
}

impl Prepared {
    fn try_new(args: &Args, is_first_rank: bool) -> Result<Self, CliError> {
        let output = is_first_rank.then(|| PendingFile::try_new(&args.output)).transpose()?;
        let options = args.options()?;
        let frames = Hdf5Frames::try_open(&args.inputs, args.patch, LARGEST_DEFAULT_EDGE, args.mask_value)?;
        let frames: Box<dyn FrameSource + Send> =
            if args.mirror { Box::new(Mirrored::new(frames)) } else { Box::new(frames) };
        let with_bars =
            |output| Ok::<_, CliError>((output, Bars::try_new(args.log.as_deref(), options.budget)?));
        let written = output.map(with_bars).transpose()?;
        Ok(Self { options, frames, written })
    }
}

impl Args {
    fn options(&self) -> Result<TrainOptions, CliError> {
        let penalty = match self.penalty {
            PenaltyName::Z => Penalty::Z,
            PenaltyName::Grad => Penalty::Grad,
        };
        let threads = match self.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(1, NonZero::get),
        };
        let default_active = if penalty == Penalty::Z { 16 } else { 0 };
        let active = self.active.unwrap_or(default_active);
        for (name, value) in [("--lambda", self.lambda), ("--learning-rate", self.learning_rate)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(CliError::new(format!("{name} {value}: expected a finite number from 0")));
            }
        }
        if !(1.0..=1e3).contains(&self.active_start) {
            return Err(CliError::new(format!("--active-start {}: expected 1 to 1000", self.active_start)));
        }
        if self.batch == 0 {
            return Err(CliError::new("--batch 0: expected at least 1"));
        }
        Ok(TrainOptions {
            components: self.components,
            hidden: self.hidden,
            latents: self.latents,
            objective: Objective { active, penalty, sparsity_lambda: self.lambda },
            transform: self.transform,
            budget: self.budget()?,
            batch: self.batch,
            learning_rate: self.learning_rate,
            active_start: self.active_start,
            revived: self.revive,
            seed: self.seed,
            threads,
            held_out: self.held_out,
            export: ExportOptions {
                wide_rows: self.wide_rows,
                hidden_width: if self.hidden_bits == "8" { Width::I8 } else { Width::I16 },
            },
        })
    }

    fn budget(&self) -> Result<Budget, CliError> {
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

fn announce(frames: &dyn FrameSource, options: &TrainOptions, n_ranks: usize) {
    let patch = frames.patch();
    println!(
        "{} patches of {} x {} values; network {} components, {} hidden, {} latents; about {} MB of memory{}",
        frames.n_patches(),
        patch.rows,
        patch.cols,
        options.components,
        options.hidden,
        options.latents,
        trainer::memory_bytes(frames, options, n_ranks) / 1_000_000,
        if n_ranks > 1 { format!(" on each of {n_ranks} ranks") } else { String::new() }
    );
}

fn report(args: &Args, trained: &Trained) -> Result<(), CliError> {
    let backend = GemmBackend::default();
    let mut sizes = Vec::new();
    if trained.held_out.nrows() > 0 {
        for bound in REPORTED_BOUNDS {
            sizes.push(coded_size(&trained.model, &backend, &trained.held_out, bound)?);
        }
    }
    let text =
        if args.json { json_report(args, trained, &sizes) } else { text_report(args, trained, &sizes) };
    // A closed pipe is no reason to fail: the model has been written.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

fn text_report(args: &Args, trained: &Trained, sizes: &[CodedSize]) -> String {
    let model: &Model = &trained.model;
    let mut lines = vec![format!(
        "{}: {} bytes, id {}, {} latents of {} kept, {}; {} steps, {:.2} s for a pass over the data",
        args.output.display(),
        trained.file.len(),
        model.id(),
        model.n_latents(),
        args.latents,
        if model.spec().point_symmetric { "point-symmetric" } else { "without point symmetry" },
        trained.n_steps,
        trained.epoch_seconds
    )];
    if trained.quality.n_patches == 0 {
        lines.push("no patches were held out: nothing to report errors on".to_owned());
        return lines.join("\n");
    }
    lines.push(format!("{} held-out patches, scaled to a maximum of 1:", trained.quality.n_patches));
    lines.push(format!(
        "  in float     squared error {:.5}, of which the basis leaves a share of {:.1e} of the variance",
        trained.float_squared_error, trained.share_outside_basis
    ));
    lines.push(format!("  as stored    {}", quality_line(&trained.quality)));
    let step = f64::from(model.spec().none_step_log2).exp2();
    lines.push(format!("  step 1/{step:<4}  {}", quality_line(&trained.quality_none)));
    for size in sizes {
        let ratio = |bytes: usize| size.raw_bytes as f64 / bytes as f64;
        lines.push(format!(
            "  within {:.0e}  ratio {:.1} coded with the model, {:.1} without ({} bytes of {})",
            size.bound,
            ratio(size.coded_bytes),
            ratio(size.coded_bytes_without_model),
            size.coded_bytes,
            size.raw_bytes
        ));
    }
    lines.join("\n")
}

fn quality_line(quality: &Quality) -> String {
    format!(
        "squared error {:.5}, median {:.5}; error {:.4}; {:.1} nonzeros, {:.1} steps; count ratio {:.0}; {} of {} latents in use",
        quality.squared_error,
        quality.median_squared_error,
        quality.error,
        quality.nonzeros,
        quality.nonzero_steps,
        quality.count_ratio,
        quality.latents_in_use,
        quality.n_latents
    )
}

fn json_report(args: &Args, trained: &Trained, sizes: &[CodedSize]) -> String {
    let quality = |quality: &Quality| {
        serde_json::json!({
            "patches": quality.n_patches,
            "squared_error": quality.squared_error,
            "median_squared_error": quality.median_squared_error,
            "error": quality.error,
            "nonzeros": quality.nonzeros,
            "nonzero_steps": quality.nonzero_steps,
            "count_ratio": quality.count_ratio,
            "latents_in_use": quality.latents_in_use,
        })
    };
    let sizes: Vec<_> = sizes
        .iter()
        .map(|size| {
            serde_json::json!({
                "abs": size.bound,
                "raw_bytes": size.raw_bytes,
                "coded_bytes": size.coded_bytes,
                "coded_bytes_without_model": size.coded_bytes_without_model,
            })
        })
        .collect();
    serde_json::json!({
        "model": args.output.display().to_string(),
        "id": trained.model.id().to_string(),
        "bytes": trained.file.len(),
        "steps": trained.n_steps,
        "epoch_seconds": trained.epoch_seconds,
        "float_squared_error": trained.float_squared_error,
        "held_out": quality(&trained.quality),
        "held_out_none": quality(&trained.quality_none),
        "coded": sizes,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_transforms_and_says_what_is_wrong() {
        assert_eq!(parse_transform("none"), Ok(Transform::None));
        assert_eq!(parse_transform("sqrt:0.25"), Ok(Transform::Sqrt { offset_q24: 1 << 22 }));
        assert_eq!(parse_transform("log"), Ok(Transform::Log { offset_q24: 1678 }));
        for wrong in ["log:0", "sqrt:2", "sqrt:x", "none:1", "exp", "sqrt:nan"] {
            assert!(parse_transform(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parses_patches() {
        assert_eq!(parse_patch("64x32"), Ok(PatchShape { rows: 64, cols: 32 }));
        for wrong in ["64", "0x3", "5000x1", "ax2", "1x2x3"] {
            assert!(parse_patch(wrong).is_err(), "{wrong}");
        }
    }
}
