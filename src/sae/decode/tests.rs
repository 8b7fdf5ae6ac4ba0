//! The exact decoder against results worked out by hand, and against its formulas taken literally.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::array::PatchShape;
use crate::error::ErrorKind;
use crate::sae::backend::ScalarBackend;
use crate::sae::spec::{DecoderWeights, EncoderWeights, IntTensor, IntValues, Priors, Transform};
use crate::sae::testing::{extreme_spec, random_codes, random_spec};

/// Two latents, two hidden units, two basis rows, a point-symmetric patch of 1 × 3.
fn tiny_spec() -> ModelSpec {
    ModelSpec {
        patch: PatchShape { rows: 1, cols: 3 },
        point_symmetric: true,
        transform: Transform::None,
        penalty: Penalty::Z,
        sparsity_lambda: 0.0,
        active: 0,
        none_step_log2: 0,
        decoder: DecoderWeights {
            latent_frac_bits: 4,
            hidden: IntTensor { rows: 2, cols: 2, values: IntValues::I8(vec![3, -2, 5, 7]) },
            hidden_bias: vec![6, -1],
            hidden_shift: 2,
            hidden_bits: 8,
            coef: Some(IntTensor { rows: 2, cols: 2, values: IntValues::I16(vec![100, -50, 20, 30]) }),
            coef_bias: vec![-10, 5],
            coef_shift: vec![1, 0],
            coef_frac_bits: vec![6, 3],
            coef_bits: 13,
            basis: vec![
                IntTensor { rows: 1, cols: 2, values: IntValues::I16(vec![1000, -300]) },
                IntTensor { rows: 1, cols: 2, values: IntValues::I8(vec![-4, 5]) },
            ],
            mean: vec![11, -7],
            output_frac_bits: 31,
        },
        encoder: EncoderWeights {
            input: vec![0.0; 4],
            input_bias: vec![0.0; 2],
            latent: vec![0.0; 4],
            latent_bias: vec![0.0; 2],
            direct: false,
        },
        priors: Priors {
            fire: vec![1; 2],
            weight_scale: vec![0; 2],
            linear_scale: vec![0; 2],
            linear_only_scale: vec![0; 2],
        },
        provenance: BTreeMap::new(),
    }
}

fn load(spec: &ModelSpec) -> Arc<Model> {
    Model::parse(&spec.to_bytes().unwrap()).unwrap()
}

fn tiny_code() -> PatchCode {
    PatchCode {
        latent_step_log2: 2,
        linear_step_quarters: 4,
        latents: vec![(0, 5), (1, -1)],
        linear: vec![(0, -3), (1, 2)],
    }
}

#[test]
fn decodes_what_was_worked_out_by_hand() {
    // z = 5·4, −1·4 = 20, −4
    // sums: 20·3 − 4·5 + 6 = 46, 20·(−2) − 4·7 − 1 = −69; h = (46 + 2) >> 2 = 12, clamp(…) = 0
    // sums: 12·100 − 10 = 1190, 12·(−50) + 5 = −595; b = (1190 + 1) >> 1 = 595, −595
    // c = 595 − 3·2⁵ = 499, −595 + 2·2² = −587
    // o = 499·1000 + 587·4 + 11 = 501359, −499·300 − 587·5 − 7 = −152642
    // Q30: (501359 + 1) >> 1 = 250680, (−152642 + 1) >> 1 = −76321 (rounding down: −152641 >> 1)
    let mut out = [0; 3];
    load(&tiny_spec()).decode_patches(&ScalarBackend, &[tiny_code()], &mut out).unwrap();
    assert_eq!(out, [250_680, -76_321, 250_680]);
}

#[test]
fn steps_of_a_running_sum_stay_until_the_next() {
    // z = 20, 20 − 4 = 16: sums 20·3 + 16·5 + 6 = 146, 20·(−2) + 16·7 − 1 = 71; h = 37, 18
    // sums 37·100 + 18·20 − 10 = 4050, −37·50 + 18·30 + 5 = −1305; b = 2025, −1305; c = 1929, −1297
    // o = 1929000 + 5188 + 11 = 1934199, −578700 − 6485 − 7 = −585192
    let spec = ModelSpec { penalty: Penalty::Grad, ..tiny_spec() };
    let mut out = [0; 3];
    load(&spec).decode_patches(&ScalarBackend, &[tiny_code()], &mut out).unwrap();
    assert_eq!(out, [967_100, -292_596, 967_100]);
}

