//! Copies attributes between objects of two files.

use hdf5::{Attribute, Location};
use hdf5_sys::h5a::{H5Acreate2, H5Aopen, H5Aread, H5Awrite};
use hdf5_sys::h5d::H5Dvlen_reclaim;
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5p::H5P_DEFAULT;
use hdf5_sys::h5t::{H5T_class_t, H5Tdetect_class};

use super::raw::{Id, c_string, call, check};
use crate::error::{At, CliError};

/// Values of an attribute in memory, in its own type. Variable-length parts belong to HDF5 and are given back on drop.
pub struct AttributeValues {
    dtype: hdf5::Datatype,
    space: hdf5::Dataspace,
    /// As HDF5 lays the type out in memory.
    pub bytes: Vec<u8>,
}

impl AttributeValues {
    /// # Errors
    /// HDF5's own sentence.
    pub fn read(attribute: &Attribute) -> Result<Self, CliError> {
        let (dtype, space) = (attribute.dtype()?, attribute.space()?);
        let mut bytes = vec![0u8; attribute.size() * dtype.size()];
        if !bytes.is_empty() {
            // SAFETY: `bytes` holds all values of the attribute in the type that is named.
            check(call(|| unsafe { H5Aread(attribute.id(), dtype.id(), bytes.as_mut_ptr().cast()) }))?;
        }
        Ok(Self { dtype, space, bytes })
    }

    /// # Errors
    /// HDF5's own sentence.
    pub fn write(&self, attribute: hid_t) -> Result<(), CliError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: `bytes` holds values of the type that is named, as many as the attribute was created for.
        check(call(|| unsafe { H5Awrite(attribute, self.dtype.id(), self.bytes.as_ptr().cast()) }))?;
        Ok(())
    }

    /// The values' type.
    pub fn dtype(&self) -> &hdf5::Datatype {
        &self.dtype
    }
}

impl Drop for AttributeValues {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            // SAFETY: HDF5 has filled `bytes` for this type and space; pointers in it are its own, read once.
            call(|| unsafe {
                H5Dvlen_reclaim(self.dtype.id(), self.space.id(), H5P_DEFAULT, self.bytes.as_mut_ptr().cast())
            });
        }
    }
}

/// Whether values of the type hold references, however deep.
pub fn holds_references(dtype: &hdf5::Datatype) -> bool {
    // SAFETY: the datatype is open.
    call(|| unsafe { H5Tdetect_class(dtype.id(), H5T_class_t::H5T_REFERENCE) }) > 0
}

/// Names of an object's attributes, in the order of creation where it is kept.
///
/// # Errors
/// HDF5's own sentence.
pub fn names(location: &Location) -> Result<Vec<String>, CliError> {
    use hdf5::{IndexType, IterationOrder};
    location
        .attr_names_by(IndexType::CreationOrder, IterationOrder::Increasing)
        .or_else(|_| location.attr_names())
        .map_err(CliError::from)
}

/// Copies all attributes and the comment. `target_type` gives the type that stands for one of the source in the
/// target file. References are left for [`super::references`], which knows where their objects have gone.
///
/// # Errors
/// HDF5's own sentence, after the attribute's name.
pub fn copy_all(
    source: &Location,
    target: &Location,
    target_type: impl Fn(&hdf5::Datatype) -> Result<Id, CliError>,
) -> Result<(), CliError> {
    for name in names(source)? {
        copy_one(source, target, &name, &target_type).at(format_args!("attribute {name}"))?;
    }
    if let Some(comment) = source.comment() {
        #[expect(deprecated, reason = "new files need no comments, but old ones keep theirs")]
        target.set_comment(&comment)?;
    }
    Ok(())
}

fn copy_one(
    source: &Location,
    target: &Location,
    name: &str,
    target_type: impl Fn(&hdf5::Datatype) -> Result<Id, CliError>,
) -> Result<(), CliError> {
    let attribute = source.attr(name)?;
    let (dtype, space, creation) = (attribute.dtype()?, attribute.space()?, attribute.create_plist()?);
    let (stored_type, c_name) = (target_type(&dtype)?, c_string(name)?);
    // SAFETY: all identifiers are open, and the name ends with a NUL.
    let copy = Id::own(call(|| unsafe {
        H5Acreate2(target.id(), c_name.as_ptr(), stored_type.get(), space.id(), creation.id(), H5P_DEFAULT)
    }))?;
    if holds_references(&dtype) {
        return Ok(());
    }
    AttributeValues::read(&attribute)?.write(copy.get())
}

/// Opens an attribute of the target by its identifier, for writing.
///
/// # Errors
/// HDF5's own sentence.
pub fn open(target: &Location, name: &str) -> Result<Id, CliError> {
    let name = c_string(name)?;
    // SAFETY: the location is open, and the name ends with a NUL.
    Id::own(call(|| unsafe { H5Aopen(target.id(), name.as_ptr(), H5P_DEFAULT) }))
}
