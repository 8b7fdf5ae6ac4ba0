//! Shows a training on the terminal, and writes its loss curve.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use h5z_sae_train::fit::StepReport;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::Observer;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{At, CliError};
use crate::interrupt;

const COUNTED: &str = "{msg} {wide_bar} {pos}/{len} {eta} left";
const TRAINING: &str = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left";

/// One bar at a time, on a terminal only.
pub struct Bars {
    bar: ProgressBar,
    log: Option<(PathBuf, BufWriter<File>)>,
    /// The first failure to write the loss curve, told at the end: it is no reason to lose a training.
    failure: Option<std::io::Error>,
    budget: Budget,
}

impl Bars {
    /// # Errors
    /// If the file for the loss curve cannot be created.
    pub fn try_new(log: Option<&Path>, budget: Budget) -> Result<Self, CliError> {
        let log = match log {
            None => None,
            Some(path) => {
                let mut file = BufWriter::new(File::create(path).at(path.display())?);
                writeln!(file, "step,loss,squared_error,nonzeros,latents_in_use").at(path.display())?;
                Some((path.to_path_buf(), file))
            }
        };
        Ok(Self { bar: ProgressBar::hidden(), log, failure: None, budget })
    }

    /// Clears the bar and closes the loss curve.
    ///
    /// # Errors
    /// If the curve could not be written.
    pub fn finish(mut self) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        let Some((path, mut file)) = self.log.take() else { return Ok(()) };
        let failure = self.failure.or_else(|| file.flush().err());
        failure.map_or(Ok(()), |error| Err(error).at(path.display()))
    }

    fn write_log(&mut self, report: &StepReport) {
        let Some((_, file)) = &mut self.log else { return };
        let line = writeln!(
            file,
            "{},{},{},{},{}",
            report.step, report.loss, report.squared_error, report.nonzeros, report.latents_in_use
        );
        // A curve that can be watched while it grows.
        if let Err(error) = line.and_then(|()| file.flush()) {
            self.failure.get_or_insert(error);
        }
    }
}

impl Observer for Bars {
    fn stage(&mut self, name: &str, n_units: usize) {
        self.bar.finish_and_clear();
        self.bar = if n_units == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(n_units as u64) };
        if n_units > 0
            && let Ok(style) = ProgressStyle::with_template(COUNTED)
        {
            self.bar.set_style(style);
        }
        self.bar.set_message(name.to_owned());
    }

    fn advance(&mut self, n_units: usize) {
        self.bar.inc(n_units as u64);
    }

    fn step(&mut self, report: &StepReport) -> bool {
        self.write_log(report);
        if let (Some(n_steps), None) = (report.n_steps, self.bar.length()) {
            self.bar.set_length(n_steps as u64);
            if let Ok(style) = ProgressStyle::with_template(TRAINING) {
                self.bar.set_style(style);
            }
            if let Budget::Time(time) = self.budget {
                self.bar
                    .println(format!("{n_steps} steps fit into {:.1} minutes", time.as_secs_f64() / 60.0));
            }
        }
        self.bar.set_position(report.step as u64);
        self.bar.set_message(format!(
            "loss {:.5}, {:.1} nonzeros, {} latents in use",
            report.loss, report.nonzeros, report.latents_in_use
        ));
        // What has been learnt so far is still written.
        interrupt::check().is_ok()
    }
}
