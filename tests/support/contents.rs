//! What chunks may hold.

use h5z_sae::sae::testing::TestRng;
use h5z_sae::{ChunkShape, ElementType};

use super::{is_float, pattern_of, share};

/// Kinds of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Rings about a centre, falling off: a scattering pattern.
    Rings,
    /// The same as counts, with Poisson noise.
    Counts,
    /// White noise.
    Noise,
    Constant,
    Zeros,
    /// NaN where the type has it, its largest value otherwise.
    AllNan,
    /// Ends of the type, subnormals, and 0, mixed.
    Extremes,
    /// Every bit random.
    RandomBits,
    /// Magnitudes over the whole range of the type, both signs.
    HugeRange,
    /// Integers around 2⁵³ and at the top of the type.
    LargeIntegers,
    /// A few levels in rectangles.
    Levels,
}

pub const CONTENTS: [Content; 11] = [
    Content::Rings,
    Content::Counts,
    Content::Noise,
    Content::Constant,
    Content::Zeros,
    Content::AllNan,
    Content::Extremes,
    Content::RandomBits,
    Content::HugeRange,
    Content::LargeIntegers,
    Content::Levels,
];

/// Rings about (row, col) of a unit maximum: one frame, row-major.
pub fn rings(rows: usize, cols: usize, centre: (f64, f64), width: f64, frequency: f64) -> Vec<f64> {
    (0..rows * cols)
        .map(|i| {
            let (dy, dx) = ((i / cols) as f64 - centre.0, (i % cols) as f64 - centre.1);
            let r = (dy * dy + 1.3 * dx * dx).sqrt();
            (-r / width).exp() * (0.55 + 0.45 * (r * frequency).cos())
        })
        .collect()
}

/// A Poisson number, by multiplication of uniform ones below 30 and a normal approximation above.
pub fn poisson(rng: &mut TestRng, mean: f64) -> f64 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    let limit = (-mean).exp();
    let (mut count, mut product) = (0.0, share(rng));
    while product > limit {
        product *= share(rng);
        count += 1.0;
    }
    count
}

/// A normal number: the sum of twelve uniform ones.
pub fn normal(rng: &mut TestRng) -> f64 {
    (0..12).map(|_| share(rng)).sum::<f64>() - 6.0
}

/// Patterns of a chunk.
pub fn fill(content: Content, element: ElementType, shape: &ChunkShape, rng: &mut TestRng) -> Vec<u64> {
    let n_values = shape.n_values();
    let random_bits = |rng: &mut TestRng| rng.bits() >> (64 - element.bits());
    match content {
        Content::Rings | Content::Counts => ring_frames(content, element, shape, rng),
        Content::Noise => {
            let size = amplitude(element, rng);
            (0..n_values).map(|_| pattern_of(element, size * normal(rng))).collect()
        }
        Content::Constant => {
            let size = amplitude(element, rng);
            vec![pattern_of(element, size); n_values]
        }
        Content::Zeros => vec![0; n_values],
        Content::AllNan if is_float(element) => {
            let nan = pattern_of(element, f64::NAN) | u64::from(rng.one_in(2));
            vec![nan; n_values]
        }
        Content::AllNan => vec![pattern_of(element, f64::INFINITY); n_values],
        Content::Extremes => {
            let ends = ends(element);
            (0..n_values).map(|_| ends[rng.count(0, ends.len() - 1)]).collect()
        }
        Content::RandomBits => (0..n_values).map(|_| random_bits(rng)).collect(),
        Content::HugeRange => (0..n_values)
            .map(|_| {
                let reach = if is_float(element) { element.bits() as f64 * 5.0 } else { 70.0 };
                let sign = if rng.one_in(2) { -1.0 } else { 1.0 };
                pattern_of(element, sign * ((share(rng) - 0.4) * reach).exp2())
            })
            .collect(),
        Content::LargeIntegers => {
            let middle = if rng.one_in(2) { 2f64.powi(53) } else { f64::MAX };
            let start = pattern_of(element, if is_float(element) { 2f64.powi(20) } else { middle });
            let mask = u64::MAX >> (64 - element.bits());
            (0..n_values).map(|_| start.wrapping_sub(rng.bits() % 2000) & mask).collect()
        }
        Content::Levels => {
            let levels: Vec<u64> = (0..4)
                .map(|_| {
                    let level = amplitude(element, rng);
                    pattern_of(element, level)
                })
                .collect();
            let cols = shape.cols();
            (0..n_values).map(|i| levels[(i / cols / 5 + i % cols / 7) % 4]).collect()
        }
    }
}

/// A sensible size of values for a type, over several orders of magnitude.
fn amplitude(element: ElementType, rng: &mut TestRng) -> f64 {
    let most_log2 = match (is_float(element), element.bits()) {
        (true, 16) => 14.0,
        (true, _) => 24.0,
        (false, bits) => f64::from(bits) - 3.0,
    };
    let least_log2 = if is_float(element) { -12.0 } else { 0.0 };
    (least_log2 + share(rng) * (most_log2 - least_log2)).exp2()
}

fn ring_frames(content: Content, element: ElementType, shape: &ChunkShape, rng: &mut TestRng) -> Vec<u64> {
    let size = amplitude(element, rng);
    let (rows, cols) = (shape.rows(), shape.cols());
    let mut patterns = Vec::with_capacity(shape.n_values());
    for _ in 0..shape.frames() {
        let centre = (rows as f64 * (0.3 + 0.4 * share(rng)), cols as f64 * (0.3 + 0.4 * share(rng)));
        let width = (rows + cols) as f64 * (0.05 + 0.2 * share(rng));
        let frame = rings(rows, cols, centre, width, 0.2 + share(rng));
        patterns.extend(frame.into_iter().map(|value| match content {
            Content::Counts => pattern_of(element, poisson(rng, (value * size).min(1e12))),
            _ => pattern_of(element, value * size),
        }));
    }
    patterns
}

/// Ends of a type, its neighbours of 0, and 0.
fn ends(element: ElementType) -> Vec<u64> {
    let mask = u64::MAX >> (64 - element.bits());
    if !is_float(element) {
        return vec![0, 1, mask, mask >> 1, (mask >> 1) + 1, mask - 1];
    }
    let largest = pattern_of(element, f64::INFINITY) - 1;
    let sign = 1 << (element.bits() - 1);
    let mantissa_bits = [10, 23, 52][element.size_bytes().ilog2() as usize - 1];
    let smallest_normal = 1u64 << mantissa_bits;
    vec![0, 1, 2, 1 | sign, largest, largest | sign, largest - 1, smallest_normal, smallest_normal - 1]
}
