//! Buffers that C code frees: never a `Vec`, whose allocator C does not know.
//!
//! Filter buffers come from HDF5's own allocator where the caller shows it and may be called. That is malloc, but for
//! HDF5 builds that check their memory, which put a header before each block; so malloc serves elsewhere.

use std::ffi::c_void;

use h5z_sae::{Error, ErrorKind};

use crate::calling_thread;
use crate::host::Host;

/// Copies `bytes` into a block of malloc, for `h5zsae_buffer_free`.
///
/// # Errors
/// `System` if there is no memory.
pub(crate) fn malloc_copy(bytes: &[u8]) -> Result<*mut c_void, Error> {
    // malloc(0) may be NULL.
    // SAFETY: any size may be asked for.
    let block = unsafe { libc::malloc(bytes.len().max(1)) };
    fill(block, bytes)
}

/// Replaces the content of a filter's buffer: in place if it fits, else in a new block for which the old one is
/// freed. Nothing changes on failure.
///
/// # Errors
/// `System` if there is no memory.
///
/// # Safety
/// `buf` and `buf_size` are the last two arguments that HDF5 gave to a filter callback: `*buf` is a block of
/// `*buf_size` bytes of HDF5's allocator, `host` is the HDF5 that called, and no slice of the block is alive.
pub(crate) unsafe fn replace(
    host: &Host,
    buf: &mut *mut c_void,
    buf_size: &mut usize,
    bytes: &[u8],
) -> Result<(), Error> {
    if bytes.len() <= *buf_size {
        // SAFETY: the block has room, `bytes` is no part of it (no slice of it is alive).
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast::<u8>(), bytes.len()) };
        return Ok(());
    }
    let allocator = host.memory.as_ref().filter(|_| calling_thread::may_call(host));
    let block = match allocator {
        // SAFETY: any size may be asked for; 0 asks for memory that is not cleared.
        Some(functions) => unsafe { (functions.allocate)(bytes.len(), 0) },
        // SAFETY: any size may be asked for.
        None => unsafe { libc::malloc(bytes.len()) },
    };
    let block = fill(block, bytes)?;
    match allocator {
        // SAFETY: the old block is of HDF5's allocator, and nobody else will free it: the callback hands back the
        // new one.
        Some(functions) => _ = unsafe { (functions.free)(*buf) },
        // SAFETY: as above, and where HDF5 hides its allocator it is malloc.
        None => unsafe { libc::free(*buf) },
    }
    *buf = block;
    *buf_size = bytes.len();
    Ok(())
}

fn fill(block: *mut c_void, bytes: &[u8]) -> Result<*mut c_void, Error> {
    if block.is_null() {
        return Err(Error::new(
            ErrorKind::System,
            format!("no memory for a buffer of {} bytes", bytes.len()),
        ));
    }
    // SAFETY: a new block of at least that many bytes.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.cast::<u8>(), bytes.len()) };
    Ok(block)
}
