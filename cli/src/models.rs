//! Trained models: read from a file, or found by id where the filter looks, too.

use std::path::Path;
use std::sync::Arc;

use h5z_sae::cd_values::RequestedParams;
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{Error, ModelSource};

use crate::error::{At, CliError};

/// Reads and checks a model file.
///
/// # Errors
/// If the file cannot be read, or is no model.
pub fn load(path: &Path) -> Result<Arc<Model>, CliError> {
    let bytes = std::fs::read(path).at(format_args!("{}: cannot read the model", path.display()))?;
    Model::parse(&bytes).at(path.display())
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

/// The model that parameters name, by the filter's own lookup; `None` for coding without a network.
///
/// # Errors
/// `MissingModel`, naming the places that were searched.
pub fn of_request(request: &RequestedParams) -> Result<Option<Arc<Model>>, CliError> {
    match request.model {
        ModelId(0) => Ok(Model::builtin().ok()),
        id => Ok(Some(Lookup.model(id)?)),
    }
}

/// Bytes of the model's file.
pub fn file_bytes(model: &Model) -> Option<u64> {
    model.spec().to_bytes().ok().map(|bytes| bytes.len() as u64)
}

/// The filter's lookup, for the decoder.
pub struct Lookup;

impl ModelSource for Lookup {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        h5zsae::models::find(id)
    }
}

/// The model of that id, by the filter's own lookup.
///
/// # Errors
/// `MissingModel`, naming the places that were searched.
pub fn by_id(id: ModelId) -> Result<Arc<Model>, Error> {
    h5zsae::models::find(id)
}
