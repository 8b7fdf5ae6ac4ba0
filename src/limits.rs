//! Every cap on a number that is read from outside, with its reason.

/// HDF5's own largest rank (`H5S_MAX_RANK`).
pub(crate) const MAX_RANK: usize = 32;

/// Largest dimension of a chunk: HDF5 stores chunk dimensions in 32 bits.
pub(crate) const MAX_DIM: u64 = u32::MAX as u64;

/// Largest edge of a network's patch: 4096 × 4096 weights per atom are beyond any model worth its bytes.
pub(crate) const MAX_PATCH_EDGE: usize = 4096;

/// Largest model file in bytes. Models of tens of megabytes have been tried; ten times that is a mistake or an attack.
pub(crate) const MAX_MODEL_BYTES: usize = 512 << 20;

/// Largest JSON header of a model file in bytes. The header of a real model has a few thousand.
pub(crate) const MAX_MODEL_HEADER_BYTES: usize = 1 << 20;

/// Most latents, hidden units or basis rows of a model. With 16-bit weights every sum over the inputs of a layer
/// then stays below 2³¹ times the largest input; see `sae::check`.
pub(crate) const MAX_LAYER_WIDTH: usize = 1 << 16;

/// Most blocks of rows in a model's basis; each is one tensor of the file.
pub(crate) const MAX_BASIS_BLOCKS: usize = 64;

/// What a decoder may spend on one stream.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest decoded chunk in bytes that is accepted. HDF5 chunks end at 4 GiB.
    pub max_chunk_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_chunk_bytes: usize::try_from(4u64 << 30).unwrap_or(usize::MAX) }
    }
}
