//! From a coded payload to a chunk: docs/format.md, "Decoding".

use std::sync::Arc;

use crate::atoms::{AtomCoder, AtomRules, PatchHeader};
use crate::codec::MethodCounts;
use crate::entropy::{BitCoder, RangeDecoder};
use crate::error::{Error, ErrorKind};
use crate::frame::{FastCoder, FrameCoder, FramePlan, FrameRules, MAX_LANES, Method, Position};
use crate::predict::PredictorErrors;
use crate::sae::{Model, backend::Backend};
use crate::stream::StreamHeader;
use crate::stream::payload::{NetworkRules, PayloadRules, layout};

/// Network patches that are decoded together, so that matrix products are worth their set-up.
const BATCH: usize = 64;

/// Decodes the payload to the chunk's bytes. `model` is there if the header names one.
pub(crate) fn decode_payload(
    stream: &StreamHeader,
    payload: &[u8],
    model: Option<&Arc<Model>>,
    backend: &dyn Backend,
) -> Result<Vec<u8>, Error> {
    Ok(decode_coded(stream, payload, model, backend)?.0)
}

/// The same, and the coders as they are at the end; that of pixels is `None` where the fast one was used.
pub(crate) fn decode_coded(
    stream: &StreamHeader,
    payload: &[u8],
    model: Option<&Arc<Model>>,
    backend: &dyn Backend,
) -> Result<(Vec<u8>, Option<FrameCoder>, AtomCoder), Error> {
    let (rules, header_body, pixel_body) = PayloadRules::parse(stream, payload)?;
    let (n_frames, ..) = layout(&stream.shape);
    if model.is_some_and(|model| model.patch() != rules.frames.grid.patch) {
        return Err(Error::corrupt("patches of another shape than the model's"));
    }
    let mut out = reserve(stream.decoded_bytes())?;
    drop(reserve(working_bytes(&rules, n_frames))?);
    let (headers, atoms) = decode_headers(&rules, n_frames, header_body, model)?;
    if rules.fast {
        decode_fast(&rules.frames, &headers, pixel_body, &mut out)?;
        return Ok((out, None, atoms));
    }
    let mut planner = FramePlanner::new(&rules, model, backend);
    let mut coder = RangeDecoder::new(pixel_body);
    let mut frame_coder = FrameCoder::new(rules.frames.clone());
    let mut bits = Vec::new();
    let n_patches = rules.frames.grid.n_patches();
    for frame in 0..n_frames {
        let given = planner.given(&headers, frame)?;
        let methods: Vec<Method> =
            headers[frame * n_patches..][..n_patches].iter().map(PatchHeader::method).collect();
        frame_coder.code_frame(&mut coder, &FramePlan { methods: &methods, given }, None, None);
        check_overrun(&coder, frame)?;
        frame_coder.end_frame();
        bits.clear();
        frame_coder.reconstruction(&mut bits);
        stream.element.write_bits(&bits, &mut out);
    }
    Ok((out, Some(frame_coder), atoms))
}

fn check_overrun(coder: &RangeDecoder, frame: usize) -> Result<(), Error> {
    if coder.overrun() {
        return Err(Error::corrupt(format!("pixels of frame {frame} run past the end of the stream")));
    }
    Ok(())
}

/// Frames of the fast coder, in the narrowest integers that hold their positions.
fn decode_fast(
    rules: &FrameRules,
    headers: &[PatchHeader],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if rules.lowest.abs().max(rules.highest.abs()) <= i32::LARGEST {
        decode_fast_as::<i32>(rules, headers, body, out)
    } else {
        decode_fast_as::<i64>(rules, headers, body, out)
    }
}

fn decode_fast_as<P: Position>(
    rules: &FrameRules,
    headers: &[PatchHeader],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut coder = RangeDecoder::new(body);
    let mut frame_coder = FastCoder::<P>::new(rules.clone());
    let mut constants = Vec::new();
    for (frame, headers) in headers.chunks_exact(rules.grid.n_patches()).enumerate() {
        constants.clear();
        for header in headers {
            constants.push(match header {
                PatchHeader::Constant(steps) => Some(*steps),
                PatchHeader::Pixels(Method::Grid) => None,
                other => {
                    return Err(Error::corrupt(format!(
                        "method {} in frame {frame}: the fast coder knows constant patches and the grid",
                        other.method() as u8
                    )));
                }
            });
        }
        frame_coder.code_frame(&mut coder, &constants, None);
        check_overrun(&coder, frame)?;
        frame_coder.write(out);
    }
    Ok(())
}

