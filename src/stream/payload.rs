//! Parameters of a coded payload, before its two arithmetic-coded bodies: docs/format.md, "Coded payload".

use super::bytes::{ByteReader, write_signed_varint, write_varint};
use super::header::StreamHeader;
use crate::array::{ChunkShape, PatchShape};
use crate::domain::{Domain, MAX_DECIMALS, MAX_POSITION, Scale};
use crate::error::Error;
use crate::frame::{ESCAPE, FrameRules};
use crate::limits::MAX_PATCH_EDGE;
use crate::octaves::EIGHTH_OCTAVES;
use crate::patch::{BLOCK, PatchGrid};
use crate::symmetry::Centre;

const HAS_SPECIALS: u8 = 1;
const HAS_CENTRE: u8 = 2;
const HAS_NETWORK: u8 = 4;
const LATENTS_ONLY: u8 = 8;
const ORDERED: u8 = 16;
const DEFAULT_PATCH: u8 = 32;
const MIDDLE_CENTRE: u8 = 64;
const SQUARE_ROOT: u8 = 128;

/// The upper bytes of a step, an f64, that are stored: the others are 0.
const STEP_BYTES: usize = 3;

/// In the byte of fraction bits.
const MODELLED: u8 = 64;
const FAST: u8 = 128;

/// Stands in the step's sign bit where the rest is a number of decimals.
const DECIMAL: u8 = 128;

/// Most fraction bits of a position.
const MAX_FRACTION_BITS: u32 = 16;

/// How network output becomes positions, and the steps of its atoms at scale 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    /// A value of 1 in Q30 at scale 0 is `mantissa · 2^(44 − shift)` positions; 2¹⁵ to 2¹⁶ − 1.
    pub(crate) mantissa: u16,
    pub(crate) shift: i8,
    /// log2 of the inverse step.
    pub(crate) latent_step_log2: i8,
    /// 4·log2 of the inverse step.
    pub(crate) linear_step_quarters: i8,
}

impl NetworkRules {
    /// Integer multiplier and right shift (0 to 62) that take Q30 values of a patch of this scale to positions.
    /// `None` where the scale is out of reach.
    pub(crate) fn multiplier(&self, scale: i32) -> Option<(i64, u32)> {
        let eighth = u64::from(EIGHTH_OCTAVES[scale.rem_euclid(8) as usize]);
        let mantissa = (u64::from(self.mantissa) * eighth) >> 16;
        let shift = i32::from(self.shift) - scale.div_euclid(8);
        (0..=62).contains(&shift).then_some((mantissa as i64, shift as u32))
    }
}

/// Everything that the bodies of a coded payload need.
#[derive(Clone, Debug)]
pub(crate) struct PayloadRules {
    pub(crate) frames: FrameRules,
    pub(crate) network: Option<NetworkRules>,
    /// Pixels are coded by [`crate::frame::FastCoder`].
    pub(crate) fast: bool,
}

/// Frames, rows and columns as the coder sees them: frames of fewer pixels than a block has are the rows of one frame.
pub(crate) fn layout(shape: &ChunkShape) -> (usize, usize, usize) {
    let (frames, rows, cols) = (shape.frames(), shape.rows(), shape.cols());
    if rows * cols < BLOCK * BLOCK && frames > 1 { (1, frames, rows * cols) } else { (frames, rows, cols) }
}

/// Patches where no model says otherwise.
pub(crate) fn default_patch(rows: usize, cols: usize) -> PatchShape {
    if rows == 1 {
        PatchShape { rows: 1, cols: cols.min(MAX_PATCH_EDGE) }
    } else {
        PatchShape { rows: rows.min(BLOCK * BLOCK), cols: cols.min(BLOCK * BLOCK) }
    }
}

/// Whether frames may be cut into such patches: none larger than a frame, whose blocks would outnumber the pixels, and
/// none smaller than a block, whose header would cost more memory than the pixels do.
pub(crate) fn patch_is_allowed(patch: PatchShape, rows: usize, cols: usize) -> bool {
    patch.rows <= rows && patch.cols <= cols && patch.n_values() >= (rows * cols).min(BLOCK * BLOCK)
}

