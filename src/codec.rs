//! Joins the stages: a chunk in, a stream out, and back.

use std::sync::Arc;

use crate::array::{ChunkShape, ElementType};
use crate::bound::{Tolerance, largest_error};
use crate::bytewise;
use crate::decode::{count_payload_methods, decode_payload};
use crate::domain::{Domain, MAX_POSITION, Scale, exact_domains, ulp};
use crate::elementwise;
use crate::encode::Chunk;
use crate::error::{Error, ErrorKind};
use crate::fast::FastChunk;
use crate::limits::Limits;
use crate::options::{Bound, Effort, Options};
use crate::patch::PatchGrid;
use crate::sae::{Model, ModelId, backend::Backend};
use crate::stream::header::{Payload, StreamHeader};
use crate::stream::payload::{default_patch, layout};
use crate::target::{Target, ValueRange, bounded_step};

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
/// The stream is decoded and compared with the input before it is returned.
///
/// # Errors
/// `InvalidArgument` if `bytes` is not as long as the shape says, or the bound is not one that [`Bound::try_new`]
/// allows, or [`Bound::None`] is to be unbiased.
pub fn compress_chunk(
    bytes: &[u8],
    element: ElementType,
    shape: &ChunkShape,
    options: &Options,
    backend: &dyn Backend,
) -> Result<Vec<u8>, Error> {
    Bound::try_new(options.bound.kind(), options.bound.value())?;
    if options.unbiased && options.bound == Bound::None {
        return Err(Error::invalid(
            "unbiased errors without a bound: errors are kept small by a bound of another kind",
        ));
    }
    let expected_bytes = shape.n_values() * element.size_bytes();
    if bytes.len() != expected_bytes {
        return Err(Error::invalid(format!(
            "chunk of {} bytes: {:?} elements of type {} take {expected_bytes}",
            bytes.len(),
            shape.dims(),
            element.name()
        )));
    }
    let input = Input { bytes, element, shape, options, backend };
    // The fast coder knows neither the square-root scale nor how to choose among residuals.
    let is_fast =
        options.effort == Effort::Fast && !matches!(options.bound, Bound::Noise(_)) && !options.unbiased;
    let (bounded, least_ratio) = if is_fast { (input.fast_bounded()?, 2) } else { (input.bounded()?, 4) };
    // Lossless coding is worth a try only where the bound saves little.
    match bounded {
        Some(bounded) if bounded.len() < bytes.len() / least_ratio => Ok(bounded),
        bounded => {
            let exact = input.exact()?;
            Ok(bounded.filter(|bounded| bounded.len() < exact.len()).unwrap_or(exact))
        }
    }
}

/// A chunk and what is asked for it.
struct Input<'a> {
    bytes: &'a [u8],
    element: ElementType,
    shape: &'a ChunkShape,
    options: &'a Options,
    backend: &'a dyn Backend,
}

