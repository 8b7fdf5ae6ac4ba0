//! Who watches a training, and what it is told.

use h5z_sae::Error;

use crate::checkpoint::Checkpoint;
use crate::memory::Memory;
use crate::report::StepReport;

/// What happens besides stages and steps.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// How many training patches are used, and what that takes.
    Memory(Memory),
    /// The number of steps is known, from now on for good.
    Steps {
        /// All steps.
        n_steps: usize,
        /// Steps that a checkpoint has made already.
        done: usize,
        /// Seconds of a step, and those kept for what comes after them, where a time budget was turned into steps.
        measured: Option<(f64, f64)>,
    },
    /// Early stopping has coded held-out patches.
    CodedBytes {
        /// Steps done.
        step: usize,
        /// Bytes.
        coded_bytes: usize,
    },
}

/// Sees a training while it runs.
pub trait Observer: Send {
    /// A stage begins that will advance by `n_units`.
    fn stage(&mut self, name: &str, n_units: usize);

    /// Units of the stage are done. `false` gives up: before the network's training there is nothing to keep.
    fn advance(&mut self, n_units: usize) -> bool;

    /// Steps of the network's training are done. `false` ends it early; what has been learnt becomes the model.
    fn step(&mut self, report: &StepReport) -> bool;

    /// Something else happened.
    fn event(&mut self, _event: &Event) {}

    /// Whether [`Self::checkpoint`] shall be called now. Asked after each [`Self::step`].
    fn wants_checkpoint(&mut self) -> bool {
        false
    }

    /// The training as it stands.
    ///
    /// # Errors
    /// If it cannot be kept; that ends the training.
    fn checkpoint(&mut self, _checkpoint: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }
}