impl PayloadRules {
    /// Writes the parameters and both bodies.
    pub(crate) fn write(&self, headers: &[u8], pixels: &[u8]) -> Vec<u8> {
        let frames = &self.frames;
        let domain = &frames.domain;
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let default_patch = frames.grid.patch == default_patch(frames.grid.rows, frames.grid.cols);
        let middle_centre = frames.centre == Some(Centre::of_frame(frames.grid.rows, frames.grid.cols));
        let mut out = vec![
            flag(frames.specials.is_some(), HAS_SPECIALS)
                | flag(frames.centre.is_some(), HAS_CENTRE)
                | flag(self.network.is_some(), HAS_NETWORK)
                | flag(frames.latents_only, LATENTS_ONLY)
                | flag(domain.scale == Scale::Ordered, ORDERED)
                | flag(matches!(domain.scale, Scale::SquareRoot { .. }), SQUARE_ROOT)
                | flag(default_patch, DEFAULT_PATCH)
                | flag(middle_centre, MIDDLE_CENTRE),
            domain.fraction_bits as u8 | flag(frames.modelled, MODELLED) | flag(self.fast, FAST),
        ];
        match domain.scale {
            Scale::Linear { step } | Scale::SquareRoot { step } => {
                out.extend_from_slice(&step.to_bits().to_le_bytes()[8 - STEP_BYTES..]);
            }
            Scale::Decimal { digits } => out.extend([digits as u8, 0, DECIMAL]),
            Scale::Ordered => {}
        }
        write_signed_varint(&mut out, frames.lowest >> domain.fraction_bits);
        write_signed_varint(&mut out, frames.highest >> domain.fraction_bits);
        if !default_patch {
            write_varint(&mut out, frames.grid.patch.rows as u64);
            write_varint(&mut out, frames.grid.patch.cols as u64);
        }
        if let Some(centre) = frames.centre.as_ref().filter(|_| !middle_centre) {
            write_signed_varint(&mut out, centre.twice_row);
            write_signed_varint(&mut out, centre.twice_col);
        }
        if let Some(patterns) = &frames.specials {
            out.push(patterns.len() as u8);
            for pattern in patterns {
                out.extend_from_slice(&pattern.to_le_bytes()[..domain.element.size_bytes()]);
            }
        }
        if let Some(network) = &self.network {
            out.extend_from_slice(&network.mantissa.to_le_bytes());
            out.extend([
                network.shift as u8,
                network.latent_step_log2 as u8,
                network.linear_step_quarters as u8,
            ]);
        }
        write_varint(&mut out, headers.len() as u64);
        out.extend_from_slice(headers);
        out.extend_from_slice(pixels);
        out
    }

    /// Reads the parameters; returns them with the body of the patch headers and that of the pixels.
    pub(crate) fn parse<'a>(
        stream: &StreamHeader,
        payload: &'a [u8],
    ) -> Result<(Self, &'a [u8], &'a [u8]), Error> {
        let mut reader = ByteReader::new(payload);
        let flags = reader.u8()?;
        let fraction_byte = reader.u8()?;
        let (fast, modelled) = (fraction_byte & FAST != 0, fraction_byte & MODELLED != 0);
        let fraction_bits = u32::from(fraction_byte & !(FAST | MODELLED));
        if flags & (ORDERED | SQUARE_ROOT) == ORDERED | SQUARE_ROOT
            || flags & (HAS_CENTRE | MIDDLE_CENTRE) == MIDDLE_CENTRE
        {
            return Err(Error::corrupt(format!(
                "payload flags {flags:#04x}: a reserved combination of bits"
            )));
        }
        if (flags & HAS_NETWORK != 0) != stream.model.is_some() {
            return Err(Error::corrupt("payload and header disagree on whether a model is used"));
        }
        let not_fast = HAS_NETWORK | LATENTS_ONLY | SQUARE_ROOT;
        if fast && (flags & not_fast != 0 || flags & DEFAULT_PATCH == 0 || modelled || fraction_bits > 0) {
            return Err(Error::corrupt(format!(
                "payload flags {flags:#04x}, {fraction_bits} fraction bits: not with the fast coder"
            )));
        }
        let domain = parse_domain(&mut reader, stream, flags, fraction_bits)?;
        let (lowest, highest) = parse_range(&mut reader, domain.fraction_bits)?;
        let (_, rows, cols) = layout(&stream.shape);
        let patch = match flags & DEFAULT_PATCH {
            0 => parse_patch(&mut reader, rows, cols)?,
            _ => default_patch(rows, cols),
        };
        let centre = match flags & (HAS_CENTRE | MIDDLE_CENTRE) {
            0 => None,
            HAS_CENTRE => Some(parse_centre(&mut reader, rows, cols)?),
            _ => Some(Centre::of_frame(rows, cols)),
        };
        let specials =
            if flags & HAS_SPECIALS != 0 { Some(parse_specials(&mut reader, &domain)?) } else { None };
        let network = if flags & HAS_NETWORK != 0 { Some(parse_network(&mut reader)?) } else { None };
        let header_bytes = reader.varint()?;
        let header_bytes = usize::try_from(header_bytes).unwrap_or(usize::MAX);
        let headers = reader.take(header_bytes)?;
        let frames = FrameRules {
            domain,
            grid: PatchGrid { rows, cols, patch },
            lowest,
            highest,
            centre,
            specials,
            latents_only: flags & LATENTS_ONLY != 0,
            modelled,
        };
        Ok((Self { frames, network, fast }, headers, reader.rest()))
    }
}

