//! The filter's parameters as HDF5 keeps them: `cd_values`, 32-bit words, in two forms.
//!
//! *Requested* is what a user gives (`h5repack -f UD=34222,0,7,…`, `H5Pset_filter`), *stored* is what `set_local`
//! leaves in the file: the same words and, after them, what the filter must know of the dataset. Whoever takes
//! requested parameters also takes stored ones and forgets the dataset's part, because h5repack hands back stored
//! ones when it changes chunks. 64-bit numbers are two words, the low one first.
//!
//! | word | requested | meaning |
//! |---|---|---|
//! | 0 | yes | layout version, [`LAYOUT_VERSION`] |
//! | 1 | yes | bound kind: 0 lossless, 1 absolute, 2 relative, 3 noise, 4 none |
//! | 2, 3 | yes | bound as IEEE binary64; 0 for kinds without a value |
//! | 4, 5 | yes | model id; 0 is the built-in model |
//! | 6 | yes | options: bits 0–1 effort (0 default, 1 fast, 2 best), bit 2 unbiased, the rest 0 |
//! | 7 | | element: bits 0–3 class (0 unsigned, 1 signed, 2 float), bits 4–7 byte order (0 little, 1 big), bits 8–15 size in bytes, bits 16–23 rank of the chunk (1 to 32), bits 24–31 zero |
//! | 8, 9, 10 | | frames, rows, columns of the chunk |
//! | 11 | | flags: bit 0 a fill value is present, bit 1 a mask value is present |
//! | 12, 13 | | bit pattern of the fill value in native order, zero-extended; 0 without one |
//! | 14, 15 | | bit pattern of the mask value, likewise |
//!
//! Requested parameters have 7 words, or 9: the mask value's pattern then stands in words 7 and 8. No words at all
//! ask for a lossless coding with the built-in model.

use std::sync::Arc;

use crate::array::{ByteOrder, ChunkShape, ElementClass, ElementType};
use crate::error::Error;
use crate::limits;
use crate::options::{Bound, Effort, Options};
use crate::sae::{Model, ModelId};

/// The filter's number. It lies in the range that The HDF Group leaves for unregistered use (32768 to 65535).
pub const FILTER_ID: i32 = 34222;

/// Version of this layout of words. 0 may change at any time; 1 will be frozen.
pub const LAYOUT_VERSION: u32 = 0;

/// Words of requested parameters without a mask value.
pub const N_REQUESTED: usize = 7;

/// Words of requested parameters with a mask value.
pub const N_REQUESTED_WITH_MASK: usize = 9;

/// Words of stored parameters.
pub const N_STORED: usize = 16;

const EFFORT_BITS: u32 = 0b11;
const UNBIASED: u32 = 0b100;
const FLAG_FILL: u32 = 1;
const FLAG_MASK: u32 = 2;

/// What a user asks of the filter, before it knows the dataset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestedParams {
    /// The promise about every value.
    pub bound: Bound,
    /// The trained model; 0 stands for the built-in one.
    pub model: ModelId,
    /// Work spent by the encoder.
    pub effort: Effort,
    /// Whether errors are to cancel out, as [`Options::unbiased`].
    pub unbiased: bool,
    /// Bit pattern (native order, zero-extended) of the value that marks masked pixels.
    pub mask_value: Option<u64>,
}

impl Default for RequestedParams {
    /// Lossless with the built-in model.
    fn default() -> Self {
        Self {
            bound: Bound::Lossless,
            model: ModelId(0),
            effort: Effort::Default,
            unbiased: false,
            mask_value: None,
        }
    }
}

