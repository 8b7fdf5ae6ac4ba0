//! Lossless coding of elements one by one, without regard to frames, by the `pco` codec: docs/format.md, "Pco payload".

use half::f16;
use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress_into};

use crate::array::{ElementClass, ElementType};
use crate::error::{Error, ErrorKind};

/// Stamps out a match over the number types of `pco`.
macro_rules! for_number_type {
    ($element:expr, $body:ident) => {
        match ($element.class(), $element.size_bytes()) {
            (ElementClass::Unsigned, 1) => $body!(u8, |bits| bits as u8, |n| u64::from(n)),
            (ElementClass::Unsigned, 2) => $body!(u16, |bits| bits as u16, |n| u64::from(n)),
            (ElementClass::Unsigned, 4) => $body!(u32, |bits| bits as u32, |n| u64::from(n)),
            (ElementClass::Unsigned, _) => $body!(u64, |bits| bits, |n| n),
            (ElementClass::Signed, 1) => $body!(i8, |bits| bits as i8, |n| u64::from(n as u8)),
            (ElementClass::Signed, 2) => $body!(i16, |bits| bits as i16, |n| u64::from(n as u16)),
            (ElementClass::Signed, 4) => $body!(i32, |bits| bits as i32, |n| u64::from(n as u32)),
            (ElementClass::Signed, _) => $body!(i64, |bits| bits as i64, |n| n as u64),
            (ElementClass::Float, 2) => {
                $body!(f16, |bits| f16::from_bits(bits as u16), |n| u64::from(n.to_bits()))
            }
            (ElementClass::Float, 4) => {
                $body!(f32, |bits| f32::from_bits(bits as u32), |n| u64::from(n.to_bits()))
            }
            (ElementClass::Float, _) => $body!(f64, |bits| f64::from_bits(bits), |n| n.to_bits()),
        }
    };
}

/// Compresses bit patterns; `None` where `pco` refuses.
pub(crate) fn compress(element: ElementType, bits: &[u64]) -> Option<Vec<u8>> {
    macro_rules! compress_as {
        ($number:ty, $from_bits:expr, $to_bits:expr) => {{
            let from_bits: fn(u64) -> $number = $from_bits;
            let numbers: Vec<$number> = bits.iter().map(|&pattern| from_bits(pattern)).collect();
            simple_compress(&numbers, &ChunkConfig::default()).ok()
        }};
    }
    for_number_type!(element, compress_as)
}

/// Decompresses to `n_values` elements in the chunk's byte order.
pub(crate) fn decompress(element: ElementType, n_values: usize, payload: &[u8]) -> Result<Vec<u8>, Error> {
    macro_rules! decompress_as {
        ($number:ty, $from_bits:expr, $to_bits:expr) => {{
            let from_bits: fn(u64) -> $number = $from_bits;
            let to_bits: fn($number) -> u64 = $to_bits;
            let mut numbers: Vec<$number> = Vec::new();
            numbers.try_reserve_exact(n_values).map_err(|_| no_memory(n_values))?;
            numbers.resize(n_values, from_bits(0));
            let progress = simple_decompress_into(payload, &mut numbers)
                .map_err(|error| Error::corrupt(format!("pco payload: {error}")))?;
            if progress.n_processed != n_values || !progress.finished {
                return Err(Error::corrupt(format!(
                    "pco payload of {} elements, the header says {n_values}",
                    progress.n_processed
                )));
            }
            numbers.into_iter().map(to_bits).collect::<Vec<u64>>()
        }};
    }
    let bits = for_number_type!(element, decompress_as);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(n_values * element.size_bytes()).map_err(|_| no_memory(n_values))?;
    element.write_bits(&bits, &mut bytes);
    Ok(bytes)
}

fn no_memory(n_values: usize) -> Error {
    Error::new(ErrorKind::System, format!("no memory for {n_values} elements"))
}
