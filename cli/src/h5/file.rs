//! Opening files, and finding what is in them.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use hdf5::plist::{FileCreate, FileCreateBuilder};
use hdf5::{File, Group, IndexType, IterationOrder, LinkInfo, LinkType, Location, LocationType};

use crate::error::{At, CliError};

/// Bytes of chunks that HDF5 keeps of each open dataset, and places for them (a prime, about a hundred for each chunk
/// of 1 MiB). Where the chunks of a file and the regions that are read cut across each other, a chunk is read for
/// several regions; with HDF5's own 1 MiB it would be decoded anew for each.
const CHUNK_CACHE: (usize, usize) = (6421, 64 << 20);

/// Chunks that were read to the end go first.
const CHUNK_CACHE_PREEMPTION: f64 = 1.0;

/// Opens a file for reading.
///
/// # Errors
/// A sentence that names the file: not there, no HDF5, or HDF5's own.
pub fn open(path: &Path) -> Result<File, CliError> {
    let metadata = std::fs::metadata(path).at(format_args!("{}: cannot read", path.display()))?;
    if metadata.is_dir() {
        return Err(CliError::new(format!("{}: is a folder, expected an HDF5 file", path.display())));
    }
    let (n_places, n_bytes) = CHUNK_CACHE;
    let mut options = File::with_options();
    options.with_fapl(|access| access.chunk_cache(n_places, n_bytes, CHUNK_CACHE_PREEMPTION));
    options.open(path).at(format_args!("{}: cannot open as an HDF5 file", path.display()))
}

/// The file and the path of `FILE:/DATASET`.
///
/// # Errors
/// What was expected.
pub fn split_place(place: &str) -> Result<(&str, &str), CliError> {
    let parts = place.rsplit_once(":/").filter(|(file, path)| !file.is_empty() && !path.is_empty());
    parts.ok_or_else(|| {
        CliError::new(format!("{place}: expected FILE:/DATASET, such as frames.h5:/entry/data"))
    })
}

/// An object's place in its file: equal for two links to one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

/// The key of an object that is open. The token of `hdf5-metno` can be compared but not hashed, as its fields are
/// private; its debug form is as unique.
///
/// # Errors
/// HDF5's own sentence.
pub fn key_of(location: &Location) -> Result<ObjectKey, CliError> {
    let info = location.loc_info()?;
    Ok(ObjectKey(format!("{}/{:?}", info.fileno, info.token)))
}

/// Links of a group, in the order of their creation where the file keeps it, else by name.
///
/// # Errors
/// HDF5's own sentence.
pub fn links(group: &Group) -> Result<Vec<(String, LinkInfo)>, CliError> {
    group
        .links(IndexType::CreationOrder, IterationOrder::Increasing)
        .or_else(|_| group.links(IndexType::Name, IterationOrder::Increasing))
        .map_err(CliError::from)
}

/// Joins a group's path and a link's name.
pub fn join(group_path: &str, name: &str) -> String {
    if group_path == "/" { format!("/{name}") } else { format!("{group_path}/{name}") }
}

/// Paths of all objects of one kind that hard links reach from the root, each object once.
///
/// # Errors
/// HDF5's own sentence.
pub fn paths_of(file: &File, kind: LocationType) -> Result<Vec<String>, CliError> {
    let mut seen = HashSet::from([key_of(file)?]);
    let mut paths = Vec::new();
    collect(file, "/", kind, &mut seen, &mut paths)?;
    Ok(paths)
}

fn collect(
    group: &Group,
    group_path: &str,
    kind: LocationType,
    seen: &mut HashSet<ObjectKey>,
    paths: &mut Vec<String>,
) -> Result<(), CliError> {
    for (name, _) in links(group)?.into_iter().filter(|(_, info)| info.link_type == LinkType::Hard) {
        let path = join(group_path, &name);
        let info = group.loc_info_by_name(&name).at(&path)?;
        let object = group.open_by_token(info.token).at(&path)?;
        if !seen.insert(key_of(&object)?) {
            continue;
        }
        if info.loc_type == kind {
            paths.push(path.clone());
        }
        if info.loc_type == LocationType::Group {
            collect(&group.group(&name)?, &path, kind, seen, paths)?;
        }
    }
    Ok(())
}

/// Creates a file with the creation properties of `source` (the file at `source_path`), lets `fill` write it, closes
/// it and copies the user block, if there is one.
///
/// # Errors
/// HDF5's own sentence, or that of `fill`.
pub fn create_copy(
    source: &File,
    source_path: &Path,
    path: &Path,
    fill: impl FnOnce(&File) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let creation = creation_properties(source)?;
    let target = File::with_options().set_create_plist(&creation)?.create(path)?;
    fill(&target)?;
    target.flush()?;
    target.close()?;
    copy_user_block(source_path, path, creation.get_userblock()?)
}

/// The file's own settings, and those of its root group, which HDF5 does not list among them.
fn creation_properties(source: &File) -> Result<FileCreate, CliError> {
    let root = source.group("/")?.create_plist()?;
    let mut builder = FileCreateBuilder::from_plist(&source.create_plist()?)?;
    let attributes = root.get_attr_phase_change()?;
    builder.attr_phase_change(attributes.max_compact, attributes.min_dense);
    builder.attr_creation_order(root.get_attr_creation_order()?);
    builder.link_creation_order(root.get_link_creation_order()?);
    Ok(builder.finish()?)
}

fn copy_user_block(source_path: &Path, path: &Path, n_bytes: u64) -> Result<(), CliError> {
    if n_bytes == 0 {
        return Ok(());
    }
    let mut block = std::fs::File::open(source_path)?.take(n_bytes);
    let mut target = std::fs::OpenOptions::new().write(true).open(path)?;
    std::io::copy(&mut block, &mut target)?;
    Ok(())
}