impl RequestedParams {
    /// Reads 0, 7 or 9 requested words, or 16 stored ones, of which the dataset's part is checked and dropped.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the first word that is wrong, what it holds and what is allowed.
    pub fn parse(words: &[u32]) -> Result<Self, Error> {
        match *words {
            [] => Ok(Self::default()),
            [w0, w1, w2, w3, w4, w5, w6] => Self::from_words([w0, w1, w2, w3, w4, w5, w6], None),
            [w0, w1, w2, w3, w4, w5, w6, low, high] => {
                Self::from_words([w0, w1, w2, w3, w4, w5, w6], Some(join(low, high)))
            }
            _ if words.len() == N_STORED => Ok(StoredParams::parse(words)?.requested),
            _ => Err(Error::invalid(format!(
                "{} cd_values: allowed are 0 (defaults), {N_REQUESTED}, {N_REQUESTED_WITH_MASK} (with a mask value) \
                 and {N_STORED} (as stored)",
                words.len()
            ))),
        }
    }

    fn from_words(words: [u32; N_REQUESTED], mask_value: Option<u64>) -> Result<Self, Error> {
        let [version, kind, bound_low, bound_high, model_low, model_high, options] = words;
        if version != LAYOUT_VERSION {
            return Err(wrong(0, "layout version", version, &format!("this library reads {LAYOUT_VERSION}")));
        }
        let bound = parse_bound(kind, f64::from_bits(join(bound_low, bound_high)))?;
        let (effort, unbiased) = parse_options(options)?;
        if unbiased && bound == Bound::None {
            let allowed = "bit 2 (unbiased) needs a bound of another kind than 4 (none)";
            return Err(wrong(6, "options", options, allowed));
        }
        Ok(Self { bound, model: ModelId(join(model_low, model_high)), effort, unbiased, mask_value })
    }

    /// The words for `H5Pset_filter`: 7, or 9 with a mask value. Inverse of [`Self::parse`].
    pub fn to_words(&self) -> Vec<u32> {
        let mut words = self.first_words().to_vec();
        if let Some(mask) = self.mask_value {
            words.extend(split(mask));
        }
        words
    }

    fn first_words(&self) -> [u32; N_REQUESTED] {
        let [bound_low, bound_high] = split(self.bound.value().to_bits());
        let [model_low, model_high] = split(self.model.0);
        let kind = u32::from(self.bound.kind());
        let options = self.effort as u32 | if self.unbiased { UNBIASED } else { 0 };
        [LAYOUT_VERSION, kind, bound_low, bound_high, model_low, model_high, options]
    }
}

/// What the filter finds in the file: the request, and the dataset that it was made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredParams {
    requested: RequestedParams,
    element: ElementType,
    rank: u8,
    frames: u32,
    rows: u32,
    cols: u32,
    fill_value: Option<u64>,
}

impl StoredParams {
    /// Joins a request with the chunk of a dataset: `dims` slowest first, `fill_value` as a bit pattern in native
    /// order, zero-extended.
    ///
    /// # Errors
    /// `InvalidArgument` if the chunk cannot be, has more than 2³² − 1 frames, or a pattern is wider than the element.
    pub fn try_new(
        requested: RequestedParams,
        element: ElementType,
        dims: &[usize],
        fill_value: Option<u64>,
    ) -> Result<Self, Error> {
        let shape = ChunkShape::try_new(dims)?;
        let word = |name: &str, found: usize| {
            u32::try_from(found).map_err(|_| {
                Error::invalid(format!("chunk of {found} {name}: allowed are up to {}", u32::MAX))
            })
        };
        let stored = Self {
            requested,
            element,
            rank: dims.len() as u8,
            frames: word("frames", shape.frames())?,
            rows: word("rows", shape.rows())?,
            cols: word("columns", shape.cols())?,
            fill_value,
        };
        stored.check_patterns()?;
        Ok(stored)
    }

