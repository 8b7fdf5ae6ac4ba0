//! The one error type of the codec.

use std::fmt;

/// What went wrong, for callers that must tell cases apart.
///
/// The numbers are part of the C ABI (`h5zsae_status`): a retired one is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// The bytes are not a stream or a model, or contradict themselves.
    Corrupt = 1,
    /// The bytes end early.
    Truncated = 2,
    /// Well-formed, but of a version or kind that this library does not read.
    Unsupported = 3,
    /// The caller asked for something impossible.
    InvalidArgument = 4,
    /// More memory or work would be needed than the caller allows.
    LimitExceeded = 5,
    /// The stream needs a model that nobody could supply.
    MissingModel = 6,
    /// The system failed: reading a file, or allocating memory.
    System = 7,
}

/// An error with its kind and one sentence that says what was found and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of the given kind. `message` starts in lower case and has no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// The kind, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence, for people.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
