//! The C library: every function that C programs may call, beside the filter.
//!
//! Each is guard, check of pointers, safe code, mapping of the error. The policies that hold for all of them stand
//! at the top of the header (plugin/cbindgen.toml).
#![allow(non_camel_case_types, reason = "the names are those of the C header")]
#![allow(
    clippy::missing_safety_doc,
    reason = "one contract holds for all functions: the rules of the header"
)]

use std::ffi::{CStr, OsStr, c_char, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use h5z_sae::cd_values::RequestedParams;
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{
    Bound, ByteOrder, ChunkShape, Effort, ElementClass, ElementType, Error, ErrorKind, Limits, ModelSource,
    Options, StreamHeader, compress_chunk, decompress_chunk,
};

use crate::guard::{self, Failure, null_argument};
use crate::{callbacks, device, host, host_buf, models, threads};

/// The filter's number for H5Pset_filter. Not registered with The HDF Group: it lies in the range that is left for
/// unregistered use.
pub const H5Z_FILTER_SAE: i32 = 34222;
const _: () = assert!(H5Z_FILTER_SAE == h5z_sae::cd_values::FILTER_ID);

/// Version of this interface. A program compiled against another number than h5zsae_abi_version() returns must not
/// go on. 0 may change with every release; from 1 on the number changes only when a function or a structure does.
pub const H5ZSAE_ABI_VERSION: u32 = 0;

/// Version of the layout of cd_values: the first of the filter's parameters.
pub const H5ZSAE_CD_VALUES_VERSION: u32 = 0;
const _: () = assert!(H5ZSAE_CD_VALUES_VERSION == h5z_sae::cd_values::LAYOUT_VERSION);

/// Most words that h5zsae_cd_values writes.
pub const H5ZSAE_MAX_CD_VALUES: u32 = 9;
const _: () = assert!(H5ZSAE_MAX_CD_VALUES as usize == h5z_sae::cd_values::N_REQUESTED_WITH_MASK);

/// Element class: unsigned integer.
pub const H5ZSAE_CLASS_UNSIGNED: u32 = 0;
/// Element class: two's complement integer.
pub const H5ZSAE_CLASS_SIGNED: u32 = 1;
/// Element class: IEEE 754 binary16, binary32 or binary64.
pub const H5ZSAE_CLASS_FLOAT: u32 = 2;

/// Byte order: least significant byte first.
pub const H5ZSAE_ORDER_LITTLE: u32 = 0;
/// Byte order: most significant byte first.
pub const H5ZSAE_ORDER_BIG: u32 = 1;

/// Bound: every value comes back bit for bit.
pub const H5ZSAE_BOUND_LOSSLESS: u32 = 0;
/// Bound: no value is off by more than the number given.
pub const H5ZSAE_BOUND_ABSOLUTE: u32 = 1;
/// Bound: no value is off by more than the number given times the range of the chunk.
pub const H5ZSAE_BOUND_RELATIVE: u32 = 2;
/// Bound: no value x is off by more than the number given times the square root of x, or of 1 where x is below 1.
pub const H5ZSAE_BOUND_NOISE: u32 = 3;
/// Bound: none. The network's code alone; the error is measured, not promised.
pub const H5ZSAE_BOUND_NONE: u32 = 4;

/// Effort: all methods, tried with good sense.
pub const H5ZSAE_EFFORT_DEFAULT: u32 = 0;
/// Effort: no network, no search, the fast coder of pixels.
pub const H5ZSAE_EFFORT_FAST: u32 = 1;
/// Effort: every variant that the format has.
pub const H5ZSAE_EFFORT_BEST: u32 = 2;

/// Most bytes by which a stream can be longer than its chunk: the longest header.
const MAX_OVERHEAD_BYTES: usize = 256;

/// What a call came to. Numbers are never used again for something else.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum h5zsae_status {
    /// Done.
    H5ZSAE_OK = 0,
    /// The bytes are not a stream or a model, or contradict themselves.
    H5ZSAE_CORRUPT = 1,
    /// The bytes end before the header does. A shorter payload fails the checksum: H5ZSAE_CORRUPT.
    H5ZSAE_TRUNCATED = 2,
    /// Well-formed, but of a version or kind that this library does not know.
    H5ZSAE_UNSUPPORTED = 3,
    /// An argument is NULL or out of range.
    H5ZSAE_INVALID_ARGUMENT = 4,
    /// More memory or work would be needed than the caller allows.
    H5ZSAE_LIMIT_EXCEEDED = 5,
    /// A model is needed that was not found.
    H5ZSAE_MISSING_MODEL = 6,
    /// A file could not be read, or memory not be had.
    H5ZSAE_SYSTEM = 7,
    /// A fault of this library. The process is sound; please report the message.
    H5ZSAE_INTERNAL = 100,
}

