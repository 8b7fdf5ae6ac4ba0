//! Models inside an HDF5 file, read and written in the form that the filter expects: [`h5zsae::embedded_form`].

use h5z_sae::sae::ModelId;
use h5zsae::embedded_form::{self, StoredForm, id_of_name};
use hdf5::dataset::Layout;
use hdf5::{Dataset, File, Group};
use hdf5_sys::h5d::{H5D_fill_time_t, H5D_layout_t, H5Dclose, H5Dcreate2, H5Dread, H5Dwrite};
use hdf5_sys::h5l::{H5L_info1_t, H5L_type_t, H5Lget_info1};
use hdf5_sys::h5p::{
    H5P_CLS_DATASET_CREATE, H5P_DEFAULT, H5Pcreate, H5Pget_external_count, H5Pset_fill_time, H5Pset_layout,
    H5Pset_obj_track_times,
};
use hdf5_sys::h5s::{H5S_ALL, H5S_class_t, H5Screate};
use hdf5_sys::h5t::{H5T_class_t, H5Tcreate, H5Tget_class, H5Tset_tag};

use super::dataset;
use super::file::links;
use super::raw::{Id, c_string, call, check};
use crate::error::{At, CliError};

/// Tag of the opaque type, for those who look into the file.
const TAG: &str = "H5Z-SAE model (.sae)";

/// Ids of the models that a file holds, by the names of their datasets.
///
/// # Errors
/// HDF5's own sentence.
pub fn ids(file: &File) -> Result<Vec<ModelId>, CliError> {
    let Some(group) = models_group(file)? else { return Ok(Vec::new()) };
    Ok(links(&group)?.iter().filter_map(|(name, _)| id_of_name(name)).collect())
}

/// The group of the models. A link that leads out of the file is not followed: it counts as none.
fn models_group(file: &File) -> Result<Option<Group>, CliError> {
    let mut group = file.group("/")?;
    for path in embedded_form::GROUPS {
        let name = path.rsplit('/').next().unwrap_or_default();
        if !is_hard_link(&group, name)? {
            return Ok(None);
        }
        group = group.group(name).at(path)?;
    }
    Ok(Some(group))
}

fn is_hard_link(group: &Group, name: &str) -> Result<bool, CliError> {
    if !group.link_exists(name) {
        return Ok(false);
    }
    let name = c_string(name)?;
    let mut info = H5L_info1_t::default();
    // SAFETY: an open group, a name that ends with a NUL, and room for the structure.
    check(call(|| unsafe { H5Lget_info1(group.id(), name.as_ptr(), &raw mut info, H5P_DEFAULT) }))?;
    Ok(info.type_ == H5L_type_t::H5L_TYPE_HARD)
}

/// The bytes of the model file of that id, checked against the id; `None` where there is none.
///
/// # Errors
/// A sentence that begins with the dataset's path: what is there is not what is expected.
pub fn read(file: &File, id: ModelId) -> Result<Option<Vec<u8>>, CliError> {
    let Some(group) = models_group(file)? else { return Ok(None) };
    let name = id.to_string();
    if !is_hard_link(&group, &name)? {
        return Ok(None);
    }
    let path = embedded_form::path(id);
    let bytes = dataset::open(&group, &name).and_then(|model| content(&model)).at(&path)?;
    embedded_form::check_id(&bytes, id).map_err(CliError::new).at(&path)?;
    Ok(Some(bytes))
}

fn content(model: &Dataset) -> Result<Vec<u8>, CliError> {
    let dtype = model.dtype()?;
    // SAFETY: the datatype is open.
    let class = call(|| unsafe { H5Tget_class(dtype.id()) });
    let plist = model.create_plist()?;
    // SAFETY: the list is open.
    let n_external = check(call(|| unsafe { H5Pget_external_count(plist.id()) }))?;
    let form = StoredForm {
        is_opaque_scalar: class == H5T_class_t::H5T_OPAQUE && model.is_scalar(),
        is_plain: matches!(model.layout(), Layout::Contiguous | Layout::Compact) && n_external == 0,
        n_bytes: dtype.size() as u64,
        stored_bytes: model.storage_size(),
    };
    let mut bytes = vec![0u8; form.readable_bytes().map_err(CliError::new)?];
    // SAFETY: the buffer has the size of the dataset's one value in its own type.
    check(call(|| unsafe {
        H5Dread(model.id(), dtype.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.as_mut_ptr().cast())
    }))?;
    Ok(bytes)
}

/// Puts a model file into an HDF5 file that is open for writing, in place of what has its name. `id`: its own.
///
/// # Errors
/// HDF5's own sentence.
pub fn write(file: &File, id: ModelId, bytes: &[u8]) -> Result<(), CliError> {
    let group = create_models_group(file)?;
    let name = id.to_string();
    if group.link_exists(&name) {
        group.unlink(&name)?;
    }
    let tag = c_string(TAG)?;
    // SAFETY: any size above 0 may be asked for.
    let dtype = Id::own(call(|| unsafe { H5Tcreate(H5T_class_t::H5T_OPAQUE, bytes.len()) }))?;
    // SAFETY: an open opaque type, and a string that ends with a NUL.
    check(call(|| unsafe { H5Tset_tag(dtype.get(), tag.as_ptr()) }))?;
    // SAFETY: takes a class alone.
    let space = Id::own(call(|| unsafe { H5Screate(H5S_class_t::H5S_SCALAR) }))?;
    let plist = creation_properties()?;
    let c_name = c_string(&name)?;
    // SAFETY: all identifiers are open, and the name ends with a NUL.
    let model = check(call(|| unsafe {
        let (dtype, space, plist) = (dtype.get(), space.get(), plist.get());
        H5Dcreate2(group.id(), c_name.as_ptr(), dtype, space, H5P_DEFAULT, plist, H5P_DEFAULT)
    }))?;
    // SAFETY: an open dataset of the type that is named, whose one value has as many bytes as the slice.
    let written = check(call(|| unsafe {
        H5Dwrite(model, dtype.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.as_ptr().cast())
    }));
    // SAFETY: an open dataset, which nobody else closes.
    let closed = check(call(|| unsafe { H5Dclose(model) }));
    written.and(closed).map(drop)
}

fn create_models_group(file: &File) -> Result<Group, CliError> {
    let mut group = file.group("/")?;
    for path in embedded_form::GROUPS {
        let name = path.rsplit('/').next().unwrap_or_default();
        group = if !group.link_exists(name) {
            group.create_group_builder().obj_track_times(false).create(name)?
        } else if is_hard_link(&group, name)? {
            group.group(name).at(path)?
        } else {
            return Err(CliError::new(embedded_form::leads_elsewhere(path)));
        };
    }
    Ok(group)
}

/// Contiguous, and without the time of writing, so that the same model makes the same bytes.
fn creation_properties() -> Result<Id, CliError> {
    // SAFETY: the class identifier is HDF5's own, initialised by the lock's first use.
    let plist = Id::own(call(|| unsafe { H5Pcreate(*H5P_CLS_DATASET_CREATE) }))?;
    // SAFETY: an open creation list.
    check(call(|| unsafe { H5Pset_layout(plist.get(), H5D_layout_t::H5D_CONTIGUOUS) }))?;
    // SAFETY: an open creation list.
    check(call(|| unsafe { H5Pset_fill_time(plist.get(), H5D_fill_time_t::H5D_FILL_TIME_NEVER) }))?;
    // SAFETY: an open creation list.
    check(call(|| unsafe { H5Pset_obj_track_times(plist.get(), 0) }))?;
    Ok(plist)
}
