//! Trained models: read from a file, or found by id where the filter would look, too.

use std::path::Path;
use std::sync::Arc;

use h5z_sae::sae::Model;

use crate::error::{At, CliError};

/// Reads and checks a model file.
///
/// # Errors
/// If the file cannot be read, or is no model.
pub fn load(path: &Path) -> Result<Arc<Model>, CliError> {
    let bytes = std::fs::read(path).at(format_args!("{}: cannot read the model", path.display()))?;
    Model::parse(&bytes).at(path.display())
}
