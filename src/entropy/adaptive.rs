//! A probability that follows what it sees.

use super::range_coder::BitCoder;

/// Probability of a 1 in the upper 22 bits, number of bits seen (up to a limit) in the lower 10. After n bits the
/// probability moves by 1/(n + 1.5) of its error: first an average of everything, then of about as many bits as it
/// may remember. The top bit is kept inverted, so that memory of zeros is a table of [`AdaptiveBit::EVEN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdaptiveBit(u32);

const TOP: u32 = 1 << 31;

/// ⌊65536 / (n + 1.5)⌋
static RATE: [u32; 1024] = {
    let mut table = [0; 1024];
    let mut n = 0;
    while n < 1024 {
        table[n] = 131_072 / (2 * n as u32 + 3);
        n += 1;
    }
    table
};

impl AdaptiveBit {
    /// Even odds, nothing seen.
    pub(crate) const EVEN: Self = Self(0);

    /// Starts at `p1` / 65536 as if `seen` bits (at most 1023) had led there.
    pub(crate) fn with_prior(p1: u16, seen: u16) -> Self {
        Self((u32::from(p1) << 16 | u32::from(seen.min(1023))) ^ TOP)
    }

    /// Probability of a 1, in 1/65536, 1 to 65535.
    #[inline]
    pub(crate) fn p1(self) -> u16 {
        (((self.0 ^ TOP) >> 16) as u16).max(1)
    }

    /// Moves towards `bit`; `limit` (at most 1023) is how many bits it remembers.
    #[inline]
    pub(crate) fn update(&mut self, bit: bool, limit: u32) {
        let seen = self.0 & 1023;
        let p = (self.0 ^ TOP) >> 10;
        let target = if bit { (1 << 22) - 1 } else { 0 };
        let moved = i64::from(target) - i64::from(p);
        let p = i64::from(p) + ((moved * i64::from(RATE[seen as usize])) >> 16);
        self.0 = ((p as u32) << 10 | (seen + u32::from(seen < limit))) ^ TOP;
    }

    /// Bits that led here, up to the limit.
    #[cfg(feature = "statistics")]
    pub(crate) fn seen(self) -> u32 {
        self.0 & 1023
    }

    /// The state as one number, 0 for [`Self::EVEN`].
    #[inline]
    pub(crate) fn to_word(self) -> u32 {
        self.0
    }

    /// Inverse of [`Self::to_word`].
    #[inline]
    pub(crate) fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// Codes a bit with this probability alone, and learns from it.
    #[inline]
    pub(crate) fn code<C: BitCoder>(&mut self, coder: &mut C, bit: bool) -> bool {
        let bit = coder.code(bit, self.p1());
        self.update(bit, 255);
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_it_sees_and_never_reaches_certainty() {
        let mut bit = AdaptiveBit::EVEN;
        for _ in 0..10_000 {
            bit.update(true, 1023);
        }
        assert!(bit.p1() > 65_000);
        for _ in 0..100_000 {
            bit.update(false, 255);
        }
        assert!(bit.p1() >= 1 && bit.p1() < 300);
    }
}