use h5zsae_status::*;

/// A trained model. Immutable: threads may share it.
pub struct h5zsae_model(Arc<Model>);

/// Type and shape of the elements of a buffer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct h5zsae_chunk {
    /// H5ZSAE_CLASS_...
    pub element_class: u32,
    /// Bytes of an element: 1, 2, 4 or 8; 2, 4 or 8 for floats.
    pub element_bytes: u32,
    /// H5ZSAE_ORDER_...
    pub byte_order: u32,
    /// Number of dimensions, 1 to 32.
    pub rank: u32,
    /// The dimensions, slowest first. The last two are rows and columns of a frame.
    pub dims: *const usize,
}

/// What is asked of the encoder. All zero: lossless.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct h5zsae_options {
    /// H5ZSAE_BOUND_...
    pub bound_kind: u32,
    /// H5ZSAE_EFFORT_...
    pub effort: u32,
    /// The bound's number; 0 for kinds without one.
    pub bound: f64,
    /// 1 if fill_value holds, else 0.
    pub has_fill_value: u32,
    /// 1 if mask_value holds, else 0.
    pub has_mask_value: u32,
    /// Bit pattern of the fill value in the machine's order, zero-extended: comes back exactly, counts in no range.
    pub fill_value: u64,
    /// Bit pattern of the value of masked pixels, likewise.
    pub mask_value: u64,
    /// 1 to let errors cancel out within each block of 8 x 8 pixels: its mean error is then at most 1/16 of the bound. Costs
    /// bits; not with H5ZSAE_BOUND_NONE.
    pub unbiased: u32,
    /// 0.
    pub reserved: u32,
}

/// What a stream says of itself.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct h5zsae_header {
    /// H5ZSAE_CLASS_...
    pub element_class: u32,
    /// Bytes of an element.
    pub element_bytes: u32,
    /// H5ZSAE_ORDER_...
    pub byte_order: u32,
    /// Number of dimensions, 1 to 32.
    pub rank: u32,
    /// The dimensions, slowest first; those from rank on are 0.
    pub dims: [usize; 32],
    /// Bytes of the decoded chunk.
    pub decoded_bytes: usize,
    /// H5ZSAE_BOUND_...: what was promised.
    pub bound_kind: u32,
    /// The promised bound's number; 0 for kinds without one.
    pub bound: f64,
    /// Largest error of the values, measured by the encoder and rounded up.
    pub max_abs_err: f64,
    /// The model that decoding needs; 0 if none.
    pub model_id: u64,
}

/// Runs a call's body and maps its outcome.
fn call(body: impl FnOnce() -> Result<(), Error>) -> h5zsae_status {
    let Err(failure) = guard::catch(body) else { return H5ZSAE_OK };
    guard::remember(&failure.to_string());
    match failure {
        Failure::Panic(_) => H5ZSAE_INTERNAL,
        Failure::Error(error) => match error.kind() {
            ErrorKind::Corrupt => H5ZSAE_CORRUPT,
            ErrorKind::Truncated => H5ZSAE_TRUNCATED,
            ErrorKind::Unsupported => H5ZSAE_UNSUPPORTED,
            ErrorKind::InvalidArgument => H5ZSAE_INVALID_ARGUMENT,
            ErrorKind::LimitExceeded => H5ZSAE_LIMIT_EXCEEDED,
            ErrorKind::MissingModel => H5ZSAE_MISSING_MODEL,
            ErrorKind::System => H5ZSAE_SYSTEM,
            _ => H5ZSAE_INTERNAL,
        },
    }
}

/// The library's version, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn h5zsae_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The H5ZSAE_ABI_VERSION that the library was built with.
#[unsafe(no_mangle)]
pub extern "C" fn h5zsae_abi_version() -> u32 {
    H5ZSAE_ABI_VERSION
}

/// The message of the calling thread's last failure, "" before the first. Also set by the filter's callbacks.
/// Belongs to the library and is valid until the next failure in the same thread.
#[unsafe(no_mangle)]
pub extern "C" fn h5zsae_last_error() -> *const c_char {
    guard::last_error()
}