impl Input<'_> {
    /// Range of the values that the bound is about, and how far each may be off. `None` where all must be exact.
    fn promise(&self) -> Option<(ValueRange, Tolerance)> {
        if self.options.bound == Bound::Lossless {
            return None;
        }
        let range = ValueRange::of_bytes(self.element, self.bytes, self.options)?;
        let tolerance = match self.options.bound {
            Bound::Absolute(epsilon) => Tolerance::Uniform(epsilon),
            Bound::Relative(fraction) => Tolerance::Uniform(fraction * (range.greatest - range.least)),
            Bound::Noise(deviations) => Tolerance::Noise(deviations),
            Bound::None if self.options.model.is_some() => Tolerance::Uniform(
                (range.magnitude() * NONE_RESOLUTION).max(ulp(self.element, range.magnitude())),
            ),
            Bound::None | Bound::Lossless => return None,
        };
        Some((range, tolerance))
    }

    /// The chunk within its bound, by the fast coder; `None` where lossless coding has to serve.
    fn fast_bounded(&self) -> Result<Option<Vec<u8>>, Error> {
        if self.options.bound == Bound::None {
            return Ok(None);
        }
        let Some((range, Tolerance::Uniform(epsilon))) = self.promise() else { return Ok(None) };
        let Some(step) = bounded_step(self.element, range, epsilon) else { return Ok(None) };
        let domain = Domain { element: self.element, scale: Scale::Linear { step }, fraction_bits: 0 };
        let payload = self.fast_chunk(domain, epsilon).encode(range.magnitude() / step);
        self.finish(Payload::Coded, self.options.bound, None, &payload, Some(Tolerance::Uniform(epsilon)))
    }

    fn fast_chunk(&self, domain: Domain, epsilon: f64) -> FastChunk<'_> {
        let (n_frames, rows, cols) = layout(self.shape);
        let exact = self.options.marks();
        FastChunk { bytes: self.bytes, domain, epsilon, exact, n_frames, rows, cols }
    }

    /// The chunk within its bound; `None` where lossless coding has to serve.
    fn bounded(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some((range, tolerance)) = self.promise() else { return Ok(None) };
        let latents_only = self.options.bound == Bound::None;
        let target = Target::bounded(self.element, self.bytes, range, tolerance, self.options);
        let Some(target) = target else {
            return Ok(None);
        };
        let mut chunk = self.chunk(target, latents_only);
        let Some(coded) = chunk.encode()? else { return Ok(None) };
        drop(chunk);
        let model = self.options.model.as_ref().filter(|_| coded.uses_network).map(|model| model.id());
        let allowed = if latents_only { Tolerance::Uniform(f64::INFINITY) } else { tolerance };
        self.finish(Payload::Coded, self.options.bound, model, &coded.payload, Some(allowed))
    }

    fn chunk<'a>(&'a self, target: Target<'a>, latents_only: bool) -> Chunk<'a> {
        let (n_frames, rows, cols) = layout(self.shape);
        Chunk {
            target,
            n_frames,
            rows,
            cols,
            effort: self.options.effort,
            latents_only,
            model: self.options.model.as_ref(),
            backend: self.backend,
        }
    }

    /// The chunk bit for bit, by whichever way is shortest; what takes many times as long to read only where that makes
    /// it shorter by one part in [`SLOW_GAIN`], or the best effort is asked for.
    fn exact(&self) -> Result<Vec<u8>, Error> {
        let bits = self.element.read_bits(self.bytes);
        let mut raw = self.header(Payload::Raw, Bound::Lossless, None);
        raw.values_crc = crc32fast::hash(self.bytes);
        let mut best = raw.write(self.bytes);
        let mut keep = |stream: Option<Vec<u8>>, is_slow: bool| {
            let least_gain = if is_slow { best.len() / SLOW_GAIN } else { 0 };
            if let Some(stream) = stream.filter(|stream| stream.len() < best.len() - least_gain) {
                best = stream;
            }
        };
        let is_slow = self.options.effort != Effort::Best;
        if let Some(payload) = elementwise::compress(self.element, &bits) {
            keep(self.finish(Payload::Pco, Bound::Lossless, None, &payload, None)?, false);
        }
        for domain in exact_domains(self.element, &bits) {
            if self.options.effort != Effort::Best {
                let domain = Domain { fraction_bits: 0, ..domain };
                let payload = self.fast_chunk(domain, 0.0).encode(MAX_POSITION as f64);
                keep(self.finish(Payload::Coded, Bound::Lossless, None, &payload, None)?, false);
            }
            if self.options.effort == Effort::Fast {
                continue;
            }
            let mut chunk = self.chunk(Target::exact(domain, self.bytes), false);
            let Some(coded) = chunk.encode()? else { continue };
            keep(self.finish(Payload::Coded, Bound::Lossless, None, &coded.payload, None)?, is_slow);
        }
        if let Some(shorter) = self.bytewise(best.len())? {
            best = shorter;
        }
        Ok(best)
    }

    /// The chunk byte by byte, if that is shorter than `least_bytes`; for elements of several bytes, which seldom are text,
    /// with the best effort only, and by enough to be worth the time that reading takes.
    fn bytewise(&self, least_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let wide = self.element.size_bytes() > 1;
        if wide && self.options.effort != Effort::Best {
            return Ok(None);
        }
        let enough = if wide { least_bytes - least_bytes / bytewise::LEAST_GAIN } else { least_bytes };
        match bytewise::compress(self.element, self.shape, self.bytes) {
            Some(payload) if payload.len() < enough => {
                let stream = self.finish(Payload::Bytewise, Bound::Lossless, None, &payload, None)?;
                Ok(stream.filter(|stream| stream.len() < least_bytes))
            }
            _ => Ok(None),
        }
    }

    /// A header that lacks what only the decoded chunk tells.
    fn header(&self, payload: Payload, bound: Bound, model: Option<ModelId>) -> StreamHeader {
        StreamHeader {
            element: self.element,
            shape: self.shape.clone(),
            bound,
            payload,
            max_abs_err: 0.0,
            model,
            values_crc: 0,
        }
    }

    /// Decodes a payload, measures its error and puts the header before it. `allowed` is the bound, without one all
    /// must be exact. `None` if a value is beyond what is allowed: the encoder has erred, and another way must be
    /// found.
    fn finish(
        &self,
        kind: Payload,
        bound: Bound,
        model: Option<ModelId>,
        payload: &[u8],
        allowed: Option<Tolerance>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut header = self.header(kind, bound, model);
        let used_model = self.options.model.as_ref().filter(|_| model.is_some());
        let decoded = match decode(&header, payload, used_model, self.backend) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                debug_assert!(false, "encoder and decoder disagree: {error}");
                return Ok(None);
            }
            decoded => decoded?,
        };
        let exact = self.options.marks();
        let max_abs_err = match allowed {
            None => (decoded == self.bytes).then_some(0.0),
            Some(tolerance) => largest_error(self.element, self.bytes, &decoded, tolerance, exact),
        };
        debug_assert!(max_abs_err.is_some(), "encoder and decoder disagree");
        let Some(max_abs_err) = max_abs_err else { return Ok(None) };
        header.max_abs_err = max_abs_err;
        header.values_crc = crc32fast::hash(&decoded);
        Ok(Some(header.write(payload)))
    }
}

