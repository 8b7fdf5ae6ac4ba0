//! The ranks of a training: this process alone or, in a build with the feature `mpi`, those that mpirun started.

use std::process::ExitCode;

use h5z_sae_train::observer::Observer;
use h5z_sae_train::ranks::{Ranks, first_failure};
use h5z_sae_train::report::StepReport;

use crate::error::CliError;
use crate::interrupt;

#[cfg(feature = "mpi")]
mod mpi;

/// Runs `train` on this rank. Of an error on all ranks, which [`agree`] made it, rank 0 tells.
///
/// # Errors
/// Those of `train` on rank 0; if the ranks cannot reach each other.
pub fn run(train: impl FnOnce(&mut dyn Ranks) -> Result<ExitCode, CliError>) -> Result<ExitCode, CliError> {
    let mut ranks = start()?;
    match train(&mut ranks) {
        Err(error) if ranks.rank() > 0 => Ok(error.exit_code()),
        result => result,
    }
}

#[cfg(feature = "mpi")]
fn start() -> Result<mpi::MpiRanks, CliError> {
    mpi::MpiRanks::try_start()
}

/// Two trainings that know nothing of each other would write the same file.
#[cfg(not(feature = "mpi"))]
fn start() -> Result<h5z_sae_train::ranks::SingleRank, CliError> {
    /// Where Open MPI, and MPICH and its relatives, tell a process how many ranks there are.
    const N_RANKS: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];
    let n_ranks = N_RANKS.iter().find_map(|name| std::env::var(name).ok()).and_then(|n| n.parse().ok());
    match n_ranks {
        Some(n_ranks @ 2u32..) => Err(CliError::new(format!(
            "one of {n_ranks} ranks that mpirun started, but built without MPI: build sae with --features mpi"
        ))),
        _ => Ok(h5z_sae_train::ranks::SingleRank),
    }
}

/// Makes an error of any rank one of all, as [`h5z_sae_train::ranks::agree`] does. Collective.
///
/// # Errors
/// The rank's own one, or that of the first rank that failed, with its number.
pub fn agree<T>(result: Result<T, CliError>, ranks: &mut dyn Ranks) -> Result<T, CliError> {
    let message = result.as_ref().err().map(CliError::to_string);
    match first_failure(message, ranks) {
        Some((rank, message)) if rank != ranks.rank() => {
            Err(CliError::new(format!("rank {rank}: {message}")))
        }
        _ => result,
    }
}

/// What sees the training on ranks that print nothing. A signal to any rank stops all.
pub struct Quiet;

impl Observer for Quiet {
    fn stage(&mut self, _name: &str, _n_units: usize) {}

    fn advance(&mut self, _n_units: usize) -> bool {
        interrupt::check().is_ok()
    }

    fn step(&mut self, _report: &StepReport) -> bool {
        interrupt::check().is_ok()
    }
}