/// Chooses where networks run from now on, for the filter and all functions of this process. A GPU that cannot be used
/// is no error: the CPU takes over with the same values, and one line on stderr says why.
///
/// @param name "cpu", "cuda" or "cuda:N" with the number of a GPU, from 0; NULL: what H5Z_SAE_DEVICE says
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_set_device(name: *const c_char) -> h5zsae_status {
    call(|| {
        if name.is_null() {
            device::choose(None);
            return Ok(());
        }
        // SAFETY: not NULL, and a string by the header's rules.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let choice = name.parse().map_err(|message| {
            Error::new(ErrorKind::InvalidArgument, format!("h5zsae_set_device: name is {message}"))
        })?;
        device::choose(Some(choice));
        Ok(())
    })
}

/// Reads a model file.
///
/// @param path  file name, ends with NUL
/// @param model receives the model, to be freed with h5zsae_model_free
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_model_load(
    path: *const c_char,
    model: *mut *mut h5zsae_model,
) -> h5zsae_status {
    call(|| {
        // SAFETY: NULL or valid, by the header's rules.
        let slot = unsafe { out(model, "h5zsae_model_load", "model")? };
        if path.is_null() {
            return Err(null_argument("h5zsae_model_load", "path"));
        }
        // SAFETY: not NULL, and a string by the header's rules.
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        *slot = handle(models::read_file(path)?.model);
        Ok(())
    })
}

/// Reads a model from the bytes of its file.
///
/// @param bytes   the file's content; not needed any more after the call
/// @param n_bytes its length
/// @param model   receives the model, to be freed with h5zsae_model_free
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_model_parse(
    bytes: *const c_void,
    n_bytes: usize,
    model: *mut *mut h5zsae_model,
) -> h5zsae_status {
    call(|| {
        // SAFETY: NULL or valid, by the header's rules.
        let slot = unsafe { out(model, "h5zsae_model_parse", "model")? };
        // SAFETY: NULL or `n_bytes` bytes, by the header's rules.
        let bytes = unsafe { input(bytes, n_bytes, "h5zsae_model_parse", "bytes")? };
        *slot = handle(Model::parse(bytes)?);
        Ok(())
    })
}

/// Finds a model where the filter does: among registered models, the built-in one, and files. HDF5 files that are
/// open are searched by the filter alone, as HDF5 calls it.
///
/// @param id    the model's id; 0 is the built-in model
/// @param model receives the model, to be freed with h5zsae_model_free
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_model_find(id: u64, model: *mut *mut h5zsae_model) -> h5zsae_status {
    call(|| {
        // SAFETY: NULL or valid, by the header's rules.
        let slot = unsafe { out(model, "h5zsae_model_find", "model")? };
        *slot = handle(if id == 0 { models::builtin()? } else { models::find(ModelId(id))? });
        Ok(())
    })
}

/// Makes a model known to the filter in this process, for ever. The handle may be freed afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_model_register(model: *const h5zsae_model) -> h5zsae_status {
    call(|| {
        // SAFETY: NULL or a live handle, by the header's rules.
        let model =
            unsafe { model.as_ref() }.ok_or_else(|| null_argument("h5zsae_model_register", "model"))?;
        models::register(Arc::clone(&model.0));
        Ok(())
    })
}

/// The model's id: the first 64 bits of its file's SHA-256, read as one big-endian number. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_model_id(model: *const h5zsae_model) -> u64 {
    // SAFETY: NULL or a live handle, by the header's rules.
    unsafe { model.as_ref() }.map_or(0, |model| model.0.id().0)
}

/// Frees a model. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_model_free(model: *mut h5zsae_model) {
    let _ = guard::catch(|| {
        if !model.is_null() {
            // SAFETY: made by `handle` and not freed before, by the header's rules.
            drop(unsafe { Box::from_raw(model) });
        }
        Ok(())
    });
}

/// The most bytes that a chunk of n_bytes can take when compressed. SIZE_MAX if that is beyond the address space.
#[unsafe(no_mangle)]
pub extern "C" fn h5zsae_compress_bound(n_bytes: usize) -> usize {
    n_bytes.saturating_add(MAX_OVERHEAD_BYTES)
}

