//! One record on HDF5's error stack for each failure.
//!
//! Exactly one: h5py shows the innermost record, so that a second would hide the first.

use std::ffi::{CStr, CString, c_char, c_int};

use crate::host::{self, ErrorFns, ErrorIds, Host};

const MAJOR: c_int = 0;
const MINOR: c_int = 1;

const CLASS_NAME: &[u8] = b"H5Z-SAE\0";

/// Leaves `message` as the one record of the calling thread's error stack. Does nothing where the library shows no
/// way to.
///
/// The record is pushed on a stack of its own, which then replaces the current one. HDF5 2.0 pauses the current
/// stack while a filter runs and drops what is pushed there; resuming it is no way out, as the pause afterwards
/// would clear it. Nothing is lost by the replacement: the calls made before have cleared the current stack.
pub(crate) fn push(host: &Host, function: &CStr, message: &str) {
    let Some(functions) = &host.errors else { return };
    let Some(ids) = valid_ids(host, functions) else { return };
    let Ok(text) = CString::new(message.replace('\0', "\u{fffd}")) else { return };
    // SAFETY: takes nothing.
    let stack = unsafe { (functions.create_stack)() };
    if stack < 0 {
        return;
    }
    // SAFETY: a valid stack; all strings end with NUL, the format takes one string and gets one, and HDF5 copies
    // them; the identifiers are valid and of the kinds asked for.
    unsafe {
        (functions.push)(
            stack,
            c"h5z-sae".as_ptr(),
            function.as_ptr(),
            0,
            ids.class,
            ids.major,
            ids.minor,
            c"%s".as_ptr(),
            text.as_ptr(),
        );
    }
    // SAFETY: a valid stack, which this call also closes.
    unsafe { (functions.set_current_stack)(stack) };
}

/// The identifiers of our class, registered when first needed and again after an `H5close`.
///
/// They are never closed: a call that closed them after the push would clear the stack on entering HDF5.
fn valid_ids(host: &Host, functions: &ErrorFns) -> Option<ErrorIds> {
    // Copied out, so that no lock is held while HDF5 runs.
    let remembered = *host::lock(&host.error_ids);
    if let Some(ids) = remembered.filter(|ids| are_ours(functions, ids)) {
        return Some(ids);
    }
    let ids = register(functions)?;
    *host::lock(&host.error_ids) = Some(ids);
    Some(ids)
}

fn are_ours(functions: &ErrorFns, ids: &ErrorIds) -> bool {
    let all_valid = [ids.class, ids.major, ids.minor].into_iter().all(|id| {
        // SAFETY: takes any number.
        unsafe { (functions.is_valid)(id) > 0 }
    });
    if !all_valid {
        return false;
    }
    // After H5close, HDF5 counts from the start again, and the number may be another program's error class.
    let mut name = [0u8; CLASS_NAME.len() + 1];
    // SAFETY: a valid identifier of an error class, and a buffer of the length given.
    let length = unsafe { (functions.class_name)(ids.class, name.as_mut_ptr().cast::<c_char>(), name.len()) };
    length == CLASS_NAME.len() as isize - 1 && name.starts_with(CLASS_NAME)
}

fn register(functions: &ErrorFns) -> Option<ErrorIds> {
    let version = concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast::<c_char>();
    let name = CLASS_NAME.as_ptr().cast::<c_char>();
    // SAFETY: three strings that end with NUL; HDF5 copies them.
    let class = unsafe { (functions.register_class)(name, c"libh5zsae".as_ptr(), version) };
    if class < 0 {
        return None;
    }
    // SAFETY: a valid error class and a string that ends with NUL.
    let major = unsafe { (functions.create_message)(class, MAJOR, c"H5Z-SAE filter".as_ptr()) };
    // SAFETY: as above.
    let minor = unsafe { (functions.create_message)(class, MINOR, c"Filter operation failed".as_ptr()) };
    (major >= 0 && minor >= 0).then_some(ErrorIds { class, major, minor })
}
