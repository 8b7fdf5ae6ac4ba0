//! Where a model comes from, by its id: models of this process, the built-in one, files, and, for the filter, HDF5
//! files that are open.
//!
//! Every place is asked in turn, and what it says where it has nothing becomes part of the message,
//! so that a user reads all places that were searched. Whatever the place, the content's hash must be the id.

use std::collections::HashMap;
use std::ffi::{OsString, c_void};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{Error, ErrorKind, ModelSource};
use once_cell::sync::Lazy;

use crate::host::{Host, library_file, lock};
use crate::open_files::{self, Extent};

/// Folders with model files, separated by colons, searched before all others.
const PATH_VARIABLE: &str = "H5Z_SAE_MODEL_PATH";

/// Folder of this project below a data directory.
const DATA_FOLDER: &str = "h5z-sae";

/// System-wide data directories.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/local/share", "/usr/share"];

/// Largest model file that is read. Models of tens of megabytes have been tried; ten times that is a mistake.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// Models that the program registered or that a file gave before.
static REGISTRY: Lazy<Mutex<HashMap<ModelId, Arc<Model>>>> = Lazy::new(Mutex::default);

/// A place to look for a model: `Ok` if it is there, else what was searched, for the message.
type Source = fn(ModelId) -> Result<Arc<Model>, String>;

const SOURCES: [Source; 3] = [from_registry, from_builtin, from_files];

/// The filter's lookup, for the thread that HDF5 has called it on.
pub(crate) struct Lookup<'a> {
    host: &'a Host,
    extent: Extent,
}

impl<'a> Lookup<'a> {
    /// While `host` reads a chunk.
    pub(crate) fn for_reading(host: &'a Host) -> Self {
        Self { host, extent: Extent::Descriptors }
    }

    /// While `host` writes a chunk or creates a dataset.
    pub(crate) fn for_writing(host: &'a Host) -> Self {
        Self { host, extent: Extent::Identified }
    }
}

impl ModelSource for Lookup<'_> {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        find_in(id, Some(self))
    }
}

/// The model of that id, from everywhere but HDF5 files that are open.
///
/// # Errors
/// `MissingModel`, naming the id, every place that was searched, and the remedy.
pub fn find(id: ModelId) -> Result<Arc<Model>, Error> {
    find_in(id, None)
}

fn find_in(id: ModelId, open_files: Option<&Lookup<'_>>) -> Result<Arc<Model>, Error> {
    let mut searched = Vec::new();
    for source in SOURCES {
        match source(id) {
            Ok(model) => return Ok(model),
            Err(places) => searched.push(places),
        }
    }
    if let Some(lookup) = open_files {
        match open_files::find(lookup.host, id, lookup.extent) {
            Ok(model) => {
                register(Arc::clone(&model));
                return Ok(model);
            }
            Err(places) => searched.push(places),
        }
    }
    Err(Error::new(
        ErrorKind::MissingModel,
        format!(
            "model {id} was not found. Searched: {}. Remedy: get the file {id}.sae and put it into one of these \
             folders, or name its folder in {PATH_VARIABLE}, or put it into the HDF5 file: sae embed FILE {id}.sae",
            searched.join("; ")
        ),
    ))
}

/// Makes a model known to this process, for ever. A second registration of the same model changes nothing.
pub fn register(model: Arc<Model>) {
    lock(&REGISTRY).entry(model.id()).or_insert(model);
}

/// The model that is part of this library.
///
/// # Errors
/// `MissingModel` in a build without one.
pub(crate) fn builtin() -> Result<Arc<Model>, Error> {
    Model::builtin()
}

/// A model, and the bytes of its file.
pub struct ModelFile {
    /// What the bytes hold, checked.
    pub model: Arc<Model>,
    /// As they are in the file.
    pub bytes: Vec<u8>,
}

