//! How many threads the filter may use: `H5Z_SAE_NUM_THREADS`, 1 without it.
//!
//! One by default, because a filter runs inside programs that already use their cores: MPI ranks, dask workers.

use std::num::NonZero;

use h5z_sae::{Error, ErrorKind};
use h5z_sae_cuda::DeviceBackend;
use h5z_sae_kernels::GemmBackend;

use crate::device;

const VARIABLE: &str = "H5Z_SAE_NUM_THREADS";

/// More threads than any machine has cores are a mistake.
const MAX_THREADS: usize = 1024;

/// The backend for networks: these threads, and the device that was chosen.
///
/// # Errors
/// `InvalidArgument` if `H5Z_SAE_NUM_THREADS` is set to anything but a number from 1 to 1024, or `H5Z_SAE_DEVICE` to
/// anything but a device.
pub(crate) fn backend() -> Result<DeviceBackend, Error> {
    let value = std::env::var_os(VARIABLE);
    let threads = n_threads(value.as_deref().map(|value| value.to_string_lossy()))?;
    device::backend(GemmBackend { threads })
}

fn n_threads(value: Option<impl AsRef<str>>) -> Result<NonZero<usize>, Error> {
    let Some(value) = value else { return Ok(NonZero::<usize>::MIN) };
    let value = value.as_ref();
    value.trim().parse().ok().filter(|n: &NonZero<usize>| n.get() <= MAX_THREADS).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("{VARIABLE} is {value:?}: expected a number from 1 to {MAX_THREADS}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_thread_unless_told() {
        assert_eq!(n_threads(None::<&str>).unwrap().get(), 1);
        assert_eq!(n_threads(Some("4")).unwrap().get(), 4);
    }

    #[test]
    fn rejects_thread_counts_that_are_none() {
        for value in ["", "0", "-1", "many", "1025"] {
            let error = n_threads(Some(value)).unwrap_err();
            assert!(error.message().contains(VARIABLE) && error.message().contains(value), "{error}");
        }
    }
}
