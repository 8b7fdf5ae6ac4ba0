//! A model that is ready for use: parsed, checked, its weights laid out for products.

use std::sync::Arc;

use super::{ModelId, ModelSpec};
use crate::error::{Error, ErrorKind};

/// A checked model. Immutable; shared by `Arc`.
#[derive(Debug)]
pub struct Model {
    id: ModelId,
    spec: ModelSpec,
}

impl Model {
    /// Parses the bytes of a `.sae` file.
    ///
    /// # Errors
    /// `Corrupt`, `Unsupported` or `LimitExceeded`.
    pub fn parse(_bytes: &[u8]) -> Result<Arc<Self>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "models are not read yet"))
    }

    /// First 64 bits of the SHA-256 of the file.
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// What the file holds.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }
}
