//! Little-endian fields and variable-length integers, with every read checked.

use crate::error::{Error, ErrorKind};

/// Reads fields from the front of a slice.
pub(crate) struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Everything not yet read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(n_bytes).ok_or_else(|| {
            Error::new(
                ErrorKind::Truncated,
                format!("stream ends early: {n_bytes} more bytes expected, {} left", self.rest.len()),
            )
        })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Seven bits a byte, least significant first, the top bit set on all but the last; the shortest form only.
    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
                return Err(Error::corrupt(
                    "variable-length integer out of range or not in its shortest form",
                ));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::corrupt("variable-length integer of more than 10 bytes"))
    }

    /// A signed integer as a varint, zigzag: 0, −1, 1, −2, … become 0, 1, 2, 3, …
    pub(crate) fn signed_varint(&mut self) -> Result<i64, Error> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The f64 nearest to digits · 10^exponent: the digits as a varint, the exponent as a signed one.
    pub(crate) fn decimal(&mut self) -> Result<f64, Error> {
        let digits = self.varint()?;
        let exponent = self.signed_varint()?;
        format!("{digits}e{exponent}")
            .parse()
            .map_err(|_| Error::corrupt(format!("{digits}e{exponent} in the header is not a number")))
    }
}

/// Inverse of [`ByteReader::varint`].
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Inverse of [`ByteReader::signed_varint`].
pub(crate) fn write_signed_varint(out: &mut Vec<u8>, value: i64) {
    write_varint(out, (value << 1 ^ value >> 63) as u64);
}

/// Inverse of [`ByteReader::decimal`] for finite numbers that are not negative: the fewest digits that give it back.
/// Bounds are short decimals, mostly.
pub(crate) fn write_decimal(out: &mut Vec<u8>, value: f64) {
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let n_decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i64);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    write_varint(out, digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
    write_signed_varint(out, exponent.parse::<i64>().unwrap_or(0) - n_decimals);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_survive_a_round_trip_and_short_ones_take_two_bytes() {
        for value in [0.0, 1e-3, 0.5, 1.0, 25.0, 0.1 + 0.2, 5e-324, f64::MAX, 2f64.powi(-1022), 1e22] {
            let mut bytes = Vec::new();
            write_decimal(&mut bytes, value);
            let mut reader = ByteReader::new(&bytes);
            assert_eq!(reader.decimal().unwrap().to_bits(), value.to_bits(), "{value:e}");
            assert!(reader.rest().is_empty());
            assert!(bytes.len() <= 11 && (bytes.len() == 2 || ![1e-3, 0.5, 1.0, 25.0].contains(&value)));
        }
    }

    #[test]
    fn varints_survive_a_round_trip() {
        for value in [0, 1, 127, 128, 300, u64::MAX / 2, u64::MAX] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let mut reader = ByteReader::new(&bytes);
            assert_eq!(reader.varint().unwrap(), value);
            assert!(reader.rest().is_empty());
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            write_signed_varint(&mut bytes, value);
            assert_eq!(ByteReader::new(&bytes).signed_varint().unwrap(), value);
        }
    }

    #[test]
    fn rejects_overlong_and_overflowing_varints() {
        assert!(ByteReader::new(&[0x80, 0]).varint().is_err());
        assert!(ByteReader::new(&[0xff; 10]).varint().is_err());
        assert_eq!(ByteReader::new(&[0x80]).varint().unwrap_err().kind(), ErrorKind::Truncated);
    }
}