#[test]
fn clamps_coefficients_on_both_sides() {
    let mut out = [0; 3];
    for (level, c) in [(i32::MAX, 8191), (i32::MIN, -8191)] {
        let code = PatchCode { linear: vec![(0, level)], ..PatchCode::default() };
        load(&tiny_spec()).decode_patches(&ScalarBackend, &[code], &mut out).unwrap();
        // Without latents: h = (6 + 2) >> 2 = 2, (−1 + 2) >> 2 = 0; b[1] = −100 + 5
        let o = [c * 1000 + 95 * 4 + 11, -c * 300 - 95 * 5 - 7];
        assert_eq!(out.map(i64::from), [(o[0] + 1) >> 1, (o[1] + 1) >> 1, (o[0] + 1) >> 1]);
    }
}

/// The formulas of the module's description, one patch at a time in i128, without any layout of weights.
fn decode_literally(spec: &ModelSpec, code: &PatchCode) -> Vec<i32> {
    let d = &spec.decoder;
    let shr = |x: i128, s: u8| if s == 0 { x } else { (x + (1 << (s - 1))) >> s };
    let (m, k) = (d.hidden.cols, d.coef_bias.len());
    let mut z = vec![0i128; d.hidden.rows];
    for &(i, level) in &code.latents {
        z[i as usize] = i128::from(level) << (d.latent_frac_bits - code.latent_step_log2);
    }
    if spec.penalty == Penalty::Grad {
        for i in 1..z.len() {
            z[i] += z[i - 1];
        }
    }
    let hidden = |j: usize| {
        let sum: i128 = z.iter().enumerate().map(|(i, z)| z * i128::from(d.hidden.get(i * m + j))).sum();
        shr(sum + i128::from(d.hidden_bias[j]), d.hidden_shift).clamp(0, (1 << d.hidden_bits) - 1)
    };
    let h: Vec<i128> = (0..m).map(hidden).collect();
    let coef = |j: usize, k_: usize| match &d.coef {
        Some(coef) if k_ < coef.cols => i128::from(coef.get(j * coef.cols + k_)),
        Some(_) => 0,
        None => i128::from(j == k_),
    };
    let basis = d.basis_rows();
    let mut c: Vec<i128> = (0..k)
        .map(|i| {
            let sum: i128 = h.iter().enumerate().map(|(j, h)| h * coef(j, i)).sum();
            shr(sum + i128::from(d.coef_bias[i]), d.coef_shift[i])
        })
        .collect();
    for &(i, level) in &code.linear {
        let octaves = code.linear_step_quarters.div_ceil(4);
        let quarter = crate::octaves::quarter_octaves(usize::from(4 * octaves - code.linear_step_quarters));
        let wide = (i128::from(level) * i128::from(quarter)) << (d.coef_frac_bits[i as usize] - octaves);
        c[i as usize] += shr(wide, 30);
    }
    let largest = (1 << d.coef_bits) - 1;
    let n_stored = d.mean.len();
    let n = spec.patch.n_values();
    let value = |p: usize| {
        let column = if p < n_stored { p } else { n - 1 - p };
        let terms = c.iter().enumerate();
        let sum: i128 =
            terms.map(|(i, c)| c.clamp(&-largest, &largest) * i128::from(basis[i * n_stored + column])).sum();
        let output = i64::try_from(sum + i128::from(d.mean[column])).unwrap();
        InverseTransform::of(spec.transform).value_q30(output, d.output_frac_bits)
    };
    (0..n).map(value).collect()
}

