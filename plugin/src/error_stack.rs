//! One record on HDF5's error stack for each failure, and none for what failed on the way to a success.
//!
//! Exactly one: h5py shows the innermost record, so that a second would hide the first.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;

use crate::calling_thread;
use crate::host::{self, ErrorFns, ErrorIds, ErrorStateFns, Hid, Host};

const MAJOR: c_int = 0;
const MINOR: c_int = 1;

const CLASS_NAME: &[u8] = b"H5Z-SAE\0";

/// Leaves `message` as the one record of the calling thread's error stack. Returns whether it could: the library may
/// show no way to, or may not be called from this thread.
///
/// The record is pushed on a stack of its own, which then replaces the current one. HDF5 2.0 pauses the current
/// stack while a filter runs and drops what is pushed there; resuming it is no way out, as the pause afterwards
/// would clear it. Nothing is lost by the replacement: the calls made before have cleared the current stack.
pub(crate) fn push(host: &Host, function: &CStr, message: &str) -> bool {
    try_push(host, function, message).is_some()
}

fn try_push(host: &Host, function: &CStr, message: &str) -> Option<()> {
    let functions = host.errors.as_ref().filter(|_| calling_thread::may_call(host))?;
    let ids = valid_ids(host, functions)?;
    let text = CString::new(message.replace('\0', "\u{fffd}")).ok()?;
    // SAFETY: takes nothing.
    let stack = unsafe { (functions.create_stack)() };
    if stack < 0 {
        return None;
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
    let status = unsafe { (functions.set_current_stack)(stack) };
    (status >= 0).then_some(())
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

/// `H5E_DEFAULT`: the current stack of the calling thread.
const CURRENT: Hid = 0;

/// Runs `body`, whose HDF5 calls may fail, and leaves the calling thread's error stack and its handler (what prints
/// the stack when a call has failed) as they were. `None` if they cannot be kept; then `body` was not run.
pub(crate) fn kept<T>(host: &Host, functions: &ErrorStateFns, body: impl FnOnce() -> T) -> Option<T> {
    // Taken first, as later calls may clear the stack.
    // SAFETY: takes nothing.
    let stack = unsafe { (functions.get_current_stack)() };
    if stack < 0 {
        return None;
    }
    let result = Handler::switch_off(host, functions).map(|handler| {
        let restored = RestoreHandler { functions, handler };
        let result = body();
        drop(restored);
        result
    });
    // SAFETY: a valid stack, which this call also closes.
    unsafe { (functions.set_current_stack)(stack) };
    result
}

/// The function that HDF5 calls after a failure, and its argument; both may be NULL.
enum Handler {
    Current(*mut c_void, *mut c_void),
    /// Of HDF5 1.6's interface, with the function that sets such a one.
    Old(unsafe extern "C" fn(*mut c_void, *mut c_void) -> host::Herr, *mut c_void, *mut c_void),
}

impl Handler {
    /// The handler that was set. `None` if it cannot be read; then it is still set.
    fn switch_off(host: &Host, functions: &ErrorStateFns) -> Option<Self> {
        let mut is_v2: c_uint = 0;
        // SAFETY: the current stack and a valid place.
        if unsafe { (functions.handler_is_v2)(CURRENT, &mut is_v2) } < 0 {
            return None;
        }
        let (mut function, mut argument) = (ptr::null_mut(), ptr::null_mut());
        if is_v2 == 0 {
            let old = host.old_handlers?;
            // SAFETY: two valid places.
            if unsafe { (old.get)(&mut function, &mut argument) } < 0 {
                return None;
            }
            // SAFETY: NULL for none.
            unsafe { (old.set)(ptr::null_mut(), ptr::null_mut()) };
            return Some(Self::Old(old.set, function, argument));
        }
        // SAFETY: the current stack and two valid places.
        if unsafe { (functions.get_handler)(CURRENT, &mut function, &mut argument) } < 0 {
            return None;
        }
        // SAFETY: the current stack; NULL for none.
        unsafe { (functions.set_handler)(CURRENT, ptr::null_mut(), ptr::null_mut()) };
        Some(Self::Current(function, argument))
    }
}

/// Puts the handler back, also if `body` panics.
struct RestoreHandler<'a> {
    functions: &'a ErrorStateFns,
    handler: Handler,
}

impl Drop for RestoreHandler<'_> {
    fn drop(&mut self) {
        match self.handler {
            Handler::Current(function, argument) => {
                // SAFETY: the current stack, and what HDF5 itself has named as its handler.
                unsafe { (self.functions.set_handler)(CURRENT, function, argument) };
            }
            // SAFETY: what HDF5 itself has named as its handler, to the function of that interface.
            Handler::Old(set, function, argument) => _ = unsafe { set(function, argument) },
        }
    }
}
