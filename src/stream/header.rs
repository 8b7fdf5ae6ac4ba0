//! The stream's header: docs/format.md, "Header".

use super::bytes::{ByteReader, write_decimal, write_varint};
use crate::array::{ByteOrder, ChunkShape, ElementClass, ElementType};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::options::Bound;
use crate::sae::{BUILTIN_IDS, ModelId};

/// First bytes of every stream.
pub(crate) const MAGIC: [u8; 2] = [0x89, b'S'];

/// Version of the stream format. 0 may change at any time; 1 will be frozen.
pub const FORMAT_VERSION: u8 = 0;

/// How the payload is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Payload {
    /// The chunk's bytes as they are.
    Raw = 0,
    /// The elements through the `pco` codec.
    Pco = 1,
    /// The methods of this format, over one arithmetic-coded body.
    Coded = 2,
    /// The chunk's bytes, one by one, over one arithmetic-coded body.
    Bytewise = 3,
}

/// What a stream says about itself, before its payload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StreamHeader {
    /// Element type of the decoded chunk.
    pub element: ElementType,
    /// Shape of the decoded chunk.
    pub shape: ChunkShape,
    /// What was promised. A chunk that is stored exactly says `Lossless`, whatever was asked.
    pub bound: Bound,
    /// How the payload is to be read.
    pub payload: Payload,
    /// Largest error of the values, as measured by the encoder, rounded up to eight significant bits, but never
    /// beyond an absolute bound.
    pub max_abs_err: f64,
    /// The model that some patch needs.
    pub model: Option<ModelId>,
    /// CRC-32 of the decoded bytes.
    pub values_crc: u32,
}

/// Bits 0–3 of the third byte; the payload's kind is in bits 4–6.
const VERSION_BITS: u8 = 15;

/// Bits 0–5 of the byte of rank; above them, how the model is named.
const RANK_BITS: u8 = 63;
const BUILTIN_MODEL: u8 = 1 << 6;
const ANY_MODEL: u8 = 2 << 6;

impl StreamHeader {
    /// Bytes of the decoded chunk.
    pub fn decoded_bytes(&self) -> usize {
        self.shape.n_values() * self.element.size_bytes()
    }

    /// Writes header and payload as one stream.
    pub(crate) fn write(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + payload.len());
        out.extend_from_slice(&MAGIC);
        out.push(FORMAT_VERSION | (self.payload as u8) << 4);
        out.push(element_bits(self.element) | self.bound.kind() << 5);
        if has_value(self.bound.kind()) {
            write_decimal(&mut out, self.bound.value());
        }
        if self.bound != Bound::Lossless {
            out.extend_from_slice(&upper_half(round_up(self.max_abs_err)).to_le_bytes());
        }
        let rank = self.shape.dims().len() as u8;
        match self.model {
            None => out.push(rank),
            Some(id) if BUILTIN_IDS.contains(&id) => {
                out.push(rank | BUILTIN_MODEL);
                out.extend_from_slice(&short_id(id).to_le_bytes());
            }
            Some(id) => {
                out.push(rank | ANY_MODEL);
                out.extend_from_slice(&id.0.to_le_bytes());
            }
        }
        for &dim in self.shape.dims() {
            write_varint(&mut out, dim as u64);
        }
        out.extend_from_slice(&self.values_crc.to_le_bytes());
        let checksum = stream_checksum(&out, payload);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(payload);
        out
    }

    /// Reads and checks the header of a stream, and its checksum over everything.
    ///
    /// # Errors
    /// `Truncated`, `Corrupt` or `Unsupported`.
    pub fn parse(stream: &[u8]) -> Result<Self, Error> {
        Ok(Self::parse_with_payload(stream)?.0)
    }

    pub(crate) fn parse_with_payload(stream: &[u8]) -> Result<(Self, &[u8]), Error> {
        let mut reader = ByteReader::new(stream);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(Error::corrupt("not an H5Z-SAE stream: it does not begin with 89 53"));
        }
        let payload_kind = parse_payload_kind(reader.u8()?)?;
        let element_and_bound = reader.u8()?;
        let element = parse_element(element_and_bound)?;
        let bound = parse_bound(&mut reader, element_and_bound >> 5)?;
        let max_abs_err = parse_largest_error(&mut reader, bound)?;
        let rank_and_model = reader.u8()?;
        let model = parse_model(&mut reader, rank_and_model & !RANK_BITS)?;
        if model.is_some() && payload_kind != Payload::Coded {
            return Err(Error::corrupt("a model id in a stream whose payload has no use for one"));
        }
        let shape = parse_shape(&mut reader, usize::from(rank_and_model & RANK_BITS))?;
        let values_crc = reader.u32()?;
        let checked_bytes = stream.len() - reader.rest().len();
        let stored = reader.u16()?;
        let payload = reader.rest();
        let found = stream_checksum(&stream[..checked_bytes], payload);
        if found != stored {
            return Err(Error::corrupt(format!(
                "checksum of the stream is {found:04x}, stored is {stored:04x}: its {} bytes were cut off or changed after they were written",
                stream.len()
            )));
        }
        Ok((Self { element, shape, bound, payload: payload_kind, max_abs_err, model, values_crc }, payload))
    }
}