/// Reads and checks a model file of at most [`MAX_FILE_BYTES`].
///
/// # Errors
/// `System` if it cannot be read, `LimitExceeded` if it is too large, and what is wrong with its content; the message
/// names the file.
pub fn read_file(path: &Path) -> Result<ModelFile, Error> {
    let in_file = |kind, message: &str| Error::new(kind, format!("model file {}: {message}", path.display()));
    let bytes = read_capped(path, MAX_FILE_BYTES).map_err(|(kind, message)| in_file(kind, &message))?;
    let model = Model::parse(&bytes).map_err(|error| in_file(error.kind(), error.message()))?;
    Ok(ModelFile { model, bytes })
}

/// The file's size is asked first, so that a large one is not read in vain; what has no size (a pipe), or grows, is
/// read no further than one byte beyond the limit.
fn read_capped(path: &Path, max_bytes: u64) -> Result<Vec<u8>, (ErrorKind, String)> {
    let unreadable = |error: std::io::Error| (ErrorKind::System, error.to_string());
    let too_large = |found: &str| {
        (ErrorKind::LimitExceeded, format!("it has {found} bytes: expected {max_bytes} at most"))
    };
    let file = File::open(path).map_err(unreadable)?;
    let n_bytes = file.metadata().map_err(unreadable)?.len();
    if n_bytes > max_bytes {
        return Err(too_large(&n_bytes.to_string()));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large("more"));
    }
    Ok(bytes)
}

fn from_registry(id: ModelId) -> Result<Arc<Model>, String> {
    lock(&REGISTRY).get(&id).cloned().ok_or_else(|| "the models registered in this process".to_string())
}

fn from_builtin(id: ModelId) -> Result<Arc<Model>, String> {
    match builtin() {
        Ok(model) if model.id() == id => Ok(model),
        Ok(model) => Err(format!("the built-in model ({})", model.id())),
        Err(_) => Err("the built-in models (none in this build)".to_string()),
    }
}

fn from_files(id: ModelId) -> Result<Arc<Model>, String> {
    let variable = std::env::var_os(PATH_VARIABLE);
    let mut searched = Vec::new();
    for folder in folders(variable.as_ref(), plugin_folder(), data_home()) {
        let path = folder.join(format!("{id}.sae"));
        match model_of(&path, id) {
            Ok(model) => {
                register(Arc::clone(&model));
                return Ok(model);
            }
            Err(reason) => searched.push(format!("{} ({reason})", path.display())),
        }
    }
    let unset = if variable.is_none() { format!(" ({PATH_VARIABLE} is not set)") } else { String::new() };
    Err(format!("the files {}{unset}", searched.join(", ")))
}

/// The model in a file, if the file is the one that the id names.
fn model_of(path: &Path, id: ModelId) -> Result<Arc<Model>, String> {
    if !path.exists() {
        return Err("no such file".to_string());
    }
    let model = read_file(path).map_err(|error| error.message().to_string())?.model;
    if model.id() != id {
        return Err(format!("its content has the id {}", model.id()));
    }
    Ok(model)
}

/// All folders, first searched first, none twice.
fn folders(variable: Option<&OsString>, plugin: Option<PathBuf>, data_home: Option<PathBuf>) -> Vec<PathBuf> {
    let named = variable.map(|paths| std::env::split_paths(paths).collect::<Vec<_>>()).unwrap_or_default();
    let named = named.into_iter().filter(|path| !path.as_os_str().is_empty());
    let system = SYSTEM_FOLDERS.map(PathBuf::from);
    let data = data_home.into_iter().chain(system).map(|folder| folder.join(DATA_FOLDER));
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in named.chain(plugin).chain(data) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// `$XDG_DATA_HOME`, or what the XDG base directory specification puts in its place.
fn data_home() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))
}

/// Where this library lies.
fn plugin_folder() -> Option<PathBuf> {
    library_file(plugin_folder as *const c_void)?.parent().map(Path::to_path_buf)
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
