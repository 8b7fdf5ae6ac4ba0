//! Ranks by MPI: the processes that one `mpirun` started; outside of it, one.

use h5z_sae_train::ranks::Ranks;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};
use mpi::{Threading, initialize_with_threading};

use crate::error::CliError;

/// Values of one message: MPI counts in 32 bits, and sums need a copy of what they are given.
const MESSAGE_LEN: usize = 1 << 20;

/// All ranks of `mpirun`. What goes wrong between them ends all: that is MPI's default, and nothing could go on.
pub struct MpiRanks {
    universe: Universe,
    rank: usize,
    n_ranks: usize,
}

impl MpiRanks {
    /// Starts MPI. Collective; once in a process.
    ///
    /// # Errors
    /// If the MPI library allows calls from the main thread only: the trainer's come from one of its pool's.
    pub fn try_start() -> Result<Self, CliError> {
        let (universe, threading) = initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| CliError::new("MPI runs already, expected to start it"))?;
        if threading < Threading::Serialized {
            return Err(CliError::new(format!(
                "this MPI library supports threads as {threading:?}, expected Serialized or Multiple"
            )));
        }
        let (rank, n_ranks) = (universe.world().rank() as usize, universe.world().size() as usize);
        Ok(Self { universe, rank, n_ranks })
    }

    fn all_reduce<T: Equivalence + Copy>(&self, values: &mut [T]) {
        if self.n_ranks == 1 {
            return;
        }
        for message in values.chunks_mut(MESSAGE_LEN) {
            let here = message.to_vec();
            self.universe.world().all_reduce_into(&here[..], message, SystemOperation::sum());
        }
    }
}

impl Ranks for MpiRanks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    fn sum(&mut self, values: &mut [f32]) {
        self.all_reduce(values);
    }

    fn sum_f64(&mut self, values: &mut [f64]) {
        self.all_reduce(values);
    }
}

impl Drop for MpiRanks {
    /// The end of MPI waits for all ranks, and they wait for this one: after a panic they are ended instead.
    fn drop(&mut self) {
        if std::thread::panicking() && self.n_ranks > 1 {
            self.universe.world().abort(2);
        }
    }
}
