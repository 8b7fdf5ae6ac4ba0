//! The transform T between intensities and the network's domain: forward in floats, back in integers.
//!
//! # T⁻¹ exactly
//!
//! `o` is an output of the basis layer in units of 2^−F (F = output_frac_bits), `v` the value over the patch's scale
//! in units of 2^−30. All quantities are integers; `x >>ᵣ s` is the rounding shift `(x + 2^(s−1)) >> s`, with an
//! arithmetic shift (x itself for s = 0). `o` in Q is `o >>ᵣ (F − Q)`, or `o·2^(Q−F)` where Q ≥ F. C is offset_q24.
//!
//! ```text
//! none   v = o in Q30
//! sqrt   u = clamp(o in Q24, 0, 2²⁶)
//!        v = (u·u − C·2²⁴) >>ᵣ 18
//! log    u = clamp(o in Q24, 0, 2²⁶)
//!        e = (u·L) >>ᵣ 24                                exponent in Q24; L below
//!        v = 2³¹ − 1 where e ≥ 32·2²⁴, else
//!        i = e >> 24,  k = (e >> 16) mod 256,  r = e mod 2¹⁶
//!        f = E[k] + (((E[k+1] − E[k])·r) >>ᵣ 16)         2^(k/256 + r/2²⁴) in Q30; E[k] = round(2^(k/256)·2³⁰)
//!        v = (C·(f·2^i − 2³⁰)) >>ᵣ 24                    c·(2^(u·L) − 1)
//! ```
//!
//! and v is then clamped to −2³¹ … 2³¹ − 1. The interpolation makes a relative error below 10⁻⁶.
//!
//! L = log2(1 + 1/c) in Q24 is `lb(2²⁴ + C) − lb(C)`, where lb is the binary logarithm by repeated squaring:
//!
//! ```text
//! lb(w), w ≥ 1:   i = index of w's highest set bit;  m = w·2^(31−i)      so that 2³¹ ≤ m < 2³²
//!                 24 times:  m = (m·m) >> 31;  if m ≥ 2³²: append the bit 1, m = m >> 1;  else append the bit 0
//!                 result: i·2²⁴ plus the 24 bits, first appended highest
//! ```

use super::exp2_table::EXP2_Q30;
use super::spec::Transform;

/// Q24 value of 4, above every sensible output of a network that reaches 1.
const LARGEST_OUTPUT_Q24: i64 = 4 << 24;

/// `x / 2^shift`, rounded to the nearest integer, halves upwards.
pub(super) fn rounding_shift(x: i64, shift: u8) -> i64 {
    if shift == 0 { x } else { (x + (1i64 << (shift - 1))) >> shift }
}

/// `x` in units of 2^−`from` as an integer in units of 2^−`to`; saturates, far beyond any clamp that follows.
fn rescale(x: i64, from: u8, to: u8) -> i64 {
    if from >= to { rounding_shift(x, from - to) } else { x.saturating_mul(1 << (to - from)) }
}

/// T⁻¹, with its constants worked out.
#[derive(Clone, Copy, Debug)]
pub(super) enum InverseTransform {
    None,
    Sqrt { offset_q24: i64 },
    Log { offset_q24: i64, exponent_q24: i64 },
}

impl InverseTransform {
    pub(super) fn of(transform: Transform) -> Self {
        match transform {
            Transform::None => Self::None,
            Transform::Sqrt { offset_q24 } => Self::Sqrt { offset_q24: offset_q24.into() },
            Transform::Log { offset_q24 } => {
                let exponent_q24 = binary_log_q24((1 << 24) + offset_q24) - binary_log_q24(offset_q24);
                Self::Log { offset_q24: offset_q24.into(), exponent_q24 }
            }
        }
    }

    /// L of the module's description in Q24; 0 where T⁻¹ has none.
    pub(super) fn log_exponent_q24(self) -> i64 {
        match self {
            Self::Log { exponent_q24, .. } => exponent_q24,
            Self::None | Self::Sqrt { .. } => 0,
        }
    }

