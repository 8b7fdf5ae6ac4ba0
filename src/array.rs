//! What a chunk holds: element type, byte order and shape. No other module knows how elements lie in bytes.

use crate::error::Error;
use crate::limits;

/// How the bits of an element are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ElementClass {
    /// Unsigned integer.
    Unsigned = 0,
    /// Two's complement integer.
    Signed = 1,
    /// IEEE 754 binary16, binary32 or binary64.
    Float = 2,
}

/// Order of an element's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little = 0,
    /// Most significant byte first.
    Big = 1,
}

impl ByteOrder {
    /// The order of this machine.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// An element type: u8…u64, i8…i64, f16, f32 or f64, in either byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElementType {
    class: ElementClass,
    size: u8,
    order: ByteOrder,
}

impl ElementType {
    /// # Errors
    /// `InvalidArgument` unless `size_bytes` is 1, 2, 4 or 8 (2, 4 or 8 for floats).
    pub fn try_new(class: ElementClass, size_bytes: usize, order: ByteOrder) -> Result<Self, Error> {
        let smallest = if class == ElementClass::Float { 2 } else { 1 };
        if !matches!(size_bytes, 1 | 2 | 4 | 8) || size_bytes < smallest {
            return Err(Error::invalid(format!(
                "element size of {size_bytes} bytes for class {class:?}: allowed are 1, 2, 4, 8 for integers and 2, 4, 8 for floats"
            )));
        }
        Ok(Self { class, size: size_bytes as u8, order })
    }

    /// Native-order f32.
    pub const F32: Self = Self { class: ElementClass::Float, size: 4, order: ByteOrder::NATIVE };
    /// Native-order f64.
    pub const F64: Self = Self { class: ElementClass::Float, size: 8, order: ByteOrder::NATIVE };

    /// Class of the element.
    pub fn class(self) -> ElementClass {
        self.class
    }

    /// Bytes of one element: 1, 2, 4 or 8.
    pub fn size_bytes(self) -> usize {
        usize::from(self.size)
    }

    /// Bits of one element: 8, 16, 32 or 64.
    pub fn bits(self) -> u32 {
        u32::from(self.size) * 8
    }

    /// Byte order of the stored elements.
    pub fn order(self) -> ByteOrder {
        self.order
    }

    pub(crate) fn is_float(self) -> bool {
        self.class == ElementClass::Float
    }

    /// Short name as numpy writes it: `<f4`, `>u2`, `|u1`.
    pub fn name(self) -> String {
        let order = match (self.size, self.order) {
            (1, _) => '|',
            (_, ByteOrder::Little) => '<',
            (_, ByteOrder::Big) => '>',
        };
        let class = match self.class {
            ElementClass::Unsigned => 'u',
            ElementClass::Signed => 'i',
            ElementClass::Float => 'f',
        };
        format!("{order}{class}{}", self.size)
    }

    /// Reads all elements as bit patterns, zero-extended to 64 bits, in native order.
    /// `bytes.len()` must be a multiple of the element size.
    pub(crate) fn read_bits(self, bytes: &[u8]) -> Vec<u64> {
        let big = self.order == ByteOrder::Big;
        macro_rules! read {
            ($t:ty) => {{
                let (words, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
                words
                    .iter()
                    .map(|w| u64::from(if big { <$t>::from_be_bytes(*w) } else { <$t>::from_le_bytes(*w) }))
                    .collect()
            }};
        }
        match self.size {
            1 => bytes.iter().map(|&b| u64::from(b)).collect(),
            2 => read!(u16),
            4 => read!(u32),
            _ => read!(u64),
        }
    }

    /// Bit pattern of one element.
    #[inline]
    pub(crate) fn bits_at(self, bytes: &[u8], index: usize) -> u64 {
        let big = self.order == ByteOrder::Big;
        macro_rules! read {
            ($t:ty) => {{
                let word = bytes.as_chunks::<{ size_of::<$t>() }>().0[index];
                u64::from(if big { <$t>::from_be_bytes(word) } else { <$t>::from_le_bytes(word) })
            }};
        }
        match self.size {
            1 => u64::from(bytes[index]),
            2 => read!(u16),
            4 => read!(u32),
            _ => read!(u64),
        }
    }

    /// Writes one element to the front of `out`. Inverse of [`Self::bits_at`].
    #[inline]
    pub(crate) fn put_bits(self, out: &mut [u8], pattern: u64) {
        let size = self.size_bytes();
        match self.order {
            ByteOrder::Little => out[..size].copy_from_slice(&pattern.to_le_bytes()[..size]),
            ByteOrder::Big => out[..size].copy_from_slice(&pattern.to_be_bytes()[8 - size..]),
        }
    }

    /// Appends the elements given by their bit patterns. Inverse of [`Self::read_bits`].
    pub(crate) fn write_bits(self, bits: &[u64], out: &mut Vec<u8>) {
        let big = self.order == ByteOrder::Big;
        let first = out.len();
        out.resize(first + bits.len() * self.size_bytes(), 0);
        let out = &mut out[first..];
        macro_rules! write {
            ($t:ty) => {{
                let (words, _) = out.as_chunks_mut::<{ size_of::<$t>() }>();
                for (word, &pattern) in words.iter_mut().zip(bits) {
                    let pattern = pattern as $t;
                    *word = if big { pattern.to_be_bytes() } else { pattern.to_le_bytes() };
                }
            }};
        }
        match self.size {
            1 => write!(u8),
            2 => write!(u16),
            4 => write!(u32),
            _ => write!(u64),
        }
    }
}

/// Elements as they lie in memory, read as bit patterns: zero-extended to 64 bits, in native order.
#[derive(Clone, Copy)]
pub(crate) struct Elements<'a> {
    pub(crate) element: ElementType,
    bytes: &'a [u8],
}