/// CRC-32 of everything but the field itself, of which the stream keeps the lower half: values have a whole one.
fn stream_checksum(header: &[u8], payload: &[u8]) -> u16 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(payload);
    crc.finalize() as u16
}

/// The first four hex digits of an id.
fn short_id(id: ModelId) -> u16 {
    (id.0 >> 48) as u16
}

/// The smallest f32 that is not below.
fn round_up(value: f64) -> f32 {
    let rounded = value as f32;
    if f64::from(rounded) < value { rounded.next_up() } else { rounded }
}

/// The upper half of an f32 that is not below.
fn upper_half(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits >> 16) + u32::from(bits & 0xffff != 0)) as u16
}

fn parse_payload_kind(byte: u8) -> Result<Payload, Error> {
    let version = byte & VERSION_BITS;
    if version != FORMAT_VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("stream of format version {version}: this library reads version {FORMAT_VERSION}"),
        ));
    }
    match byte >> 4 {
        0 => Ok(Payload::Raw),
        1 => Ok(Payload::Pco),
        2 => Ok(Payload::Coded),
        3 => Ok(Payload::Bytewise),
        other => Err(Error::corrupt(format!("payload kind {other}: known are 0 to 3"))),
    }
}

fn parse_bound(reader: &mut ByteReader, kind: u8) -> Result<Bound, Error> {
    let value = if has_value(kind) { reader.decimal()? } else { 0.0 };
    Bound::try_new(kind, value).map_err(|e| Error::corrupt(e.message()))
}

fn parse_largest_error(reader: &mut ByteReader, bound: Bound) -> Result<f64, Error> {
    if bound == Bound::Lossless {
        return Ok(0.0);
    }
    let found = f32::from_bits(u32::from(reader.u16()?) << 16);
    if found.is_nan() || found < 0.0 {
        return Err(Error::corrupt(format!("largest error of {found} in the header: expected 0 or more")));
    }
    let found = f64::from(found);
    Ok(match bound {
        Bound::Absolute(epsilon) => found.min(epsilon),
        _ => found,
    })
}

fn parse_model(reader: &mut ByteReader, naming: u8) -> Result<Option<ModelId>, Error> {
    match naming {
        0 => Ok(None),
        BUILTIN_MODEL => {
            let short = reader.u16()?;
            let found = BUILTIN_IDS.into_iter().find(|&id| short_id(id) == short);
            found.map(Some).ok_or_else(|| {
                let message = format!(
                    "the stream needs a built-in model whose id begins with {short:04x}: this library has {}; a later release may have that one",
                    BUILTIN_IDS.map(|id| id.to_string()).join(", ")
                );
                Error::new(ErrorKind::MissingModel, message)
            })
        }
        ANY_MODEL => Ok(Some(ModelId(reader.u64()?))),
        _ => Err(Error::corrupt(
            "bits 6 and 7 of the byte of rank are both set: a model is named one way or the other",
        )),
    }
}

fn parse_shape(reader: &mut ByteReader, rank: usize) -> Result<ChunkShape, Error> {
    if rank == 0 || rank > limits::MAX_RANK {
        return Err(Error::corrupt(format!(
            "rank {rank} in the header: allowed are 1 to {}",
            limits::MAX_RANK
        )));
    }
    let dims = (0..rank).map(|_| {
        let dim = reader.varint()?;
        usize::try_from(dim).map_err(|_| Error::corrupt(format!("dimension {dim} is beyond this machine")))
    });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    ChunkShape::try_new(&dims).map_err(|e| Error::corrupt(e.message()))
}

fn has_value(bound_kind: u8) -> bool {
    matches!(bound_kind, 1..=3)
}

/// Bits 0–1 class, bits 2–3 log2 of the size in bytes, bit 4 set for big-endian.
fn element_bits(element: ElementType) -> u8 {
    element.class() as u8 | (element.size_bytes().ilog2() as u8) << 2 | (element.order() as u8) << 4
}

fn parse_element(byte: u8) -> Result<ElementType, Error> {
    let class = match byte & 3 {
        0 => ElementClass::Unsigned,
        1 => ElementClass::Signed,
        2 => ElementClass::Float,
        _ => return Err(Error::corrupt("element class 3 in the header: known are 0 to 2")),
    };
    let order = if byte & 0x10 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    ElementType::try_new(class, 1 << (byte >> 2 & 3), order).map_err(|e| Error::corrupt(e.message()))
}
