//! A model that is ready for use: parsed, checked, its weights laid out for products.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::{ModelId, ModelSpec};
use crate::error::{Error, ErrorKind};

/// The file of the built-in model; empty in a build without one.
const BUILTIN_FILE: &[u8] = include_bytes!("../../models/builtin.sae");

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
    /// `Corrupt`, `Unsupported`, `Truncated` or `LimitExceeded`, as [`ModelSpec::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Arc<Self>, Error> {
        let spec = ModelSpec::parse(bytes)?;
        Ok(Arc::new(Self { id: ModelId::of_file(bytes), spec }))
    }

    /// The model that is part of this library.
    ///
    /// # Errors
    /// `MissingModel` in a build without one.
    pub fn builtin() -> Result<Arc<Self>, Error> {
        static BUILTIN: OnceLock<Result<Arc<Model>, Error>> = OnceLock::new();
        let load = || match BUILTIN_FILE {
            [] => Err(Error::new(ErrorKind::MissingModel, "this build has no built-in model")),
            bytes => Self::parse(bytes),
        };
        BUILTIN.get_or_init(load).clone()
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

impl ModelId {
    /// The id of a model file: the first 64 bits of its SHA-256, big-endian.
    pub fn of_file(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().take(8).fold(0, |id, &byte| id << 8 | u64::from(byte)))
    }
}
