//! HDF5's own functions, found at run time in the library that called us.
//!
//! The address that HDF5 called from leads to its shared library, and `dlsym` there to its functions. So one copy of
//! this plugin serves several HDF5 libraries in one process, each through its own functions. Where that library does
//! not show them (a program with HDF5 linked in statically), all symbols of the process are searched, and then the
//! library that was named to `init_filter`.
//!
//! Functions only: the address of a data symbol (`H5P_CLS_…_g`, `H5E_…_g`) may lead to a copy that nobody has
//! initialised. The one exception is the text of the version, which is constant. Every function may be absent; what
//! needs it then fails with its name. Whether one may be called at all is asked of [`calling_thread::may_call`].

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::calling_thread;

/// `hid_t` of HDF5 1.10 and later. Before, it was 32 bits wide.
pub(crate) type Hid = i64;

/// `herr_t` and `htri_t`: negative on failure.
pub(crate) type Herr = c_int;

/// The oldest HDF5 whose identifiers have 64 bits.
const OLDEST_VERSION: (c_uint, c_uint) = (1, 10);

/// A handle of `dlopen` that is never closed, so that nothing found in it goes away.
#[derive(Clone, Copy)]
struct Library(*mut c_void);

// SAFETY: a handle of `dlopen` may be used from any thread.
unsafe impl Send for Library {}

impl Library {
    /// All symbols of the process that were loaded globally.
    const PROCESS: Self = Self(libc::RTLD_DEFAULT);

    /// The library or program that `address` lies in.
    fn of_address(address: *const c_void) -> Option<Self> {
        let info = address_info(address)?;
        // SAFETY: `dli_fname` is a NUL-terminated string that lives as long as the library, and the library has just
        // called us.
        let handle = unsafe { libc::dlopen(info.dli_fname, libc::RTLD_NOLOAD | libc::RTLD_NOW) };
        (!handle.is_null()).then_some(Self(handle))
    }

    fn symbol(self, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: the handle is open, or RTLD_DEFAULT; the name ends with NUL.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }
}

/// What the loader knows of an address; `None` if it lies in no loaded object.
fn address_info(address: *const c_void) -> Option<libc::Dl_info> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: `dladdr` takes any address and writes `info` if it returns nonzero.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: written, as the result is nonzero.
    let info = (found != 0).then(|| unsafe { info.assume_init() })?;
    (!info.dli_fname.is_null()).then_some(info)
}

/// Where the object that `address` lies in is loaded; `None` if it lies in none.
pub(crate) fn load_address(address: *const c_void) -> Option<usize> {
    address_info(address).map(|info| info.dli_fbase as usize)
}

/// The file of the loaded object that `address` lies in.
pub(crate) fn library_file(address: *const c_void) -> Option<PathBuf> {
    let info = address_info(address)?;
    // SAFETY: a NUL-terminated string that lives as long as the object. Callers ask for addresses of their own code.
    let file = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(file.to_bytes())))
}