fn parse_domain(
    reader: &mut ByteReader,
    stream: &StreamHeader,
    flags: u8,
    fraction_bits: u32,
) -> Result<Domain, Error> {
    if fraction_bits > MAX_FRACTION_BITS {
        return Err(Error::corrupt(format!(
            "{fraction_bits} fraction bits: at most {MAX_FRACTION_BITS} are allowed"
        )));
    }
    let scale = if flags & ORDERED != 0 { Scale::Ordered } else { parse_step(reader, stream, flags)? };
    Ok(Domain { element: stream.element, scale, fraction_bits })
}

fn parse_step(reader: &mut ByteReader, stream: &StreamHeader, flags: u8) -> Result<Scale, Error> {
    let mut bytes = [0; 8];
    bytes[8 - STEP_BYTES..].copy_from_slice(reader.take(STEP_BYTES)?);
    if bytes[7] & DECIMAL != 0 {
        let digits = usize::from(bytes[8 - STEP_BYTES]);
        let is_whole = bytes[6..] == [0, DECIMAL] && flags & SQUARE_ROOT == 0;
        if !is_whole || !stream.element.is_float() || !(1..=MAX_DECIMALS).contains(&digits) {
            return Err(Error::corrupt(format!(
                "{digits} decimals of type {}: expected 1 to {MAX_DECIMALS}, of floats",
                stream.element.name()
            )));
        }
        return Ok(Scale::Decimal { digits });
    }
    let step = f64::from_bits(u64::from_le_bytes(bytes));
    if !(step.is_finite() && step > 0.0) {
        return Err(Error::corrupt(format!("step of {step}: expected a finite number above 0")));
    }
    Ok(if flags & SQUARE_ROOT != 0 { Scale::SquareRoot { step } } else { Scale::Linear { step } })
}

fn parse_range(reader: &mut ByteReader, fraction_bits: u32) -> Result<(i64, i64), Error> {
    let (low, high) = (reader.signed_varint()?, reader.signed_varint()?);
    let most = MAX_POSITION >> fraction_bits;
    if low > high || low < -most || high > most {
        return Err(Error::corrupt(format!(
            "range of positions from {low} to {high}: expected it within ±{most}"
        )));
    }
    Ok((low << fraction_bits, high << fraction_bits))
}

fn parse_patch(reader: &mut ByteReader, rows: usize, cols: usize) -> Result<PatchShape, Error> {
    let edges = [reader.varint()?, reader.varint()?];
    if edges.iter().any(|&edge| edge == 0 || edge > MAX_PATCH_EDGE as u64) {
        return Err(Error::corrupt(format!(
            "patch of {} × {}: edges are 1 to {MAX_PATCH_EDGE}",
            edges[0], edges[1]
        )));
    }
    let patch = PatchShape { rows: edges[0] as usize, cols: edges[1] as usize };
    if !patch_is_allowed(patch, rows, cols) {
        return Err(Error::corrupt(format!(
            "patch of {} × {} in frames of {rows} × {cols}: it is larger than they are, or smaller than a block",
            patch.rows, patch.cols
        )));
    }
    Ok(patch)
}

fn parse_centre(reader: &mut ByteReader, rows: usize, cols: usize) -> Result<Centre, Error> {
    let centre = Centre { twice_row: reader.signed_varint()?, twice_col: reader.signed_varint()? };
    let inside = |twice: i64, edge: usize| (0..=8 * edge as i64).contains(&twice);
    if !inside(centre.twice_row, rows) || !inside(centre.twice_col, cols) {
        return Err(Error::corrupt("centre of symmetry outside the frame"));
    }
    Ok(centre)
}

fn parse_specials(reader: &mut ByteReader, domain: &Domain) -> Result<Vec<u64>, Error> {
    let n_patterns = reader.u8()?;
    if n_patterns > ESCAPE {
        return Err(Error::corrupt(format!("{n_patterns} special patterns: at most {ESCAPE} are allowed")));
    }
    let mut read_pattern = || {
        let mut pattern = [0; 8];
        let size = domain.element.size_bytes();
        pattern[..size].copy_from_slice(reader.take(size)?);
        Ok(u64::from_le_bytes(pattern))
    };
    (0..n_patterns).map(|_| read_pattern()).collect()
}

fn parse_network(reader: &mut ByteReader) -> Result<NetworkRules, Error> {
    let mantissa = reader.u16()?;
    if mantissa < 1 << 15 {
        return Err(Error::corrupt(format!("network mantissa of {mantissa}: expected 2¹⁵ to 2¹⁶ − 1")));
    }
    Ok(NetworkRules {
        mantissa,
        shift: reader.u8()? as i8,
        latent_step_log2: reader.u8()? as i8,
        linear_step_quarters: reader.u8()? as i8,
    })
}
