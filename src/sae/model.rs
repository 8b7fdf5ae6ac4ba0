//! A model that is ready for use: parsed, checked, its weights laid out for products.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::decode::ExactLayers;
use super::encode::FloatLayers;
use super::refine::FloatDecoder;
use super::{ModelId, ModelSpec, Penalty, Priors, Transform};
use crate::array::PatchShape;
use crate::error::{Error, ErrorKind};

/// The file of the built-in model; empty in a build without one.
const BUILTIN_FILE: &[u8] = include_bytes!("../../models/builtin.sae");

/// Models that streams name by the first 16 bits of their id, which therefore differ: those that are part of this
/// library.
pub(crate) const BUILTIN_IDS: [ModelId; 1] = [ModelId(0x2782_fa82_4cb7_d2e1)];

/// A checked model. Immutable; shared by `Arc`.
///
/// Memory: a weight of the coefficient layer or of the basis takes the 1 or 2 bytes of the file, and 2 bytes as a 16-bit
/// integer. With `Penalty::Grad` a weight of the hidden layer takes 4 bytes more. The encoder takes 4 bytes a weight, and
/// 4 more for every weight of the decoder, 8 for those of the basis, once it is first used; a program that only decodes
/// never pays these. A built-in model of 0.5 MB of basis so takes about 8 MB.
#[derive(Debug)]
pub struct Model {
    id: ModelId,
    spec: ModelSpec,
    exact: ExactLayers,
    float: OnceLock<FloatLayers>,
    float_decoder: OnceLock<FloatDecoder>,
}

impl Model {
    /// Parses the bytes of a `.sae` file.
    ///
    /// # Errors
    /// `Corrupt`, `Unsupported`, `Truncated` or `LimitExceeded`, as [`ModelSpec::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Arc<Self>, Error> {
        let spec = ModelSpec::parse(bytes)?;
        let exact =
            ExactLayers::of(&spec).map_err(|broken| Error::corrupt(format!("model file: {broken}")))?;
        Ok(Arc::new(Self {
            id: ModelId::of_file(bytes),
            spec,
            exact,
            float: OnceLock::new(),
            float_decoder: OnceLock::new(),
        }))
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

    /// Rows and columns of a patch.
    pub fn patch(&self) -> PatchShape {
        self.spec.patch
    }

    /// n: values in a patch.
    pub fn n_values(&self) -> usize {
        self.spec.patch.n_values()
    }

    /// m: units of the hidden layers.
    pub fn n_hidden(&self) -> usize {
        self.spec.decoder.hidden.cols
    }

    /// ℓ: nonlinear atoms.
    pub fn n_latents(&self) -> usize {
        self.spec.decoder.hidden.rows
    }

    /// K: linear atoms, rows of the basis.
    pub fn n_linear(&self) -> usize {
        self.spec.decoder.coef_bias.len()
    }

    /// K′: leading rows of the basis that the network's output and input use, at most K.
    pub fn n_coefs(&self) -> usize {
        self.spec.decoder.coef.as_ref().map_or(self.n_linear(), |coef| coef.cols)
    }

    /// Largest `latent_step_log2` of a patch code.
    pub fn latent_frac_bits(&self) -> u8 {
        self.spec.decoder.latent_frac_bits
    }

    /// Largest `linear_step_quarters` of a patch code: four times the least of `coef_frac_bits`.
    pub fn max_linear_step_quarters(&self) -> u8 {
        4 * self.spec.decoder.coef_frac_bits.iter().copied().min().unwrap_or(0)
    }

    /// What the levels of a patch code's latents are levels of.
    pub fn penalty(&self) -> Penalty {
        self.spec.penalty
    }

    /// Domain of the network.
    pub fn transform(&self) -> Transform {
        self.spec.transform
    }

    /// What training learned about the code.
    pub fn priors(&self) -> &Priors {
        &self.spec.priors
    }

    pub(super) fn exact(&self) -> &ExactLayers {
        &self.exact
    }

    /// The encoder's layers, laid out at their first use.
    pub(super) fn float(&self) -> &FloatLayers {
        self.float.get_or_init(|| FloatLayers::of(&self.spec))
    }

    /// The decoder as encoders search with it, laid out at its first use.
    pub(super) fn float_decoder(&self) -> &FloatDecoder {
        self.float_decoder.get_or_init(|| FloatDecoder::of(&self.spec))
    }
}

impl ModelId {
    /// The id of a model file: the first 64 bits of its SHA-256, big-endian.
    pub fn of_file(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().take(8).fold(0, |id, &byte| id << 8 | u64::from(byte)))
    }
}
