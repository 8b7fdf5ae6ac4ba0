//! `sae train`: trains a model on the frames of HDF5 datasets and writes it as a `.sae` file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use h5z_sae::sae::Model;
use h5z_sae_train::augment::Mirrored;
use h5z_sae_train::checkpoint::Checkpoint;
use h5z_sae_train::loader::FrameSource;
use h5z_sae_train::memory::memory;
use h5z_sae_train::observer::Observer;
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::ranks::Ranks;
use h5z_sae_train::trainer::{self, Start};
use h5zsae::device::{self, DeviceChoice};
use serde_json::json;

use crate::error::{At, CliError};
use crate::output::PendingFile;
use crate::{interrupt, models};

mod args;
mod canvas;
mod curve;
mod log;
mod monitor;
mod parse;
mod ranks;
mod report;
mod source;

pub use args::Args;
use curve::Curve;
use log::Log;
use monitor::{Keeper, Monitor};
use ranks::Quiet;
use source::Hdf5Frames;

/// Patches of more than this many rows or columns are only used if asked for.
const LARGEST_DEFAULT_EDGE: usize = 64;

/// A training as it will be run: arguments are complete, and what they name has been read.
struct Job {
    args: Args,
    output: PathBuf,
    options: TrainOptions,
    model: Option<Arc<Model>>,
    checkpoint: Option<Box<Checkpoint>>,
    /// Of the checkpoint.
    curve: Curve,
}

/// Runs the verb.
///
/// # Errors
/// A sentence for the user.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    ranks::run(|ranks| train(args, ranks))
}

fn train(args: &Args, ranks: &mut dyn Ranks) -> Result<ExitCode, CliError> {
    let prepared = Prepared::try_new(args, ranks);
    let Prepared { mut job, mut frames, mut written } = ranks::agree(prepared, ranks)?;
    let observer: &mut dyn Observer = match &mut written {
        Some((_, monitor)) => monitor,
        None => &mut Quiet,
    };
    let start = start(&job.model, job.checkpoint.take());
    let trained = trainer::train_on_ranks(&mut *frames, &job.options, start, observer, ranks);
    let trained = match trained {
        Err(_) if interrupt::check().is_err() => return Err(CliError::Interrupted),
        trained => trained.at(places(&job.args.inputs))?,
    };
    let (Some(trained), Some((output, mut monitor))) = (trained, written) else {
        return Ok(ExitCode::SUCCESS);
    };
    // First the model: whatever fails after this, it is there.
    output.write(&trained.file)?;
    monitor.note(json!({ "event": "model", "id": trained.model.id().to_string(), "step": trained.n_steps }));
    let curve = monitor.finish()?;
    job.args.curve.as_deref().map_or(Ok(()), |path| curve.draw(path))?;
    report::print(&job.args, &job.output, &trained)?;
    Ok(job.exit_code(&trained))
}

/// What a rank needs before it can train.
struct Prepared {
    job: Job,
    frames: Box<dyn FrameSource + Send>,
    /// Model file and logs, of rank 0.
    written: Option<(PendingFile, Monitor)>,
}

impl Prepared {
    fn try_new(args: &Args, ranks: &dyn Ranks) -> Result<Self, CliError> {
        args.device.choose();
        let mut job = Job::try_new(args)?;
        job.choose_device(ranks)?;
        if ranks.rank() > 0 {
            return Ok(Self { frames: job.frames()?, job, written: None });
        }
        let output = PendingFile::try_new(&job.output)?;
        check_folders(&job.args)?;
        let frames = job.frames()?;
        if !job.args.json {
            announce(&*frames, &job.options, ranks.n_ranks())?;
        }
        let written = Some((output, job.monitor()?));
        Ok(Self { job, frames, written })
    }
}

impl Job {
    fn try_new(args: &Args) -> Result<Self, CliError> {
        let (mut args, checkpoint, curve) = match &args.resume {
            Some(path) => read_checkpoint(args, path)?,
            None => (args.clone(), None, Curve::default()),
        };
        let model = args.init.as_deref().map(models::load).transpose()?;
        args.fill_in(model.as_ref().map(|model| model.spec()));
        let output =
            args.output.clone().ok_or_else(|| CliError::new("no model file to write: give -o MODEL.sae"))?;
        let options = args.options()?;
        Ok(Self { args, output, options, model, checkpoint, curve })
    }

