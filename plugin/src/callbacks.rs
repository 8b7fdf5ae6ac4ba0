//! The filter as HDF5 sees it: its class, its three callbacks, and what a plugin exports.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write;
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use h5z_sae::cd_values::FILTER_ID;
use h5z_sae::{Error, ErrorKind};

use crate::dataset::{CreationList, Datatype};
use crate::error_stack;
use crate::filter;
use crate::guard::{self, null_argument};
use crate::host::{self, Herr, Hid, Host};
use crate::host_buf;
use crate::models::Lookup;

/// `H5Z_CLASS_T_VERS` of `H5Z_class2_t`.
const CLASS_VERSION: c_int = 1;

/// `H5PL_TYPE_FILTER`.
const PLUGIN_TYPE_FILTER: c_int = 0;

/// Most parameters that a filter may have: HDF5 stores their count in 16 bits.
const MAX_WORDS: usize = u16::MAX as usize;

type DatasetCallback = unsafe extern "C" fn(Hid, Hid, Hid) -> Herr;
type FilterCallback =
    unsafe extern "C" fn(c_uint, usize, *const c_uint, usize, *mut usize, *mut *mut c_void) -> usize;

/// `H5Z_class2_t` of HDF5 1.8 and later.
#[repr(C)]
pub(crate) struct FilterClass {
    version: c_int,
    id: c_int,
    encoder_present: c_uint,
    decoder_present: c_uint,
    name: *const c_char,
    can_apply: DatasetCallback,
    set_local: DatasetCallback,
    filter: FilterCallback,
}

// SAFETY: constant, and its one pointer leads to a literal.
unsafe impl Sync for FilterClass {}

static CLASS: FilterClass = FilterClass {
    version: CLASS_VERSION,
    id: FILTER_ID,
    encoder_present: 1,
    decoder_present: 1,
    name: c"H5Z-SAE: error-bounded compression with sparse autoencoders".as_ptr(),
    can_apply: h5zsae_entry_can_apply,
    set_local: h5zsae_entry_set_local,
    filter: h5zsae_entry_filter,
};

/// As `struct h5zsae_handlers` in entry.c.
#[repr(C)]
struct Handlers {
    can_apply: unsafe extern "C" fn(*const c_void, Hid, Hid, Hid) -> Herr,
    set_local: unsafe extern "C" fn(*const c_void, Hid, Hid, Hid) -> Herr,
    filter: unsafe extern "C" fn(
        *const c_void,
        c_uint,
        usize,
        *const c_uint,
        usize,
        *mut usize,
        *mut *mut c_void,
    ) -> usize,
}

static HANDLERS: Handlers = Handlers { can_apply, set_local, filter: run_filter };

unsafe extern "C" {
    fn h5zsae_entry_init(handlers: *const Handlers);
    fn h5zsae_entry_can_apply(list: Hid, datatype: Hid, space: Hid) -> Herr;
    fn h5zsae_entry_set_local(list: Hid, datatype: Hid, space: Hid) -> Herr;
    fn h5zsae_entry_filter(
        flags: c_uint,
        n_words: usize,
        words: *const c_uint,
        n_bytes: usize,
        buf_size: *mut usize,
        buf: *mut *mut c_void,
    ) -> usize;
}

/// The filter's class, ready to be called. Lives for ever.
pub(crate) fn filter_class() -> *const c_void {
    static INIT: Once = Once::new();
    // SAFETY: the handlers are constant, and `Once` orders the write before every use of the class.
    INIT.call_once(|| unsafe { h5zsae_entry_init(&raw const HANDLERS) });
    (&raw const CLASS).cast()
}

/// HDF5 asks a plugin library for its kind.
#[unsafe(no_mangle)]
pub extern "C" fn H5PLget_plugin_type() -> c_int {
    PLUGIN_TYPE_FILTER
}

/// HDF5 asks a plugin library for its filter.
#[unsafe(no_mangle)]
pub extern "C" fn H5PLget_plugin_info() -> *const c_void {
    filter_class()
}

/// hdf5plugin's protocol: tells the filter the path of the HDF5 library that will use it. Returns 0, or −1 if that
/// is no HDF5 library.
///
/// # Safety
/// `library` is NULL or a string that ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn init_filter(library: *const c_char) -> c_int {
    let named = guard::catch(|| {
        if library.is_null() {
            return Err(null_argument("init_filter", "library"));
        }
        // SAFETY: not NULL, and a string by the caller's promise.
        Ok(host::name_library(unsafe { CStr::from_ptr(library) }))
    });
    match named {
        Ok(true) => 0,
        _ => -1,
    }
}