    /// Reads 16 stored words.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the first word that is wrong, what it holds and what is allowed.
    pub fn parse(words: &[u32]) -> Result<Self, Error> {
        let Ok(words) = <[u32; N_STORED]>::try_from(words) else {
            return Err(Error::invalid(format!(
                "{} cd_values in the file: {N_STORED} are stored by this filter",
                words.len()
            )));
        };
        let [
            w0,
            w1,
            w2,
            w3,
            w4,
            w5,
            w6,
            packed,
            frames,
            rows,
            cols,
            flags,
            fill_low,
            fill_high,
            mask_low,
            mask_high,
        ] = words;
        if flags & !(FLAG_FILL | FLAG_MASK) != 0 {
            return Err(wrong(11, "flags", flags, "only bits 0 (fill value) and 1 (mask value) may be set"));
        }
        let fill_value = parse_pattern(12, "fill value", flags & FLAG_FILL != 0, join(fill_low, fill_high))?;
        let mask_value = parse_pattern(14, "mask value", flags & FLAG_MASK != 0, join(mask_low, mask_high))?;
        let requested = RequestedParams::from_words([w0, w1, w2, w3, w4, w5, w6], mask_value)?;
        let (element, rank) = parse_element(packed)?;
        let stored = Self { requested, element, rank, frames, rows, cols, fill_value };
        stored.check_dims()?;
        stored.check_patterns()?;
        Ok(stored)
    }

    /// The words for the file. Inverse of [`Self::parse`].
    pub fn to_words(&self) -> [u32; N_STORED] {
        let [w0, w1, w2, w3, w4, w5, w6] = self.requested.first_words();
        let [fill_low, fill_high] = split(self.fill_value.unwrap_or(0));
        let [mask_low, mask_high] = split(self.requested.mask_value.unwrap_or(0));
        let flags = if self.fill_value.is_some() { FLAG_FILL } else { 0 }
            | if self.requested.mask_value.is_some() { FLAG_MASK } else { 0 };
        let packed = element_word(self.element, self.rank);
        [
            w0,
            w1,
            w2,
            w3,
            w4,
            w5,
            w6,
            packed,
            self.frames,
            self.rows,
            self.cols,
            flags,
            fill_low,
            fill_high,
            mask_low,
            mask_high,
        ]
    }

    /// What the user asked for.
    pub fn requested(&self) -> &RequestedParams {
        &self.requested
    }

    /// Element type of the dataset.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Rank of the dataset's chunks, 1 to 32.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Bit pattern of the dataset's fill value.
    pub fn fill_value(&self) -> Option<u64> {
        self.fill_value
    }

    /// Shape of a chunk as the codec sees it: \[columns\] for rank 1, \[rows, columns\] for rank 2,
    /// \[frames, rows, columns\] beyond.
    ///
    /// # Errors
    /// `InvalidArgument` if the product overflows the address space.
    pub fn shape(&self) -> Result<ChunkShape, Error> {
        let dims = [self.frames as usize, self.rows as usize, self.cols as usize];
        ChunkShape::try_new(&dims[3 - self.rank().min(3)..])
    }

    /// What the encoder is asked to do. `model` is the one that the request names.
    pub fn options(&self, model: Option<Arc<Model>>) -> Options {
        Options {
            bound: self.requested.bound,
            fill_value: self.fill_value,
            mask_value: self.requested.mask_value,
            model,
            effort: self.requested.effort,
            unbiased: self.requested.unbiased,
        }
    }

    fn check_dims(&self) -> Result<(), Error> {
        if self.rank < 3 && self.frames != 1 {
            return Err(wrong(8, "frames", self.frames, "a chunk of rank 1 or 2 has 1"));
        }
        if self.rank < 2 && self.rows != 1 {
            return Err(wrong(9, "rows", self.rows, "a chunk of rank 1 has 1"));
        }
        for (index, name, found) in
            [(8, "frames", self.frames), (9, "rows", self.rows), (10, "columns", self.cols)]
        {
            if found == 0 {
                return Err(wrong(index, name, found, "allowed are 1 and more"));
            }
        }
        match self.shape() {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::invalid(format!("cd_values 8 to 10 (chunk): {}", e.message()))),
        }
    }

    fn check_patterns(&self) -> Result<(), Error> {
        let bits = self.element.bits();
        for (name, pattern) in [("fill value", self.fill_value), ("mask value", self.requested.mask_value)] {
            if let Some(pattern) = pattern.filter(|pattern| bits < 64 && pattern >> bits != 0) {
                return Err(Error::invalid(format!(
                    "{name} with bit pattern {pattern:#x}: an element of type {} has {bits} bits",
                    self.element.name()
                )));
            }
        }
        Ok(())
    }
}