/// Mixed contexts take ten times as long to read as the fast coder or pco, modelled pixels fifty times: exact values are
/// coded so where that saves one part in so many.
const SLOW_GAIN: usize = 32;

/// Bound of `Bound::None` for the grid of positions, against the largest magnitude: no residual is coded, so a fine
/// grid costs nothing.
const NONE_RESOLUTION: f64 = 1e-6;

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
    let model = header.model.map(|id| models.model(id)).transpose()?;
    if let (Some(model), Some(id)) = (&model, header.model)
        && model.id() != id
    {
        return Err(Error::invalid(format!(
            "model {} was supplied for a stream that needs {id}",
            model.id()
        )));
    }
    let decoded = decode(&header, payload, model.as_ref(), backend)?;
    let found = crc32fast::hash(&decoded);
    if found != header.values_crc {
        return Err(Error::corrupt(format!(
            "checksum of the decoded values is {found:08x}, stored is {:08x}: this decoder differs from the encoder's",
            header.values_crc
        )));
    }
    Ok(decoded)
}

/// How the patches of a stream are coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodCounts {
    /// Patches of one value.
    pub constant: usize,
    /// Patches coded by context on the grid of steps.
    pub grid: usize,
    /// Patches coded by context, residuals against unrounded predictions.
    pub aligned: usize,
    /// Patches from the network.
    pub network: usize,
    /// Patches stored as bit patterns; those of chunks that are stored raw or by `pco` count here.
    pub lossless: usize,
    /// Bytes of all patch headers: methods, scales, latents and linear atoms.
    pub header_bytes: usize,
    /// Bytes of all pixels: residuals, special values.
    pub pixel_bytes: usize,
}

/// Counts the methods in a stream, without decoding its pixels.
///
/// # Errors
/// As [`decompress_chunk`].
pub fn count_methods(stream: &[u8], models: &dyn ModelSource) -> Result<MethodCounts, Error> {
    let (header, payload) = StreamHeader::parse_with_payload(stream)?;
    if header.payload != Payload::Coded {
        let patch = default_patch(header.shape.rows(), header.shape.cols());
        let grid = PatchGrid { rows: header.shape.rows(), cols: header.shape.cols(), patch };
        let lossless = grid.n_patches() * header.shape.frames();
        return Ok(MethodCounts { lossless, pixel_bytes: payload.len(), ..MethodCounts::default() });
    }
    let model = header.model.map(|id| models.model(id)).transpose()?;
    count_payload_methods(&header, payload, model.as_ref())
}

/// The payload's bytes, whatever its kind.
fn decode(
    header: &StreamHeader,
    payload: &[u8],
    model: Option<&Arc<Model>>,
    backend: &dyn Backend,
) -> Result<Vec<u8>, Error> {
    match header.payload {
        Payload::Raw if payload.len() != header.decoded_bytes() => Err(Error::corrupt(format!(
            "raw payload of {} bytes for a chunk of {}",
            payload.len(),
            header.decoded_bytes()
        ))),
        Payload::Raw => Ok(payload.to_vec()),
        Payload::Pco => elementwise::decompress(header.element, header.shape.n_values(), payload),
        Payload::Bytewise => bytewise::decompress(header.element, &header.shape, payload),
        Payload::Coded => decode_payload(header, payload, model, backend),
    }
}