/// HDF5 asks, before it creates a dataset, whether the filter suits it. `caller` is where HDF5 called from.
///
/// Never 0 ("not applicable"), which HDF5 passes over in silence where the filter is optional: −1 stops.
unsafe extern "C" fn can_apply(caller: *const c_void, _list: Hid, datatype: Hid, _space: Hid) -> Herr {
    let checked = answer(caller, c"h5z_sae_can_apply", |host| {
        let functions = host.properties().map_err(unsupported)?;
        Datatype::try_new(functions, datatype)?.element()
    });
    if checked.is_some() { 1 } else { -1 }
}

/// HDF5 lets the filter complete its parameters for the dataset that is being created.
unsafe extern "C" fn set_local(caller: *const c_void, list: Hid, datatype: Hid, _space: Hid) -> Herr {
    let stored = answer(caller, c"h5z_sae_set_local", |host| {
        let functions = host.properties().map_err(unsupported)?;
        filter::complete_params(
            &Lookup::for_writing(host),
            CreationList::new(functions, list),
            Datatype::try_new(functions, datatype)?,
        )
    });
    if stored.is_some() { 0 } else { -1 }
}

/// HDF5 hands over a chunk to compress or a stream to decompress. Returns the new number of bytes in `*buf`; 0 on
/// failure, with nothing changed.
unsafe extern "C" fn run_filter(
    caller: *const c_void,
    flags: c_uint,
    n_words: usize,
    words: *const c_uint,
    n_bytes: usize,
    buf_size: *mut usize,
    buf: *mut *mut c_void,
) -> usize {
    let result = answer(caller, c"h5z_sae_filter", |host| {
        // SAFETY: HDF5 gives valid places for both, or NULL.
        let (Some(buf_size), Some(buf)) = (unsafe { buf_size.as_mut() }, unsafe { buf.as_mut() }) else {
            return Err(null_argument("filter", "buf or buf_size"));
        };
        check_lengths(words, n_words, *buf, n_bytes, *buf_size)?;
        let words = if n_words == 0 {
            &[][..]
        } else {
            // SAFETY: not NULL, `n_words` numbers by H5Z_func_t's contract, and below `MAX_WORDS`.
            unsafe { slice::from_raw_parts(words, n_words) }
        };
        let output = {
            // SAFETY:
            // - not NULL, and `n_bytes` bytes are valid by H5Z_func_t's contract; no more than the block has.
            // - HDF5 leaves the block alone until this callback returns, and no `&mut` to it exists.
            // - `n_bytes` is at most isize::MAX (`check_lengths`).
            let bytes = unsafe { slice::from_raw_parts(buf.cast::<u8>(), n_bytes) };
            filter::run(host, flags, words, bytes)?
        };
        // SAFETY: HDF5's own arguments, of the HDF5 that `host` is; the slice above is gone.
        unsafe { host_buf::replace(host, buf, buf_size, &output)? };
        Ok(output.len())
    });
    result.unwrap_or(0)
}

fn check_lengths(
    words: *const c_uint,
    n_words: usize,
    buf: *const c_void,
    n_bytes: usize,
    buf_size: usize,
) -> Result<(), Error> {
    let invalid = |message| Err(Error::new(ErrorKind::InvalidArgument, message));
    if buf.is_null() || (words.is_null() && n_words > 0) {
        return Err(null_argument("filter", "*buf or cd_values"));
    }
    if n_words > MAX_WORDS {
        return invalid(format!("{n_words} cd_values: HDF5 stores at most {MAX_WORDS}"));
    }
    if n_bytes > buf_size || isize::try_from(buf_size).is_err() {
        return invalid(format!("{n_bytes} bytes in a buffer of {buf_size}"));
    }
    Ok(())
}

fn unsupported(message: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

/// Runs a callback's body. On failure pushes one record on the error stack of the HDF5 that called, or where that
/// cannot be reached says it on stderr, and remembers the message for the C API.
fn answer<T>(
    caller: *const c_void,
    function: &CStr,
    body: impl FnOnce(&'static Host) -> Result<T, Error>,
) -> Option<T> {
    let failure = match guard::catch(|| body(host::of_caller(caller))) {
        Ok(value) => return Some(value),
        Err(failure) => failure,
    };
    // The message itself must not bring down the program either.
    let _ = guard::catch(|| {
        let message = format!("H5Z-SAE filter: {failure}");
        guard::remember(&message);
        if !error_stack::push(host::of_caller(caller), function, &message) {
            say_once(&message);
        }
        Ok(())
    });
    None
}

/// The first sentence that no error stack could take goes to stderr. Not all of them: each chunk of a file may fail.
fn say_once(message: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        // Whoever closed stderr does not want to know.
        let _ = writeln!(
            std::io::stderr(),
            "{message} (said here once, as HDF5's error stack cannot be reached from where it has called the filter)"
        );
    }
}
