//! A binary range coder: docs/format.md, "Range coder"; the idea is G. N. N. Martin's (1979).
//!
//! The encoder keeps an interval [low, low + range) of 64-bit numbers and narrows it at every bit in proportion to
//! the bit's probability. When less than 2³² of it is left, the upper 32 bits of `low` are written and both are
//! shifted up. A carry out of `low` is added to the bytes already written: it cannot run past their front, since
//! the interval never leaves [0, 1) of the whole number.
//!
//! Invariant, at every bit: 2³² ≤ range < 2⁶⁴. So the split point is at least 2¹⁶ away from both ends for every
//! probability from 1/65536 to 65535/65536, and no bit is impossible.

/// Codes bits: writes them, reads them, or counts what they would cost.
pub(crate) trait BitCoder {
    /// Codes `bit`, whose probability to be 1 is `p1` / 65536, 1 to 65535. Returns the bit: the given one when
    /// encoding, the one read when decoding.
    fn code(&mut self, bit: bool, p1: u16) -> bool;

    /// Codes the lowest `n_bits` (1 to 16) of `value` with even odds, all at once. Returns them.
    fn code_uniform(&mut self, value: u64, n_bits: u32) -> u64;

    /// Whether more was read than an encoder that wrote these bytes can have meant: the body was cut or is not one.
    fn overrun(&self) -> bool {
        false
    }

    /// Cost so far in 1/65536 bit, where the coder knows it.
    fn cost(&self) -> u64 {
        0
    }
}

/// Most zero bytes that are left away at the end. A decoder is 8 bytes ahead of the encoder, and gives up where it is
/// more than [`MOST_MISSING`] beyond the end: a long run of zeros must stand there, or it would look like a cut.
const MOST_DROPPED: usize = 8;

/// Most bytes that a decoder reads beyond the end of a whole body.
const MOST_MISSING: usize = MOST_DROPPED + 8;

/// Writes bits.
pub(crate) struct RangeEncoder {
    low: u64,
    range: u64,
    bytes: Vec<u8>,
}

impl RangeEncoder {
    pub(crate) fn new() -> Self {
        Self { low: 0, range: u64::MAX, bytes: Vec::new() }
    }

    /// Moves the lower end of the interval up.
    #[inline]
    fn raise(&mut self, distance: u64) {
        let (low, carry) = self.low.overflowing_add(distance);
        self.low = low;
        if carry {
            self.carry();
        }
    }

    /// Writes what is settled once the interval is short.
    #[inline]
    fn renormalize(&mut self) {
        if self.range < 1 << 32 {
            self.bytes.extend_from_slice(&((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    #[cold]
    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return;
            }
        }
    }

    /// Ends the body with as few bytes as name a number inside the interval; the decoder reads zeros beyond them.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for kept_bits in (0..=64).step_by(8) {
            let mask = u64::MAX.checked_shr(kept_bits).unwrap_or(0);
            let (rounded, carry) = self.low.overflowing_add(mask);
            let value = rounded & !mask;
            // `value` is `low` rounded up to `kept_bits` bits; it serves if it is inside the interval.
            if value.wrapping_sub(self.low) < self.range {
                if carry {
                    self.carry();
                }
                self.bytes.extend_from_slice(&value.to_be_bytes()[..kept_bits as usize / 8]);
                break;
            }
        }
        let is_zero = |byte: &&u8| **byte == 0;
        let n_dropped = self.bytes.iter().rev().take(MOST_DROPPED).take_while(is_zero).count();
        self.bytes.truncate(self.bytes.len() - n_dropped);
        self.bytes
    }
}

impl BitCoder for RangeEncoder {
    #[inline]
    fn code(&mut self, bit: bool, p1: u16) -> bool {
        let split = (self.range >> 16) * u64::from(p1);
        if bit {
            self.range = split;
        } else {
            self.raise(split);
            self.range -= split;
        }
        self.renormalize();
        bit
    }

    #[inline]
    fn code_uniform(&mut self, value: u64, n_bits: u32) -> u64 {
        self.range >>= n_bits;
        self.raise(value * self.range);
        self.renormalize();
        value
    }

    /// To a tenth of a bit: the mantissa of the interval's logarithm is taken as linear.
    fn cost(&self) -> u64 {
        let exponent = self.range.ilog2();
        let mantissa = (self.range << (63 - exponent) >> 47) & 0xffff;
        ((8 * self.bytes.len() as u64 + 64 - u64::from(exponent)) << 16) - mantissa
    }
}