/// Methods of all patches, from their headers alone.
pub(crate) fn count_payload_methods(
    stream: &StreamHeader,
    payload: &[u8],
    model: Option<&Arc<Model>>,
) -> Result<MethodCounts, Error> {
    let (rules, header_body, pixel_body) = PayloadRules::parse(stream, payload)?;
    let mut counts = MethodCounts {
        header_bytes: header_body.len(),
        pixel_bytes: pixel_body.len(),
        ..MethodCounts::default()
    };
    for header in decode_headers(&rules, layout(&stream.shape).0, header_body, model)?.0 {
        *match header.method() {
            Method::Constant => &mut counts.constant,
            Method::Grid => &mut counts.grid,
            Method::Aligned => &mut counts.aligned,
            Method::Network => &mut counts.network,
            Method::Lossless => &mut counts.lossless,
        } += 1;
    }
    Ok(counts)
}

/// An empty buffer with room for so many bytes.
fn reserve(n_bytes: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(n_bytes)
        .map_err(|_| Error::new(ErrorKind::System, format!("no memory: {n_bytes} bytes are needed")))?;
    Ok(buffer)
}

/// Most bytes that decoding needs beside the chunk: the planes of a frame, lanes of predictor errors, and headers.
/// Whoever lacks them should hear of it before any of them is used.
fn working_bytes(rules: &PayloadRules, n_frames: usize) -> usize {
    const PLANES: usize = 64;
    const MODELLED_PLANES: usize = PLANES + 16;
    let grid = rules.frames.grid;
    let headers = (n_frames * grid.n_patches()).saturating_mul(2 * size_of::<PatchHeader>());
    if rules.fast {
        return FastCoder::<i64>::most_bytes(grid.rows, grid.cols).saturating_add(headers);
    }
    let n_bytes = if rules.frames.modelled { MODELLED_PLANES } else { PLANES };
    let planes = (grid.rows * grid.cols).saturating_mul(n_bytes);
    let lanes = grid.cols.saturating_mul(MAX_LANES.min(grid.rows) * size_of::<PredictorErrors>());
    planes.saturating_add(lanes).saturating_add(headers)
}

/// Headers of all patches of all frames, and what coded them.
fn decode_headers(
    rules: &PayloadRules,
    n_frames: usize,
    body: &[u8],
    model: Option<&Arc<Model>>,
) -> Result<(Vec<PatchHeader>, AtomCoder), Error> {
    let n_patches = rules.frames.grid.n_patches();
    let mut atoms =
        AtomCoder::new(rules.network.zip(model).map(|(network, model)| atom_rules(&network, model)));
    let mut coder = RangeDecoder::new(body);
    let mut headers: Vec<PatchHeader> = Vec::new();
    for index in 0..n_frames * n_patches {
        let [left, before] = rules.frames.grid.neighbours(index).map(|i| i.map(|i| headers[i].method()));
        let header = atoms.code(&mut coder, None, left, before);
        match header {
            Some(header) if !coder.overrun() => headers.push(header),
            _ => {
                return Err(Error::corrupt(format!(
                    "header of patch {index} is not one that an encoder writes"
                )));
            }
        }
    }
    Ok((headers, atoms))
}

/// What the coder of atoms needs of a model.
pub(crate) fn atom_rules(network: &NetworkRules, model: &Model) -> AtomRules {
    AtomRules {
        priors: model.spec().priors.clone(),
        penalty: model.spec().penalty,
        latent_step_log2: i32::from(network.latent_step_log2),
        linear_step_quarters: i32::from(network.linear_step_quarters),
        max_latent_step_log2: i32::from(model.latent_frac_bits()),
        max_linear_step_quarters: i32::from(model.max_linear_step_quarters()),
    }
}

