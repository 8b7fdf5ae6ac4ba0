//! The sparse autoencoder: model file, exact integer decoder, float encoder.
//!
//! A model is a five-layer ReLU autoencoder (n, m, ℓ, m, n) whose output layer is factored through a basis of
//! K rows: m × K times K × n (arXiv 2405.14270, section 2, with the last layer factored). The dictionary holds
//! ℓ nonlinear atoms (the latents z) and K linear ones that act on the basis coefficients directly.
//!
//! Decoding is integer arithmetic alone, so that every backend gives the same bits; see [`ModelSpec`] for the
//! formulas. Encoding is float arithmetic and needs no exactness: the codec decodes what it encoded.

mod artifact;
pub mod backend;
mod check;
mod decode;
mod encode;
mod exp2_table;
mod model;
mod refine;
mod settings;
mod spec;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transform;

pub(crate) use model::BUILTIN_IDS;
pub use model::Model;
pub(crate) use refine::ActiveLatents;
pub use spec::{DecoderWeights, EncoderWeights, IntTensor, IntValues, ModelSpec, Penalty, Priors, Transform};

/// A model's name: the first 64 bits of its file's SHA-256, big-endian. 0 stands for "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub u64);

impl std::fmt::Display for ModelId {
    /// Sixteen hex digits, as `sha256sum model.sae | cut -c1-16` prints them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a stream stores of a patch that the network codes: the nonzero entries of both kinds of atoms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchCode {
    /// log2 of the inverse latent step: a level of 1 is a latent of 2^−t. At most the model's `latent_frac_bits`.
    pub latent_step_log2: u8,
    /// 4·log2 of the inverse linear step: a level of 1 is a coefficient of 2^−(u/4). At most four times the least of
    /// `coef_frac_bits`.
    pub linear_step_quarters: u8,
    /// (index below ℓ, level ≠ 0), indices ascending. For `Penalty::Grad` the levels of ∇z.
    pub latents: Vec<(u32, i32)>,
    /// (index below K, level ≠ 0), indices ascending.
    pub linear: Vec<(u32, i32)>,
}
