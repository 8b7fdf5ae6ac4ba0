//! Calls into libhdf5 under its lock, with negative returns turned into errors, and identifiers that close themselves.

use std::ffi::CString;

use hdf5_sys::h5i::{H5Idec_ref, hid_t};

use crate::error::CliError;

/// Runs HDF5 calls under the library's lock, with its own printing of errors switched off.
pub fn call<T>(calls: impl FnOnce() -> T) -> T {
    hdf5::sync::sync(calls)
}

/// Return values of HDF5, of which the negative ones report a failure.
pub trait Status: Copy {
    /// Whether the call failed.
    fn failed(self) -> bool;
}

impl Status for i32 {
    fn failed(self) -> bool {
        self < 0
    }
}

impl Status for i64 {
    fn failed(self) -> bool {
        self < 0
    }
}

/// # Errors
/// HDF5's own sentence, if the status reports a failure.
pub fn check<S: Status>(status: S) -> Result<S, CliError> {
    if status.failed() { Err(hdf5::Error::query().unwrap_or_else(|error| error).into()) } else { Ok(status) }
}

/// An identifier that this program owns; dropping it gives it back.
#[derive(Debug)]
pub struct Id(hid_t);

impl Id {
    /// Takes over an identifier that a call has just returned.
    ///
    /// # Errors
    /// HDF5's own sentence, if the call failed.
    pub fn own(id: hid_t) -> Result<Self, CliError> {
        check(id).map(Self)
    }

    /// The number, for calls.
    pub fn get(&self) -> hid_t {
        self.0
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        // SAFETY: the identifier is valid and owned by this value, which nobody can use any more.
        call(|| unsafe { H5Idec_ref(self.0) });
    }
}

/// # Errors
/// If the text holds a NUL.
pub fn c_string(text: &str) -> Result<CString, CliError> {
    CString::new(text)
        .map_err(|_| CliError::new(format!("name '{}' holds a NUL byte", text.escape_default())))
}
