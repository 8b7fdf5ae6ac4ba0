//! What several test binaries share: element types, chunks of many contents, and the laws that every stream obeys.
//! Arithmetic on elements is written anew here, so that a mistake of the codec's cannot hide in both.

#![allow(dead_code, reason = "every test binary uses a part")]

use std::sync::Arc;

use h5z_sae::sae::backend::{Backend, ScalarBackend};
use h5z_sae::sae::testing::TestRng;
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{
    Bound, ByteOrder, ChunkShape, ElementClass, ElementType, Error, ErrorKind, Limits, ModelSource, Options,
    StreamHeader, compress_chunk, decompress_chunk,
};
use half::f16;

pub mod contents;

/// Most bytes that a stream may have beyond the raw chunk.
pub const OVERHEAD_BYTES: usize = 64;

/// A source with one model or none.
pub struct Source(pub Option<Arc<Model>>);

impl ModelSource for Source {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        let missing =
            || Error::new(ErrorKind::MissingModel, format!("model {id} is not in this test's source"));
        self.0.clone().ok_or_else(missing)
    }
}

/// All element types in both byte orders.
pub fn element_types() -> Vec<ElementType> {
    let mut types = Vec::new();
    for class in [ElementClass::Unsigned, ElementClass::Signed, ElementClass::Float] {
        for size in [1, 2, 4, 8] {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                types.extend(ElementType::try_new(class, size, order));
            }
        }
    }
    types
}

/// A type of native byte order.
pub fn element(class: ElementClass, size: usize) -> ElementType {
    ElementType::try_new(class, size, ByteOrder::NATIVE).unwrap()
}

pub fn is_float(element: ElementType) -> bool {
    element.class() == ElementClass::Float
}

/// Value of a pattern as f64; 64-bit integers are rounded.
pub fn as_f64(element: ElementType, pattern: u64) -> f64 {
    match (element.class(), element.size_bytes()) {
        (ElementClass::Float, 2) => f16::from_bits(pattern as u16).to_f64(),
        (ElementClass::Float, 4) => f32::from_bits(pattern as u32).into(),
        (ElementClass::Float, _) => f64::from_bits(pattern),
        _ => as_i128(element, pattern) as f64,
    }
}

/// Value of an integer's pattern.
pub fn as_i128(element: ElementType, pattern: u64) -> i128 {
    let wrapped = 1i128 << element.bits();
    let value = i128::from(pattern);
    if element.class() == ElementClass::Signed && value >= wrapped / 2 { value - wrapped } else { value }
}

/// Pattern of the element nearest to a number; integers saturate.
pub fn pattern_of(element: ElementType, value: f64) -> u64 {
    let mask = u64::MAX >> (64 - element.bits());
    match (element.class(), element.size_bytes()) {
        (ElementClass::Float, 2) => f16::from_f64(value).to_bits().into(),
        (ElementClass::Float, 4) => (value as f32).to_bits().into(),
        (ElementClass::Float, _) => value.to_bits(),
        (ElementClass::Signed, _) => {
            let half = 1i128 << (element.bits() - 1);
            (value.round() as i128).clamp(-half, half - 1) as u64 & mask
        }
        _ => (value.round() as i128).clamp(0, mask.into()) as u64,
    }
}

/// Bytes of elements given by their patterns.
pub fn pack(element: ElementType, patterns: &[u64]) -> Vec<u8> {
    let size = element.size_bytes();
    let bytes_of = |pattern: &u64| match element.order() {
        ByteOrder::Little => pattern.to_le_bytes()[..size].to_vec(),
        ByteOrder::Big => pattern.to_be_bytes()[8 - size..].to_vec(),
    };
    patterns.iter().flat_map(bytes_of).collect()
}

/// Inverse of [`pack`].
pub fn unpack(element: ElementType, bytes: &[u8]) -> Vec<u64> {
    let read = |word: &[u8]| {
        let join = |pattern: u64, byte: &u8| pattern << 8 | u64::from(*byte);
        match element.order() {
            ByteOrder::Little => word.iter().rev().fold(0, join),
            ByteOrder::Big => word.iter().fold(0, join),
        }
    };
    bytes.chunks_exact(element.size_bytes()).map(read).collect()
}

