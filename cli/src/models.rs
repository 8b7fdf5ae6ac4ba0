//! Trained models: read from a file, or found by id where the filter looks, too.

use std::path::Path;
use std::sync::Arc;

use h5z_sae::cd_values::RequestedParams;
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{Error, ModelSource};
pub use h5zsae::models::ModelFile;
use hdf5::File;

use crate::error::{At, CliError};
use crate::h5::embedded;

/// Reads and checks a model file.
///
/// # Errors
/// If the file cannot be read, is too large, or is no model.
pub fn read_file(path: &Path) -> Result<ModelFile, CliError> {
    Ok(h5zsae::models::read_file(path)?)
}

/// The model in a file.
///
/// # Errors
/// As [`read_file`].
pub fn load(path: &Path) -> Result<Arc<Model>, CliError> {
    Ok(read_file(path)?.model)
}

/// Reads a model file and makes the model known to the filter in this process.
///
/// # Errors
/// As [`load`].
pub fn load_and_register(path: &Path) -> Result<Arc<Model>, CliError> {
    let model = load(path)?;
    h5zsae::models::register(Arc::clone(&model));
    Ok(model)
}

/// Makes the models that an HDF5 file holds known to this process, for chunks that are decoded past HDF5. One that is
/// damaged is told on stderr and passed over, as nothing may need it.
///
/// # Errors
/// If HDF5 cannot list them.
pub fn register_embedded(file: &File) -> Result<(), CliError> {
    for id in embedded::ids(file).at(file.filename())? {
        let found = embedded::read(file, id)
            .and_then(|bytes| bytes.as_deref().map(Model::parse).transpose().map_err(CliError::from));
        match found {
            Ok(model) => model.into_iter().for_each(h5zsae::models::register),
            Err(error) => eprintln!("sae: {}: {error}; passed over", file.filename()),
        }
    }
    Ok(())
}

/// The model that parameters name, by the filter's own lookup; `None` for coding without a network.
///
/// # Errors
/// `MissingModel`, naming the places that were searched.
pub fn of_request(request: &RequestedParams) -> Result<Option<Arc<Model>>, CliError> {
    match request.model {
        ModelId(0) => Ok(Model::builtin().ok()),
        id => Ok(Some(by_id(id)?)),
    }
}

/// Bytes of the model's file.
pub fn file_bytes(model: &Model) -> Option<u64> {
    model.spec().to_bytes().ok().map(|bytes| bytes.len() as u64)
}

/// Raw over stored bytes, with the model's bytes counted among those; `None` without a model, or where it cannot be
/// found.
pub fn ratio_with_model(raw_bytes: u64, stored_bytes: u64, model: Option<ModelId>) -> Option<f64> {
    let model_bytes = file_bytes(&*by_id(model?).ok()?)?;
    Some(raw_bytes as f64 / (stored_bytes + model_bytes) as f64)
}

/// The filter's lookup, for the decoder.
pub struct Lookup;

impl ModelSource for Lookup {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        by_id(id)
    }
}

/// The model of that id, by the filter's own lookup.
///
/// # Errors
/// `MissingModel`, naming the places that were searched.
pub fn by_id(id: ModelId) -> Result<Arc<Model>, Error> {
    h5zsae::models::find(id)
}