macro_rules! function_table {
    ($(#[$doc:meta])* $table:ident {
        $($field:ident = $symbol:literal $(or $other:literal)*: $signature:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $table {
            $(pub(crate) $field: $signature,)*
        }

        impl $table {
            /// # Errors
            /// The name of the first function that `library` does not show, under none of its names.
            fn find(library: Library) -> Result<Self, &'static CStr> {
                Ok(Self {
                    $($field: {
                        let mut names = [$symbol $(, $other)*].into_iter();
                        let address = names.find_map(|name| library.symbol(name)).ok_or($symbol)?;
                        // SAFETY: the symbol is HDF5's public function of that name, and the signature is the one
                        // that its headers declare from 1.10 on.
                        unsafe { std::mem::transmute::<*mut c_void, $signature>(address) }
                    },)*
                })
            }
        }
    };
}

function_table! {
    /// What `can_apply` and `set_local` ask of a type and of a creation property list.
    PropertyFns {
        type_class = c"H5Tget_class": unsafe extern "C" fn(Hid) -> c_int,
        type_size = c"H5Tget_size": unsafe extern "C" fn(Hid) -> usize,
        type_order = c"H5Tget_order": unsafe extern "C" fn(Hid) -> c_int,
        type_precision = c"H5Tget_precision": unsafe extern "C" fn(Hid) -> usize,
        type_offset = c"H5Tget_offset": unsafe extern "C" fn(Hid) -> c_int,
        type_sign = c"H5Tget_sign": unsafe extern "C" fn(Hid) -> c_int,
        type_fields = c"H5Tget_fields":
            unsafe extern "C" fn(Hid, *mut usize, *mut usize, *mut usize, *mut usize, *mut usize) -> Herr,
        type_exponent_bias = c"H5Tget_ebias": unsafe extern "C" fn(Hid) -> usize,
        type_norm = c"H5Tget_norm": unsafe extern "C" fn(Hid) -> c_int,
        n_filters = c"H5Pget_nfilters": unsafe extern "C" fn(Hid) -> c_int,
        filter_at = c"H5Pget_filter2": unsafe extern "C" fn(
            Hid, c_uint, *mut c_uint, *mut usize, *mut c_uint, usize, *mut c_char, *mut c_uint,
        ) -> c_int,
        modify_filter = c"H5Pmodify_filter":
            unsafe extern "C" fn(Hid, c_int, c_uint, usize, *const c_uint) -> Herr,
        chunk = c"H5Pget_chunk": unsafe extern "C" fn(Hid, c_int, *mut u64) -> c_int,
        fill_status = c"H5Pfill_value_defined": unsafe extern "C" fn(Hid, *mut c_int) -> Herr,
        fill_value = c"H5Pget_fill_value": unsafe extern "C" fn(Hid, Hid, *mut c_void) -> Herr,
    }
}

function_table! {
    /// What a record on the error stack takes.
    ErrorFns {
        is_valid = c"H5Iis_valid": unsafe extern "C" fn(Hid) -> Herr,
        class_name = c"H5Eget_class_name": unsafe extern "C" fn(Hid, *mut c_char, usize) -> isize,
        register_class = c"H5Eregister_class":
            unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> Hid,
        create_message = c"H5Ecreate_msg": unsafe extern "C" fn(Hid, c_int, *const c_char) -> Hid,
        create_stack = c"H5Ecreate_stack": unsafe extern "C" fn() -> Hid,
        set_current_stack = c"H5Eset_current_stack": unsafe extern "C" fn(Hid) -> Herr,
        push = c"H5Epush2": unsafe extern "C" fn(
            Hid, *const c_char, *const c_char, c_uint, Hid, Hid, Hid, *const c_char, ...
        ) -> Herr,
    }
}

function_table! {
    /// Functions that tell a file which the ranks of an MPI program have open together.
    ParallelFns {
        file_of = c"H5Iget_file_id": unsafe extern "C" fn(Hid) -> Hid,
        // Fails but for files with MPI-IO. Unlike their access lists, whose communicators are copied, it asks no other
        // rank. The flag has one byte or four.
        atomicity = c"H5Fget_mpi_atomicity": unsafe extern "C" fn(Hid, *mut u32) -> Herr,
    }
}

function_table! {
    /// What finding a model in the files that are open takes.
    FileFns {
        object_count = c"H5Fget_obj_count": unsafe extern "C" fn(Hid, c_uint) -> isize,
        object_ids = c"H5Fget_obj_ids": unsafe extern "C" fn(Hid, c_uint, usize, *mut Hid) -> isize,
        file_name = c"H5Fget_name": unsafe extern "C" fn(Hid, *mut c_char, usize) -> isize,
        open_file = c"H5Fopen": unsafe extern "C" fn(*const c_char, c_uint, Hid) -> Hid,
        // The structure differs between the versions of this function, but not in its first member.
        link_info = c"H5Lget_info" or c"H5Lget_info2" or c"H5Lget_info1":
            unsafe extern "C" fn(Hid, *const c_char, *mut c_void, Hid) -> Herr,
        open_dataset = c"H5Dopen2": unsafe extern "C" fn(Hid, *const c_char, Hid) -> Hid,
        dataset_type = c"H5Dget_type": unsafe extern "C" fn(Hid) -> Hid,
        dataset_space = c"H5Dget_space": unsafe extern "C" fn(Hid) -> Hid,
        dataset_list = c"H5Dget_create_plist": unsafe extern "C" fn(Hid) -> Hid,
        storage_bytes = c"H5Dget_storage_size": unsafe extern "C" fn(Hid) -> u64,
        space_class = c"H5Sget_simple_extent_type": unsafe extern "C" fn(Hid) -> c_int,
        type_class = c"H5Tget_class": unsafe extern "C" fn(Hid) -> c_int,
        type_size = c"H5Tget_size": unsafe extern "C" fn(Hid) -> usize,
        layout = c"H5Pget_layout": unsafe extern "C" fn(Hid) -> c_int,
        n_external = c"H5Pget_external_count": unsafe extern "C" fn(Hid) -> c_int,
        read = c"H5Dread": unsafe extern "C" fn(Hid, Hid, Hid, Hid, Hid, *mut c_void) -> Herr,
        release = c"H5Idec_ref": unsafe extern "C" fn(Hid) -> c_int,
    }
}

function_table! {
    /// What keeps the caller's error stack and its handler as they are while calls of ours fail.
    ErrorStateFns {
        get_current_stack = c"H5Eget_current_stack": unsafe extern "C" fn() -> Hid,
        set_current_stack = c"H5Eset_current_stack": unsafe extern "C" fn(Hid) -> Herr,
        handler_is_v2 = c"H5Eauto_is_v2": unsafe extern "C" fn(Hid, *mut c_uint) -> Herr,
        get_handler = c"H5Eget_auto2": unsafe extern "C" fn(Hid, *mut *mut c_void, *mut *mut c_void) -> Herr,
        set_handler = c"H5Eset_auto2": unsafe extern "C" fn(Hid, *mut c_void, *mut c_void) -> Herr,
    }
}

function_table! {
    /// The same for handlers of HDF5 1.6's interface, which a build may leave out.
    OldHandlerFns {
        get = c"H5Eget_auto1": unsafe extern "C" fn(*mut *mut c_void, *mut *mut c_void) -> Herr,
        set = c"H5Eset_auto1": unsafe extern "C" fn(*mut c_void, *mut c_void) -> Herr,
    }
}

function_table! {
    /// HDF5's allocator, for buffers that HDF5 frees.
    MemoryFns {
        allocate = c"H5allocate_memory": unsafe extern "C" fn(usize, c_uint) -> *mut c_void,
        free = c"H5free_memory": unsafe extern "C" fn(*mut c_void) -> Herr,
    }
}

function_table! {
    /// What registers a filter without a plugin path.
    RegisterFns {
        register = c"H5Zregister": unsafe extern "C" fn(*const c_void) -> Herr,
    }
}

function_table! {
    VersionFns {
        version = c"H5get_libversion": unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut c_uint) -> Herr,
    }
}

