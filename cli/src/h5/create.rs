//! Creating the dataset that takes another one's place: same type, extent, fill value and attributes' storage, but
//! other chunks and filters.

use h5z_sae::ElementType;
use hdf5::plist::LinkCreate;
use hdf5::{Dataset, Group, PropertyList};
use hdf5_sys::h5d::{H5D_fill_value_t, H5Dcreate2};
use hdf5_sys::h5p::{
    H5P_CLS_DATASET_CREATE, H5P_DEFAULT, H5Pcreate, H5Pfill_value_defined, H5Pget_attr_creation_order,
    H5Pget_attr_phase_change, H5Pget_fill_time, H5Pget_fill_value, H5Pget_obj_track_times,
    H5Pset_attr_creation_order, H5Pset_attr_phase_change, H5Pset_chunk, H5Pset_fill_time, H5Pset_fill_value,
    H5Pset_filter, H5Pset_obj_track_times,
};
use hdf5_sys::h5z::H5Z_FLAG_MANDATORY;

use super::pipeline::FilterEntry;
use super::raw::{Id, c_string, call, check};
use crate::error::CliError;
use crate::values::bits;

/// The fill value's bytes in the dataset's own type: what HDF5 puts where nobody has written.
///
/// # Errors
/// HDF5's own sentence.
pub fn fill_bytes(dataset: &Dataset) -> Result<Vec<u8>, CliError> {
    let (plist, dtype) = (dataset.create_plist()?, dataset.dtype()?);
    let mut bytes = vec![0u8; dtype.size()];
    if fill_status(&plist)? != H5D_fill_value_t::H5D_FILL_VALUE_UNDEFINED {
        // SAFETY: `bytes` has the size of one value of the type that is named.
        check(call(|| unsafe { H5Pget_fill_value(plist.id(), dtype.id(), bytes.as_mut_ptr().cast()) }))?;
    }
    Ok(bytes)
}

/// Bit pattern (native order, zero-extended) of the fill value that a user has chosen; `None` for HDF5's default.
///
/// # Errors
/// HDF5's own sentence.
pub fn user_fill(dataset: &Dataset, element: ElementType) -> Result<Option<u64>, CliError> {
    if fill_status(&*dataset.create_plist()?)? != H5D_fill_value_t::H5D_FILL_VALUE_USER_DEFINED {
        return Ok(None);
    }
    Ok(Some(bits(element, &fill_bytes(dataset)?)))
}

fn fill_status(plist: &PropertyList) -> Result<H5D_fill_value_t, CliError> {
    let mut status = H5D_fill_value_t::H5D_FILL_VALUE_ERROR;
    // SAFETY: the pointer is to a local of the type that HDF5 writes.
    check(call(|| unsafe { H5Pfill_value_defined(plist.id(), &raw mut status) }))?;
    Ok(status)
}

/// Where a new dataset goes.
pub struct Place<'a> {
    /// Group that gets the link.
    pub parent: &'a Group,
    /// Name of the link.
    pub name: &'a str,
    /// Properties of the link.
    pub link: &'a LinkCreate,
    /// The dataset's type in the new file.
    pub dtype: &'a Id,
}

/// Creates a dataset like `original`, but in the given chunks and through the given filters.
///
/// # Errors
/// HDF5's own sentence, or that of a filter which refuses the dataset.
pub fn create_like(
    original: &Dataset,
    place: &Place<'_>,
    chunk: &[usize],
    filters: &[FilterEntry],
) -> Result<Dataset, CliError> {
    let creation = creation_properties(original, chunk, filters)?;
    let (space, name) = (original.space()?, c_string(place.name)?);
    // SAFETY: all identifiers are open, and the name ends with a NUL.
    let id = check(call(|| unsafe {
        H5Dcreate2(
            place.parent.id(),
            name.as_ptr(),
            place.dtype.get(),
            space.id(),
            place.link.id(),
            creation.get(),
            H5P_DEFAULT,
        )
    }))?;
    // SAFETY: the identifier was just returned to us, and nobody else closes it.
    Ok(unsafe { hdf5::from_id(id) }?)
}

fn creation_properties(original: &Dataset, chunk: &[usize], filters: &[FilterEntry]) -> Result<Id, CliError> {
    let from = original.create_plist()?;
    // SAFETY: the class identifier is HDF5's own, initialised by the lock's first use.
    let to = Id::own(call(|| unsafe { H5Pcreate(*H5P_CLS_DATASET_CREATE) }))?;
    let dims: Vec<u64> = chunk.iter().map(|&n| n as u64).collect();
    // SAFETY: `dims` has the announced number of entries.
    check(call(|| unsafe { H5Pset_chunk(to.get(), dims.len() as i32, dims.as_ptr()) }))?;
    copy_fill_value(original, &from, &to)?;
    copy_object_properties(&from, &to)?;
    for filter in filters {
        // SAFETY: the pointer and the count describe one slice, which HDF5 copies.
        check(call(|| unsafe {
            H5Pset_filter(
                to.get(),
                filter.id,
                H5Z_FLAG_MANDATORY,
                filter.cd_values.len(),
                filter.cd_values.as_ptr(),
            )
        }))?;
    }
    Ok(to)
}

fn copy_fill_value(original: &Dataset, from: &PropertyList, to: &Id) -> Result<(), CliError> {
    let dtype = original.dtype()?;
    let mut fill_time = hdf5_sys::h5d::H5D_fill_time_t::H5D_FILL_TIME_IFSET;
    // SAFETY: the pointer is to a local of the type that HDF5 writes, and both lists are dataset creation lists.
    check(call(|| unsafe { H5Pget_fill_time(from.id(), &raw mut fill_time) }))?;
    // SAFETY: as above.
    check(call(|| unsafe { H5Pset_fill_time(to.get(), fill_time) }))?;
    // An undefined fill value becomes the default one: the edges of chunks need defined bytes.
    if fill_status(from)? == H5D_fill_value_t::H5D_FILL_VALUE_USER_DEFINED {
        let bytes = fill_bytes(original)?;
        // SAFETY: `bytes` is one value of the type that is named.
        check(call(|| unsafe { H5Pset_fill_value(to.get(), dtype.id(), bytes.as_ptr().cast()) }))?;
    }
    Ok(())
}

/// How attributes are stored and whether times are tracked.
fn copy_object_properties(from: &PropertyList, to: &Id) -> Result<(), CliError> {
    let (mut max_compact, mut min_dense, mut order, mut track_times) = (0, 0, 0, 0);
    // SAFETY: the pointers are to locals of the types that HDF5 writes.
    check(call(|| unsafe { H5Pget_attr_phase_change(from.id(), &raw mut max_compact, &raw mut min_dense) }))?;
    // SAFETY: as above.
    check(call(|| unsafe { H5Pget_attr_creation_order(from.id(), &raw mut order) }))?;
    // SAFETY: as above.
    check(call(|| unsafe { H5Pget_obj_track_times(from.id(), &raw mut track_times) }))?;
    // SAFETY: the list is open and the values are those that HDF5 has given.
    check(call(|| unsafe { H5Pset_attr_phase_change(to.get(), max_compact, min_dense) }))?;
    // SAFETY: as above.
    check(call(|| unsafe { H5Pset_attr_creation_order(to.get(), order) }))?;
    // SAFETY: as above.
    check(call(|| unsafe { H5Pset_obj_track_times(to.get(), track_times) }))?;
    Ok(())
}
