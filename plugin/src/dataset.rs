//! What HDF5 says of a dataset that is about to be created: its type, its chunk, its fill value, its filters.

use std::ffi::{c_char, c_int, c_uint, c_void};

use h5z_sae::cd_values::FILTER_ID;
use h5z_sae::{ByteOrder, ElementClass, ElementType, Error, ErrorKind};

use crate::host::{Hid, PropertyFns};

/// HDF5's largest rank.
const MAX_RANK: usize = 32;

/// Most parameters of a filter that are looked at. More are refused, whatever they are.
const MAX_WORDS: usize = 64;

/// Room for a filter's name.
const MAX_NAME_BYTES: usize = 64;

/// `H5T_class_t` by number.
const TYPE_CLASSES: [&str; 12] = [
    "integer",
    "float",
    "time",
    "string",
    "bitfield",
    "opaque",
    "compound",
    "reference",
    "enumeration",
    "variable-length sequence",
    "array",
    "complex number",
];

const CLASS_INTEGER: c_int = 0;
const CLASS_FLOAT: c_int = 1;

/// `H5D_FILL_VALUE_UNDEFINED`, `_DEFAULT` (zero) and `_USER_DEFINED`.
const FILL_DEFAULT: c_int = 1;
const FILL_USER_DEFINED: c_int = 2;

/// A datatype of the caller's HDF5.
#[derive(Clone, Copy)]
pub(crate) struct Datatype<'a> {
    hdf5: &'a PropertyFns,
    id: Hid,
}

/// Positions and sizes in bits of sign, exponent and mantissa, exponent bias and normalisation (0: implied bit).
#[derive(Debug, PartialEq, Eq)]
struct FloatLayout {
    sign_bit: usize,
    exponent: (usize, usize),
    mantissa: (usize, usize),
    bias: usize,
    norm: c_int,
}

/// binary16, binary32 and binary64 of IEEE 754, by size in bytes.
fn ieee_layout(size_bytes: usize) -> Option<FloatLayout> {
    let (exponent_bits, mantissa_bits) = match size_bytes {
        2 => (5, 10),
        4 => (8, 23),
        8 => (11, 52),
        _ => return None,
    };
    Some(FloatLayout {
        sign_bit: size_bytes * 8 - 1,
        exponent: (mantissa_bits, exponent_bits),
        mantissa: (0, mantissa_bits),
        bias: (1 << (exponent_bits - 1)) - 1,
        norm: 0,
    })
}

impl<'a> Datatype<'a> {
    /// # Errors
    /// `InvalidArgument` where HDF5 gives no type: it calls a filter so for a group's links.
    pub(crate) fn try_new(hdf5: &'a PropertyFns, id: Hid) -> Result<Self, Error> {
        if id < 0 {
            return Err(invalid("this filter works on chunked datasets of numbers, not on groups"));
        }
        Ok(Self { hdf5, id })
    }

    /// The element type, if the codec has it.
    ///
    /// # Errors
    /// `InvalidArgument`, naming what was found: a class other than integer and float, a precision below the size,
    /// a float layout that is not IEEE 754's.
    pub(crate) fn element(self) -> Result<ElementType, Error> {
        let class = self.number(self.hdf5.type_class);
        if class != CLASS_INTEGER && class != CLASS_FLOAT {
            let name =
                usize::try_from(class).ok().and_then(|index| TYPE_CLASSES.get(index)).unwrap_or(&"unknown");
            return Err(invalid(format!(
                "elements of class {name}: this filter takes integers of 8 to 64 bits and IEEE 754 floats of 16, 32 \
                 and 64 bits"
            )));
        }
        let size_bytes = self.length(self.hdf5.type_size);
        let element_class = match class {
            CLASS_FLOAT => ElementClass::Float,
            _ if self.number(self.hdf5.type_sign) == 0 => ElementClass::Unsigned,
            _ => ElementClass::Signed,
        };
        let element = ElementType::try_new(element_class, size_bytes, self.byte_order()?)?;
        self.check_precision(size_bytes)?;
        if class == CLASS_FLOAT {
            self.check_float_layout(size_bytes)?;
        }
        Ok(element)
    }

    fn byte_order(self) -> Result<ByteOrder, Error> {
        match self.number(self.hdf5.type_order) {
            0 => Ok(ByteOrder::Little),
            1 => Ok(ByteOrder::Big),
            other => Err(invalid(format!(
                "byte order {other} (H5T_order_t): this filter takes little and big endian"
            ))),
        }
    }