/// One HDF5 library of the process, as far as it shows its functions.
pub(crate) struct Host {
    properties: Result<PropertyFns, String>,
    files: Result<(FileFns, ErrorStateFns), String>,
    /// `None` where the library is built without MPI.
    pub(crate) parallel: Option<ParallelFns>,
    /// `None` where the library has no such handlers.
    pub(crate) old_handlers: Option<OldHandlerFns>,
    /// Major and minor number; `None` where the library does not say.
    pub(crate) version: Option<(c_uint, c_uint)>,
    /// Where the object that called us, the library or a program around it, is loaded.
    pub(crate) base: usize,
    /// `None` where messages cannot be pushed.
    pub(crate) errors: Option<ErrorFns>,
    /// `None` where HDF5 must take what malloc gives: it does, except in its builds for debugging memory.
    pub(crate) memory: Option<MemoryFns>,
    /// Class and messages of our error records, remembered by `error_stack`.
    pub(crate) error_ids: Mutex<Option<ErrorIds>>,
}

/// Identifiers that HDF5 gave to our error class and its two messages.
#[derive(Clone, Copy)]
pub(crate) struct ErrorIds {
    pub(crate) class: Hid,
    pub(crate) major: Hid,
    pub(crate) minor: Hid,
}

impl Host {
    fn of_library(library: Library, base: usize) -> Self {
        let lacks = |missing: &'static CStr| {
            format!(
                "the HDF5 library in this process does not show its function {}: link the program with the shared \
                 libhdf5 (h5cc and h5fc need -shlib)",
                missing.to_string_lossy()
            )
        };
        let files = FileFns::find(library).and_then(|files| Ok((files, ErrorStateFns::find(library)?)));
        let mut host = Self {
            properties: PropertyFns::find(library).map_err(lacks),
            files: files.map_err(lacks),
            parallel: ParallelFns::find(library).ok(),
            old_handlers: OldHandlerFns::find(library).ok(),
            version: stated_version(library).or_else(|| asked_version(library, base)),
            base,
            errors: ErrorFns::find(library).ok(),
            memory: MemoryFns::find(library).ok(),
            error_ids: Mutex::new(None),
        };
        if let Some((major, minor)) = host.version.filter(|&found| found < OLDEST_VERSION) {
            let too_old = format!("HDF5 {major}.{minor} is too old for this filter: 1.10 or later is needed");
            host.properties = Err(too_old.clone());
            host.files = Err(too_old);
            host.errors = None;
        }
        host
    }

    /// The functions for types and property lists.
    ///
    /// # Errors
    /// A sentence that says what the library lacks.
    pub(crate) fn properties(&self) -> Result<&PropertyFns, &str> {
        self.properties.as_ref().map_err(String::as_str)
    }

    /// The functions for files that are open, and those that keep the error stack as it is meanwhile.
    ///
    /// # Errors
    /// A sentence that says what the library lacks.
    pub(crate) fn files(&self) -> Result<&(FileFns, ErrorStateFns), &str> {
        self.files.as_ref().map_err(String::as_str)
    }
}

