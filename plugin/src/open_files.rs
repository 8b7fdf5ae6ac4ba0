//! Models inside the HDF5 files that this process has open, through the HDF5 that has called the filter.
//!
//! A filter is not told which file a chunk belongs to, so that all files are asked, each through any identifier of it
//! or of an object in it. Sources of virtual datasets have no identifiers; for them the process's descriptors of HDF5
//! files are gone through. HDF5 is called from the thread that it has called us on, while no lock of ours is held, and
//! never from within itself twice: what is read here must need no model.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use h5z_sae::sae::{Model, ModelId};

use crate::calling_thread;
use crate::descriptors;
use crate::embedded::{self, Id};
use crate::embedded_form;
use crate::error_stack;
use crate::host::{FileFns, Hid, Host, ParallelFns};

/// `H5F_OBJ_ALL` in the place of a file: all files.
const ALL_FILES: Hid = 0x1f;

/// `H5F_OBJ_FILE`, then datasets, groups, named types and attributes. Files first: mostly one of them has the model.
const OBJECT_KINDS: [c_uint; 5] = [0x01, 0x02, 0x04, 0x08, 0x10];

/// `H5F_ACC_RDONLY`, and with `H5F_ACC_SWMR_READ`: a file that is open already is opened again only in its own way.
const WAYS_TO_READ: [c_uint; 2] = [0x00, 0x40];

/// Files that a message names, of those without the model.
const MAX_NAMED: usize = 8;

/// Longest file name that is shown whole.
const MAX_NAME_BYTES: usize = 512;

thread_local! {
    static SEARCHING: Cell<bool> = const { Cell::new(false) };
}

/// Which files are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those with an identifier, or with an object that has one.
    Identified,
    /// Those whose descriptors this process holds, too: sources of virtual datasets. Closing what was opened for that
    /// may make HDF5 flush, which is harmless while it reads a chunk, and is not while it writes one.
    Descriptors,
}

/// Finds the model in a file that is open.
///
/// # Errors
/// What was searched, for the message.
pub(crate) fn find(host: &Host, id: ModelId, extent: Extent) -> Result<Arc<Model>, String> {
    let place = format!("{} in open HDF5 files", embedded_form::path(id));
    let not_searched = |reason: &str| format!("{place} (not searched: {reason})");
    let (files, error_state) = host.files().map_err(not_searched)?;
    if !calling_thread::may_call(host) {
        return Err(not_searched("this may be a thread of HDF5's own, from which it cannot be called"));
    }
    let Some(_once) = Search::begin() else {
        return Err(not_searched("this chunk itself is read for such a search"));
    };
    let search = || {
        let mut searched = Searched::default();
        identified(files, host.parallel.as_ref(), id, &mut searched)
            .or_else(|| match extent {
                Extent::Descriptors if !searched.shared_by_ranks => described(files, id),
                _ => None,
            })
            .ok_or(searched.reasons)
    };
    let found = error_stack::kept(host, error_state, search);
    let found = found.ok_or_else(|| not_searched("HDF5's error stack cannot be kept as it is"))?;
    found.map_err(|reasons| format!("{place} ({})", summary(reasons)))
}

/// Marks this thread as searching, until it is dropped.
struct Search;

impl Search {
    /// `None` if this thread is searching already, or is being torn down.
    fn begin() -> Option<Self> {
        SEARCHING.try_with(|searching| !searching.replace(true)).unwrap_or(false).then_some(Self)
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        let _ = SEARCHING.try_with(|searching| searching.set(false));
    }
}

/// What was seen on the way.
#[derive(Default)]
struct Searched {
    /// One line of each file without the model.
    reasons: Vec<String>,
    /// Some file is open by MPI-IO. None is opened once more then: that is the program's affair.
    shared_by_ranks: bool,
}

