//! Numbers as sequences of binary decisions.

use super::adaptive::AdaptiveBit;
use super::range_coder::BitCoder;

/// Even odds.
const HALF: u16 = 1 << 15;

/// Decisions that an exp-Golomb code of up to 64 bits may ask: one for each step of the class.
pub(crate) const EXP_GOLOMB_DECISIONS: usize = 65;

/// Class of a value: the bits of `value + 1` below its leading one.
fn exp_golomb_class(value: u64) -> u32 {
    value.saturating_add(1).ilog2()
}

/// Codes the lowest `n_bits` of `value` with even odds, highest first.
pub(crate) fn code_bits<C: BitCoder>(coder: &mut C, value: u64, n_bits: u32) -> u64 {
    let mut coded = 0;
    for shift in (0..n_bits).rev() {
        coded = coded << 1 | u64::from(coder.code(value >> shift & 1 != 0, HALF));
    }
    coded
}

/// Codes a value below 2⁶³: its class in unary under adaptive decisions, then the bits below the leading one with even
/// odds. `decisions` needs an entry for each class but may be shorter: the last serves all classes beyond it.
pub(crate) fn code_exp_golomb<C: BitCoder>(coder: &mut C, decisions: &mut [AdaptiveBit], value: u64) -> u64 {
    let class = exp_golomb_class(value);
    let mut coded_class = 0;
    let last = decisions.len() - 1;
    while coded_class < 63 && decisions[last.min(coded_class as usize)].code(coder, coded_class < class) {
        coded_class += 1;
    }
    let below = code_bits(coder, value.wrapping_add(1), coded_class);
    (1 << coded_class | below) - 1
}

/// A decision about a magnitude.
pub(crate) enum MagnitudeBit {
    /// Whether it is beyond this class: from 2^(class + 1) on.
    GoesOn(u32),
    /// The bit below the leading one, in this class from 1.
    Second(u32),
}

/// Codes a magnitude from 1: its class in unary, at most `largest_class`, then the bits below the leading one. `decide`
/// codes the unary bits and the first of those below; the rest have even odds.
#[inline]
pub(crate) fn code_magnitude<C: BitCoder>(
    coder: &mut C,
    magnitude: u64,
    largest_class: u32,
    mut decide: impl FnMut(&mut C, MagnitudeBit, bool) -> bool,
) -> u64 {
    let magnitude = magnitude.max(1);
    let class = magnitude.ilog2();
    let mut coded_class = 0;
    while coded_class < largest_class && decide(coder, MagnitudeBit::GoesOn(coded_class), coded_class < class)
    {
        coded_class += 1;
    }
    let Some(n_rest) = coded_class.checked_sub(1) else { return 1 };
    let second = magnitude >> class.saturating_sub(1) & 1 != 0;
    let second = decide(coder, MagnitudeBit::Second(coded_class), second);
    (2 | u64::from(second)) << n_rest | code_bits(coder, magnitude, n_rest)
}

/// Codes one of 2^`n_bits` symbols as the path through a binary tree; `nodes` has 2^`n_bits` entries.
pub(crate) fn code_symbol<C: BitCoder>(
    coder: &mut C,
    nodes: &mut [AdaptiveBit],
    symbol: u32,
    n_bits: u32,
) -> u32 {
    let mut node = 1;
    for shift in (0..n_bits).rev() {
        let bit = nodes[node].code(coder, symbol >> shift & 1 != 0);
        node = node << 1 | usize::from(bit);
    }
    node as u32 - (1 << n_bits)
}

#[cfg(test)]
mod tests {
    use super::super::range_coder::{RangeDecoder, RangeEncoder};
    use super::*;

    #[test]
    fn numbers_survive_a_round_trip() {
        let values: Vec<u64> = (0..63).flat_map(|shift| [1u64 << shift, (1 << shift) - 1]).collect();
        let mut encoder = RangeEncoder::new();
        let mut decisions = [AdaptiveBit::EVEN; 12];
        let mut nodes = [AdaptiveBit::EVEN; 8];
        for &value in &values {
            code_exp_golomb(&mut encoder, &mut decisions, value);
            code_symbol(&mut encoder, &mut nodes, value as u32 & 7, 3);
        }
        let bytes = encoder.finish();
        let mut decoder = RangeDecoder::new(&bytes);
        let mut decisions = [AdaptiveBit::EVEN; 12];
        let mut nodes = [AdaptiveBit::EVEN; 8];
        for &value in &values {
            assert_eq!(code_exp_golomb(&mut decoder, &mut decisions, 0), value);
            assert_eq!(code_symbol(&mut decoder, &mut nodes, 0, 3), value as u32 & 7);
        }
    }
}
