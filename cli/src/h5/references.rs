//! References between objects hold places in their file. In a copy the same objects lie elsewhere: here references
//! are read in the source, and written anew for the objects' copies.
//!
//! Object and region references of HDF5 up to 1.10 are translated wherever they stand: alone, in compounds, arrays or
//! variable-length sequences (dimension scales of netCDF-4 and h5py are such). A reference to nothing, or to an object
//! that no link reaches, becomes a null reference, as with h5repack.

use std::collections::HashMap;

use hdf5::{Dataset, File, Location};
use hdf5_sys::h5d::{H5Dread, H5Dvlen_reclaim, H5Dwrite};
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5p::H5P_DEFAULT;
use hdf5_sys::h5r::{H5R_type_t, H5Rcreate, H5Rdereference2, H5Rget_region};
use hdf5_sys::h5s::H5S_ALL;
use hdf5_sys::h5t::{
    H5T_class_t, H5Tget_class, H5Tget_member_offset, H5Tget_member_type, H5Tget_nmembers, H5Tget_size,
    H5Tget_super, hvl_t,
};

use super::attributes::{self, AttributeValues, holds_references};
use super::file::{ObjectKey, key_of};
use super::raw::{Id, c_string, call, check};
use crate::error::{At, CliError};

/// Bytes of an object reference and of a region reference in memory, in HDF5 up to 1.10.
const OBJECT_REFERENCE_BYTES: usize = 8;
const REGION_REFERENCE_BYTES: usize = 12;

/// Writes references for the copies of objects.
pub struct ReferenceCopy<'a> {
    /// File that is copied from.
    pub source: &'a File,
    /// File that is copied to.
    pub target: &'a File,
    /// Where each object of the source has gone.
    pub paths: &'a HashMap<ObjectKey, String>,
}

