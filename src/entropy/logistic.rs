//! The logistic function and its inverse on integers: docs/format.md, "Logistic tables".
//!
//! Probabilities are in 1/65536, their logits in 1/256 nat. Both tables follow from one constant by integer
//! arithmetic at compile time, so every machine has the same.

/// Logits are clamped to ±12 nats: a probability of 6·10⁻⁶ is as near to certain as 16 bits can say.
pub(crate) const MAX_LOGIT: i32 = 12 * 256;

/// ⌊2⁶² · e^(−1/256)⌋, frozen.
const DECAY_Q62: u128 = 4_593_706_758_521_714_574;

const SQUASH_LEN: usize = MAX_LOGIT as usize + 1;

/// SQUASH[x] = ⌊65536 / (1 + e^(−x/256))⌋ for x ≥ 0, at most 65535.
static SQUASH: [u16; SQUASH_LEN] = squash_table();

/// STRETCH[2048 + i] = the largest logit x ≥ 0 with squash(x) ≤ 65536·(4096 + 2i + 1)/8192, for the upper half of
/// 12-bit probabilities; the lower half is its image, STRETCH[2047 − i] = −STRETCH[2048 + i].
static STRETCH: [i16; 4096] = stretch_table();

const fn squash_table() -> [u16; SQUASH_LEN] {
    let mut table = [0; SQUASH_LEN];
    let mut decayed = 1u128 << 62;
    let mut x = 0;
    while x < SQUASH_LEN {
        let p = (65536u128 << 62) / ((1 << 62) + decayed);
        table[x] = if p > 65535 { 65535 } else { p as u16 };
        decayed = (decayed * DECAY_Q62) >> 62;
        x += 1;
    }
    table
}

const fn stretch_table() -> [i16; 4096] {
    let squash = squash_table();
    let mut table = [0; 4096];
    let mut x = 0;
    let mut i = 0;
    while i < 2048 {
        let p = 32768 + 16 * i as u32 + 8;
        while x + 1 < SQUASH_LEN && squash[x + 1] as u32 <= p {
            x += 1;
        }
        table[2048 + i] = x as i16;
        table[2047 - i] = -(x as i16);
        i += 1;
    }
    table
}

/// Probability (1 to 65535, in 1/65536) of a logit in 1/256 nat.
#[inline]
pub(crate) fn squash(logit: i32) -> u16 {
    let x = logit.clamp(-MAX_LOGIT, MAX_LOGIT);
    let p = SQUASH[x.unsigned_abs() as usize];
    if x >= 0 { p } else { (65536 - u32::from(p)) as u16 }
}

/// Logit, in 1/256 nat, of a probability in 1/65536, of which the upper twelve bits count.
#[inline]
pub(crate) fn stretch(p: u16) -> i32 {
    i32::from(STRETCH[usize::from(p >> 4)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squash_is_the_logistic_function() {
        for logit in -MAX_LOGIT..=MAX_LOGIT {
            let exact = 65536.0 / (1.0 + (-f64::from(logit) / 256.0).exp());
            assert!((f64::from(squash(logit)) - exact).abs() <= 1.01, "logit {logit}");
            assert!(squash(logit) >= 1);
        }
    }

    #[test]
    fn stretch_inverts_squash() {
        for p in (8..=65535u32).step_by(16) {
            let exact = (f64::from(p) / (65536.0 - f64::from(p))).ln() * 256.0;
            assert!((f64::from(stretch(p as u16)) - exact).abs() < 70.0, "p {p}");
            if (4096..61440).contains(&p) {
                assert!((f64::from(stretch(p as u16)) - exact).abs() < 1.1, "p {p}");
            }
        }
    }
}
