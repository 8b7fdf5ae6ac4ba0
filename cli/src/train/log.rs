//! What a training tells, as files: a table of steps, and one JSON object a line for everything. Both grow while it
//! runs, so that they can be watched.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use h5z_sae_train::observer::Event;
use h5z_sae_train::report::StepReport;
use serde_json::{Value, json};

use crate::error::{At, CliError};

const COLUMNS: &str = "step,loss,squared_error,nonzeros,latents_in_use";

/// A file of lines. The first failure is told at the end: it is no reason to lose a training.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
    failure: Option<std::io::Error>,
}

impl Lines {
    /// Starts a file with the lines that are given.
    fn try_new(path: &Path, first: &[String]) -> Result<Self, CliError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).at(path.display())?;
        let mut lines = Self { path: path.to_path_buf(), file: BufWriter::new(file), failure: None };
        first.iter().for_each(|line| lines.write(line));
        Ok(lines)
    }

    fn write(&mut self, line: &str) {
        if let Err(error) = writeln!(self.file, "{line}").and_then(|()| self.file.flush()) {
            self.failure.get_or_insert(error);
        }
    }

    fn finish(self) -> Result<(), CliError> {
        self.failure.map_or(Ok(()), |error| Err(error).at(self.path.display()))
    }
}

/// The files that were asked for.
pub struct Log {
    table: Option<Lines>,
    events: Option<Lines>,
    started: Instant,
}

impl Log {
    /// `done`: steps of the checkpoint that is gone on from, whose files are gone on with, too.
    ///
    /// # Errors
    /// If a file cannot be created, or the one of before cannot be read.
    pub fn try_new(
        table: Option<&Path>,
        events: Option<&Path>,
        done: Option<usize>,
    ) -> Result<Self, CliError> {
        let table = table.map(|path| {
            let mut lines = vec![COLUMNS.to_owned()];
            lines.extend(before(path, done, |line| line.split(',').next()?.parse().ok())?);
            Lines::try_new(path, &lines)
        });
        let events = events.map(|path| {
            let step = |line: &str| {
                let event: Value = serde_json::from_str(line).ok()?;
                Some(event["step"].as_u64().unwrap_or(0) as usize)
            };
            Lines::try_new(path, &before(path, done, step)?)
        });
        Ok(Self { table: table.transpose()?, events: events.transpose()?, started: Instant::now() })
    }

    /// Writes a row of the table, and an event.
    pub fn step(&mut self, report: &StepReport) {
        let StepReport { step, n_steps, loss, squared_error, nonzeros, latents_in_use, .. } = *report;
        if let Some(table) = &mut self.table {
            table.write(&format!("{step},{loss},{squared_error},{nonzeros},{latents_in_use}"));
        }
        self.event(json!({
            "event": "step",
            "step": step,
            "steps": n_steps,
            "loss": loss,
            "squared_error": squared_error,
            "nonzeros": nonzeros,
            "latents_in_use": latents_in_use,
        }));
    }

    /// Writes one event, with the seconds since the start.
    pub fn event(&mut self, mut event: Value) {
        let Some(events) = &mut self.events else { return };
        event["seconds"] = self.started.elapsed().as_secs_f64().into();
        events.write(&event.to_string());
    }

    /// Closes the files.
    ///
    /// # Errors
    /// If one of them could not be written.
    pub fn finish(self) -> Result<(), CliError> {
        self.table.map_or(Ok(()), Lines::finish)?;
        self.events.map_or(Ok(()), Lines::finish)
    }
}

/// Lines of the file up to step `done`; none without it, or where there is no such file.
fn before(
    path: &Path,
    done: Option<usize>,
    step_of: impl Fn(&str) -> Option<usize>,
) -> Result<Vec<String>, CliError> {
    let Some(done) = done.filter(|_| path.exists()) else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).at(path.display())?;
    let is_before = |line: &&str| step_of(line).is_some_and(|step| step <= done);
    Ok(text.lines().filter(is_before).map(str::to_owned).collect())
}

/// An event of the trainer as JSON.
pub fn json_of(event: &Event) -> Value {
    match *event {
        Event::Memory(memory) => json!({
            "event": "memory",
            "bytes": memory.bytes,
            "training_patches": memory.n_training,
            "available_patches": memory.n_available,
        }),
        Event::Steps { n_steps, done, measured } => json!({
            "event": "steps",
            "steps": n_steps,
            "done": done,
            "step_seconds": measured.map(|(step, _)| step),
            "reserved_seconds": measured.map(|(_, reserved)| reserved),
        }),
        Event::CodedBytes { step, coded_bytes } => json!({
            "event": "coded_bytes",
            "step": step,
            "coded_bytes": coded_bytes,
        }),
    }
}