    fn check_precision(self, size_bytes: usize) -> Result<(), Error> {
        let (precision, offset) = (self.length(self.hdf5.type_precision), self.number(self.hdf5.type_offset));
        if precision == size_bytes * 8 && offset == 0 {
            return Ok(());
        }
        Err(invalid(format!(
            "elements of {precision} significant bits at bit {offset} of {size_bytes} bytes: this filter takes types \
             whose bits are all significant"
        )))
    }

    fn check_float_layout(self, size_bytes: usize) -> Result<(), Error> {
        let found = self.float_layout()?;
        if Some(&found) == ieee_layout(size_bytes).as_ref() {
            return Ok(());
        }
        let (exponent_bits, mantissa_bits) = (found.exponent.1, found.mantissa.1);
        Err(invalid(format!(
            "floats of {size_bytes} bytes with {exponent_bits} bits of exponent (bias {}) and {mantissa_bits} of \
             mantissa: this filter takes the layouts of IEEE 754 binary16, binary32 and binary64 only",
            found.bias
        )))
    }

    fn float_layout(self) -> Result<FloatLayout, Error> {
        let [mut sign, mut exponent_at, mut exponent_bits, mut mantissa_at, mut mantissa_bits] = [0usize; 5];
        // SAFETY: a valid type, as HDF5 gave it to the callback, and five valid places.
        let status = unsafe {
            (self.hdf5.type_fields)(
                self.id,
                &mut sign,
                &mut exponent_at,
                &mut exponent_bits,
                &mut mantissa_at,
                &mut mantissa_bits,
            )
        };
        if status < 0 {
            return Err(hdf5_failed("H5Tget_fields"));
        }
        Ok(FloatLayout {
            sign_bit: sign,
            exponent: (exponent_at, exponent_bits),
            mantissa: (mantissa_at, mantissa_bits),
            bias: self.length(self.hdf5.type_exponent_bias),
            norm: self.number(self.hdf5.type_norm),
        })
    }

    fn number(self, query: unsafe extern "C" fn(Hid) -> c_int) -> c_int {
        // SAFETY: a valid type, as HDF5 gave it to the callback.
        unsafe { query(self.id) }
    }

    fn length(self, query: unsafe extern "C" fn(Hid) -> usize) -> usize {
        // SAFETY: a valid type, as HDF5 gave it to the callback.
        unsafe { query(self.id) }
    }
}

/// Whether a dataset's fill value was chosen by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// None at all.
    Undefined,
    /// HDF5's own default, zero.
    Default,
    /// The user's, as a bit pattern in native order, zero-extended.
    User(u64),
}

/// A filter of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PipelineEntry {
    /// HDF5's number of the filter.
    pub(crate) id: c_int,
    /// As HDF5 knows it; may be empty.
    pub(crate) name: String,
    /// `H5Z_FLAG_OPTIONAL` and others.
    pub(crate) flags: c_uint,
    /// Its parameters, [`MAX_WORDS`] at most.
    pub(crate) words: Vec<u32>,
}

/// The creation property list of a dataset.
#[derive(Clone, Copy)]
pub(crate) struct CreationList<'a> {
    hdf5: &'a PropertyFns,
    id: Hid,
}

impl<'a> CreationList<'a> {
    pub(crate) fn new(hdf5: &'a PropertyFns, id: Hid) -> Self {
        Self { hdf5, id }
    }

    /// Dimensions of a chunk, slowest first.
    ///
    /// # Errors
    /// `System` if HDF5 does not say.
    pub(crate) fn chunk_dims(self) -> Result<Vec<usize>, Error> {
        let mut dims = [0u64; MAX_RANK];
        // SAFETY: a valid list, as HDF5 gave it to the callback, and room for as many dimensions as are asked for.
        let rank = unsafe { (self.hdf5.chunk)(self.id, MAX_RANK as c_int, dims.as_mut_ptr()) };
        let known = usize::try_from(rank).ok().and_then(|rank| dims.get(..rank));
        let known = known.ok_or_else(|| hdf5_failed("H5Pget_chunk"))?;
        Ok(known.iter().map(|&dim| usize::try_from(dim).unwrap_or(usize::MAX)).collect())
    }

