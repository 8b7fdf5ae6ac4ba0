//! The laws of the codec on chunks of every type, shape, bound and content: the bound holds for every value, special
//! values come back bit for bit, no stream is longer than the raw chunk and a header, equal input gives equal bytes.

mod support;

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::TestRng;
use h5z_sae::{Bound, ChunkShape, Effort, ElementType, Options};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use support::contents::{CONTENTS, Content, fill};
use support::{Case, as_f64, element_types, is_float, pattern_of, share};

/// Ranks 1 to 4; frames smaller than a block, a row, a column, one pixel, one more than a patch has.
const SHAPES: [&[usize]; 20] = [
    &[1],
    &[7],
    &[100],
    &[1, 1],
    &[1, 130],
    &[130, 1],
    &[3, 5],
    &[8, 8],
    &[9, 17],
    &[65, 63],
    &[64, 130],
    &[40, 3, 5],
    &[300, 1, 1],
    &[1, 1, 90],
    &[50, 1, 3],
    &[3, 20, 24],
    &[2, 33, 70],
    &[2, 3, 5, 7],
    &[2, 2, 16, 16],
    &[1, 5, 12, 40],
];

/// Special values that are strewn over a chunk.
#[derive(Clone, Copy, Debug)]
enum Strewn {
    Nothing,
    /// NaN of several payloads, infinities and −0.0.
    FloatSpecials,
    /// A fill value of 0.
    ZeroFill,
    /// The largest value as fill, −1 or its like as mask.
    FillAndMask,
    /// More than sixteen different NaN payloads.
    ManyPayloads,
}

const STREWN: [Strewn; 5] =
    [Strewn::Nothing, Strewn::FloatSpecials, Strewn::ZeroFill, Strewn::FillAndMask, Strewn::ManyPayloads];

/// Kinds of bounds; numbers are drawn against the chunk's own values.
#[derive(Clone, Copy, Debug)]
enum BoundKind {
    /// A power of ten of the magnitude, 10⁻⁷ to 10.
    ShareOfMagnitude,
    /// A few ulp of the largest magnitude (of 1 for integers).
    FewUlp,
    /// Less than one ulp of the largest magnitude.
    BelowUlp,
    /// Far above everything.
    Huge,
    Relative,
    /// From a small share of a count's deviation to far more than all counts.
    Noise,
    Lossless,
    None,
}

const BOUNDS: [BoundKind; 8] = [
    BoundKind::ShareOfMagnitude,
    BoundKind::FewUlp,
    BoundKind::BelowUlp,
    BoundKind::Huge,
    BoundKind::Relative,
    BoundKind::Noise,
    BoundKind::Lossless,
    BoundKind::None,
];

fn magnitude(element: ElementType, patterns: &[u64]) -> f64 {
    let finite = patterns.iter().map(|&pattern| as_f64(element, pattern).abs()).filter(|v| v.is_finite());
    finite.fold(0.0, f64::max)
}

/// Gap between the magnitude and the next smaller float; 1 for integers.
fn ulp(element: ElementType, magnitude: f64) -> f64 {
    if !is_float(element) {
        return 1.0;
    }
    let pattern = pattern_of(element, magnitude).max(1);
    as_f64(element, pattern) - as_f64(element, pattern - 1)
}