    /// Opens the device for the steps. Ranks add their gradients on the CPU, and a control has no steps.
    fn choose_device(&mut self, ranks: &dyn Ranks) -> Result<(), CliError> {
        let choice = device::chosen()?;
        if ranks.n_ranks() == 1 && !self.args.control {
            self.options.device = device::open_chosen(choice);
        } else if choice != DeviceChoice::Cpu && ranks.rank() == 0 {
            let why =
                if self.args.control { "a control has no steps" } else { "several ranks train on the CPU" };
            eprintln!("sae: no GPU is used: {why}");
        }
        Ok(())
    }

    fn frames(&self) -> Result<Box<dyn FrameSource + Send>, CliError> {
        let (args, patch) = (&self.args, self.args.patch()?);
        let frames = Hdf5Frames::try_open(&args.inputs, patch, LARGEST_DEFAULT_EDGE, args.mask_value)?;
        Ok(if args.mirror { Box::new(Mirrored::new(frames)) } else { Box::new(frames) })
    }

    fn monitor(&mut self) -> Result<Monitor, CliError> {
        let args = &self.args;
        let minutes = args.checkpoint_minutes;
        if !(0.0..=1e6).contains(&minutes) {
            return Err(CliError::new(format!("--checkpoint-minutes {minutes}: expected 0 to 1000000")));
        }
        let done = self.checkpoint.as_ref().map(|checkpoint| checkpoint.state.step);
        let log = Log::try_new(args.log.as_deref(), args.log_json.as_deref(), done)?;
        let keeper = Keeper {
            path: args.checkpoint.clone(),
            interval: Duration::from_secs_f64(minutes * 60.0),
            arguments: serde_json::to_value(args).map_err(|error| CliError::new(error.to_string()))?,
        };
        Ok(Monitor::new(log, std::mem::take(&mut self.curve), keeper, args.json))
    }

    /// 130 for a training that was interrupted, with a word on how it goes on.
    fn exit_code(&self, trained: &Trained) -> ExitCode {
        if !trained.is_interrupted {
            return ExitCode::SUCCESS;
        }
        let goes_on = match &self.args.checkpoint {
            Some(path) => format!("; go on with: sae train --resume {}", path.display()),
            None => "; without --checkpoint it cannot go on".to_owned(),
        };
        let (made, planned) = (trained.n_steps, trained.n_planned);
        eprintln!("sae: interrupted after {made} of {planned} steps; the model so far was written{goes_on}");
        CliError::Interrupted.exit_code()
    }
}

fn start(model: &Option<Arc<Model>>, checkpoint: Option<Box<Checkpoint>>) -> Start<'_> {
    match (model, checkpoint) {
        (_, Some(checkpoint)) => Start::Checkpoint(checkpoint),
        (Some(model), None) => Start::Model(model),
        (None, None) => Start::Random,
    }
}

type Resumed = (Args, Option<Box<Checkpoint>>, Curve);

fn read_checkpoint(args: &Args, path: &Path) -> Result<Resumed, CliError> {
    let bytes = std::fs::read(path).at(path.display())?;
    let (checkpoint, caller) = Checkpoint::parse(&bytes).at(path.display())?;
    let args = args.on_top_of(&caller["arguments"]).at(path.display())?;
    // A curve that cannot be read is no reason not to go on.
    let curve = serde_json::from_value(caller["curve"].clone()).unwrap_or_default();
    Ok((args, Some(Box::new(checkpoint)), curve))
}

/// Files that are written later must not fail then.
fn check_folders(args: &Args) -> Result<(), CliError> {
    let later = [&args.checkpoint, &args.curve];
    later.into_iter().flatten().try_for_each(|path| PendingFile::try_new(path).map(drop))
}

/// Names of the inputs, as many as fit into a sentence.
fn places(inputs: &[String]) -> String {
    const MOST: usize = 3;
    let named = inputs[..inputs.len().min(MOST)].join(", ");
    if inputs.len() > MOST { format!("{named} and {} more", inputs.len() - MOST) } else { named }
}

fn announce(frames: &dyn FrameSource, options: &TrainOptions, n_ranks: usize) -> Result<(), CliError> {
    let patch = frames.patch();
    println!(
        "{} patches of {} x {} values; network {} components, {} hidden, {} latents; at most {} MB of memory{}",
        frames.n_patches(),
        patch.rows,
        patch.cols,
        options.components,
        options.hidden,
        options.latents,
        memory(frames, options, n_ranks)?.bytes.div_ceil(1_000_000),
        if n_ranks > 1 { format!(" on each of {n_ranks} ranks") } else { String::new() }
    );
    Ok(())
}
