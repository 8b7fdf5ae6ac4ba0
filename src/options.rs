//! What a caller may ask of the encoder.

use std::sync::Arc;

use crate::error::Error;
use crate::sae::Model;

/// Largest difference between a value and what is read back. NaN, ±Inf, −0.0, fill and mask values are always exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Bit for bit.
    Lossless,
    /// At most ε, in the dataset's own units; ε > 0 and finite.
    Absolute(f64),
    /// At most this fraction of the range (largest minus smallest) of the chunk's finite, unmasked, non-fill
    /// values; between 0 and 1, both excluded.
    Relative(f64),
    /// At most k·√max(x, 1) for a value x: k standard deviations of a count, and k for what lies below 1; k > 0 and
    /// finite.
    Noise(f64),
    /// Latent codes only, as in the paper: the error is measured and stored, never promised.
    None,
}

impl Bound {
    /// The number that stands for the kind of bound in streams and in cd_values.
    pub fn kind(self) -> u8 {
        match self {
            Self::Lossless => 0,
            Self::Absolute(_) => 1,
            Self::Relative(_) => 2,
            Self::Noise(_) => 3,
            Self::None => 4,
        }
    }

    /// The bound's value, 0 where it has none.
    pub fn value(self) -> f64 {
        match self {
            Self::Absolute(value) | Self::Relative(value) | Self::Noise(value) => value,
            Self::Lossless | Self::None => 0.0,
        }
    }

    /// Inverse of [`Self::kind`] and [`Self::value`].
    ///
    /// # Errors
    /// `InvalidArgument`, with the value found and what is allowed.
    pub fn try_new(kind: u8, value: f64) -> Result<Self, Error> {
        match kind {
            0 | 4 if value != 0.0 => Err(Error::invalid(format!(
                "bound value of {value} for kind {kind}, which has none: expected 0"
            ))),
            0 => Ok(Self::Lossless),
            1 if value > 0.0 && value.is_finite() => Ok(Self::Absolute(value)),
            1 => Err(Error::invalid(format!("absolute bound of {value}: expected a finite number above 0"))),
            2 if value > 0.0 && value < 1.0 => Ok(Self::Relative(value)),
            2 => Err(Error::invalid(format!("relative bound of {value}: expected a number between 0 and 1"))),
            3 if value > 0.0 && value.is_finite() => Ok(Self::Noise(value)),
            3 => Err(Error::invalid(format!("noise bound of {value}: expected a finite number above 0"))),
            4 => Ok(Self::None),
            _ => Err(Error::invalid(format!(
                "bound kind {kind}: known are 0 (lossless), 1 (absolute), 2 (relative), 3 (noise) and 4 (none)"
            ))),
        }
    }
}

/// How much work the encoder spends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Effort {
    /// All methods, tried with good sense.
    #[default]
    Default = 0,
    /// No network, no search, and the fast coder of pixels: many times the speed, both ways, for somewhat larger
    /// streams. [`Bound::None`] becomes lossless.
    Fast = 1,
    /// Every variant that the format has.
    Best = 2,
}

/// What the encoder is asked to do with a chunk.
#[derive(Clone, Debug)]
pub struct Options {
    /// The promise about every value.
    pub bound: Bound,
    /// Bit pattern (native order, zero-extended) of the dataset's fill value: returned exactly, ignored in ranges.
    pub fill_value: Option<u64>,
    /// Bit pattern of the value that marks masked pixels: as for `fill_value`.
    pub mask_value: Option<u64>,
    /// The trained model; `None` codes without a network.
    pub model: Option<Arc<Model>>,
    /// Work spent.
    pub effort: Effort,
    /// Let errors cancel out: those of a block of 8 × 8 pixels add up to at most 1/16 of what its pixels may be off
    /// together, or to what one of them may be off, if that is more. Costs bits; decodes like any other stream. Not
    /// with [`Bound::None`].
    pub unbiased: bool,
}

impl Options {
    /// The given bound, no model, nothing masked, errors as they fall.
    pub fn new(bound: Bound) -> Self {
        Self {
            bound,
            fill_value: None,
            mask_value: None,
            model: None,
            effort: Effort::Default,
            unbiased: false,
        }
    }

    /// Patterns that are exact whatever the bound, and count in no range: fill value and mask value.
    pub(crate) fn marks(&self) -> [Option<u64>; 2] {
        [self.fill_value, self.mask_value]
    }

    /// Whether a pattern is one of these.
    pub(crate) fn is_mark(&self, pattern: u64) -> bool {
        self.marks().contains(&Some(pattern))
    }
}
