//! The border between Rust and its C callers: no panic crosses it, and every failure leaves a message.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use h5z_sae::{Error, ErrorKind};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The codec or a check said no.
    Error(Error),
    /// The library itself is at fault. Holds the panic's message.
    Panic(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(error) => f.write_str(error.message()),
            Self::Panic(message) => write!(f, "internal error, please report it: {message}"),
        }
    }
}

/// Runs `body` and turns a panic into a [`Failure`].
///
/// A panic leaves nothing half done that anyone could see: bodies return their results, and what they share (models,
/// hosts, the choice of a device and the devices that are open) is changed in single steps under locks. No lock is held
/// while HDF5 runs.
pub(crate) fn catch<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Ok(result?),
        Err(payload) => Err(Failure::Panic(panic_message(payload.as_ref()))),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_string(),
        (_, Some(message)) => message.clone(),
        _ => "panic without a message".to_string(),
    }
}

/// Keeps the message for [`last_error`], in this thread.
pub(crate) fn remember(message: &str) {
    // Only file names can bring a NUL, and none that the system would open.
    let text = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    // Not available while the thread is being torn down: then nobody can ask for the message either.
    let _ = LAST_ERROR.try_with(|slot| slot.replace(text));
}

/// The message of this thread's last failure, empty before the first. Valid until the next failure in this thread.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|slot| slot.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// An argument that must not be NULL was.
pub(crate) fn null_argument(function: &str, argument: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{function}: {argument} is NULL"))
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn last_message() -> String {
        // SAFETY: `last_error` returns a NUL-terminated string that lives until the next failure in this thread.
        unsafe { CStr::from_ptr(last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn turns_panics_into_failures() {
        let failure = catch(|| -> Result<(), Error> { panic!("index {} of 3", 7) }).unwrap_err();
        assert!(matches!(failure, Failure::Panic(_)));
        assert_eq!(failure.to_string(), "internal error, please report it: index 7 of 3");
    }

    #[test]
    fn keeps_one_message_per_thread() {
        remember("first");
        std::thread::spawn(|| {
            assert_eq!(last_message(), "");
            remember("second");
            assert_eq!(last_message(), "second");
        })
        .join()
        .unwrap();
        assert_eq!(last_message(), "first");
        remember("a\0b");
        assert_eq!(last_message(), "a\u{fffd}b");
    }
}