/// Bytes of f32 values in native order.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// Whether a pattern must come back bit for bit under every bound.
pub fn must_be_exact(element: ElementType, pattern: u64, options: &Options) -> bool {
    let value = as_f64(element, pattern);
    options.fill_value == Some(pattern)
        || options.mask_value == Some(pattern)
        || (is_float(element) && (!value.is_finite() || (value == 0.0 && pattern != 0)))
}

/// Largest error that the options allow for each value of this chunk; infinite where none is promised.
pub fn promised(element: ElementType, patterns: &[u64], options: &Options) -> Vec<f64> {
    let uniform = match options.bound {
        Bound::Lossless => 0.0,
        Bound::Absolute(epsilon) => epsilon,
        Bound::None => f64::INFINITY,
        Bound::Noise(deviations) => {
            let allowed = |&pattern: &u64| deviations * as_f64(element, pattern).max(1.0).sqrt();
            return patterns.iter().map(allowed).collect();
        }
        Bound::Relative(fraction) => {
            let counts = |pattern: &&u64| {
                options.fill_value != Some(**pattern) && options.mask_value != Some(**pattern)
            };
            let values = patterns.iter().filter(counts).map(|&pattern| as_f64(element, pattern));
            let finite = values.filter(|value| value.is_finite());
            let (least, greatest) =
                finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, g), value| (l.min(value), g.max(value)));
            if least <= greatest { fraction * (greatest - least) } else { 0.0 }
        }
    };
    vec![uniform; patterns.len()]
}

/// Distance of two values: exact for integers up to 2⁵³, rounded to f64 beyond; whether it is at most `epsilon`.
fn distance(element: ElementType, a: u64, b: u64, epsilon: f64) -> (f64, bool) {
    if is_float(element) {
        let distance = (as_f64(element, a) - as_f64(element, b)).abs();
        (distance, distance <= epsilon)
    } else {
        let distance = (as_i128(element, a) - as_i128(element, b)).unsigned_abs();
        (distance as f64, distance <= epsilon as u128)
    }
}

/// A chunk, what is asked for it, and where it comes from.
pub struct Case {
    pub element: ElementType,
    pub shape: ChunkShape,
    pub patterns: Vec<u64>,
    pub options: Options,
}

impl Case {
    /// Checks every law on the chunk's stream, and returns the stream with its header.
    pub fn obeys_the_laws(&self, backend: &dyn Backend) -> (Vec<u8>, StreamHeader) {
        let Self { element, shape, patterns, options } = self;
        let bytes = pack(*element, patterns);
        let stream = compress_chunk(&bytes, *element, shape, options, backend).unwrap();
        let again = compress_chunk(&bytes, *element, shape, options, backend).unwrap();
        assert!(stream == again, "equal input gave different streams");
        assert!(
            stream.len() <= bytes.len() + OVERHEAD_BYTES,
            "a stream of {} bytes for a chunk of {}",
            stream.len(),
            bytes.len()
        );
        let header = StreamHeader::parse(&stream).unwrap();
        assert_eq!((header.element, &header.shape), (*element, shape));
        let source = Source(options.model.clone());
        let decoded = decompress_chunk(&stream, &Limits::default(), &source, &ScalarBackend).unwrap();
        self.keeps_its_promise(&unpack(*element, &decoded), &header);
        (stream, header)
    }