fn draw_bound(kind: BoundKind, element: ElementType, patterns: &[u64], rng: &mut TestRng) -> Bound {
    let size = magnitude(element, patterns);
    let epsilon = match kind {
        BoundKind::ShareOfMagnitude => size * 10f64.powi(rng.int(-7, 1) as i32),
        BoundKind::FewUlp => ulp(element, size) * [0.5, 0.75, 1.0, 1.5, 2.0, 3.7, 10.0][rng.count(0, 6)],
        BoundKind::BelowUlp => ulp(element, size) * [0.01, 0.4, 0.499_999_9][rng.count(0, 2)],
        BoundKind::Huge => [1e30, 1e300, f64::MAX][rng.count(0, 2)],
        BoundKind::Relative => {
            return Bound::Relative(10f64.powi(rng.int(-9, -1) as i32) * (1.0 + share(rng)));
        }
        BoundKind::Noise => {
            let deviations = [1e-9, 1e-3, 0.1, 0.25, 0.5, 1.0, 2.0, 7.5, 1e6, 1e300];
            return Bound::Noise(deviations[rng.count(0, deviations.len() - 1)]);
        }
        BoundKind::Lossless => return Bound::Lossless,
        BoundKind::None => return Bound::None,
    };
    // A chunk of zeros or NaN has no magnitude to share.
    Bound::Absolute(if epsilon > 0.0 && epsilon.is_finite() { epsilon } else { f64::MIN_POSITIVE })
}

fn strew(
    strewn: Strewn,
    element: ElementType,
    patterns: &mut [u64],
    options: &mut Options,
    rng: &mut TestRng,
) {
    let largest = pattern_of(element, f64::MAX.min(1e300));
    let minus_one = pattern_of(element, -1.0);
    let sign = 1u64 << (element.bits() - 1);
    let infinity = pattern_of(element, f64::INFINITY);
    let choices: Vec<u64> = match strewn {
        Strewn::Nothing => return,
        Strewn::FloatSpecials if is_float(element) => {
            vec![
                infinity,
                infinity | sign,
                sign,
                infinity + 1,
                infinity | sign | 5,
                infinity + 6,
                u64::MAX >> (64 - element.bits()),
            ]
        }
        Strewn::ManyPayloads if is_float(element) => (1..40).map(|payload| infinity + payload).collect(),
        Strewn::FillAndMask => {
            options.fill_value = Some(largest);
            options.mask_value = Some(minus_one);
            vec![largest, minus_one]
        }
        _ => {
            options.fill_value = Some(0);
            vec![0]
        }
    };
    let one_in = [2, 5, 60][rng.count(0, 2)];
    for pattern in patterns.iter_mut() {
        if rng.one_in(one_in) {
            *pattern = choices[rng.count(0, choices.len() - 1)];
        }
    }
}

/// What a case is made of; the number is the seed of everything else.
type Draw = (ElementType, &'static [usize], BoundKind, Content, Strewn, u64);

fn draws() -> impl Strategy<Value = Draw> {
    (
        prop::sample::select(element_types()),
        prop::sample::select(SHAPES.to_vec()),
        prop::sample::select(BOUNDS.to_vec()),
        prop::sample::select(CONTENTS.to_vec()),
        prop::sample::select(STREWN.to_vec()),
        0u64..1_000_000,
    )
}

fn draw_case((element, dims, bound, content, strewn, seed): Draw) -> Case {
    let mut rng = TestRng::new(seed);
    let shape = ChunkShape::try_new(dims).unwrap();
    let mut patterns = fill(content, element, &shape, &mut rng);
    let bound = draw_bound(bound, element, &patterns, &mut rng);
    let mut options = Options::new(bound);
    options.unbiased = bound != Bound::None && rng.one_in(4);
    strew(strewn, element, &mut patterns, &mut options, &mut rng);
    Case { element, shape, patterns, options }
}

/// A fixed seed of proptest, so that a failure comes again; PROPTEST_CASES raises the number of cases.
fn config(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    Config { cases, rng_seed: RngSeed::Fixed(0x5AE), failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(1200))]

    #[test]
    fn every_value_keeps_its_promise(drawn in draws()) {
        draw_case(drawn).obeys_the_laws(&ScalarBackend);
    }

    #[test]
    fn every_value_keeps_its_promise_with_the_fast_coder(drawn in draws()) {
        let mut case = draw_case(drawn);
        case.options.effort = Effort::Fast;
        case.obeys_the_laws(&ScalarBackend);
    }
}
