//! Parts of an octave as integers: of scales of patches and steps of linear atoms, of sizes in contexts.

/// 2^(i/8) in Q30, rounded. Frozen.
pub(crate) static EIGHTH_OCTAVES: [u32; 8] =
    [1073741824, 1170923762, 1276901417, 1392470869, 1518500250, 1655936265, 1805811301, 1969251188];

/// 2^(i/4) in Q30, rounded, for i from 0 to 3.
pub(crate) fn quarter_octaves(i: usize) -> u32 {
    EIGHTH_OCTAVES[2 * i]
}

/// 4·log2 of x, rounded down, less 8; 0 below 4.
pub(crate) fn quarter_octave(x: i64) -> usize {
    let x = x.max(4) as u64;
    let below = x.ilog2() - 2;
    below as usize * 4 + (x >> below & 3) as usize
}