    fn keeps_its_promise(&self, restored: &[u64], header: &StreamHeader) {
        let Self { element, patterns, options, .. } = self;
        assert_eq!(restored.len(), patterns.len());
        assert!(header.bound == Bound::Lossless || header.bound == options.bound, "{:?}", header.bound);
        let exactly = Options::new(Bound::Lossless);
        let as_stored = if header.bound == Bound::Lossless { &exactly } else { options };
        let promised = promised(*element, patterns, as_stored);
        let mut largest = 0.0f64;
        for (i, (&original, &restored)) in patterns.iter().zip(restored).enumerate() {
            if original == restored {
                continue;
            }
            let epsilon = promised[i];
            let (distance, within) = distance(*element, original, restored, epsilon);
            let exact = header.bound == Bound::Lossless || must_be_exact(*element, original, options);
            assert!(
                within && !exact,
                "value {i}: {original:#x} ({}) came back as {restored:#x} ({}), allowed was {epsilon}",
                as_f64(*element, original),
                as_f64(*element, restored)
            );
            largest = largest.max(distance);
        }
        assert!(largest <= header.max_abs_err, "header says {}", header.max_abs_err);
    }
}

/// Where the parts of a header lie.
pub struct HeaderLayout {
    /// The byte of rank and of how the model is named.
    pub rank: usize,
    /// The dimensions.
    pub dims: usize,
    /// The checksum of the values; that of the stream and the payload follow.
    pub values_crc: usize,
}

impl HeaderLayout {
    /// Reads the layout of a header; `None` where it does not end within the stream.
    pub fn of(stream: &[u8]) -> Option<Self> {
        let bound_kind = stream.get(3)? >> 5;
        let bound = 4;
        let error = match bound_kind {
            1..=3 => after_varint(stream, after_varint(stream, bound)?)?,
            _ => bound,
        };
        let rank = error + if bound_kind == 0 { 0 } else { 2 };
        let dims = rank + [1, 3, 9, 1][usize::from(*stream.get(rank)? >> 6)];
        let mut values_crc = dims;
        for _ in 0..stream[rank] & 63 {
            values_crc = after_varint(stream, values_crc)?;
        }
        let layout = Self { rank, dims, values_crc };
        (layout.payload() <= stream.len()).then_some(layout)
    }

    /// Where the payload begins.
    pub fn payload(&self) -> usize {
        self.stream_crc() + 2
    }

    /// The checksum of the stream.
    pub fn stream_crc(&self) -> usize {
        self.values_crc + 4
    }
}

fn after_varint(stream: &[u8], mut at: usize) -> Option<usize> {
    while stream.get(at)? & 0x80 != 0 {
        at += 1;
    }
    Some(at + 1)
}

/// Makes the checksum of the stream right again, so that a change gets past it; where the header still has an end.
pub fn fix_stream_crc(stream: &mut [u8]) {
    let Some(layout) = HeaderLayout::of(stream) else { return };
    let mut crc = crc32fast::Hasher::new();
    crc.update(&stream[..layout.stream_crc()]);
    crc.update(&stream[layout.payload()..]);
    stream[layout.stream_crc()..layout.payload()].copy_from_slice(&crc.finalize().to_le_bytes()[..2]);
}

/// The payload of a well-formed stream.
pub fn payload_of(stream: &[u8]) -> &[u8] {
    &stream[HeaderLayout::of(stream).unwrap().payload()..]
}

/// A stream with the header of another, other dimensions if given, and another payload; the checksum of the stream is
/// right.
pub fn rebuilt(stream: &[u8], dims: Option<&[usize]>, payload: &[u8]) -> Vec<u8> {
    let layout = HeaderLayout::of(stream).unwrap();
    let mut rebuilt = stream[..layout.dims].to_vec();
    match dims {
        None => rebuilt.extend_from_slice(&stream[layout.dims..layout.values_crc]),
        Some(dims) => {
            rebuilt[layout.rank] = rebuilt[layout.rank] & !63 | dims.len() as u8;
            dims.iter().for_each(|&dim| push_varint(&mut rebuilt, dim));
        }
    }
    rebuilt.extend_from_slice(&stream[layout.values_crc..layout.payload()]);
    rebuilt.extend_from_slice(payload);
    fix_stream_crc(&mut rebuilt);
    rebuilt
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A random number from 0 to 1.
pub fn share(rng: &mut TestRng) -> f64 {
    (rng.bits() >> 11) as f64 / (1u64 << 53) as f64
}
