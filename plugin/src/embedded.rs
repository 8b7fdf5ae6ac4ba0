//! A model inside an HDF5 file: the scalar dataset `/.h5z_sae/models/<id>`, whose one value, of opaque type, is the
//! model file.
//!
//! Opaque and scalar, so that tools which put filters on all datasets of a file leave it alone. The file may come from
//! anywhere, so that nothing but its own plain bytes is read: no link that leads elsewhere, no external file, no chunk,
//! no filter, no size that the file has not stored.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use h5z_sae::sae::{Model, ModelId};

use crate::host::{FileFns, Hid};
use crate::models::{EMBEDDED_GROUPS, MAX_FILE_BYTES, embedded_path};

/// `H5P_DEFAULT`, and `H5S_ALL`.
const DEFAULT: Hid = 0;

/// `H5L_TYPE_HARD`.
const LINK_HARD: c_int = 0;

/// `H5T_OPAQUE`.
const CLASS_OPAQUE: c_int = 5;

/// `H5S_SCALAR`.
const SPACE_SCALAR: c_int = 0;

/// `H5D_COMPACT` and `H5D_CONTIGUOUS`. We write the latter; h5repack may be asked to make the former of it.
const PLAIN_LAYOUTS: [c_int; 2] = [0, 1];

/// 128 bytes, more than any version of `H5L_info_t` has (40).
const LINK_INFO_WORDS: usize = 16;

/// An identifier of ours. HDF5 gets it back when it is dropped.
pub(crate) struct Id<'a> {
    hdf5: &'a FileFns,
    id: Hid,
}

impl<'a> Id<'a> {
    /// What a call has returned; `None` if it failed.
    pub(crate) fn own(hdf5: &'a FileFns, id: Hid) -> Option<Self> {
        (id >= 0).then_some(Self { hdf5, id })
    }

    pub(crate) fn get(&self) -> Hid {
        self.id
    }
}

impl Drop for Id<'_> {
    fn drop(&mut self) {
        // SAFETY: a valid identifier, which nobody else gives back.
        unsafe { (self.hdf5.release)(self.id) };
    }
}

/// Reads the model from the file of `location`: a file or any object in it.
///
/// # Errors
/// Why not: "no such object", or what is wrong with the one that is there.
pub(crate) fn read(hdf5: &FileFns, location: Hid, id: ModelId) -> Result<Arc<Model>, String> {
    let dataset = open(hdf5, location, id)?;
    let bytes = content(hdf5, &dataset)?;
    let found = ModelId::of_file(&bytes);
    if found != id {
        return Err(format!("its content has the id {found}"));
    }
    Model::parse(&bytes).map_err(|error| error.message().to_string())
}

fn open<'a>(hdf5: &'a FileFns, location: Hid, id: ModelId) -> Result<Id<'a>, String> {
    let path = embedded_path(id);
    for step in EMBEDDED_GROUPS.into_iter().chain([path.as_str()]) {
        if link_type(hdf5, location, step).ok_or("no such object")? != LINK_HARD {
            return Err(format!("{step} is a link to somewhere else: expected an object of this file"));
        }
    }
    let path = c_string(&path);
    // SAFETY: a location that is open, and a path that ends with NUL.
    let dataset = unsafe { (hdf5.open_dataset)(location, path.as_ptr(), DEFAULT) };
    Id::own(hdf5, dataset).ok_or_else(|| "it is no dataset, or cannot be opened".to_string())
}

/// `H5L_type_t` of a link; `None` if there is none.
fn link_type(hdf5: &FileFns, location: Hid, path: &str) -> Option<c_int> {
    let path = c_string(path);
    let mut info = [0u64; LINK_INFO_WORDS];
    // SAFETY: a location that is open, a path that ends with NUL, and more room than the structure takes.
    let status = unsafe { (hdf5.link_info)(location, path.as_ptr(), info.as_mut_ptr().cast(), DEFAULT) };
    if status < 0 {
        return None;
    }
    // SAFETY: the structure begins with the type, a C enumeration, and the buffer is aligned for it.
    Some(unsafe { info.as_ptr().cast::<c_int>().read() })
}

fn content(hdf5: &FileFns, dataset: &Id<'_>) -> Result<Vec<u8>, String> {
    const NO_ANSWER: &str = "HDF5 does not say how it is stored";
    // SAFETY: an open dataset.
    let datatype = Id::own(hdf5, unsafe { (hdf5.dataset_type)(dataset.get()) }).ok_or(NO_ANSWER)?;
    // SAFETY: an open dataset.
    let space = Id::own(hdf5, unsafe { (hdf5.dataset_space)(dataset.get()) }).ok_or(NO_ANSWER)?;
    // SAFETY: an open dataset.
    let list = Id::own(hdf5, unsafe { (hdf5.dataset_list)(dataset.get()) }).ok_or(NO_ANSWER)?;
    // SAFETY: an open datatype.
    let class = unsafe { (hdf5.type_class)(datatype.get()) };
    // SAFETY: an open dataspace.
    let extent = unsafe { (hdf5.space_class)(space.get()) };
    if class != CLASS_OPAQUE || extent != SPACE_SCALAR {
        return Err("it is an ordinary dataset: expected a scalar of opaque type".to_string());
    }
    // SAFETY: an open creation list.
    let layout = unsafe { (hdf5.layout)(list.get()) };
    // SAFETY: an open creation list.
    let n_external = unsafe { (hdf5.n_external)(list.get()) };
    if !PLAIN_LAYOUTS.contains(&layout) || n_external != 0 {
        return Err("it is stored in chunks or in other files: expected one contiguous block".to_string());
    }
    // SAFETY: an open datatype.
    let n_bytes = unsafe { (hdf5.type_size)(datatype.get()) };
    // SAFETY: an open dataset.
    let stored_bytes = unsafe { (hdf5.storage_bytes)(dataset.get()) };
    if n_bytes as u64 > MAX_FILE_BYTES {
        return Err(format!("it has {n_bytes} bytes: allowed are {MAX_FILE_BYTES}"));
    }
    if stored_bytes != n_bytes as u64 {
        return Err(format!("{stored_bytes} of its {n_bytes} bytes are stored"));
    }
    read_all(hdf5, dataset, &datatype, n_bytes)
}

/// `n_bytes`: size of the one value.
fn read_all(hdf5: &FileFns, dataset: &Id<'_>, datatype: &Id<'_>, n_bytes: usize) -> Result<Vec<u8>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(n_bytes).map_err(|_| format!("no memory for its {n_bytes} bytes"))?;
    let block: *mut c_void = bytes.as_mut_ptr().cast();
    // SAFETY: an open dataset and its own type, so that its one value, of `n_bytes` bytes, goes to the block unchanged;
    // the block has room for that many.
    let status = unsafe { (hdf5.read)(dataset.get(), datatype.get(), DEFAULT, DEFAULT, DEFAULT, block) };
    if status < 0 {
        return Err("it cannot be read".to_string());
    }
    // SAFETY: reserved above, and written by a read that has succeeded.
    unsafe { bytes.set_len(n_bytes) };
    Ok(bytes)
}

fn c_string(path: &str) -> CString {
    // Made of constants and hexadecimal digits, so that there is no NUL in it.
    CString::new(path).unwrap_or_default()
}