    /// v of `output`, which is in units of 2^−`frac_bits` and below 2⁵⁵ in magnitude.
    pub(super) fn value_q30(self, output: i64, frac_bits: u8) -> i32 {
        let value = match self {
            Self::None => rescale(output, frac_bits, 30),
            Self::Sqrt { offset_q24 } => {
                let root = rescale(output, frac_bits, 24).clamp(0, LARGEST_OUTPUT_Q24);
                rounding_shift(root * root - (offset_q24 << 24), 18)
            }
            Self::Log { offset_q24, exponent_q24 } => {
                let fraction = rescale(output, frac_bits, 24).clamp(0, LARGEST_OUTPUT_Q24);
                scaled_power_q30(offset_q24, rounding_shift(fraction * exponent_q24, 24))
            }
        };
        value.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
}

/// c·(2^e − 1) in Q30; beyond 2³¹ any larger number.
fn scaled_power_q30(offset_q24: i64, exponent_q24: i64) -> i64 {
    if exponent_q24 >= 32 << 24 {
        return i64::MAX;
    }
    let (whole, entry, rest) =
        (exponent_q24 >> 24, (exponent_q24 >> 16 & 0xff) as usize, exponent_q24 & 0xffff);
    let (low, high) = (i64::from(EXP2_Q30[entry]), i64::from(EXP2_Q30[entry + 1]));
    let mantissa_q30 = low + rounding_shift((high - low) * rest, 16);
    let power_less_one = (mantissa_q30 << whole) - (1 << 30);
    // 2²⁴·2⁶³ is beyond i64.
    let product = i128::from(offset_q24) * i128::from(power_less_one);
    ((product + (1 << 23)) >> 24) as i64
}

/// lb of the module's description; `w` ≥ 1.
fn binary_log_q24(w: u32) -> i64 {
    let whole = w.ilog2();
    let mut mantissa = u64::from(w) << (31 - whole);
    let mut log = i64::from(whole);
    for _ in 0..24 {
        mantissa = (mantissa * mantissa) >> 31;
        let bit = mantissa >> 32;
        mantissa >>= bit;
        log = log << 1 | bit as i64;
    }
    log
}

/// T of every value over the patch's scale.
pub(super) fn forward(transform: Transform, values: &[f32], out: &mut [f32]) {
    let unit = f32::from(2u8).powi(-24);
    let pairs = values.iter().zip(out);
    match transform {
        Transform::None => pairs.for_each(|(&x, t)| *t = x),
        Transform::Sqrt { offset_q24 } => {
            let c = offset_q24 as f32 * unit;
            pairs.for_each(|(&x, t)| *t = (x.max(0.0) + c).sqrt());
        }
        Transform::Log { offset_q24 } => {
            let inverse_c = 1.0 / (offset_q24 as f32 * unit);
            let norm = 1.0 / inverse_c.ln_1p();
            pairs.for_each(|(&x, t)| *t = (x.max(0.0) * inverse_c).ln_1p() * norm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_logarithms_are_right_to_the_last_bits() {
        for w in [1u32, 2, 3, 5, 1 << 20, (1 << 24) + 1, 12_345_678, u32::MAX] {
            let exact = f64::from(w).log2() * f64::from(1 << 24);
            let found = binary_log_q24(w) as f64;
            assert!((found - exact).abs() < 1.1, "lb({w}) is {found}, not {exact}");
        }
        assert_eq!(binary_log_q24(1 << 13), 13 << 24);
    }

    #[test]
    fn the_way_back_undoes_the_way_there() {
        let offsets = [1u32, 1000, 1 << 14, 1 << 24];
        let transforms = offsets
            .iter()
            .flat_map(|&offset_q24| [Transform::Sqrt { offset_q24 }, Transform::Log { offset_q24 }])
            .chain([Transform::None, Transform::Sqrt { offset_q24: 0 }]);
        for transform in transforms {
            let values: Vec<f32> = (0..=100).map(|i| i as f32 / 100.0).collect();
            let mut transformed = vec![0.0; values.len()];
            forward(transform, &values, &mut transformed);
            for frac_bits in [22, 24, 30, 44] {
                for (&x, &t) in values.iter().zip(&transformed) {
                    let output = (f64::from(t) * f64::from(frac_bits).exp2()).round() as i64;
                    let back = f64::from(InverseTransform::of(transform).value_q30(output, frac_bits))
                        / f64::from(1 << 30);
                    // 24 bits of T, at the steepest place of any of these: 2^−22·log2(1 + 2²⁴)
                    assert!((back - f64::from(x)).abs() < 1.2e-5, "{transform:?}: {x} came back as {back}");
                }
            }
        }
    }

    #[test]
    fn saturates_where_outputs_are_absurd() {
        let log = InverseTransform::of(Transform::Log { offset_q24: 1 });
        for inverse in
            [InverseTransform::None, InverseTransform::of(Transform::Sqrt { offset_q24: 1 << 24 }), log]
        {
            for frac_bits in [0, 24, 30, 44] {
                assert_eq!(
                    inverse.value_q30((1 << 54) - 1, frac_bits),
                    i32::MAX,
                    "{inverse:?}, {frac_bits} bits"
                );
                let least = inverse.value_q30(-(1 << 54), frac_bits);
                match inverse {
                    InverseTransform::None => assert_eq!(least, i32::MIN),
                    InverseTransform::Sqrt { .. } => assert_eq!(least, -(1 << 30)),
                    InverseTransform::Log { .. } => assert_eq!(least, 0),
                }
            }
        }
    }

    #[test]
    fn known_values_stay() {
        // u = 1.5: 2.25 − 0.25 = 2, one more than i32 holds; u = 1.25: 1.5625 − 0.25 = 1.3125
        let sqrt = InverseTransform::of(Transform::Sqrt { offset_q24: 1 << 22 });
        assert_eq!(sqrt.value_q30(3, 1), i32::MAX);
        assert_eq!(sqrt.value_q30(5, 2), 21 << 26);
        // c = 1: L = 1, so v = 2^u − 1
        let log = InverseTransform::of(Transform::Log { offset_q24: 1 << 24 });
        assert_eq!(log.value_q30(1, 0), 1 << 30);
        assert_eq!(log.value_q30(1, 1), 444_758_426);
        assert_eq!(InverseTransform::None.value_q30(-3, 1), -3 << 29);
        assert_eq!(InverseTransform::None.value_q30(3, 31), 2);
        assert_eq!(InverseTransform::None.value_q30(-3, 31), -1);
    }
}
