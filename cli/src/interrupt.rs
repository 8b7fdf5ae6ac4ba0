//! Ctrl-C and termination signals set a flag; loops ask for it between steps, so that files in the making are
//! removed on the way out.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::CliError;

static ASKED_TO_STOP: AtomicBool = AtomicBool::new(false);

/// Starts watching for signals. Without a handler (none could be set) signals end the program at once, as usual.
pub fn watch() {
    let set = ctrlc::set_handler(|| ASKED_TO_STOP.store(true, Ordering::Relaxed));
    if let Err(error) = set {
        eprintln!("sae: cannot watch for Ctrl-C: {error}");
    }
}

/// # Errors
/// `Interrupted`, once the user has asked to stop.
pub fn check() -> Result<(), CliError> {
    if ASKED_TO_STOP.load(Ordering::Relaxed) { Err(CliError::Interrupted) } else { Ok(()) }
}