/// Reads bits. Beyond the end of its bytes it reads zeros; [`BitCoder::overrun`] tells when that is too far.
pub(crate) struct RangeDecoder<'a> {
    value: u64,
    range: u64,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> RangeDecoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { value: 0, range: u64::MAX, bytes, position: 0 };
        decoder.value = u64::from(decoder.next_word()) << 32;
        decoder.value |= u64::from(decoder.next_word());
        decoder
    }

    #[inline]
    fn next_word(&mut self) -> u32 {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        self.position = self.position.saturating_add(4);
        match rest.first_chunk() {
            Some(word) => u32::from_be_bytes(*word),
            None => Self::last_word(rest),
        }
    }

    /// Fewer than four bytes, and zeros.
    #[cold]
    fn last_word(rest: &[u8]) -> u32 {
        let mut word = [0; 4];
        word[..rest.len()].copy_from_slice(rest);
        u32::from_be_bytes(word)
    }

    /// Reads on once the interval is short.
    #[inline]
    fn renormalize(&mut self) {
        if self.range < 1 << 32 {
            self.value = self.value << 32 | u64::from(self.next_word());
            self.range <<= 32;
        }
    }
}

impl BitCoder for RangeDecoder<'_> {
    #[inline]
    fn overrun(&self) -> bool {
        self.position > self.bytes.len() + MOST_MISSING
    }

    #[inline]
    fn code(&mut self, _bit: bool, p1: u16) -> bool {
        let split = (self.range >> 16) * u64::from(p1);
        let bit = self.value < split;
        if bit {
            self.range = split;
        } else {
            self.value -= split;
            self.range -= split;
        }
        self.renormalize();
        bit
    }

    #[inline]
    fn code_uniform(&mut self, _value: u64, n_bits: u32) -> u64 {
        self.range >>= n_bits;
        // The end of the interval that rounding cuts off belongs to no number; no encoder gets there.
        let value = (self.value / self.range).min((1 << n_bits) - 1);
        self.value -= value * self.range;
        self.renormalize();
        value
    }
}

/// Counts what bits would cost, and writes nothing.
#[derive(Default)]
pub(crate) struct CostCounter {
    cost: u64,
}

impl BitCoder for CostCounter {
    #[inline]
    fn code(&mut self, bit: bool, p1: u16) -> bool {
        self.cost += bit_cost(if bit { u32::from(p1) } else { 65536 - u32::from(p1) });
        bit
    }

    fn code_uniform(&mut self, value: u64, n_bits: u32) -> u64 {
        self.cost += u64::from(n_bits) << 16;
        value
    }

    fn cost(&self) -> u64 {
        self.cost
    }
}

