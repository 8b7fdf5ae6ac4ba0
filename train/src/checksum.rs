//! Tells whether the patches that are read are the ones that were read before.

use crc32fast::Hasher;
use h5z_sae::{Error, PatchShape};

use crate::loader::FrameSource;
use crate::ranks::Ranks;

/// Sums up everything that is read from a source. Values as they are read, before any arithmetic: the same file has
/// the same sum on every machine.
pub struct Summed<'a> {
    source: &'a mut (dyn FrameSource + Send),
    hasher: Hasher,
    n_bytes: u64,
}

impl<'a> Summed<'a> {
    /// Nothing read yet.
    pub fn new(source: &'a mut (dyn FrameSource + Send)) -> Self {
        Self { source, hasher: Hasher::new(), n_bytes: 0 }
    }

    /// CRC-32 of the little-endian bit patterns of all values, in the order in which they were read: first those that
    /// rank 0 read, then those of the next rank. So it is that of a single rank which reads them all. Collective.
    pub fn finish(self, ranks: &mut dyn Ranks) -> u32 {
        let mut parts = vec![0f64; 2 * ranks.n_ranks()];
        let here = 2 * ranks.rank();
        (parts[here], parts[here + 1]) = (f64::from(self.hasher.finalize()), self.n_bytes as f64);
        ranks.sum_f64(&mut parts);
        let mut all = Hasher::new();
        for part in parts.chunks_exact(2) {
            all.combine(&Hasher::new_with_initial_len(part[0] as u32, part[1] as u64));
        }
        all.finalize()
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
            self.n_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        self.source.describe()
    }
}
