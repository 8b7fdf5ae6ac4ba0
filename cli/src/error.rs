//! What stops a verb: one sentence for the user, and the exit code.

use std::fmt;
use std::process::ExitCode;

/// An error that ends the program. The sentence names the file, dataset or argument, what was found and what is
/// expected.
#[derive(Debug)]
pub enum CliError {
    /// Wrong arguments, files or data.
    Failed(String),
    /// The user stopped the program (Ctrl-C, or a termination signal).
    Interrupted,
}

impl CliError {
    /// An error with the given sentence: lower case first, no full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The code that `sae --help` documents.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(2),
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) => f.write_str(message),
            Self::Interrupted => f.write_str("interrupted; no output was left behind"),
        }
    }
}

impl From<hdf5::Error> for CliError {
    fn from(error: hdf5::Error) -> Self {
        Self::Failed(hdf5_sentence(&error))
    }
}

impl From<h5z_sae::Error> for CliError {
    fn from(error: h5z_sae::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The innermost record of HDF5's error stack, which is where the cause stands (a filter's own sentence, too).
fn hdf5_sentence(error: &hdf5::Error) -> String {
    let stack = error.stack();
    match stack.as_ref().and_then(|frames| frames.last()) {
        Some(innermost) => format!("HDF5: {}", innermost.desc()),
        None => error.to_string(),
    }
}

/// Puts a place ("file.h5, dataset /x") before an error's sentence.
pub trait At<T> {
    /// Prefixes the sentence with `place` and a colon.
    fn at(self, place: impl fmt::Display) -> Result<T, CliError>;
}

impl<T, E: Into<CliError>> At<T> for Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T, CliError> {
        self.map_err(|error| match error.into() {
            CliError::Failed(message) => CliError::Failed(format!("{place}: {message}")),
            CliError::Interrupted => CliError::Interrupted,
        })
    }
}
