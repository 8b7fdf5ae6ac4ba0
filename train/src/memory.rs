//! How much memory a training takes, stated before it starts, and how many patches fit into a limit.
//!
//! Two stages are large, and do not overlap: the eigenvectors of the covariance, and the training on components. Only
//! the components grow with the data (K numbers for each training patch), so they are what a limit can shorten.

use h5z_sae::{Error, ErrorKind};

use crate::loader::{BLOCK_PATCHES, FrameSource, Split};
use crate::options::TrainOptions;
use crate::prepare::LEAST_PATCHES_PER_COMPONENT;
use crate::trainer::CALIBRATION_PATCHES;

/// What a training will hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes at the largest, an upper bound: half of the covariance's is saved where patches are point-symmetric.
    pub bytes: usize,
    /// Training patches that it learns from: all, or an evenly spread part of them.
    pub n_training: usize,
    /// Training patches that there are.
    pub n_available: usize,
}

/// Code, libraries, and HDF5's caches.
const PROGRAM_BYTES: usize = 24 << 20;
/// Matrices of n′ × n′ numbers in f64: sums, the solver's copy, eigenvectors, its work space.
const COVARIANCE_MATRICES: usize = 6;
/// Copies of a block of patches: as read, folded, shifted.
const BLOCK_COPIES: usize = 3;
/// Copies of the held-out patches: scaled, transformed, and once more while blocks are joined.
const HELD_OUT_COPIES: usize = 2;
/// Copies of all weights: network, two moments, trial, state and bytes of a checkpoint, the best network, export.
const WEIGHT_COPIES: usize = 12;
/// Further ones where a device makes the steps: the state that the CPU would go on from, and what is on its way.
const DEVICE_WEIGHT_COPIES: usize = 8;

/// States the memory of a training on the first of `n_ranks`, with as many patches as the limit allows.
///
/// # Errors
/// `LimitExceeded` if the limit leaves no room for a training.
pub fn memory(source: &dyn FrameSource, options: &TrainOptions, n_ranks: usize) -> Result<Memory, Error> {
    let needs = Needs::of(source, options, n_ranks);
    let n_available = source.n_patches() - needs.n_held_out;
    let least = n_available.min(LEAST_PATCHES_PER_COMPONENT * options.basis_rows);
    let limit = options.memory_limit.unwrap_or(usize::MAX);
    if needs.bytes(least) > limit {
        let message = format!(
            "memory limit of {limit} bytes: patches of {} values and {} components need {} bytes",
            source.patch().n_values(),
            options.basis_rows,
            needs.bytes(least)
        );
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    let n_training = n_available.min((limit - needs.network) / needs.per_patch);
    Ok(Memory { bytes: needs.bytes(n_training), n_training, n_available })
}

/// Bytes of the two large stages.
struct Needs {
    n_held_out: usize,
    /// While eigenvectors are computed.
    covariance: usize,
    /// While the network is trained, without the components of patches.
    network: usize,
    /// Components of a training patch, which is on one of the ranks, and its place in the order.
    per_patch: usize,
}

impl Needs {
    fn of(source: &dyn FrameSource, options: &TrainOptions, n_ranks: usize) -> Self {
        let n_values = source.patch().n_values();
        let n_held_out = Split::new(source.n_patches(), options.held_out).held_out.len();
        let n_copies = n_held_out * HELD_OUT_COPIES + BLOCK_PATCHES.min(source.n_patches()) * BLOCK_COPIES;
        let always = PROGRAM_BYTES + n_copies * n_values * size_of::<f32>();
        Self {
            n_held_out,
            covariance: always + COVARIANCE_MATRICES * n_values * n_values * size_of::<f64>(),
            network: always + network_bytes(options, source.n_patches() - n_held_out),
            per_patch: (options.components * size_of::<f32>()).div_ceil(n_ranks) + 3 * size_of::<usize>(),
        }
    }

    fn bytes(&self, n_training: usize) -> usize {
        self.covariance.max(self.network + n_training * self.per_patch)
    }
}

/// Bytes of weights, gradients and activations.
fn network_bytes(options: &TrainOptions, n_patches: usize) -> usize {
    let weights = 2 * options.hidden * (options.components + options.latents);
    // Once more for refined codes.
    let trained = options.batch * (6 * options.components + 9 * options.hidden + 4 * options.latents);
    // Export passes the calibration set through all layers at once.
    let exported = CALIBRATION_PATCHES.min(n_patches)
        * (4 * options.basis_rows + 3 * options.hidden + 2 * options.latents);
    let device_copies = options.device.as_ref().map_or(0, |_| DEVICE_WEIGHT_COPIES);
    (weights * (WEIGHT_COPIES + device_copies + options.threads) + trained + exported) * size_of::<f32>()
}
