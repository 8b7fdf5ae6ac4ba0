//! Error-bounded compression of stacks of scientific frames with sparse autoencoders.
//!
//! The codec knows nothing of HDF5, files, threads or the environment: a chunk of elements goes in, a stream comes
//! out, and back. See docs/format.md for every byte of a stream.
#![forbid(unsafe_code)]

mod array;
mod atoms;
mod bound;
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
mod frame;
mod limits;
mod options;
mod patch;
mod predict;
pub mod sae;
mod stream;
mod symmetry;
mod target;

pub use array::{ByteOrder, ChunkShape, ElementClass, ElementType, PatchShape};
pub use codec::{MethodCounts, ModelSource, compress_chunk, count_methods, decompress_chunk};
pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use options::{Bound, Effort, Options};
pub use stream::{Payload, StreamHeader};
