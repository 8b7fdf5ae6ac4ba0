//! Where an HDF5 file says that it is one: at 0, or behind a user block of 512, 1024, 2048, … bytes.

/// First bytes of an HDF5 file, or of what follows its user block.
pub(crate) const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Size of the smallest user block; a larger one is a power of two times that.
const FIRST_USER_BLOCK: u64 = 512;

/// Whether HDF5's signature stands where the format allows it, in a file of `n_bytes`. `read_at` gives the eight bytes
/// from a place on.
///
/// # Errors
/// Those of `read_at`.
pub fn is_hdf5<E>(n_bytes: u64, mut read_at: impl FnMut(u64) -> Result<[u8; 8], E>) -> Result<bool, E> {
    let mut at = 0u64;
    while at.saturating_add(SIGNATURE.len() as u64) <= n_bytes {
        if read_at(at)? == SIGNATURE {
            return Ok(true);
        }
        at = if at == 0 { FIRST_USER_BLOCK } else { at.saturating_mul(2) };
    }
    Ok(false)
}