/// Compresses one chunk.
///
/// @param values       the chunk's elements, row-major
/// @param n_bytes      their length; must be what the chunk's type and shape take
/// @param chunk        type and shape
/// @param options      what is asked; NULL for lossless
/// @param model        the model for the network; NULL codes without one
/// @param stream       receives the stream, to be freed with h5zsae_buffer_free
/// @param stream_bytes receives its length
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_compress(
    values: *const c_void,
    n_bytes: usize,
    chunk: *const h5zsae_chunk,
    options: *const h5zsae_options,
    model: *const h5zsae_model,
    stream: *mut *mut c_void,
    stream_bytes: *mut usize,
) -> h5zsae_status {
    const NAME: &str = "h5zsae_compress";
    call(|| {
        // SAFETY: NULL or valid, by the header's rules.
        let (slot, length) = unsafe { buffer_out(stream, stream_bytes, NAME, ["stream", "stream_bytes"])? };
        // SAFETY: NULL or `n_bytes` bytes, by the header's rules.
        let values = unsafe { input(values, n_bytes, NAME, "values")? };
        // SAFETY: NULL or valid, by the header's rules.
        let chunk = unsafe { chunk.as_ref() }.ok_or_else(|| null_argument(NAME, "chunk"))?;
        // SAFETY: `dims` is NULL or holds `rank` numbers, by the header's rules.
        let shape = unsafe { parse_shape(chunk)? };
        // SAFETY: NULL or valid, by the header's rules.
        let mut options =
            unsafe { options.as_ref() }.map_or(Ok(Options::new(Bound::Lossless)), parse_options)?;
        // SAFETY: NULL or a live handle, by the header's rules.
        options.model = unsafe { model.as_ref() }.map(|model| Arc::clone(&model.0));
        let backend = threads::backend()?;
        let coded = compress_chunk(values, parse_element(chunk)?, &shape, &options, &backend)?;
        *slot = host_buf::malloc_copy(&coded)?;
        *length = coded.len();
        Ok(())
    })
}

/// Decompresses one stream.
///
/// @param stream       the stream; a chunk as H5Dread_chunk returns it is one
/// @param stream_bytes its length
/// @param model        a model to use if the stream names it; others, and all with NULL, are found as the filter does
/// @param max_bytes    most bytes to decode to; 0 for the default of 4 GiB
/// @param values       receives the elements, row-major, in the type of h5zsae_stream_info; to be freed with
///                     h5zsae_buffer_free
/// @param n_bytes      receives their length
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_decompress(
    stream: *const c_void,
    stream_bytes: usize,
    model: *const h5zsae_model,
    max_bytes: usize,
    values: *mut *mut c_void,
    n_bytes: *mut usize,
) -> h5zsae_status {
    const NAME: &str = "h5zsae_decompress";
    call(|| {
        // SAFETY: NULL or valid, by the header's rules.
        let (slot, length) = unsafe { buffer_out(values, n_bytes, NAME, ["values", "n_bytes"])? };
        // SAFETY: NULL or `stream_bytes` bytes, by the header's rules.
        let stream = unsafe { input(stream, stream_bytes, NAME, "stream")? };
        // SAFETY: NULL or a live handle, by the header's rules.
        let source = Preferred(unsafe { model.as_ref() }.map(|model| &model.0));
        let mut limits = Limits::default();
        if max_bytes > 0 {
            limits.max_chunk_bytes = max_bytes;
        }
        let decoded = decompress_chunk(stream, &limits, &source, &threads::backend()?)?;
        *slot = host_buf::malloc_copy(&decoded)?;
        *length = decoded.len();
        Ok(())
    })
}

/// Reads what a stream says of itself, and checks its checksum.
///
/// @param stream       the stream
/// @param stream_bytes its length
/// @param info         receives type, shape, bound and model
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_stream_info(
    stream: *const c_void,
    stream_bytes: usize,
    info: *mut h5zsae_header,
) -> h5zsae_status {
    const NAME: &str = "h5zsae_stream_info";
    call(|| {
        // SAFETY: NULL or `stream_bytes` bytes, by the header's rules.
        let stream = unsafe { input(stream, stream_bytes, NAME, "stream")? };
        if info.is_null() {
            return Err(null_argument(NAME, "info"));
        }
        let found = info_of(&StreamHeader::parse(stream)?);
        // SAFETY: not NULL, and a valid place by the header's rules.
        unsafe { info.write(found) };
        Ok(())
    })
}

/// Frees a buffer that this library gave. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_buffer_free(buffer: *mut c_void) {
    // SAFETY: NULL, or made by malloc in `host_buf` and not freed before, by the header's rules.
    unsafe { libc::free(buffer) };
}

