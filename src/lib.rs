//! Error-bounded compression of stacks of scientific frames with sparse autoencoders.
//!
//! The codec knows nothing of HDF5, files, threads or the environment: a chunk of elements goes in, a stream comes
//! out, and back. See docs/format.md for every byte of a stream.
//!
//! ```
//! use std::sync::Arc;
//! use h5z_sae::sae::{Model, ModelId, backend::ScalarBackend};
//! use h5z_sae::{Bound, ChunkShape, ElementType, Error, Limits, ModelSource, Options};
//! use h5z_sae::{compress_chunk, decompress_chunk};
//!
//! /// Only the model that is built in.
//! struct BuiltIn;
//!
//! impl ModelSource for BuiltIn {
//!     fn model(&self, _id: ModelId) -> Result<Arc<Model>, Error> {
//!         Model::builtin()
//!     }
//! }
//!
//! # fn main() -> Result<(), Error> {
//! // Two frames of 64 × 64: a bright spot and its halo.
//! let frames: Vec<f32> = (0..2 * 64 * 64)
//!     .map(|i| (i / 64 % 64, i % 64))
//!     .map(|(row, col)| 1.0 / (1.0 + (row as f32 - 31.5).hypot(col as f32 - 31.5)))
//!     .collect();
//! let bytes: Vec<u8> = frames.iter().flat_map(|value| value.to_ne_bytes()).collect();
//! let shape = ChunkShape::try_new(&[2, 64, 64])?;
//! let options = Options { model: Some(Model::builtin()?), ..Options::new(Bound::Absolute(1e-3)) };
//!
//! let stream = compress_chunk(&bytes, ElementType::F32, &shape, &options, &ScalarBackend)?;
//! let decoded = decompress_chunk(&stream, &Limits::default(), &BuiltIn, &ScalarBackend)?;
//!
//! assert!(stream.len() < bytes.len() / 20);
//! for (value, restored) in frames.iter().zip(decoded.chunks_exact(4)) {
//!     let restored = f32::from_ne_bytes(restored.try_into().expect("four bytes"));
//!     assert!((f64::from(restored) - f64::from(*value)).abs() <= 1e-3);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The stages, in the order of the encoder; a decoder goes the other way:
//!
//! ```text
//! array ─► target: bits to positions of one integer domain (domain), special values apart
//!       ─► candidates: what the network can do for each patch (sae: float encoder, exact integer decoder)
//!       ─► encode: constant, context on the grid, context aligned, network or lossless, by coded size
//!       ─► atoms: methods, scales, latents and linear atoms;  frame: pixels (predict, regression, symmetry)
//!       ─► fast: in place of the last four with effort fast, the grid alone, and the fast coder of frame
//!       ─► entropy: adaptive probabilities, mixed, into a range coder
//!       ─► stream: header, parameters, checksums
//!
//! exact chunks also: elementwise (numbers one by one), bytewise (text, tables); the shortest stream is kept
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "testing")]
pub mod ablation;
#[cfg(not(feature = "testing"))]
mod ablation;
mod array;
mod atoms;
mod bound;
mod bytewise;
mod candidates;
pub mod cd_values;
mod centre;
mod codec;
mod decode;
mod domain;
mod elementwise;
mod encode;
mod entropy;
mod error;
mod fast;
mod frame;
mod initial;
mod integers;
mod limits;
mod octaves;
mod options;
mod patch;
mod predict;
mod regression;
pub mod sae;
#[cfg(feature = "statistics")]
pub mod statistics;
mod stream;
mod symmetry;
mod target;

pub use array::{ByteOrder, ChunkShape, ElementClass, ElementType, PatchShape};
pub use codec::{MethodCounts, ModelSource, compress_chunk, count_methods, decompress_chunk};
pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use options::{Bound, Effort, Options};
pub use stream::{Payload, StreamHeader};
