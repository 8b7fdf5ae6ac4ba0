//! The backends give identical integers: on random models and codes, and at the ends of every range.

use std::num::NonZero;

use h5z_sae::sae::backend::{Backend, ExactIn, ScalarBackend, Weights};
use h5z_sae::sae::testing::{TestRng, cosine_spec, extreme_spec, random_codes, random_spec};
use h5z_sae::sae::{IntValues, Model, ModelSpec, PatchCode, Penalty};
use h5z_sae_kernels::GemmBackend;

fn gemm(threads: usize) -> GemmBackend {
    GemmBackend { threads: NonZero::new(threads).unwrap() }
}

fn decode(model: &Model, backend: &dyn Backend, codes: &[PatchCode]) -> Vec<i32> {
    let mut out = vec![0; codes.len() * model.n_values()];
    model.decode_patches(backend, codes, &mut out).unwrap();
    out
}

fn assert_same_bits(spec: &ModelSpec, codes: &[PatchCode], what: &str) {
    let model = Model::parse(&spec.to_bytes().unwrap()).unwrap();
    let expected = decode(&model, &ScalarBackend, codes);
    for threads in [1, 3] {
        assert_eq!(decode(&model, &gemm(threads), codes), expected, "{what}, {threads} threads");
    }
}

#[test]
fn random_models_and_codes_decode_alike() {
    for seed in 0..400 {
        let spec = random_spec(seed);
        let n_patches = 1 + seed as usize % 9;
        assert_same_bits(&spec, &random_codes(&spec, seed, n_patches), &format!("random, seed {seed}"));
    }
}

#[test]
fn weights_at_both_ends_decode_alike() {
    for seed in 0..400 {
        let spec = extreme_spec(seed);
        assert_same_bits(&spec, &random_codes(&spec, seed, 7), &format!("extreme, seed {seed}"));
    }
}

/// A model whose basis sums come as close to 2⁵³, or to 2²⁴, as a power of two of coefficients allows.
fn spec_at_the_limit(weight: i8, coef_bits: u8, alternating: bool) -> ModelSpec {
    let mut spec = cosine_spec(h5z_sae::PatchShape { rows: 8, cols: 8 }, false);
    let n_linear = spec.decoder.coef_bias.len();
    let signed = |index: usize| if alternating && index % 2 == 1 { -weight } else { weight };
    spec.decoder.basis[0].values = IntValues::I8((0..n_linear * 64).map(signed).collect());
    spec.decoder.coef_bits = coef_bits;
    spec.decoder.coef_frac_bits = vec![30; n_linear];
    spec.decoder.output_frac_bits = 44;
    spec
}

#[test]
fn sums_just_below_the_exact_limits_decode_alike() {
    // 64 rows · 127 · (2⁴⁰ − 1) < 2⁵³ and 64 · 127 · (2¹¹ − 1) < 2²⁴: the widest of either format.
    for (coef_bits, output_frac_bits) in [(40, 44), (11, 8)] {
        for alternating in [false, true] {
            let mut spec = spec_at_the_limit(127, coef_bits, alternating);
            spec.decoder.output_frac_bits = output_frac_bits;
            let levels = [i32::MAX, i32::MIN, 1, -1];
            let mut rng = TestRng::new(9);
            let codes: Vec<_> = (0..40)
                .map(|step| PatchCode {
                    linear_step_quarters: step * 3 % 121,
                    linear: (0..64).map(|index| (index, levels[rng.count(0, 3)])).collect(),
                    ..PatchCode::default()
                })
                .collect();
            assert_same_bits(&spec, &codes, &format!("{coef_bits} bits, alternating: {alternating}"));
        }
    }
}

#[test]
fn both_float_formats_multiply_exactly() {
    let mut rng = TestRng::new(11);
    let (depth, cols) = (129, 323);
    for rows in [1, 2, 3, 17, 64] {
        let values: Vec<i16> = (0..depth * cols).map(|_| rng.int(-127, 127) as i16).collect();
        // 129 · 127 · 2¹⁰ < 2²⁴ and 129 · 127 · 2³⁸ < 2⁵³
        for (exact_in, reach) in [(ExactIn::F32, 1 << 10), (ExactIn::F64, 1i64 << 38)] {
            let weights = Weights { depth, cols, values: values.clone(), exact_in };
            let left: Vec<i64> = (0..rows * depth).map(|_| reach - rng.int(0, 1)).collect();
            let mut expected = vec![0; rows * cols];
            ScalarBackend.integer_product(rows, &left, &weights, &mut expected);
            for threads in [1, 3] {
                let mut out = vec![-1; rows * cols];
                gemm(threads).integer_product(rows, &left, &weights, &mut out);
                assert_eq!(out, expected, "{rows} rows, {threads} threads, {exact_in:?}");
            }
        }
    }
}

#[test]
fn one_more_bit_than_is_exact_is_rejected() {
    let mut spec = cosine_spec(h5z_sae::PatchShape { rows: 8, cols: 8 }, false);
    spec.decoder.basis[0].values = IntValues::I16(vec![i16::MAX; 64 * 64]);
    spec.decoder.coef_bits = 32;
    assert!(spec.to_bytes().is_ok());
    spec.decoder.coef_bits = 33;
    assert!(spec.to_bytes().unwrap_err().message().contains("below 2^53"));
}

#[test]
fn realistic_sizes_decode_alike() {
    for penalty in [Penalty::Z, Penalty::Grad] {
        let spec = ModelSpec { penalty, ..cosine_spec(h5z_sae::PatchShape { rows: 32, cols: 40 }, true) };
        assert_same_bits(&spec, &random_codes(&spec, 1, 33), &format!("{penalty:?}"));
    }
}

#[test]
fn threads_and_layouts_give_the_same_floats() {
    let mut rng = TestRng::new(4);
    let (rows, depth, cols) = (37, 19, 53);
    let mut draw = |len: usize| (0..len).map(|_| rng.unit()).collect::<Vec<f32>>();
    let (left, right) = (draw(rows * depth), draw(depth * cols));
    let transposed: Vec<f32> = (0..depth * cols).map(|i| right[i % depth * cols + i / depth]).collect();
    let run = |backend: &dyn Backend, right: &[f32], right_transposed| {
        let mut out = vec![0.0; rows * cols];
        backend.float_product((rows, depth, cols), &left, right, right_transposed, &mut out);
        out
    };
    let one = run(&gemm(1), &right, false);
    for threads in [2, 3, 100] {
        assert_eq!(run(&gemm(threads), &right, false), one);
    }
    for other in [run(&gemm(1), &transposed, true), run(&ScalarBackend, &right, false)] {
        let difference = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-5, "off by {difference}");
    }
    assert_eq!(run(&ScalarBackend, &transposed, true), run(&ScalarBackend, &right, false));
}
