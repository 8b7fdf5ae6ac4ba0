//! The flags that several verbs share: how exact, and for which masked value.

use clap::{Args, ValueEnum};
use h5z_sae::cd_values::RequestedParams;
use h5z_sae::sae::ModelId;
use h5z_sae::{Bound, ByteOrder, Effort, ElementClass, ElementType};
use half::f16;

use crate::error::CliError;

/// Exactly one of these says how exact the values come back.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct BoundArgs {
    /// Every value within X of the original, in the data's own units
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    abs: Option<f64>,
    /// Every value within X times the range of the data
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    rel: Option<f64>,
    /// For counts: every value x within K times the square root of x (of 1 where x is below 1)
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    noise: Option<f64>,
    /// Every value exact, bit for bit
    #[arg(long)]
    lossless: bool,
    /// The network's latent code alone: the error is measured, never promised
    #[arg(long)]
    none: bool,
}

impl BoundArgs {
    /// # Errors
    /// If the number is out of range.
    pub fn bound(&self) -> Result<Bound, CliError> {
        let (kind, value, flag) = match (self.abs, self.rel, self.noise, self.none) {
            (Some(value), ..) => (1, value, "--abs"),
            (_, Some(value), ..) => (2, value, "--rel"),
            (_, _, Some(value), _) => (3, value, "--noise"),
            (.., true) => (4, 0.0, "--none"),
            _ => (0, 0.0, "--lossless"),
        };
        Bound::try_new(kind, value).map_err(|e| CliError::new(format!("{flag}: {}", e.message())))
    }
}

/// How the encoder goes about it. Every choice is read the same way.
#[derive(Args, Clone, Copy, Debug)]
pub struct EncoderArgs {
    /// Work spent by the encoder; every level is read the same way
    #[arg(long, value_enum, default_value_t)]
    effort: EffortArg,
    /// Let errors cancel out within each block of 8 x 8 pixels: its mean error is at most 1/16 of the bound; costs bits
    #[arg(long, conflicts_with = "none")]
    unbiased: bool,
}

/// Work spent by the encoder.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum EffortArg {
    /// No network, no search, the fast coder of pixels: many times the speed, somewhat larger
    Fast,
    /// All methods, tried with good sense
    #[default]
    Default,
    /// Every variant that the format has
    Best,
}

impl From<EffortArg> for Effort {
    fn from(arg: EffortArg) -> Self {
        match arg {
            EffortArg::Fast => Self::Fast,
            EffortArg::Default => Self::Default,
            EffortArg::Best => Self::Best,
        }
    }
}

/// Joins the flags to the filter's parameters. `model` 0 is the built-in one.
pub fn requested(
    bound: Bound,
    model: ModelId,
    encoder: EncoderArgs,
    mask_value: Option<u64>,
) -> RequestedParams {
    let EncoderArgs { effort, unbiased } = encoder;
    RequestedParams { bound, model, effort: effort.into(), unbiased, mask_value }
}

/// A bound in words, for people.
pub fn describe(bound: Bound) -> String {
    match bound {
        Bound::Lossless => "lossless".into(),
        Bound::Absolute(value) => format!("absolute {value:e}"),
        Bound::Relative(value) => format!("relative {value:e} of each chunk's range"),
        Bound::Noise(value) => format!("noise {value:e}: that times sqrt(max(x, 1)) for a value x"),
        Bound::None => "none (measured, not promised)".into(),
    }
}

/// Bit pattern of a number in an element type, native order, zero-extended, as the filter's parameters hold it.
///
/// # Errors
/// If `text` is not a number of that type, or integers of that type do not hold it.
pub fn bit_pattern(text: &str, element: ElementType) -> Result<u64, CliError> {
    let wrong =
        || CliError::new(format!("mask value '{text}': not a value of element type {}", element.name()));
    let bits = element.bits();
    match element.class() {
        ElementClass::Float => {
            let value: f64 = text.parse().map_err(|_| wrong())?;
            Ok(match element.size_bytes() {
                2 => u64::from(f16::from_f64(value).to_bits()),
                4 => u64::from((value as f32).to_bits()),
                _ => value.to_bits(),
            })
        }
        ElementClass::Unsigned => {
            let value: u64 = text.parse().map_err(|_| wrong())?;
            if bits < 64 && value >> bits != 0 { Err(wrong()) } else { Ok(value) }
        }
        ElementClass::Signed => {
            let value: i64 = text.parse().map_err(|_| wrong())?;
            let unused_bits = 64 - bits;
            if value << unused_bits >> unused_bits != value {
                return Err(wrong());
            }
            Ok((value as u64) << unused_bits >> unused_bits)
        }
    }
}

/// Reads an element type as numpy writes it: `f4`, `<f8`, `>u2`, `|u1`.
///
/// # Errors
/// A sentence that lists what is allowed.
pub fn parse_element(text: &str) -> Result<ElementType, String> {
    let wrong = || format!("element type '{text}': expected one of u1 u2 u4 u8 i1 i2 i4 i8 f2 f4 f8");
    let (order, rest) = match text.strip_prefix('>') {
        Some(rest) => (ByteOrder::Big, rest),
        None => (ByteOrder::Little, text.strip_prefix(['<', '|', '=']).unwrap_or(text)),
    };
    let class = match rest.chars().next() {
        Some('u') => ElementClass::Unsigned,
        Some('i') => ElementClass::Signed,
        Some('f') => ElementClass::Float,
        _ => return Err(wrong()),
    };
    let size_bytes = rest[1..].parse().map_err(|_| wrong())?;
    ElementType::try_new(class, size_bytes, order).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_follow_the_element_type() {
        let pattern = |text, element| bit_pattern(text, parse_element(element).unwrap());
        assert_eq!(pattern("-1", "f4").unwrap(), 0xbf80_0000);
        assert_eq!(pattern("1", "f2").unwrap(), 0x3c00);
        assert_eq!(pattern("nan", "f8").unwrap(), f64::NAN.to_bits());
        assert_eq!(pattern("-1", "i2").unwrap(), 0xffff);
        assert_eq!(pattern("4294967295", "u4").unwrap(), 0xffff_ffff);
        assert!(pattern("4294967296", "u4").is_err());
        assert!(pattern("-129", "i1").is_err());
        assert!(pattern("-1", "u8").is_err());
        assert!(pattern("x", "f4").is_err());
    }

    #[test]
    fn rejects_element_types_that_are_not() {
        for text in ["", "f1", "c8", "u3", "f", "é4"] {
            assert!(parse_element(text).is_err(), "{text}");
        }
        assert_eq!(parse_element(">u2").unwrap().name(), ">u2");
    }
}
