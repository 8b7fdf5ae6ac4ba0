//! Encoders that are asked for it let the errors of each block of 8 × 8 pixels cancel out, whatever the element type,
//! the bound and the content.

mod support;

use std::sync::Arc;

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::{TestRng, cosine_spec};
use h5z_sae::sae::{Model, ModelSpec, Penalty};
use h5z_sae::{
    Bound, ChunkShape, ElementClass, ElementType, ErrorKind, Limits, Options, PatchShape, compress_chunk,
    decompress_chunk,
};
use support::contents::{CONTENTS, fill, normal, rings};
use support::{
    Case, Source, as_f64, as_i128, element, element_types, is_float, must_be_exact, pack, pattern_of, unpack,
};

/// Frames whose patches, of 64 × 64 or of one row, have blocks at multiples of 8.
const SHAPES: [&[usize]; 6] = [&[3, 20, 24], &[2, 70, 33], &[64, 130], &[100], &[1, 1, 90], &[2, 3, 16, 16]];

/// Errors of each block of 8 × 8 pixels of all frames, and how far each pixel may be off; special pixels left out. Next
/// to a float so large that only smaller ones are left, there is nothing to assert.
fn blocks(case: &Case, restored: &[u64]) -> Vec<Vec<(f64, f64)>> {
    let (rows, cols) = (case.shape.rows(), case.shape.cols());
    let across = cols.div_ceil(8);
    let per_frame = rows.div_ceil(8) * across;
    let mut blocks = vec![Vec::new(); case.shape.frames() * per_frame];
    let promised = support::promised(case.element, &case.patterns, &case.options);
    for (i, ((&original, &restored), &epsilon)) in
        case.patterns.iter().zip(restored).zip(&promised).enumerate()
    {
        if must_be_exact(case.element, original, &case.options) {
            continue;
        }
        let (frame, row, col) = (i / (rows * cols), i / cols % rows, i % cols);
        let error = match is_float(case.element) {
            true => as_f64(case.element, restored) - as_f64(case.element, original),
            false => (as_i128(case.element, restored) - as_i128(case.element, original)) as f64,
        };
        let reach = if is_float(case.element) { epsilon } else { epsilon.floor() };
        let end = as_f64(case.element, pattern_of(case.element, f64::INFINITY) - 1);
        let one_sided = is_float(case.element) && as_f64(case.element, original).abs() + reach >= end;
        let reach = if one_sided { f64::INFINITY } else { reach };
        blocks[frame * per_frame + row / 8 * across + col / 8].push((error, reach));
    }
    blocks
}

fn restored(case: &Case) -> Vec<u64> {
    let bytes = pack(case.element, &case.patterns);
    let stream = compress_chunk(&bytes, case.element, &case.shape, &case.options, &ScalarBackend).unwrap();
    let source = Source(case.options.model.clone());
    unpack(case.element, &decompress_chunk(&stream, &Limits::default(), &source, &ScalarBackend).unwrap())
}

/// Asserts the promise; returns the largest mean error of a block, as a share of the mean bound.
fn assert_balanced(case: &Case) -> f64 {
    let mut largest = 0.0f64;
    for (index, block) in blocks(case, &restored(case)).iter().enumerate() {
        let sum: f64 = block.iter().map(|(error, _)| error).sum();
        let total: f64 = block.iter().map(|(_, reach)| reach).sum();
        let most = block.iter().fold(total / 16.0, |most, (_, reach)| most.max(*reach));
        assert!(
            sum.abs() <= most * (1.0 + 1e-9),
            "block {index} of {:?} {} under {:?}: errors add up to {sum}, allowed is {most}",
            case.shape.dims(),
            case.element.name(),
            case.options.bound
        );
        largest = largest.max(if total > 0.0 { sum.abs() / total } else { 0.0 });
    }
    largest
}

fn unbiased(bound: Bound) -> Options {
    Options { unbiased: true, ..Options::new(bound) }
}