/// About −log2(p / 65536) in 1/65536 bit: the leading bits exactly, the mantissa by a chord (error below 0.09 bit
/// at worst and below 1 % of the cost on average; it chooses between methods, no decoder sees it).
#[inline]
fn bit_cost(p: u32) -> u64 {
    // −log2(1 − q) = (q + q²/2 + q³/3 + …) / ln 2 for small q, where the chord of the mantissa would be far off.
    if p > 49152 {
        let q = u64::from(65536 - p);
        let series = (q << 16) + q * q / 2 + ((q * q / 3 * q) >> 16);
        return ((series >> 16) * 94548) >> 16;
    }
    let exponent = p.ilog2();
    let mantissa = (p << (16 - exponent)) & 0xffff;
    let curve = u64::from(mantissa) * u64::from(65536 - mantissa) / 65536 * 22600 / 65536;
    (u64::from(16 - exponent) << 16) - u64::from(mantissa) - curve
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small deterministic source of numbers.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn sequence(n: usize, seed: u64) -> Vec<(bool, u16)> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                let p1 = match random(&mut state) % 4 {
                    0 => 1,
                    1 => 65535,
                    _ => (random(&mut state) % 65535 + 1) as u16,
                };
                (random(&mut state) % 65536 < u64::from(p1), p1)
            })
            .collect()
    }

    #[test]
    fn decoder_reads_what_the_encoder_wrote() {
        for seed in 1..200 {
            let bits = sequence((seed as usize * 37) % 3000, seed);
            let mut encoder = RangeEncoder::new();
            for &(bit, p1) in &bits {
                encoder.code(bit, p1);
            }
            let bytes = encoder.finish();
            let mut decoder = RangeDecoder::new(&bytes);
            for &(bit, p1) in &bits {
                assert_eq!(decoder.code(false, p1), bit);
            }
            assert!(!decoder.overrun());
        }
    }

    #[test]
    fn numbers_of_even_odds_are_read_as_they_were_written() {
        let numbers: Vec<(u64, u32)> = (0..4000u64)
            .map(|i| (1 + i % 16) as u32)
            .zip(sequence(4000, 3))
            .map(|(n_bits, (bit, noise))| {
                (if bit { u64::from(noise) & ((1 << n_bits) - 1) } else { (1 << n_bits) - 1 }, n_bits)
            })
            .collect();
        let mut encoder = RangeEncoder::new();
        for &(number, n_bits) in &numbers {
            encoder.code(number % 3 == 0, 99);
            encoder.code_uniform(number, n_bits);
        }
        let bytes = encoder.finish();
        let mut decoder = RangeDecoder::new(&bytes);
        for &(number, n_bits) in &numbers {
            assert_eq!(decoder.code(false, 99), number % 3 == 0);
            assert_eq!(decoder.code_uniform(0, n_bits), number);
        }
        assert!(!decoder.overrun());
    }

    #[test]
    fn an_encoder_knows_what_its_bits_cost() {
        let bits = sequence(3000, 7);
        let (mut encoder, mut counter) = (RangeEncoder::new(), CostCounter::default());
        for &(bit, p1) in &bits {
            encoder.code(bit, p1);
            counter.code(bit, p1);
            let difference = encoder.cost() as f64 - counter.cost() as f64;
            assert!(difference.abs() < 0.01 * counter.cost() as f64 + 65536.0, "{difference}");
        }
    }

    #[test]
    fn improbable_bits_survive_long_carries() {
        let bits: Vec<(bool, u16)> =
            (0..5000).map(|i| (i % 97 == 0, if i % 2 == 0 { 1 } else { 65535 })).collect();
        let mut encoder = RangeEncoder::new();
        for &(bit, p1) in &bits {
            encoder.code(bit, p1);
        }
        let bytes = encoder.finish();
        let mut decoder = RangeDecoder::new(&bytes);
        assert!(bits.iter().all(|&(bit, p1)| decoder.code(false, p1) == bit));
    }

    #[test]
    fn wastes_less_than_a_thousandth_and_four_bytes() {
        let bits = sequence(100_000, 5);
        let mut encoder = RangeEncoder::new();
        let mut entropy = 0.0;
        for &(bit, p1) in &bits {
            encoder.code(bit, p1);
            let p = f64::from(p1) / 65536.0;
            entropy -= if bit { p } else { 1.0 - p }.log2();
        }
        let coded_bits = encoder.finish().len() as f64 * 8.0;
        assert!(coded_bits <= entropy * 1.001 + 32.0, "{coded_bits} bits for an entropy of {entropy}");
    }

    #[test]
    fn certain_bits_end_in_no_bytes() {
        let mut encoder = RangeEncoder::new();
        for _ in 0..100 {
            encoder.code(true, 65535);
        }
        assert!(encoder.finish().is_empty());
    }

    #[test]
    fn long_runs_of_zeros_at_the_end_are_not_taken_for_a_cut() {
        for n_bits in [1, 60, 64, 100, 128, 129, 200, 1000, 5000] {
            for p1 in [1, 1 << 15, 40_000] {
                let mut encoder = RangeEncoder::new();
                for _ in 0..n_bits {
                    encoder.code(true, p1);
                }
                let bytes = encoder.finish();
                let mut decoder = RangeDecoder::new(&bytes);
                assert!((0..n_bits).all(|_| decoder.code(false, p1)), "{n_bits} bits of {p1}");
                assert!(!decoder.overrun(), "{n_bits} bits of {p1}");
            }
        }
    }

    #[test]
    fn recorded_cost_is_near_the_entropy() {
        for p in 1..=65535u32 {
            let exact = -(f64::from(p) / 65536.0).log2() * 65536.0;
            let error = (bit_cost(p) as f64 - exact).abs();
            assert!(error <= exact * 0.02 + 2.0, "p {p}: {} for {exact}", bit_cost(p));
        }
    }
}