/// What the library's own text says of its version: `HDF5 library version: 1.10.8`. No call is needed for it, so that
/// it can be read on any thread.
fn stated_version(library: Library) -> Option<(c_uint, c_uint)> {
    let text = library.symbol(c"H5_lib_vers_info_g")?;
    // SAFETY: an array of characters that ends with NUL, constant, in every version of HDF5.
    version_in(&unsafe { CStr::from_ptr(text.cast::<c_char>()) }.to_string_lossy())
}

fn version_in(text: &str) -> Option<(c_uint, c_uint)> {
    let mut numbers = text.split_whitespace().next_back()?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What the library answers, where this thread may ask it.
fn asked_version(library: Library, base: usize) -> Option<(c_uint, c_uint)> {
    if !calling_thread::is_callers(base) {
        return None;
    }
    let functions = VersionFns::find(library).ok()?;
    let (mut major, mut minor, mut release) = (0, 0, 0);
    // SAFETY: three valid places for three numbers.
    let status = unsafe { (functions.version)(&mut major, &mut minor, &mut release) };
    (status >= 0).then_some((major, minor))
}

/// Hosts by the load address of their library. As many as there are HDF5 libraries in the process, so they are
/// never freed.
static HOSTS: Mutex<Vec<(usize, &'static Host)>> = Mutex::new(Vec::new());

/// What hdf5plugin named to `init_filter`.
static NAMED_LIBRARY: Mutex<Option<Library>> = Mutex::new(None);

/// The HDF5 library that called a callback, by the callback's return address.
pub(crate) fn of_caller(return_address: *const c_void) -> &'static Host {
    let base = load_address(return_address).unwrap_or(0);
    let known =
        |hosts: &[(usize, &'static Host)]| hosts.iter().find(|(at, _)| *at == base).map(|(_, host)| *host);
    if let Some(host) = known(&lock(&HOSTS)) {
        return host;
    }
    // No lock is held meanwhile: HDF5 is asked for its version, and may wait there for a thread that waits here.
    let found = Host::of_library(library_for(return_address), base);
    let mut hosts = lock(&HOSTS);
    // Another thread may have been faster.
    if let Some(host) = known(&hosts) {
        return host;
    }
    let host: &'static Host = Box::leak(Box::new(found));
    hosts.push((base, host));
    host
}

/// The first of caller, process and named library that has HDF5's functions.
fn library_for(return_address: *const c_void) -> Library {
    let candidates = [Library::of_address(return_address), Some(Library::PROCESS), *lock(&NAMED_LIBRARY)];
    let shows_hdf5 = |library: &Library| library.symbol(c"H5open").is_some();
    candidates.into_iter().flatten().find(shows_hdf5).unwrap_or(Library::PROCESS)
}

/// Honours hdf5plugin's `init_filter`: `path` is the HDF5 library that will use this filter.
///
/// Returns whether that library could be opened and shows HDF5's functions.
pub(crate) fn name_library(path: &CStr) -> bool {
    // SAFETY: the path ends with NUL. Opening runs constructors only if the library is not loaded yet, and the
    // caller says that it is the one in use.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    let library = Library(handle);
    if handle.is_null() || library.symbol(c"H5open").is_none() {
        return false;
    }
    *lock(&NAMED_LIBRARY) = Some(library);
    true
}

/// Registers `class` with the HDF5 that this process has linked, or that was named.
///
/// # Errors
/// A sentence that says what is missing.
///
/// # Safety
/// `class` points to an `H5Z_class2_t` that lives for ever.
pub(crate) unsafe fn register_class(class: *const c_void) -> Result<(), &'static str> {
    let candidates = [Some(Library::PROCESS), *lock(&NAMED_LIBRARY)];
    let functions = candidates.into_iter().flatten().find_map(|library| RegisterFns::find(library).ok());
    let functions = functions.ok_or(
        "no HDF5 library is visible in this process: link the program with the shared libhdf5 (h5cc and h5fc need \
         -shlib)",
    )?;
    // SAFETY: the caller's promise is what H5Zregister asks for.
    match unsafe { (functions.register)(class) } {
        0.. => Ok(()),
        _ => Err("H5Zregister refused the filter: HDF5's error stack says why"),
    }
}

/// Locks, also after a panic of another holder: what the locks of this crate guard is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_libraries_state_them() {
        assert_eq!(version_in("HDF5 library version: 1.10.8"), Some((1, 10)));
        assert_eq!(version_in("HDF5 library version: 2.3.0-1"), Some((2, 3)));
        for text in ["", "HDF5 library version:", "HDF5 2", "HDF5 library version: 2.x"] {
            assert_eq!(version_in(text), None, "{text:?}");
        }
    }
}
