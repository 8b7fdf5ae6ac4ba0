//! Reading a model that lies inside an HDF5 file, in the form of [`embedded_form`], through the HDF5 that has called
//! the filter.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use h5z_sae::sae::{Model, ModelId};

use crate::embedded_form::{self, StoredForm};
use crate::host::{FileFns, Hid};

/// `H5P_DEFAULT`, and `H5S_ALL`.
const DEFAULT: Hid = 0;

/// `H5L_TYPE_HARD`.
const LINK_HARD: c_int = 0;

/// `H5T_OPAQUE`.
const CLASS_OPAQUE: c_int = 5;

/// `H5S_SCALAR`.
const SPACE_SCALAR: c_int = 0;

/// `H5D_COMPACT` and `H5D_CONTIGUOUS`.
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
    embedded_form::check_id(&bytes, id)?;
    Model::parse(&bytes).map_err(|error| error.message().to_string())
}

fn open<'a>(hdf5: &'a FileFns, location: Hid, id: ModelId) -> Result<Id<'a>, String> {
    let path = embedded_form::path(id);
    for step in embedded_form::GROUPS.into_iter().chain([path.as_str()]) {
        if link_type(hdf5, location, step).ok_or("no such object")? != LINK_HARD {
            return Err(embedded_form::leads_elsewhere(step));
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
    // SAFETY: an open creation list.
    let layout = unsafe { (hdf5.layout)(list.get()) };
    // SAFETY: an open creation list.
    let n_external = unsafe { (hdf5.n_external)(list.get()) };
    // SAFETY: an open datatype.
    let n_bytes = unsafe { (hdf5.type_size)(datatype.get()) };
    // SAFETY: an open dataset.
    let stored_bytes = unsafe { (hdf5.storage_bytes)(dataset.get()) };
    let form = StoredForm {
        is_opaque_scalar: class == CLASS_OPAQUE && extent == SPACE_SCALAR,
        is_plain: PLAIN_LAYOUTS.contains(&layout) && n_external == 0,
        n_bytes: n_bytes as u64,
        stored_bytes,
    };
    read_all(hdf5, dataset, &datatype, form.readable_bytes()?)
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
