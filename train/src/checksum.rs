//! Tells whether the patches that are read are the ones that were read before.

use crc32fast::Hasher;
use h5z_sae::{Error, PatchShape};

use crate::loader::FrameSource;

/// Sums up everything that is read from a source. Values as they are read, before any arithmetic: the same file has
/// the same sum on every machine.
pub struct Summed<'a> {
    source: &'a mut (dyn FrameSource + Send),
    hasher: Hasher,
}

impl<'a> Summed<'a> {
    /// Nothing read yet.
    pub fn new(source: &'a mut (dyn FrameSource + Send)) -> Self {
        Self { source, hasher: Hasher::new() }
    }

    /// CRC-32 of the little-endian bit patterns of all values, in the order in which they were read.
    pub fn finish(self) -> u32 {
        self.hasher.finalize()
    }
}

impl FrameSource for Summed<'_> {
    fn patch(&self) -> PatchShape {
        self.source.patch()
    }

    fn n_patches(&self) -> usize {
        self.source.n_patches()
    }

    fn read(&mut self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        /// Bytes are made in pieces that stay in the cache.
        const PIECE: usize = 4096;
        self.source.read(first, out)?;
        let mut bytes = Vec::with_capacity(4 * PIECE);
        for piece in out.chunks(PIECE) {
            bytes.clear();
            bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
            self.hasher.update(&bytes);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        self.source.describe()
    }
}
