//! Joins the stages: a chunk in, a stream out, and back.

use std::sync::Arc;

use crate::array::{ChunkShape, ElementType};
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::options::{Bound, Options};
use crate::sae::{Model, ModelId, backend::Backend};
use crate::stream::header::{Payload, StreamHeader};

/// Where a decoder gets the model that a stream names.
pub trait ModelSource {
    /// # Errors
    /// `MissingModel`, with a message that names the id, the places searched and the remedy.
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error>;
}

/// Compresses one chunk. `bytes` are its elements, row-major, in the element's byte order. The same input, options
/// and model give the same stream on every machine of the same CPU family (the network's encoder is float
/// arithmetic); every stream decodes to the same bytes on every machine.
///
/// # Errors
/// `InvalidArgument` if `bytes` is not as long as the shape says.
pub fn compress_chunk(
    bytes: &[u8],
    element: ElementType,
    shape: &ChunkShape,
    options: &Options,
    backend: &dyn Backend,
) -> Result<Vec<u8>, Error> {
    let expected_bytes = shape.n_values() * element.size_bytes();
    if bytes.len() != expected_bytes {
        return Err(Error::invalid(format!(
            "chunk of {} bytes: {:?} elements of type {} take {expected_bytes}",
            bytes.len(),
            shape.dims(),
            element.name()
        )));
    }
    let _ = (options, backend);
    let header = StreamHeader {
        element,
        shape: shape.clone(),
        bound: Bound::Lossless,
        payload: Payload::Raw,
        max_abs_err: 0.0,
        model: None,
        values_crc: crc32fast::hash(bytes),
    };
    Ok(header.write(bytes))
}

/// Decompresses one stream to the chunk's bytes, in the element type and byte order that the header names.
///
/// # Errors
/// `Truncated`, `Corrupt`, `Unsupported` for bad streams; `LimitExceeded` where the header asks for more than
/// `limits`; whatever `models` returns for a missing model.
pub fn decompress_chunk(
    stream: &[u8],
    limits: &Limits,
    models: &dyn ModelSource,
    backend: &dyn Backend,
) -> Result<Vec<u8>, Error> {
    let (header, payload) = StreamHeader::parse_with_payload(stream)?;
    if header.decoded_bytes() > limits.max_chunk_bytes {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("chunk of {} bytes: the limit is {}", header.decoded_bytes(), limits.max_chunk_bytes),
        ));
    }
    let _ = (models, backend);
    if payload.len() != header.decoded_bytes() {
        return Err(Error::corrupt("raw payload of another length than the chunk"));
    }
    Ok(payload.to_vec())
}