    /// The fill value of elements of type `element`, which is that of `datatype`.
    ///
    /// # Errors
    /// `System` if HDF5 does not say.
    pub(crate) fn fill(self, datatype: Datatype<'_>, element: ElementType) -> Result<Fill, Error> {
        let mut status: c_int = 0;
        // SAFETY: a valid list and a valid place.
        if unsafe { (self.hdf5.fill_status)(self.id, &mut status) } < 0 {
            return Err(hdf5_failed("H5Pfill_value_defined"));
        }
        match status {
            FILL_DEFAULT => return Ok(Fill::Default),
            FILL_USER_DEFINED => {}
            _ => return Ok(Fill::Undefined),
        }
        let mut bytes = [0u8; 8];
        // SAFETY: a valid list and type, and room for an element, which has at most 8 bytes (`ElementType`).
        let status =
            unsafe { (self.hdf5.fill_value)(self.id, datatype.id, bytes.as_mut_ptr().cast::<c_void>()) };
        if status < 0 {
            return Err(hdf5_failed("H5Pget_fill_value"));
        }
        Ok(Fill::User(bit_pattern(bytes, element)))
    }

    /// All filters, first applied first.
    ///
    /// # Errors
    /// `System` if HDF5 does not say.
    pub(crate) fn pipeline(self) -> Result<Vec<PipelineEntry>, Error> {
        // SAFETY: a valid list.
        let count = unsafe { (self.hdf5.n_filters)(self.id) };
        let count = c_uint::try_from(count).map_err(|_| hdf5_failed("H5Pget_nfilters"))?;
        (0..count).map(|index| self.pipeline_entry(index)).collect()
    }

    fn pipeline_entry(self, index: c_uint) -> Result<PipelineEntry, Error> {
        let (mut flags, mut n_words) = (0, MAX_WORDS);
        let mut words = [0; MAX_WORDS];
        let mut name = [0u8; MAX_NAME_BYTES];
        // SAFETY: a valid list and an index below its number of filters; `words` and `name` have the lengths that
        // are said; the last argument may be NULL.
        let id = unsafe {
            (self.hdf5.filter_at)(
                self.id,
                index,
                &mut flags,
                &mut n_words,
                words.as_mut_ptr(),
                MAX_NAME_BYTES,
                name.as_mut_ptr().cast::<c_char>(),
                std::ptr::null_mut(),
            )
        };
        if id < 0 {
            return Err(hdf5_failed("H5Pget_filter2"));
        }
        if id == FILTER_ID && n_words > MAX_WORDS {
            return Err(invalid(format!("{n_words} cd_values: allowed are 0, 7, 9 and 16")));
        }
        let name_bytes = name.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(PipelineEntry {
            id,
            name: String::from_utf8_lossy(name_bytes).into_owned(),
            flags,
            words: words[..n_words.min(MAX_WORDS)].to_vec(),
        })
    }

    /// Replaces the parameters of our filter.
    ///
    /// # Errors
    /// `System` if HDF5 refuses.
    pub(crate) fn store(self, flags: c_uint, words: &[u32]) -> Result<(), Error> {
        // SAFETY: a valid list, and as many words as are said.
        let status =
            unsafe { (self.hdf5.modify_filter)(self.id, FILTER_ID, flags, words.len(), words.as_ptr()) };
        if status < 0 { Err(hdf5_failed("H5Pmodify_filter")) } else { Ok(()) }
    }
}

/// The first bytes of `bytes` as an element's bit pattern, native order, zero-extended.
fn bit_pattern(bytes: [u8; 8], element: ElementType) -> u64 {
    let size_bytes = element.size_bytes();
    let mut word = [0; 8];
    word[..size_bytes].copy_from_slice(&bytes[..size_bytes]);
    if element.order() == ByteOrder::Big {
        word[..size_bytes].reverse();
    }
    u64::from_le_bytes(word)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn hdf5_failed(function: &str) -> Error {
    Error::new(ErrorKind::System, format!("{function} failed on what HDF5 itself handed to the filter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fill_values_of_both_orders() {
        let bytes = [0x12, 0x34, 0x56, 0x78, 0xff, 0xff, 0xff, 0xff];
        let pattern = |order, size| {
            bit_pattern(bytes, ElementType::try_new(ElementClass::Unsigned, size, order).unwrap())
        };
        assert_eq!(pattern(ByteOrder::Little, 2), 0x3412);
        assert_eq!(pattern(ByteOrder::Big, 4), 0x1234_5678);
        assert_eq!(pattern(ByteOrder::Big, 8), 0x1234_5678_ffff_ffff);
    }

    #[test]
    fn knows_the_layouts_of_ieee_754() {
        let single = ieee_layout(4).unwrap();
        assert_eq!(
            (single.sign_bit, single.exponent, single.mantissa, single.bias),
            (31, (23, 8), (0, 23), 127)
        );
        assert_eq!(ieee_layout(2).unwrap().bias, 15);
        assert_eq!(ieee_layout(8).unwrap().bias, 1023);
        assert_eq!(ieee_layout(16), None);
    }
}