#[test]
fn agrees_with_the_formulas_on_random_and_extreme_models() {
    for seed in 0..200 {
        for spec in [random_spec(seed), extreme_spec(seed)] {
            let codes = random_codes(&spec, seed, 6);
            let model = load(&spec);
            let mut out = vec![0; 6 * model.n_values()];
            model.decode_patches(&ScalarBackend, &codes, &mut out).unwrap();
            let expected: Vec<i32> = codes.iter().flat_map(|code| decode_literally(&spec, code)).collect();
            assert_eq!(out, expected, "seed {seed}");
        }
    }
}

#[test]
fn batches_do_not_change_values() {
    let spec = random_spec(5);
    let model = load(&spec);
    let n_patches = 2 * model.batch_len() + 3;
    let codes = random_codes(&spec, 5, n_patches);
    let mut together = vec![0; n_patches * model.n_values()];
    model.decode_patches(&ScalarBackend, &codes, &mut together).unwrap();
    for (code, patch) in codes.iter().zip(together.chunks_exact(model.n_values())) {
        let mut alone = vec![0; model.n_values()];
        model.decode_patches(&ScalarBackend, std::slice::from_ref(code), &mut alone).unwrap();
        assert_eq!(alone, patch);
    }
}

#[test]
fn transformed_values_are_the_outputs_in_real_units() {
    let model = load(&tiny_spec());
    let mut out = [0.0; 3];
    model.reconstruct_transformed(&ScalarBackend, &[tiny_code()], &mut out).unwrap();
    let unit = (-31f32).exp2();
    assert_eq!(out, [501_359.0 * unit, -152_642.0 * unit, 501_359.0 * unit]);
}

fn assert_rejected(spec: &ModelSpec, code: PatchCode, part_of_message: &str) {
    let mut out = [0; 3];
    let error = load(spec).decode_patches(&ScalarBackend, &[code], &mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(part_of_message), "{error}");
}

#[test]
fn rejects_codes_that_no_encoder_makes() {
    let spec = tiny_spec();
    let code = PatchCode::default;
    assert_rejected(&spec, PatchCode { latent_step_log2: 5, ..code() }, "latent step 2^-5");
    assert_rejected(&spec, PatchCode { linear_step_quarters: 13, ..code() }, "linear step 2^-(13/4)");
    assert_rejected(&spec, PatchCode { latents: vec![(2, 1)], ..code() }, "latent index 2");
    assert_rejected(&spec, PatchCode { linear: vec![(2, 1)], ..code() }, "linear index 2");
    assert_rejected(&spec, PatchCode { linear: vec![(u32::MAX, 1)], ..code() }, "linear index 4294967295");
    assert_rejected(&spec, PatchCode { latents: vec![(1, 1), (0, 1)], ..code() }, "latent index 0");
    assert_rejected(&spec, PatchCode { linear: vec![(1, 1), (1, 1)], ..code() }, "linear index 1");
    assert_rejected(&spec, PatchCode { latents: vec![(0, 0)], ..code() }, "level 0");
    assert_rejected(&spec, PatchCode { linear: vec![(1, 0)], ..code() }, "level 0");
}

#[test]
fn rejects_latents_from_2_to_the_24() {
    let code = |latents| PatchCode { latent_step_log2: 4, latents, ..PatchCode::default() };
    let mut out = [0; 3];
    let model = load(&tiny_spec());
    model.decode_patches(&ScalarBackend, &[code(vec![(0, -(1 << 24) + 1)])], &mut out).unwrap();
    assert_rejected(&tiny_spec(), code(vec![(0, 1 << 24)]), "below 2^24");
    assert_rejected(&tiny_spec(), code(vec![(1, -(1 << 24))]), "below 2^24");
    let grad = ModelSpec { penalty: Penalty::Grad, ..tiny_spec() };
    assert_rejected(&grad, code(vec![(0, 1 << 23), (1, 1 << 23)]), "latent 1 is 16777216");
    let coarse = PatchCode { latent_step_log2: 0, latents: vec![(0, 1 << 20)], ..PatchCode::default() };
    assert_rejected(&tiny_spec(), coarse, "below 2^24");
}

#[test]
fn rejects_room_of_another_size() {
    let error = load(&tiny_spec()).decode_patches(&ScalarBackend, &[tiny_code()], &mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