#[test]
fn errors_of_every_block_cancel_out_under_every_bound() {
    let mut seed = 0;
    for element in element_types() {
        for content in CONTENTS {
            seed += 1;
            let mut rng = TestRng::new(seed);
            let shape = ChunkShape::try_new(SHAPES[seed as usize % SHAPES.len()]).unwrap();
            let patterns = fill(content, element, &shape, &mut rng);
            let finite = patterns.iter().map(|&p| as_f64(element, p).abs()).filter(|v| v.is_finite());
            let size = finite.fold(1.0, f64::max).min(1e300);
            let share = 10f64.powi(-1 - rng.count(0, 4) as i32);
            let bounds = [
                Bound::Absolute(size * share),
                Bound::Relative(share),
                Bound::Noise(rng.count(1, 8) as f64 / 4.0),
            ];
            let options = unbiased(bounds[seed as usize / SHAPES.len() % bounds.len()]);
            assert_balanced(&Case { element, shape, patterns, options });
        }
    }
}

#[test]
fn marked_pixels_take_no_part() {
    let mut rng = TestRng::new(7);
    let shape = ChunkShape::try_new(&[2, 32, 40]).unwrap();
    let patterns = (0..shape.n_values()).map(|_| match rng.one_in(5) {
        true => pattern_of(ElementType::F32, -1e6),
        false => pattern_of(ElementType::F32, 2.0 + 0.3 * normal(&mut rng)),
    });
    let patterns = patterns.collect();
    let options =
        Options { mask_value: Some(u64::from((-1e6f32).to_bits())), ..unbiased(Bound::Absolute(0.1)) };
    let case = Case { element: ElementType::F32, shape, patterns, options };
    case.obeys_the_laws(&ScalarBackend);
    assert_balanced(&case);
}

/// Smooth frames whose tail lies below the bound: what an encoder that may would call 0.
fn dim_tails(options: Options) -> Case {
    let frame = |n: usize| rings(64, 64, (31.5, 31.5), 14.0 + n as f64, 0.4);
    let values = (0..4).flat_map(frame).map(|value| pattern_of(ElementType::F32, value));
    let shape = ChunkShape::try_new(&[4, 64, 64]).unwrap();
    Case { element: ElementType::F32, shape, patterns: values.collect(), options }
}

#[test]
fn mean_errors_are_within_a_sixteenth_of_the_bound_where_they_were_far_beyond() {
    let plain = dim_tails(Options::new(Bound::Absolute(1e-2)));
    let means = blocks(&plain, &restored(&plain));
    let share = |block: &Vec<(f64, f64)>| block.iter().map(|(error, _)| error).sum::<f64>().abs() / 0.64;
    assert!(means.iter().map(share).fold(0.0, f64::max) > 0.2, "these frames would show no bias");
    assert!(assert_balanced(&dim_tails(unbiased(Bound::Absolute(1e-2)))) <= 1.0 / 16.0 + 1e-9);
}

#[test]
fn patches_of_the_network_are_balanced_too() {
    let spec = ModelSpec { penalty: Penalty::Z, ..cosine_spec(PatchShape { rows: 16, cols: 16 }, true) };
    let model: Arc<Model> = Model::parse(&spec.to_bytes().unwrap()).unwrap();
    let values: Vec<u64> = (0..8)
        .flat_map(|n| rings(16, 16, (7.5, 7.5), 9.0 + n as f64, 0.4 + 0.05 * n as f64))
        .map(|value| pattern_of(ElementType::F32, value))
        .collect();
    let shape = ChunkShape::try_new(&[8, 16, 16]).unwrap();
    let options = Options { model: Some(model), ..unbiased(Bound::Absolute(1e-2)) };
    let case = Case { element: ElementType::F32, shape, patterns: values, options };
    case.obeys_the_laws(&ScalarBackend);
    assert_balanced(&case);
}

#[test]
fn unbiased_errors_need_a_bound() {
    let shape = ChunkShape::try_new(&[8, 8]).unwrap();
    let u8_type = element(ElementClass::Unsigned, 1);
    let error =
        compress_chunk(&[0; 64], u8_type, &shape, &unbiased(Bound::None), &ScalarBackend).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("unbiased"), "{error}");
}
