//! Whether HDF5 may be called from the thread that a callback runs on.
//!
//! Up to 2.2 a filter runs on the thread that has called HDF5, which holds HDF5's lock and may call it again. Builds of
//! later versions with concurrency may run filters on threads of their own, while the caller waits and keeps the lock:
//! a call from there would wait for ever. Such a thread has no frame of anybody's code but HDF5's and the system's
//! below the callback, and that is what is looked for. Where the stack does not tell (it cannot be unwound, or HDF5 is
//! part of the program itself) the answer is no.

use std::ffi::{c_int, c_uint, c_void};

use crate::host::{Host, load_address};

/// From this version on callbacks may run on threads of HDF5's own.
const FIRST_WITH_POOL: (c_uint, c_uint) = (2, 3);

/// Frames that are looked at. The user's own follow those of HDF5, of which there are some thirty.
const MAX_FRAMES: usize = 256;

/// Whether the calling thread may call HDF5, as far as one can tell. Asked before every call on the way through
/// `filter`; HDF5 runs the other two callbacks on the thread that has called it.
pub(crate) fn may_call(host: &Host) -> bool {
    match host.version {
        Some(version) if version < FIRST_WITH_POOL => true,
        _ => is_callers(host.base),
    }
}

/// Whether the calling thread is one that has called the HDF5 which is loaded at `base`.
pub(crate) fn is_callers(base: usize) -> bool {
    has_user_frame(&objects_of_stack(), base, &system_libraries())
}

/// Load addresses of the objects on the stack, innermost first; `None` for code of no object.
fn objects_of_stack() -> Vec<Option<usize>> {
    let mut frames = [std::ptr::null_mut::<c_void>(); MAX_FRAMES];
    // SAFETY: room for as many addresses as are said.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), MAX_FRAMES as c_int) };
    frames.iter().take(usize::try_from(count).unwrap_or(0)).map(|&frame| load_address(frame)).collect()
}

/// Where the libraries are loaded in which threads begin. Before glibc 2.34 they were two: that of threads, and the one
/// with the call that makes them.
fn system_libraries() -> [Option<usize>; 2] {
    [libc::pthread_create as *const c_void, libc::getpid as *const c_void].map(load_address)
}

/// Whether beyond the first frame of HDF5 there is one that is neither HDF5's nor the system's.
fn has_user_frame(objects: &[Option<usize>], hdf5: usize, system: &[Option<usize>]) -> bool {
    let beyond = objects.iter().skip_while(|object| **object != Some(hdf5));
    beyond.into_iter().any(|object| *object != Some(hdf5) && (object.is_none() || !system.contains(object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Option<usize> = Some(1);
    const HDF5: Option<usize> = Some(2);
    const LIBC: Option<usize> = Some(3);
    const USER: Option<usize> = Some(4);
    const PTHREAD: Option<usize> = Some(5);

    #[test]
    fn tells_a_callers_thread_from_one_of_hdf5() {
        let may_call = |objects: &[Option<usize>]| has_user_frame(objects, 2, &[PTHREAD, LIBC]);
        assert!(may_call(&[US, US, HDF5, HDF5, USER, LIBC]));
        assert!(may_call(&[US, HDF5, None, LIBC]), "code made at run time is a user's");
        assert!(may_call(&[US, HDF5, US, LIBC]), "a program that holds this library may be the caller");
        assert!(!may_call(&[US, HDF5, HDF5, LIBC, LIBC]));
        assert!(!may_call(&[US, HDF5, PTHREAD, LIBC]));
        assert!(!may_call(&[US, US]), "the stack could not be unwound");
    }

    #[test]
    fn sees_the_objects_of_this_stack() {
        let here = load_address(sees_the_objects_of_this_stack as *const c_void);
        assert!(here.is_some() && objects_of_stack().contains(&here));
        assert!(system_libraries().iter().all(Option::is_some));
    }
}