impl ReferenceCopy<'_> {
    /// Rewrites the references in an object's attributes.
    ///
    /// # Errors
    /// HDF5's own sentence, after the attribute's name.
    pub fn rewrite_attributes(&self, source: &Location, target: &Location) -> Result<(), CliError> {
        for name in attributes::names(source)? {
            let attribute = source.attr(&name)?;
            if !holds_references(&attribute.dtype()?) {
                continue;
            }
            let place = format!("attribute {name}");
            let mut values = AttributeValues::read(&attribute).at(&place)?;
            let dtype = values.dtype().id();
            self.translate(dtype, &mut values.bytes).at(&place)?;
            values.write(attributes::open(target, &name)?.get()).at(&place)?;
        }
        Ok(())
    }

    /// Rewrites the values of a dataset of references.
    ///
    /// # Errors
    /// HDF5's own sentence.
    pub fn rewrite_dataset(&self, source: &Dataset, target: &Dataset) -> Result<(), CliError> {
        let (dtype, space) = (source.dtype()?, source.space()?);
        let mut bytes = vec![0u8; source.size() * dtype.size()];
        if bytes.is_empty() || !holds_references(&dtype) {
            return Ok(());
        }
        // SAFETY: `bytes` holds all values of the dataset in the type that is named.
        check(call(|| unsafe {
            H5Dread(source.id(), dtype.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.as_mut_ptr().cast())
        }))?;
        let translated = self.translate(dtype.id(), &mut bytes);
        // SAFETY: as above; HDF5 only reads here.
        let written = call(|| unsafe {
            H5Dwrite(target.id(), dtype.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.as_ptr().cast())
        });
        // SAFETY: HDF5 has filled `bytes` for this type and space; pointers in it are its own, given back once.
        call(|| unsafe { H5Dvlen_reclaim(dtype.id(), space.id(), H5P_DEFAULT, bytes.as_mut_ptr().cast()) });
        translated?;
        check(written)?;
        Ok(())
    }

    /// Replaces every reference in values of type `dtype`, in place.
    fn translate(&self, dtype: hid_t, bytes: &mut [u8]) -> Result<(), CliError> {
        // SAFETY: `dtype` is open during the call.
        let (class, value_bytes) = call(|| unsafe { (H5Tget_class(dtype), H5Tget_size(dtype)) });
        match class {
            H5T_class_t::H5T_REFERENCE => bytes
                .chunks_exact_mut(value_bytes)
                .try_for_each(|reference| self.translate_reference(reference)),
            H5T_class_t::H5T_COMPOUND => self.translate_members(dtype, value_bytes, bytes),
            H5T_class_t::H5T_ARRAY => self.translate(super_type(dtype)?.get(), bytes),
            H5T_class_t::H5T_VLEN => self.translate_sequences(dtype, bytes),
            _ => Ok(()),
        }
    }

    fn translate_members(&self, dtype: hid_t, value_bytes: usize, bytes: &mut [u8]) -> Result<(), CliError> {
        // SAFETY: `dtype` is an open compound type.
        let n_members = check(call(|| unsafe { H5Tget_nmembers(dtype) }))?;
        for member in 0..n_members as u32 {
            // SAFETY: `member` is below the number of members.
            let (id, offset) =
                call(|| unsafe { (H5Tget_member_type(dtype, member), H5Tget_member_offset(dtype, member)) });
            let member_type = Id::own(id)?;
            // SAFETY: the member's type is open.
            let member_bytes = call(|| unsafe { H5Tget_size(member_type.get()) });
            for value in bytes.chunks_exact_mut(value_bytes) {
                self.translate(member_type.get(), &mut value[offset..offset + member_bytes])?;
            }
        }
        Ok(())
    }

    fn translate_sequences(&self, dtype: hid_t, bytes: &mut [u8]) -> Result<(), CliError> {
        let element = super_type(dtype)?;
        // SAFETY: the element type is open.
        let element_bytes = call(|| unsafe { H5Tget_size(element.get()) });
        for value in bytes.chunks_exact_mut(size_of::<hvl_t>()) {
            // SAFETY: HDF5 has written an `hvl_t` here; the buffer need not be aligned for it.
            let sequence = unsafe { value.as_ptr().cast::<hvl_t>().read_unaligned() };
            if sequence.len == 0 || sequence.p.is_null() {
                continue;
            }
            // SAFETY: HDF5 has allocated `len` elements at `p` for this very buffer; nobody else looks at them.
            let elements = unsafe {
                std::slice::from_raw_parts_mut(sequence.p.cast::<u8>(), sequence.len * element_bytes)
            };
            self.translate(element.get(), elements)?;
        }
        Ok(())
    }

    fn translate_reference(&self, reference: &mut [u8]) -> Result<(), CliError> {
        let kind = match reference.len() {
            OBJECT_REFERENCE_BYTES => H5R_type_t::H5R_OBJECT,
            REGION_REFERENCE_BYTES => H5R_type_t::H5R_DATASET_REGION,
            other => {
                return Err(CliError::new(format!(
                    "reference of {other} bytes: known are those of HDF5 up to 1.10"
                )));
            }
        };
        let new = match self.target_path(kind, reference)? {
            Some((path, region)) => self.create(kind, &path, region.as_ref().map_or(-1, Id::get))?,
            None => [0; REGION_REFERENCE_BYTES],
        };
        reference.copy_from_slice(&new[..reference.len()]);
        Ok(())
    }

    /// Where the object of a reference has gone, and which part of it is meant.
    fn target_path(
        &self,
        kind: H5R_type_t,
        reference: &[u8],
    ) -> Result<Option<(String, Option<Id>)>, CliError> {
        if reference.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let at = reference.as_ptr().cast();
        // SAFETY: the bytes are a reference of that kind, read from this file.
        let id = call(|| unsafe { H5Rdereference2(self.source.id(), H5P_DEFAULT, kind, at) });
        if id < 0 {
            return Ok(None);
        }
        // SAFETY: the identifier was just returned to us, and nobody else closes it.
        let object: Location = unsafe { hdf5::from_id(id) }?;
        let Some(path) = self.paths.get(&key_of(&object)?) else {
            return Ok(None);
        };
        let region = match kind {
            H5R_type_t::H5R_DATASET_REGION => {
                // SAFETY: as above.
                Some(Id::own(call(|| unsafe { H5Rget_region(self.source.id(), kind, at) }))?)
            }
            _ => None,
        };
        Ok(Some((path.clone(), region)))
    }

    fn create(
        &self,
        kind: H5R_type_t,
        path: &str,
        region: hid_t,
    ) -> Result<[u8; REGION_REFERENCE_BYTES], CliError> {
        let (mut new, path) = ([0u8; REGION_REFERENCE_BYTES], c_string(path)?);
        // SAFETY: `new` has room for the larger of both kinds, and the path ends with a NUL.
        check(call(|| unsafe {
            H5Rcreate(new.as_mut_ptr().cast(), self.target.id(), path.as_ptr(), kind, region)
        }))?;
        Ok(new)
    }
}

fn super_type(dtype: hid_t) -> Result<Id, CliError> {
    // SAFETY: `dtype` is an open type of a class that has a base type.
    Id::own(call(|| unsafe { H5Tget_super(dtype) }))
}
