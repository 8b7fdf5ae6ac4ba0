//! Copies a file object by object, with some of its datasets replaced.
//!
//! Groups are created anew with their properties, so that hard links to one object stay links to one object; every
//! other object goes by H5Ocopy, which takes raw data, filters and layout as they are. Soft and external links are
//! copied as links. Named types go first, into a group that disappears at the end, so that datasets which use them
//! find them. References are rewritten last, when all objects are in place.

use std::collections::HashMap;

use hdf5::plist::link_create::CharEncoding;
use hdf5::plist::{GroupCreateBuilder, LinkCreate, ObjectCopy};
use hdf5::{Dataset, Datatype, File, Group, LinkInfo, LinkType, Location, LocationType};
use hdf5_sys::h5i::H5Iinc_ref;
use hdf5_sys::h5l::{H5Lcopy, H5Lcreate_hard};
use hdf5_sys::h5o::H5O_COPY_MERGE_COMMITTED_DTYPE_FLAG;
use hdf5_sys::h5p::{H5P_DEFAULT, H5Pset_copy_object};
use hdf5_sys::h5t::{H5Tcopy, H5Topen2};

use super::attributes;
use super::create::Place;
use super::file::{ObjectKey, join, key_of, links, paths_of};
use super::raw::{Id, c_string, call, check};
use super::references::ReferenceCopy;
use crate::error::{At, CliError};
use crate::interrupt;

/// Writes the datasets that are not copied as they are.
pub trait Replace {
    /// Whether this object is to be replaced.
    fn wants(&self, key: &ObjectKey) -> bool;

    /// Whether the object at this path of the source is to be left out.
    fn leaves_out(&self, path: &str) -> bool;

    /// Writes the replacement of `original` in its new place; attributes and references follow.
    ///
    /// # Errors
    /// Whatever stops the whole copy.
    fn replace(&mut self, original: &Dataset, key: &ObjectKey, place: &Place<'_>) -> Result<(), CliError>;
}

/// Copies everything from one file to another, empty one, that has the same creation properties.
///
/// # Errors
/// A sentence that begins with the object's path.
pub fn copy_file(source: &File, target: &File, replace: &mut dyn Replace) -> Result<(), CliError> {
    let mut copy = TreeCopy::new(source, target, replace)?;
    copy.stage_named_types()?;
    let root_key = key_of(source)?;
    copy.paths.insert(root_key, "/".into());
    copy.copied.push(("/".into(), "/".into()));
    copy.copy_attributes(source, target)?;
    copy.copy_links(source, target, "/")?;
    if copy.has_named_types {
        target.unlink(TYPES_IN_TRANSIT)?;
    }
    copy.rewrite_references()
}

/// Group of the target that holds the named types until their own links are made.
const TYPES_IN_TRANSIT: &str = "/.h5z_sae_types_in_transit";

struct TreeCopy<'a> {
    source: &'a File,
    target: &'a File,
    replace: &'a mut dyn Replace,
    object_copy: ObjectCopy,
    has_named_types: bool,
    /// Where each object of the source has gone.
    paths: HashMap<ObjectKey, String>,
    /// Source and target path of each object, for the references.
    copied: Vec<(String, String)>,
}

impl<'a> TreeCopy<'a> {
    fn new(source: &'a File, target: &'a File, replace: &'a mut dyn Replace) -> Result<Self, CliError> {
        Ok(Self {
            source,
            target,
            replace,
            object_copy: ObjectCopy::try_new()?,
            has_named_types: false,
            paths: HashMap::new(),
            copied: Vec::new(),
        })
    }

    fn stage_named_types(&mut self) -> Result<(), CliError> {
        let types = paths_of(self.source, LocationType::NamedDatatype)?;
        if types.is_empty() {
            return Ok(());
        }
        self.has_named_types = true;
        // SAFETY: the property list is open and of the object copy class.
        check(call(|| unsafe {
            H5Pset_copy_object(self.object_copy.id(), H5O_COPY_MERGE_COMMITTED_DTYPE_FLAG)
        }))?;
        let staging = self.target.create_group(TYPES_IN_TRANSIT)?;
        for (index, path) in types.iter().enumerate() {
            let named_type = self.open(self.source, path)?;
            let name = index.to_string();
            named_type.copy_to(&staging, &name).at(path)?;
            self.paths.insert(key_of(&named_type)?, join(TYPES_IN_TRANSIT, &name));
        }
        Ok(())
    }

    fn open(&self, file: &File, path: &str) -> Result<Location, CliError> {
        let info = file.loc_info_by_name(path).at(path)?;
        file.open_by_token(info.token).at(path)
    }

    fn copy_links(&mut self, from: &Group, to: &Group, group_path: &str) -> Result<(), CliError> {
        for (name, info) in links(from)? {
            interrupt::check()?;
            let path = join(group_path, &name);
            if self.replace.leaves_out(&path) {
                continue;
            }
            let link = link_properties(&info)?;
            match info.link_type {
                LinkType::Hard => self.copy_object(from, to, &name, &path, &link),
                _ => copy_link(from, to, &name, &link),
            }
            .at(&path)?;
        }
        Ok(())
    }