impl<'a> Elements<'a> {
    /// `bytes.len()` is a multiple of the element size.
    pub(crate) fn new(element: ElementType, bytes: &'a [u8]) -> Self {
        Self { element, bytes }
    }

    pub(crate) fn len(self) -> usize {
        self.bytes.len() / self.element.size_bytes()
    }

    /// One of them.
    #[inline]
    pub(crate) fn at(self, index: usize) -> u64 {
        self.element.bits_at(self.bytes, index)
    }

    /// All of them.
    pub(crate) fn iter(self) -> impl Iterator<Item = u64> + Clone + 'a {
        (0..self.len()).map(move |index| self.at(index))
    }

    /// Those in a range.
    pub(crate) fn slice(self, range: std::ops::Range<usize>) -> Self {
        let size = self.element.size_bytes();
        Self { bytes: &self.bytes[range.start * size..range.end * size], ..self }
    }
}

/// Dimensions of a chunk. The last two are a frame's rows and columns, the leading ones count frames;
/// a chunk of rank 1 is one frame of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkShape {
    dims: Vec<usize>,
    n_values: usize,
}

impl ChunkShape {
    /// # Errors
    /// `InvalidArgument` if the rank is not 1…32, a dimension is 0 or above 2³², or the product overflows
    /// the address space.
    pub fn try_new(dims: &[usize]) -> Result<Self, Error> {
        if dims.is_empty() || dims.len() > limits::MAX_RANK {
            return Err(Error::invalid(format!(
                "chunk of rank {}: allowed are 1 to {}",
                dims.len(),
                limits::MAX_RANK
            )));
        }
        let mut n_values = 1usize;
        for &dim in dims {
            if dim == 0 || dim as u64 > limits::MAX_DIM {
                return Err(Error::invalid(format!(
                    "chunk dimension of {dim}: allowed are 1 to {}",
                    limits::MAX_DIM
                )));
            }
            n_values = n_values
                .checked_mul(dim)
                .filter(|&n| n <= isize::MAX as usize / 8)
                .ok_or_else(|| Error::invalid("chunk dimensions whose product overflows".to_string()))?;
        }
        Ok(Self { dims: dims.to_vec(), n_values })
    }

    /// The dimensions, slowest first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of frames: the product of all but the last two dimensions.
    pub fn frames(&self) -> usize {
        self.n_values / (self.rows() * self.cols())
    }

    /// Rows of a frame; 1 for rank 1.
    pub fn rows(&self) -> usize {
        if self.dims.len() < 2 { 1 } else { self.dims[self.dims.len() - 2] }
    }

    /// Columns of a frame.
    pub fn cols(&self) -> usize {
        self.dims[self.dims.len() - 1]
    }

    /// Number of values in the chunk.
    pub fn n_values(&self) -> usize {
        self.n_values
    }
}

/// Shape of a patch: the rectangle of a frame that a network sees at once, and the unit of method choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PatchShape {
    /// Rows, 1 to 4096.
    pub rows: usize,
    /// Columns, 1 to 4096.
    pub cols: usize,
}

impl PatchShape {
    /// Values in a patch.
    pub fn n_values(self) -> usize {
        self.rows * self.cols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_survive_a_round_trip_in_both_orders() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            for size in [1, 2, 4, 8] {
                let element = ElementType::try_new(ElementClass::Unsigned, size, order).unwrap();
                let bytes: Vec<u8> = (0..64).collect();
                let mut back = Vec::new();
                element.write_bits(&element.read_bits(&bytes), &mut back);
                assert_eq!(back, bytes);
            }
        }
        let big = ElementType::try_new(ElementClass::Unsigned, 2, ByteOrder::Big).unwrap();
        assert_eq!(big.read_bits(&[1, 2]), [0x0102]);
    }

    #[test]
    fn rejects_shapes_that_cannot_be() {
        assert!(ChunkShape::try_new(&[]).is_err());
        assert!(ChunkShape::try_new(&[3, 0]).is_err());
        assert!(ChunkShape::try_new(&[1; 33]).is_err());
        assert!(ChunkShape::try_new(&[1 << 32, 1 << 32, 2]).is_err());
        let shape = ChunkShape::try_new(&[2, 3, 5, 7]).unwrap();
        assert_eq!((shape.frames(), shape.rows(), shape.cols()), (6, 5, 7));
    }
}
