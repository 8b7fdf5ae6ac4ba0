//! What the filter does, over slices: completing its parameters, coding a chunk, decoding a stream.

use std::ffi::c_uint;

use h5z_sae::cd_values::{FILTER_ID, RequestedParams, StoredParams};
use h5z_sae::sae::ModelId;
use h5z_sae::{
    Bound, ElementType, Error, ErrorKind, Limits, ModelSource, StreamHeader, compress_chunk, decompress_chunk,
};

use crate::dataset::{CreationList, Datatype, Fill, PipelineEntry};
use crate::host::Host;
use crate::models::{self, Lookup};
use crate::threads;

/// Completes the parameters of the filter in a creation property list: the work of `set_local`.
///
/// Idempotent, as h5repack hands it lists whose parameters are complete already, for other chunks. A model id of 0
/// becomes the built-in model's own; in a build without one it stays 0, which codes without a network.
///
/// # Errors
/// `InvalidArgument` for parameters, types, chunks and pipelines that cannot be, `MissingModel`, `System`.
pub(crate) fn complete_params(
    models: &dyn ModelSource,
    list: CreationList<'_>,
    datatype: Datatype<'_>,
) -> Result<(), Error> {
    let element = datatype.element()?;
    let ours = our_entry(&list.pipeline()?)?;
    let mut request = RequestedParams::parse(&ours.words)?;
    request.model = resolve_model(models, request.model)?;
    let fill = fill_for(list.fill(datatype, element)?, request.bound);
    let stored = StoredParams::try_new(request, element, &list.chunk_dims()?, fill)?;
    list.store(ours.flags, &stored.to_words())
}

/// Our entry of a pipeline, if nothing stands before it.
fn our_entry(pipeline: &[PipelineEntry]) -> Result<PipelineEntry, Error> {
    let mut ours = pipeline.iter().filter(|entry| entry.id == FILTER_ID);
    let Some(entry) = ours.next() else {
        return Err(invalid(format!("filter {FILTER_ID} is not in the pipeline of the property list")));
    };
    if ours.next().is_some() {
        return Err(invalid(format!("filter {FILTER_ID} is twice in the pipeline: allowed is once")));
    }
    match pipeline.first() {
        Some(first) if first.id != FILTER_ID => Err(invalid(format!(
            "filter {} comes before this one in the pipeline and would hand it bytes that are no numbers: put filter \
             {FILTER_ID} first",
            filter_name(first)
        ))),
        _ => Ok(entry.clone()),
    }
}

fn filter_name(entry: &PipelineEntry) -> String {
    // HDF5 may know more of a filter than the word by which people call it.
    match (entry.id, entry.name.as_str()) {
        (id, "") => format!("{id}"),
        (id, name) => format!("{name} ({id})"),
    }
}

fn resolve_model(models: &dyn ModelSource, id: ModelId) -> Result<ModelId, Error> {
    if id != ModelId(0) {
        return models.model(id).map(|model| model.id());
    }
    Ok(models::builtin().map_or(ModelId(0), |model| model.id()))
}

/// The fill value as the codec is to treat it. One that a user chose marks values that are not data, so they come
/// back exactly and count in no range. HDF5's default, zero, is data to most programs; it is told apart only under
/// a relative bound, as HDF5 pads the dataset's last chunks with it and the padding must not widen the range.
fn fill_for(fill: Fill, bound: Bound) -> Option<u64> {
    match (fill, bound) {
        (Fill::User(pattern), _) => Some(pattern),
        (Fill::Default, Bound::Relative(_)) => Some(0),
        (Fill::Default | Fill::Undefined, _) => None,
    }
}

/// A chunk's bytes to a stream.
///
/// # Errors
/// `InvalidArgument` if the words are not those of `set_local` or the chunk is of another size; `MissingModel`.
pub(crate) fn encode(models: &dyn ModelSource, words: &[u32], values: &[u8]) -> Result<Vec<u8>, Error> {
    let params = StoredParams::parse(words)?;
    let shape = params.shape()?;
    let declared_bytes = shape.n_values().saturating_mul(params.element().size_bytes());
    if values.len() != declared_bytes {
        return Err(invalid(format!(
            "chunk of {} bytes: {} elements of type {} were declared, {declared_bytes} bytes; does another filter \
             stand before this one?",
            values.len(),
            shape.n_values(),
            params.element().name()
        )));
    }
    let model = match params.requested().model {
        ModelId(0) => None,
        id => Some(models.model(id)?),
    };
    compress_chunk(values, params.element(), &shape, &params.options(model), &threads::backend()?)
}

/// A stream to a chunk's bytes. Inverse of [`encode`].
///
/// # Errors
/// `InvalidArgument` if the words are not those of `set_local`, `Corrupt` if the stream holds another chunk than
/// they declare, and what the decoder finds.
pub(crate) fn decode(models: &dyn ModelSource, words: &[u32], stream: &[u8]) -> Result<Vec<u8>, Error> {
    let params = StoredParams::parse(words)?;
    let shape = params.shape()?;
    let header = StreamHeader::parse(stream)?;
    check_declared(&header, params.element(), shape.dims())?;
    // Just what the chunk takes: its size has been checked against the file's.
    let limits = Limits { max_chunk_bytes: header.decoded_bytes() };
    decompress_chunk(stream, &limits, models, &threads::backend()?)
}

/// HDF5 believes what the filter returns, so that the stream must be of the very chunk that the file declares.
/// Leading dimensions are compared by their product: they all count frames.
fn check_declared(header: &StreamHeader, element: ElementType, dims: &[usize]) -> Result<(), Error> {
    let frame_dims = dims.len().min(2);
    let same_frames = header.shape.dims().ends_with(&dims[dims.len() - frame_dims..])
        && header.shape.n_values() == dims.iter().product::<usize>();
    if header.element == element && same_frames {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!(
            "the stream holds {:?} elements of type {}, the file declares {dims:?} of type {}",
            header.shape.dims(),
            header.element.name(),
            element.name()
        ),
    ))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// `H5Z_FLAG_REVERSE`: HDF5 is reading.
const FLAG_REVERSE: c_uint = 0x0100;

/// Runs the filter in the direction that `flags` name.
///
/// # Errors
/// As [`encode`] and [`decode`], with what was tried before the message.
pub(crate) fn run(host: &Host, flags: c_uint, words: &[u32], bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let (result, attempt) = match flags & FLAG_REVERSE {
        0 => (encode(&Lookup::for_writing(host), words, bytes), "cannot compress a chunk"),
        _ => (decode(&Lookup::for_reading(host), words, bytes), "cannot decompress a chunk"),
    };
    result.map_err(|error| Error::new(error.kind(), format!("{attempt}: {}", error.message())))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