    fn copy_object(
        &mut self,
        from: &Group,
        to: &Group,
        name: &str,
        path: &str,
        link: &LinkCreate,
    ) -> Result<(), CliError> {
        let info = from.loc_info_by_name(name)?;
        let object = from.open_by_token(info.token)?;
        let key = key_of(&object)?;
        if let Some(existing) = self.paths.get(&key) {
            link_existing(self.target, existing, to, name, link)?;
            if existing.starts_with(TYPES_IN_TRANSIT) {
                self.paths.insert(key, path.into());
                self.copied.push((path.into(), path.into()));
            }
            return Ok(());
        }
        self.paths.insert(key.clone(), path.into());
        self.copied.push((path.into(), path.into()));
        match info.loc_type {
            LocationType::Group => self.copy_group(from, to, name, path, link),
            LocationType::Dataset if self.replace.wants(&key) => {
                let original = from.dataset(name)?;
                let dtype = self.target_type(&original.dtype()?)?;
                self.replace.replace(&original, &key, &Place { parent: to, name, link, dtype: &dtype })?;
                self.copy_attributes(&original, &*to.dataset(name)?)
            }
            _ => Ok(object.copy_to_with_props(to, name, Some(&self.object_copy), Some(link))?),
        }
    }

    fn copy_group(
        &mut self,
        from: &Group,
        to: &Group,
        name: &str,
        path: &str,
        link: &LinkCreate,
    ) -> Result<(), CliError> {
        let original = from.group(name)?;
        // The list that HDF5 hands out holds places in the source file, too; only its settings may be taken over.
        let creation = GroupCreateBuilder::from_plist(&original.create_plist()?)?.finish()?;
        let group = to.create_group_builder().set_gcpl(&creation).set_lcpl(link).create(name)?;
        self.copy_attributes(&original, &group)?;
        self.copy_links(&original, &group, path)
    }

    fn copy_attributes(&self, from: &Location, to: &Location) -> Result<(), CliError> {
        attributes::copy_all(from, to, |dtype| self.target_type(dtype))
    }

    /// The type of the target that stands for one of the source: the copy of a named type, else an equal unnamed one.
    fn target_type(&self, dtype: &Datatype) -> Result<Id, CliError> {
        if dtype.is_committed() {
            // SAFETY: the identifier is valid, and gets a second owner here.
            call(|| unsafe { H5Iinc_ref(dtype.id()) });
            // SAFETY: the reference that was just added is this value's.
            let location: Location = unsafe { hdf5::from_id(dtype.id()) }?;
            if let Some(path) = self.paths.get(&key_of(&location)?) {
                let path = c_string(path)?;
                // SAFETY: the file is open, and the path ends with a NUL.
                return Id::own(call(|| unsafe { H5Topen2(self.target.id(), path.as_ptr(), H5P_DEFAULT) }));
            }
        }
        // SAFETY: the datatype is open.
        Id::own(call(|| unsafe { H5Tcopy(dtype.id()) }))
    }

    fn rewrite_references(&self) -> Result<(), CliError> {
        let references = ReferenceCopy { source: self.source, target: self.target, paths: &self.paths };
        for (source_path, target_path) in &self.copied {
            let from = self.open(self.source, source_path)?;
            let to = self.open(self.target, target_path)?;
            references.rewrite_attributes(&from, &to).at(source_path)?;
            if from.loc_type()? == LocationType::Dataset {
                let (from, to) = (self.source.dataset(source_path)?, self.target.dataset(target_path)?);
                references.rewrite_dataset(&from, &to).at(source_path)?;
            }
        }
        Ok(())
    }
}

fn link_properties(info: &LinkInfo) -> Result<LinkCreate, CliError> {
    let mut builder = LinkCreate::build();
    builder.char_encoding(match info.char_encoding {
        CharEncoding::Utf8 => CharEncoding::Utf8,
        CharEncoding::Ascii => CharEncoding::Ascii,
    });
    Ok(builder.finish()?)
}

fn copy_link(from: &Group, to: &Group, name: &str, link: &LinkCreate) -> Result<(), CliError> {
    let name = c_string(name)?;
    // SAFETY: both groups are open, and the name ends with a NUL.
    check(call(|| unsafe {
        H5Lcopy(from.id(), name.as_ptr(), to.id(), name.as_ptr(), link.id(), H5P_DEFAULT)
    }))?;
    Ok(())
}

fn link_existing(
    target: &File,
    existing: &str,
    to: &Group,
    name: &str,
    link: &LinkCreate,
) -> Result<(), CliError> {
    let (existing, name) = (c_string(existing)?, c_string(name)?);
    // SAFETY: file and group are open, and both names end with a NUL.
    check(call(|| unsafe {
        H5Lcreate_hard(target.id(), existing.as_ptr(), to.id(), name.as_ptr(), link.id(), H5P_DEFAULT)
    }))?;
    Ok(())
}