/// Asks the file of every identifier, but not one that is open by MPI-IO: its metadata may be read by all ranks
/// together only, and not every rank need be looking for a model.
fn identified(
    files: &FileFns,
    parallel: Option<&ParallelFns>,
    id: ModelId,
    searched: &mut Searched,
) -> Option<Arc<Model>> {
    for kind in OBJECT_KINDS {
        for location in identifiers(files, kind) {
            // Types that lie in no file are listed, too.
            let Some(name) = file_name(files, location) else { continue };
            let is_shared = parallel.is_some_and(|parallel| is_open_by_mpi(files, parallel, location));
            searched.shared_by_ranks |= is_shared;
            let reason = match is_shared {
                true => format!("{name}: not searched, it is open by MPI-IO"),
                false => match embedded::read(files, location, id) {
                    Ok(model) => return Some(model),
                    Err(reason) => format!("{name}: {reason}"),
                },
            };
            if !searched.reasons.contains(&reason) {
                searched.reasons.push(reason);
            }
        }
    }
    None
}

fn identifiers(files: &FileFns, kind: c_uint) -> Vec<Hid> {
    // SAFETY: takes any kinds.
    let count = unsafe { (files.object_count)(ALL_FILES, kind) };
    let mut ids = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: room for as many identifiers as are asked for. They stay their owners'.
    let written = unsafe { (files.object_ids)(ALL_FILES, kind, ids.len(), ids.as_mut_ptr()) };
    ids.truncate(usize::try_from(written).unwrap_or(0));
    ids
}

/// `None` for an identifier of something that lies in no file.
fn file_name(files: &FileFns, location: Hid) -> Option<String> {
    let mut name = [0u8; MAX_NAME_BYTES];
    // SAFETY: any identifier may be asked about, and the buffer has the length that is given.
    let length = unsafe { (files.file_name)(location, name.as_mut_ptr().cast::<c_char>(), name.len()) };
    let bytes = name.split(|&byte| byte == 0).next().unwrap_or_default();
    (length >= 0).then(|| String::from_utf8_lossy(bytes).into_owned())
}

fn is_open_by_mpi(files: &FileFns, parallel: &ParallelFns, location: Hid) -> bool {
    // SAFETY: any identifier may be asked about. What comes back is new, and given back when it is dropped.
    let file = Id::own(files, unsafe { (parallel.file_of)(location) });
    let mut atomic = 0;
    // SAFETY: an identifier of a file, and room for the flag.
    file.is_some_and(|file| unsafe { (parallel.atomicity)(file.get(), &raw mut atomic) } >= 0)
}

/// Asks every HDF5 file that this process has a descriptor of.
fn described(files: &FileFns, id: ModelId) -> Option<Arc<Model>> {
    descriptors::hdf5_files().into_iter().find_map(|path| {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        WAYS_TO_READ.into_iter().find_map(|flags| {
            // SAFETY: a path that ends with NUL; 0 is the default list.
            let file = Id::own(files, unsafe { (files.open_file)(path.as_ptr(), flags, 0) })?;
            embedded::read(files, file.get(), id).ok()
        })
    })
}

fn summary(mut reasons: Vec<String>) -> String {
    if reasons.is_empty() {
        return "none is open".to_string();
    }
    let n_more = reasons.len().saturating_sub(MAX_NAMED);
    reasons.truncate(MAX_NAMED);
    let more = if n_more > 0 { format!(", and {n_more} more") } else { String::new() };
    format!("{}{more}", reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_once_at_a_time_in_a_thread() {
        let outer = Search::begin().unwrap();
        assert!(Search::begin().is_none());
        assert!(std::thread::spawn(|| Search::begin().is_some()).join().unwrap());
        drop(outer);
        assert!(Search::begin().is_some());
    }

    #[test]
    fn names_few_of_many_files() {
        assert_eq!(summary(Vec::new()), "none is open");
        let many: Vec<String> = (0..11).map(|i| format!("{i}.h5: no such object")).collect();
        let text = summary(many);
        assert!(text.contains("7.h5") && !text.contains("8.h5") && text.ends_with("and 3 more"), "{text}");
    }
}