/// Works out the positions that are given before any pixel is decoded: constants and network output.
pub(crate) struct FramePlanner<'a> {
    frames: &'a FrameRules,
    network: Option<NetworkRules>,
    model: Option<&'a Arc<Model>>,
    backend: &'a dyn Backend,
    given: Vec<i64>,
    /// Output of the network for patches `batch.start..batch.end` of the chunk that use it, in order.
    batch: std::ops::Range<usize>,
    output: Vec<i32>,
}

impl<'a> FramePlanner<'a> {
    pub(crate) fn new(
        rules: &'a PayloadRules,
        model: Option<&'a Arc<Model>>,
        backend: &'a dyn Backend,
    ) -> Self {
        let n_pixels = rules.frames.grid.rows * rules.frames.grid.cols;
        Self {
            frames: &rules.frames,
            network: rules.network,
            model,
            backend,
            given: vec![0; n_pixels],
            batch: 0..0,
            output: Vec::new(),
        }
    }

    /// Positions of the pixels of constant and network patches of a frame. Frames must come in order.
    pub(crate) fn given(&mut self, headers: &[PatchHeader], frame: usize) -> Result<&[i64], Error> {
        let grid = self.frames.grid;
        let n_patches = grid.n_patches();
        for patch in 0..n_patches {
            let index = frame * n_patches + patch;
            match &headers[index] {
                PatchHeader::Pixels(_) => {}
                PatchHeader::Constant(steps) => {
                    let position = steps.saturating_mul(self.frames.domain.step_positions());
                    self.fill(patch, position.clamp(self.frames.lowest, self.frames.highest));
                }
                PatchHeader::Network(header) => {
                    if !self.batch.contains(&index) {
                        self.decode_batch(headers, index)?;
                    }
                    let nth = headers[self.batch.start..index]
                        .iter()
                        .filter(|h| h.method() == Method::Network)
                        .count();
                    self.place(patch, nth, header.scale)?;
                }
            }
        }
        Ok(&self.given)
    }

    fn fill(&mut self, patch: usize, position: i64) {
        let grid = self.frames.grid;
        let region = grid.region(patch);
        for row in region.row..region.row + region.rows {
            self.given[row * grid.cols + region.col..][..region.cols].fill(position);
        }
    }

    /// Runs the network on the next patches that use it.
    fn decode_batch(&mut self, headers: &[PatchHeader], first: usize) -> Result<(), Error> {
        let model =
            self.model.ok_or_else(|| Error::corrupt("network patch in a stream that names no model"))?;
        let mut codes = Vec::new();
        let mut end = first;
        for header in &headers[first..] {
            if let PatchHeader::Network(patch) = header {
                if codes.len() == BATCH {
                    break;
                }
                codes.push(patch.code.clone());
            }
            end += 1;
        }
        self.batch = first..end;
        self.output.resize(codes.len() * model.patch().n_values(), 0);
        model.decode_patches(self.backend, &codes, &mut self.output)
    }

    /// Puts the `nth` output of the batch into the frame, as positions.
    fn place(&mut self, patch: usize, nth: usize, scale: i32) -> Result<(), Error> {
        let multiplier = self.network.and_then(|network| network.multiplier(scale));
        let (factor, shift) = multiplier
            .ok_or_else(|| Error::corrupt(format!("patch scale of {scale} is out of the network's reach")))?;
        let half = if shift > 0 { 1i64 << (shift - 1) } else { 0 };
        let grid = self.frames.grid;
        let region = grid.region(patch);
        let output = &self.output[nth * grid.patch.n_values()..][..grid.patch.n_values()];
        for row in 0..region.rows {
            let pixels = &mut self.given[(region.row + row) * grid.cols + region.col..][..region.cols];
            for (pixel, &value) in pixels.iter_mut().zip(&output[row * grid.patch.cols..]) {
                let position = (i64::from(value) * factor + half) >> shift;
                *pixel = position.clamp(self.frames.lowest, self.frames.highest);
            }
        }
        Ok(())
    }
}
