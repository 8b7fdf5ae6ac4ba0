//! Values of arguments that are more than a number.

use h5z_sae::PatchShape;
use h5z_sae::sae::Transform;

use crate::error::CliError;

/// Offsets c of transforms that are given without one: sqrt bends below 0.1 %, log below 0.01 % of the maximum.
const DEFAULT_SQRT_OFFSET: f64 = 1e-3;
const DEFAULT_LOG_OFFSET: f64 = 1e-4;

/// The value of an argument that counts something.
///
/// # Errors
/// If it is 0.
pub fn at_least_one(name: &str, number: usize) -> Result<usize, CliError> {
    if number == 0 { Err(CliError::new(format!("{name} 0: expected at least 1"))) } else { Ok(number) }
}

/// `ROWSxCOLS`.
///
/// # Errors
/// What was expected.
pub fn parse_patch(text: &str) -> Result<PatchShape, String> {
    let edges =
        text.split_once(['x', 'X']).and_then(|(rows, cols)| Some((rows.parse().ok()?, cols.parse().ok()?)));
    match edges {
        Some((rows @ 1..=4096, cols @ 1..=4096)) => Ok(PatchShape { rows, cols }),
        _ => Err("expected ROWSxCOLS, such as 64x64, each 1 to 4096".to_owned()),
    }
}

/// `none`, `sqrt`, `sqrt:C`, `log` or `log:C`.
///
/// # Errors
/// What was expected.
pub fn parse_transform(text: &str) -> Result<Transform, String> {
    let (name, offset) = match text.split_once(':') {
        Some((name, offset)) => (name, Some(offset)),
        None => (text, None),
    };
    let offset_q24 = |default: f64, least: u32| {
        let offset: f64 = match offset {
            None => default,
            Some(offset) => offset.parse().map_err(|_| format!("offset {offset:?}: expected a number"))?,
        };
        let q24 = (offset * f64::from(1 << 24)).round();
        if q24 >= f64::from(least) && q24 <= f64::from(1 << 24) {
            return Ok(q24 as u32);
        }
        Err(format!("offset {offset}: expected {:.0e} to 1", f64::from(least) / f64::from(1 << 24)))
    };
    match (name, offset) {
        ("none", None) => Ok(Transform::None),
        ("sqrt", _) => Ok(Transform::Sqrt { offset_q24: offset_q24(DEFAULT_SQRT_OFFSET, 0)? }),
        ("log", _) => Ok(Transform::Log { offset_q24: offset_q24(DEFAULT_LOG_OFFSET, 1)? }),
        _ => Err("expected none, sqrt, sqrt:C, log or log:C".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_transforms_and_says_what_is_wrong() {
        assert_eq!(parse_transform("none"), Ok(Transform::None));
        assert_eq!(parse_transform("sqrt:0.25"), Ok(Transform::Sqrt { offset_q24: 1 << 22 }));
        assert_eq!(parse_transform("log"), Ok(Transform::Log { offset_q24: 1678 }));
        for wrong in ["log:0", "sqrt:2", "sqrt:x", "none:1", "exp", "sqrt:nan"] {
            assert!(parse_transform(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parses_patches() {
        assert_eq!(parse_patch("64x32"), Ok(PatchShape { rows: 64, cols: 32 }));
        for wrong in ["64", "0x3", "5000x1", "ax2", "1x2x3"] {
            assert!(parse_patch(wrong).is_err(), "{wrong}");
        }
    }
}