fn parse_bound(kind: u32, value: f64) -> Result<Bound, Error> {
    const KINDS: &str = "known are 0 (lossless), 1 (absolute), 2 (relative), 3 (noise) and 4 (none)";
    let narrow = u8::try_from(kind).map_err(|_| wrong(1, "bound kind", kind, KINDS))?;
    if kind > 4 {
        return Err(wrong(1, "bound kind", kind, KINDS));
    }
    Bound::try_new(narrow, value)
        .map_err(|e| Error::invalid(format!("cd_values 2 and 3 (bound): {}", e.message())))
}

/// Word 6: the effort, and whether errors are to cancel out.
fn parse_options(options: u32) -> Result<(Effort, bool), Error> {
    const ALLOWED: &str = "bits 0 and 1 hold the effort (0 default, 1 fast, 2 best), bit 2 asks for unbiased errors, \
                           all others must be 0";
    if options & !(EFFORT_BITS | UNBIASED) != 0 {
        return Err(wrong(6, "options", format_args!("{options:#x}"), ALLOWED));
    }
    let effort = match options & EFFORT_BITS {
        0 => Effort::Default,
        1 => Effort::Fast,
        2 => Effort::Best,
        _ => return Err(wrong(6, "options", options, ALLOWED)),
    };
    Ok((effort, options & UNBIASED != 0))
}

fn parse_pattern(index: usize, name: &str, present: bool, pattern: u64) -> Result<Option<u64>, Error> {
    match (present, pattern) {
        (true, _) => Ok(Some(pattern)),
        (false, 0) => Ok(None),
        (false, _) => {
            Err(wrong(index, name, format_args!("{pattern:#x}"), "its flag is not set, so it must be 0"))
        }
    }
}

/// Word 7. Inverse of [`parse_element`].
fn element_word(element: ElementType, rank: u8) -> u32 {
    let size = element.size_bytes() as u32;
    element.class() as u32 | (element.order() as u32) << 4 | size << 8 | u32::from(rank) << 16
}

fn parse_element(packed: u32) -> Result<(ElementType, u8), Error> {
    let error = |part: &str| {
        wrong(
            7,
            "element",
            format_args!("{packed:#010x}"),
            &format!("{part} (bits 0-3 class, 4-7 byte order, 8-15 size in bytes, 16-23 rank)"),
        )
    };
    if packed >> 24 != 0 {
        return Err(error("bits 24-31 must be 0"));
    }
    let class = match packed & 0xf {
        0 => ElementClass::Unsigned,
        1 => ElementClass::Signed,
        2 => ElementClass::Float,
        _ => return Err(error("class must be 0 (unsigned), 1 (signed) or 2 (float)")),
    };
    let order = match packed >> 4 & 0xf {
        0 => ByteOrder::Little,
        1 => ByteOrder::Big,
        _ => return Err(error("byte order must be 0 (little) or 1 (big)")),
    };
    let size_bytes = (packed >> 8 & 0xff) as usize;
    let element = ElementType::try_new(class, size_bytes, order).map_err(|e| error(e.message()))?;
    let rank = (packed >> 16 & 0xff) as u8;
    if rank == 0 || usize::from(rank) > limits::MAX_RANK {
        return Err(error(&format!("rank must be 1 to {}", limits::MAX_RANK)));
    }
    Ok((element, rank))
}

fn wrong(index: usize, name: &str, found: impl std::fmt::Display, allowed: &str) -> Error {
    Error::invalid(format!("cd_value {index} ({name}) is {found}: {allowed}"))
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn split(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

#[cfg(test)]
#[path = "cd_values_tests.rs"]
mod tests;
