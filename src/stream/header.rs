//! The stream's header: docs/format.md, "Header".

use super::bytes::{ByteReader, write_varint};
use crate::array::{ByteOrder, ChunkShape, ElementClass, ElementType};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::options::Bound;
use crate::sae::ModelId;

/// First bytes of every stream.
pub(crate) const MAGIC: [u8; 4] = [0x89, b'S', b'A', b'E'];

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
    /// Largest error of the values, as measured by the encoder, rounded up.
    pub max_abs_err: f32,
    /// The model that some patch needs.
    pub model: Option<ModelId>,
    /// CRC-32 of the decoded bytes.
    pub values_crc: u32,
}

/// Bound kind that is reserved for noise-scaled bounds.
const NOISE_BOUND: u8 = 3;

/// Bit 7 of the payload byte: a model id follows.
const HAS_MODEL: u8 = 0x80;

impl StreamHeader {
    /// Bytes of the decoded chunk.
    pub fn decoded_bytes(&self) -> usize {
        self.shape.n_values() * self.element.size_bytes()
    }

    /// Writes header and payload as one stream.
    pub(crate) fn write(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + payload.len());
        out.extend_from_slice(&MAGIC);
        out.push(FORMAT_VERSION);
        out.push(element_byte(self.element));
        out.push(self.bound.kind());
        out.push(self.payload as u8 | if self.model.is_some() { HAS_MODEL } else { 0 });
        if has_value(self.bound.kind()) {
            out.extend_from_slice(&self.bound.value().to_le_bytes());
        }
        out.extend_from_slice(&self.max_abs_err.to_le_bytes());
        if let Some(id) = self.model {
            out.extend_from_slice(&id.0.to_le_bytes());
        }
        out.extend_from_slice(&self.values_crc.to_le_bytes());
        out.push(self.shape.dims().len() as u8);
        for &dim in self.shape.dims() {
            write_varint(&mut out, dim as u64);
        }
        write_varint(&mut out, payload.len() as u64);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out);
        crc.update(payload);
        out.extend_from_slice(&crc.finalize().to_le_bytes());
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
            return Err(Error::corrupt("not an H5Z-SAE stream: it does not begin with 89 53 41 45"));
        }
        let version = reader.u8()?;
        if version != FORMAT_VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("stream of format version {version}: this library reads version {FORMAT_VERSION}"),
            ));
        }
        let element = parse_element(reader.u8()?)?;
        let bound_kind = reader.u8()?;
        let payload_byte = reader.u8()?;
        let payload_kind = match payload_byte & !HAS_MODEL {
            0 => Payload::Raw,
            1 => Payload::Pco,
            2 => Payload::Coded,
            3 => Payload::Bytewise,
            other => return Err(Error::corrupt(format!("payload kind {other}: known are 0 to 3"))),
        };
        if bound_kind == NOISE_BOUND {
            let message = "bound kind 3 (noise-scaled) in the header: this library does not read it yet";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let bound_value = if has_value(bound_kind) { reader.f64()? } else { 0.0 };
        let bound = Bound::try_new(bound_kind, bound_value).map_err(|e| Error::corrupt(e.message()))?;
        let max_abs_err = reader.f32()?;
        if max_abs_err.is_nan() || max_abs_err < 0.0 {
            return Err(Error::corrupt(format!(
                "largest error of {max_abs_err} in the header: expected 0 or more"
            )));
        }
        let model = if payload_byte & HAS_MODEL != 0 { Some(ModelId(reader.u64()?)) } else { None };
        if model.is_some() && payload_kind != Payload::Coded {
            return Err(Error::corrupt("a model id in a stream whose payload has no use for one"));
        }
        let values_crc = reader.u32()?;
        let rank = usize::from(reader.u8()?);
        if rank == 0 || rank > limits::MAX_RANK {
            return Err(Error::corrupt(format!(
                "rank {rank} in the header: allowed are 1 to {}",
                limits::MAX_RANK
            )));
        }
        let dims = (0..rank)
            .map(|_| {
                let dim = reader.varint()?;
                usize::try_from(dim)
                    .map_err(|_| Error::corrupt(format!("dimension {dim} is beyond this machine")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let shape = ChunkShape::try_new(&dims).map_err(|e| Error::corrupt(e.message()))?;
        let payload_bytes = reader.varint()?;
        let checked_bytes = stream.len() - reader.rest().len();
        let stored_crc = reader.u32()?;
        let payload = reader.rest();
        if payload.len() as u64 != payload_bytes {
            let kind = if (payload.len() as u64) < payload_bytes {
                ErrorKind::Truncated
            } else {
                ErrorKind::Corrupt
            };
            return Err(Error::new(
                kind,
                format!("payload of {} bytes, the header says {payload_bytes}", payload.len()),
            ));
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&stream[..checked_bytes]);
        crc.update(payload);
        let found_crc = crc.finalize();
        if found_crc != stored_crc {
            return Err(Error::corrupt(format!(
                "checksum of the stream is {found_crc:08x}, stored is {stored_crc:08x}: the bytes were changed after they were written"
            )));
        }
        Ok((Self { element, shape, bound, payload: payload_kind, max_abs_err, model, values_crc }, payload))
    }
}

fn has_value(bound_kind: u8) -> bool {
    matches!(bound_kind, 1..=3)
}

/// Bits 0–1 class, bits 2–3 log2 of the size in bytes, bit 4 set for big-endian.
fn element_byte(element: ElementType) -> u8 {
    element.class() as u8 | (element.size_bytes().ilog2() as u8) << 2 | (element.order() as u8) << 4
}

fn parse_element(byte: u8) -> Result<ElementType, Error> {
    let class = match byte & 3 {
        0 => ElementClass::Unsigned,
        1 => ElementClass::Signed,
        2 => ElementClass::Float,
        _ => return Err(Error::corrupt("element class 3 in the header: known are 0 to 3")),
    };
    if byte & 0xe0 != 0 {
        return Err(Error::corrupt(format!("element byte {byte:#04x} in the header: bits 5 to 7 must be 0")));
    }
    let order = if byte & 0x10 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    ElementType::try_new(class, 1 << (byte >> 2 & 3), order).map_err(|e| Error::corrupt(e.message()))
}