/// Makes the filter's parameters, the last two arguments of H5Pset_filter. What the filter would refuse of them
/// without knowing the dataset is refused here.
///
/// @param options     what is asked; NULL for lossless. Its has_fill_value must be 0: the filter takes the fill value
///                    that H5Pset_fill_value sets
/// @param model_id    the model for the network, as h5zsae_model_id gives it; 0 for the built-in model
/// @param cd_values   receives the words; must have room for H5ZSAE_MAX_CD_VALUES
/// @param n_cd_values receives their number: 7, or 9 with a mask value
#[unsafe(no_mangle)]
pub unsafe extern "C" fn h5zsae_cd_values(
    options: *const h5zsae_options,
    model_id: u64,
    cd_values: *mut c_uint,
    n_cd_values: *mut usize,
) -> h5zsae_status {
    const NAME: &str = "h5zsae_cd_values";
    call(|| {
        if n_cd_values.is_null() {
            return Err(null_argument(NAME, "n_cd_values"));
        }
        // SAFETY: not NULL, and a valid place by the header's rules.
        unsafe { n_cd_values.write(0) };
        if cd_values.is_null() {
            return Err(null_argument(NAME, "cd_values"));
        }
        // SAFETY: NULL or valid, by the header's rules.
        let options = unsafe { options.as_ref() }.map_or(Ok(Options::new(Bound::Lossless)), parse_options)?;
        let words = requested_words(&options, ModelId(model_id))?;
        // SAFETY: not NULL, with room for H5ZSAE_MAX_CD_VALUES words by the header's rules; a request has no more.
        unsafe { cd_values.copy_from_nonoverlapping(words.as_ptr(), words.len()) };
        // SAFETY: not NULL, and a valid place by the header's rules.
        unsafe { n_cd_values.write(words.len()) };
        Ok(())
    })
}

/// The filter's H5Z_class2_t, for H5Zregister. Belongs to the library and lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn h5zsae_filter_class() -> *const c_void {
    callbacks::filter_class()
}

/// Registers the filter with the HDF5 library of this program, so that it needs no plugin path.
#[unsafe(no_mangle)]
pub extern "C" fn h5zsae_register_filter() -> h5zsae_status {
    call(|| {
        // SAFETY: the class lives for ever.
        unsafe { host::register_class(callbacks::filter_class()) }.map_err(|message| {
            Error::new(ErrorKind::Unsupported, format!("h5zsae_register_filter: {message}"))
        })
    })
}

/// The model of the caller where the stream names it, the usual lookup otherwise.
struct Preferred<'a>(Option<&'a Arc<Model>>);

impl ModelSource for Preferred<'_> {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        match self.0 {
            Some(model) if model.id() == id => Ok(Arc::clone(model)),
            _ => models::find(id),
        }
    }
}

fn handle(model: Arc<Model>) -> *mut h5zsae_model {
    Box::into_raw(Box::new(h5zsae_model(model)))
}

/// A place for a pointer, set to NULL first so that a failed call leaves nothing to free.
///
/// # Safety
/// `place` is NULL or valid for writing.
unsafe fn out<'a, T>(place: *mut *mut T, function: &str, argument: &str) -> Result<&'a mut *mut T, Error> {
    if place.is_null() {
        return Err(null_argument(function, argument));
    }
    // SAFETY: not NULL, valid for writing by the caller's promise; written before a reference is made, as C need
    // not have.
    unsafe {
        place.write(std::ptr::null_mut());
        Ok(&mut *place)
    }
}

/// Places for a buffer and its length, set to NULL and 0 first.
///
/// # Safety
/// Both are NULL or valid for writing.
unsafe fn buffer_out<'a>(
    buffer: *mut *mut c_void,
    length: *mut usize,
    function: &str,
    arguments: [&str; 2],
) -> Result<(&'a mut *mut c_void, &'a mut usize), Error> {
    // SAFETY: the caller's promise.
    let slot = unsafe { out(buffer, function, arguments[0])? };
    if length.is_null() {
        return Err(null_argument(function, arguments[1]));
    }
    // SAFETY: not NULL, valid for writing by the caller's promise.
    unsafe {
        length.write(0);
        Ok((slot, &mut *length))
    }
}

/// # Safety
/// `bytes` is NULL, or valid for reading `n_bytes` bytes as long as the result is used.
unsafe fn input<'a>(
    bytes: *const c_void,
    n_bytes: usize,
    function: &str,
    argument: &str,
) -> Result<&'a [u8], Error> {
    if bytes.is_null() {
        return Err(null_argument(function, argument));
    }
    if isize::try_from(n_bytes).is_err() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{function}: {argument} of {n_bytes} bytes is beyond the address space"),
        ));
    }
    // SAFETY: not NULL, valid by the caller's promise, at most isize::MAX bytes.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), n_bytes) })
}

