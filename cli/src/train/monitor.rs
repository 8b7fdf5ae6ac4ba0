//! Follows a training: shows it on the terminal, writes its logs and its checkpoints, and ends it at Ctrl-C.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use h5z_sae::Error;
use h5z_sae_train::checkpoint::Checkpoint;
use h5z_sae_train::observer::{Event, Observer};
use h5z_sae_train::report::StepReport;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::curve::Curve;
use super::log::{Log, json_of};
use crate::error::CliError;
use crate::interrupt;
use crate::output::PendingFile;

const COUNTED: &str = "{msg} {wide_bar} {pos}/{len} {eta} left";
const TRAINING: &str = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left";

/// Where checkpoints go.
pub struct Keeper {
    /// The file; none are written without it.
    pub path: Option<PathBuf>,
    /// Time between two.
    pub interval: Duration,
    /// Arguments of the command, to go on without.
    pub arguments: Value,
}

/// One bar at a time, on a terminal only; everything else where it was asked for.
pub struct Monitor {
    bar: ProgressBar,
    log: Log,
    curve: Curve,
    keeper: Keeper,
    kept_at: Instant,
    is_last: bool,
    is_quiet: bool,
    /// The first checkpoint that could not be written, told at the end: it is no reason to lose a training.
    failure: Option<CliError>,
}

impl Monitor {
    /// `curve`: of the checkpoint that is gone on from. A quiet one prints nothing.
    pub fn new(log: Log, curve: Curve, keeper: Keeper, is_quiet: bool) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            log,
            curve,
            keeper,
            kept_at: Instant::now(),
            is_last: false,
            is_quiet,
            failure: None,
        }
    }

    /// Clears the bar and closes the logs. Returns the loss curve.
    ///
    /// # Errors
    /// If a log or a checkpoint could not be written.
    pub fn finish(self) -> Result<Curve, CliError> {
        self.bar.finish_and_clear();
        self.log.finish()?;
        self.failure.map_or(Ok(self.curve), Err)
    }

    /// Writes an event to the log.
    pub fn note(&mut self, event: Value) {
        self.log.event(event);
    }

    fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), CliError> {
        let Some(path) = &self.keeper.path else { return Ok(()) };
        let caller = json!({ "arguments": self.keeper.arguments, "curve": self.curve });
        PendingFile::try_new(path)?.write(&checkpoint.to_bytes(&caller)?)
    }

    fn say(&self, line: String) {
        if !self.is_quiet {
            self.bar.suspend(|| println!("{line}"));
        }
    }
}

impl Observer for Monitor {
    fn stage(&mut self, name: &str, n_units: usize) {
        self.log.event(json!({ "event": "stage", "name": name, "units": n_units }));
        self.bar.finish_and_clear();
        self.bar = if n_units == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(n_units as u64) };
        if n_units > 0
            && let Ok(style) = ProgressStyle::with_template(COUNTED)
        {
            self.bar.set_style(style);
        }
        self.bar.set_message(name.to_owned());
    }

    fn advance(&mut self, n_units: usize) -> bool {
        self.bar.inc(n_units as u64);
        interrupt::check().is_ok()
    }

    fn step(&mut self, report: &StepReport) -> bool {
        self.log.step(report);
        self.curve.add(report);
        self.is_last = report.is_last;
        self.bar.set_position(report.step as u64);
        self.bar.set_message(format!(
            "loss {:.5}, {:.1} nonzeros, {} latents in use",
            report.loss, report.nonzeros, report.latents_in_use
        ));
        interrupt::check().is_ok()
    }

    fn event(&mut self, event: &Event) {
        self.log.event(json_of(event));
        match *event {
            Event::Memory(memory) if memory.n_training < memory.n_available => self.say(format!(
                "learning from {} of {} training patches, evenly spread: more would exceed the memory limit",
                memory.n_training, memory.n_available
            )),
            Event::Memory(_) => {}
            Event::Steps { n_steps, done, measured } => {
                self.bar.set_length(n_steps as u64);
                if let Ok(style) = ProgressStyle::with_template(TRAINING) {
                    self.bar.set_style(style);
                }
                self.say(steps_line(n_steps, done, measured));
            }
            Event::CodedBytes { step, coded_bytes } => {
                self.bar.println(format!("step {step}: {coded_bytes} bytes of held-out patches"));
            }
        }
    }

    fn wants_checkpoint(&mut self) -> bool {
        let is_due = self.is_last || interrupt::check().is_err();
        self.keeper.path.is_some() && (is_due || self.kept_at.elapsed() >= self.keeper.interval)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let written = self.write_checkpoint(checkpoint);
        self.kept_at = Instant::now();
        self.log.event(json!({
            "event": "checkpoint",
            "step": checkpoint.state.step,
            "failure": written.as_ref().err().map(ToString::to_string),
        }));
        if let Err(error) = written {
            self.failure.get_or_insert(error);
        }
        Ok(())
    }
}

fn steps_line(n_steps: usize, done: usize, measured: Option<(f64, f64)>) -> String {
    match measured {
        Some((step, reserved)) => format!(
            "{n_steps} steps of {:.1} ms fit into the time, {reserved:.0} s are kept for the end; --steps {n_steps} \
             makes the same model",
            step * 1e3
        ),
        None if done > 0 => format!("{n_steps} steps, {done} of them done"),
        None => format!("{n_steps} steps"),
    }
}
