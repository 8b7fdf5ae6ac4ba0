//! Bytes of a stream outside the arithmetic-coded body: docs/format.md, "Stream".

pub(crate) mod bytes;
pub(crate) mod header;
pub(crate) mod payload;

pub use header::{Payload, StreamHeader};
