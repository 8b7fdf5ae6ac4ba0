//! An integer for each pixel of a chunk, which fits 32 bits for most data: half the memory.

use std::ops::Range;

/// One integer for each of some pixels, in 32 bits as long as all fit.
#[derive(Clone)]
pub(crate) enum Integers {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

/// Those of some neighbours in memory.
#[derive(Clone, Copy)]
pub(crate) enum IntegerSlice<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl Integers {
    pub(crate) fn with_capacity(n: usize) -> Self {
        Self::Narrow(Vec::with_capacity(n))
    }

    #[inline]
    pub(crate) fn push(&mut self, integer: i64) {
        match (self, i32::try_from(integer)) {
            (Self::Wide(integers), _) => integers.push(integer),
            (Self::Narrow(integers), Ok(integer)) => integers.push(integer),
            (narrow, Err(_)) => narrow.widen(integer),
        }
    }

    /// Pushes the first integer that needs 64 bits.
    #[cold]
    fn widen(&mut self, integer: i64) {
        if let Self::Narrow(integers) = self {
            let mut wide = Vec::with_capacity(integers.capacity());
            wide.extend(integers.iter().map(|&integer| i64::from(integer)));
            wide.push(integer);
            *self = Self::Wide(wide);
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Narrow(integers) => integers.len(),
            Self::Wide(integers) => integers.len(),
        }
    }

    #[inline]
    pub(crate) fn at(&self, pixel: usize) -> i64 {
        match self {
            Self::Narrow(integers) => IntegerSlice::Narrow(integers).at(pixel),
            Self::Wide(integers) => IntegerSlice::Wide(integers).at(pixel),
        }
    }

    pub(crate) fn slice(&self, pixels: Range<usize>) -> IntegerSlice<'_> {
        match self {
            Self::Narrow(integers) => IntegerSlice::Narrow(&integers[pixels]),
            Self::Wide(integers) => IntegerSlice::Wide(&integers[pixels]),
        }
    }
}

impl Default for Integers {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Extend<i64> for Integers {
    fn extend<I: IntoIterator<Item = i64>>(&mut self, integers: I) {
        integers.into_iter().for_each(|integer| self.push(integer));
    }
}

impl FromIterator<i64> for Integers {
    fn from_iter<I: IntoIterator<Item = i64>>(integers: I) -> Self {
        let integers = integers.into_iter();
        let mut collected = Self::with_capacity(integers.size_hint().0);
        collected.extend(integers);
        collected
    }
}

impl IntegerSlice<'_> {
    #[inline]
    pub(crate) fn at(self, pixel: usize) -> i64 {
        match self {
            Self::Narrow(integers) => integers[pixel].into(),
            Self::Wide(integers) => integers[pixel],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_kept_whatever_they_need() {
        let small = [0, -1, i64::from(i32::MAX), i64::from(i32::MIN)];
        let large = [7, -(1 << 31) - 1, 1 << 31, 1 << 52, -3];
        for integers in [&small[..], &large, &[]] {
            let kept: Integers = integers.iter().copied().collect();
            assert_eq!(matches!(kept, Integers::Narrow(_)), integers.len() != large.len());
            assert_eq!(kept.len(), integers.len());
            assert!((0..kept.len()).all(|pixel| kept.at(pixel) == integers[pixel]));
            let rest = kept.slice(integers.len().min(2)..integers.len());
            assert!((2..integers.len()).all(|pixel| rest.at(pixel - 2) == integers[pixel]));
        }
    }
}