fn parse_element(chunk: &h5zsae_chunk) -> Result<ElementType, Error> {
    let class = match chunk.element_class {
        H5ZSAE_CLASS_UNSIGNED => ElementClass::Unsigned,
        H5ZSAE_CLASS_SIGNED => ElementClass::Signed,
        H5ZSAE_CLASS_FLOAT => ElementClass::Float,
        other => return Err(not_among("element_class", other, "0 (unsigned), 1 (signed), 2 (float)")),
    };
    let order = match chunk.byte_order {
        H5ZSAE_ORDER_LITTLE => ByteOrder::Little,
        H5ZSAE_ORDER_BIG => ByteOrder::Big,
        other => return Err(not_among("byte_order", other, "0 (little), 1 (big)")),
    };
    ElementType::try_new(class, chunk.element_bytes as usize, order)
}

/// # Safety
/// `chunk.dims` is NULL or valid for reading `chunk.rank` numbers.
unsafe fn parse_shape(chunk: &h5zsae_chunk) -> Result<ChunkShape, Error> {
    if chunk.dims.is_null() {
        return Err(null_argument("h5zsae_compress", "chunk->dims"));
    }
    if !(1..=32).contains(&chunk.rank) {
        return Err(not_among("rank", chunk.rank, "1 to 32"));
    }
    // SAFETY: not NULL, `rank` numbers by the caller's promise, few enough to be in the address space.
    ChunkShape::try_new(unsafe { std::slice::from_raw_parts(chunk.dims, chunk.rank as usize) })
}

fn parse_options(options: &h5zsae_options) -> Result<Options, Error> {
    let kind = u8::try_from(options.bound_kind).map_err(|_| {
        not_among(
            "bound_kind",
            options.bound_kind,
            "0 (lossless), 1 (absolute), 2 (relative), 3 (noise), 4 (none)",
        )
    })?;
    let mut parsed = Options::new(Bound::try_new(kind, options.bound)?);
    parsed.effort = match options.effort {
        H5ZSAE_EFFORT_DEFAULT => Effort::Default,
        H5ZSAE_EFFORT_FAST => Effort::Fast,
        H5ZSAE_EFFORT_BEST => Effort::Best,
        other => return Err(not_among("effort", other, "0 (default), 1 (fast), 2 (best)")),
    };
    parsed.unbiased = match options.unbiased {
        0 => false,
        1 => true,
        other => return Err(not_among("unbiased", other, "0, 1")),
    };
    if options.reserved != 0 {
        return Err(not_among("reserved", options.reserved, "0"));
    }
    parsed.fill_value = parse_flagged("has_fill_value", options.has_fill_value, options.fill_value)?;
    parsed.mask_value = parse_flagged("has_mask_value", options.has_mask_value, options.mask_value)?;
    Ok(parsed)
}

fn requested_words(options: &Options, model: ModelId) -> Result<Vec<u32>, Error> {
    if options.fill_value.is_some() {
        return Err(not_among("has_fill_value", 1, "0 (the filter takes the fill value of the dataset)"));
    }
    let requested = RequestedParams {
        bound: options.bound,
        model,
        effort: options.effort,
        unbiased: options.unbiased,
        mask_value: options.mask_value,
    };
    let words = requested.to_words();
    RequestedParams::parse(&words)?;
    Ok(words)
}

fn parse_flagged(name: &str, flag: u32, pattern: u64) -> Result<Option<u64>, Error> {
    match flag {
        0 => Ok(None),
        1 => Ok(Some(pattern)),
        other => Err(not_among(name, other, "0, 1")),
    }
}

fn not_among(name: &str, found: u32, allowed: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{name} is {found}: allowed are {allowed}"))
}

fn info_of(header: &StreamHeader) -> h5zsae_header {
    let mut dims = [0; 32];
    for (slot, &dim) in dims.iter_mut().zip(header.shape.dims()) {
        *slot = dim;
    }
    h5zsae_header {
        element_class: header.element.class() as u32,
        element_bytes: header.element.size_bytes() as u32,
        byte_order: header.element.order() as u32,
        rank: header.shape.dims().len() as u32,
        dims,
        decoded_bytes: header.decoded_bytes(),
        bound_kind: u32::from(header.bound.kind()),
        bound: header.bound.value(),
        max_abs_err: header.max_abs_err,
        model_id: header.model.map_or(0, |id| id.0),
    }
}
