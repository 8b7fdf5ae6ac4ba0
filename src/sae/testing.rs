//! Models and codes for tests: random ones, extreme ones, and one that really compresses smooth frames.
//!
//! Seeded, so that a failing test names its seed and fails again. Behind the feature `testing`.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use super::PatchCode;
use super::spec::{
    DecoderWeights, EncoderWeights, IntTensor, IntValues, ModelSpec, Penalty, Priors, Transform,
};
use crate::array::PatchShape;

/// A small generator of random numbers (SplitMix64); good enough for tests, and the same everywhere.
#[derive(Clone, Debug)]
pub struct TestRng(u64);

impl TestRng {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An integer from `least` to `most`, both included.
    pub fn int(&mut self, least: i64, most: i64) -> i64 {
        let span = (i128::from(most) - i128::from(least) + 1) as u128;
        (i128::from(least) + (u128::from(self.bits()) % span) as i128) as i64
    }

    /// A length or a count from `least` to `most`, both included.
    pub fn count(&mut self, least: usize, most: usize) -> usize {
        self.int(least as i64, most as i64) as usize
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.bits().is_multiple_of(n)
    }

    /// A float from −1 to 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// One of the two ends, or anything between.
    fn often_extreme(&mut self, least: i64, most: i64) -> i64 {
        match self.int(0, 3) {
            0 => least,
            1 => most,
            _ => self.int(least, most),
        }
    }

    fn weights(&mut self, rows: usize, cols: usize, extreme: bool) -> IntTensor {
        let wide = self.one_in(2);
        let most = if wide { i64::from(i16::MAX) } else { i64::from(i8::MAX) };
        let reach = if extreme { most } else { self.int(1, most) };
        let mut draw = || match extreme {
            true => [-most - 1, most][(self.bits() & 1) as usize],
            false => self.int(-reach, reach),
        };
        let values = match wide {
            true => IntValues::I16((0..rows * cols).map(|_| draw() as i16).collect()),
            false => IntValues::I8((0..rows * cols).map(|_| draw() as i8).collect()),
        };
        IntTensor { rows, cols, values }
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| half::f16::from_f32_const(self.unit()).to_f32_const()).collect()
    }
}

/// A random valid model of a few hundred weights: every transform and penalty, whole and point-symmetric patches,
/// with and without a coefficient layer, 8-bit and 16-bit weights mixed.
pub fn random_spec(seed: u64) -> ModelSpec {
    let mut rng = TestRng::new(seed);
    let patch = PatchShape { rows: rng.count(1, 9), cols: rng.count(1, 9) };
    draw_spec(&mut rng, patch, false)
}

/// A random valid model for patches of the given shape.
pub fn random_spec_for(seed: u64, patch: PatchShape) -> ModelSpec {
    draw_spec(&mut TestRng::new(seed), patch, false)
}

/// A valid model with every weight at one of the ends of its type, biases and shifts often at theirs, and the widest
/// coefficients that such a basis allows.
pub fn extreme_spec(seed: u64) -> ModelSpec {
    let mut rng = TestRng::new(seed ^ 0x6578_7472_656d_6521);
    let patch = PatchShape { rows: rng.count(1, 9), cols: rng.count(1, 9) };
    draw_spec(&mut rng, patch, true)
}

fn draw_spec(rng: &mut TestRng, patch: PatchShape, extreme: bool) -> ModelSpec {
    let point_symmetric = rng.one_in(2);
    let n_latents = rng.count(1, 40);
    let decoder = draw_decoder(rng, patch, point_symmetric, n_latents, extreme);
    let (n_hidden, n_linear) = (decoder.hidden.cols, decoder.coef_bias.len());
    let direct = rng.one_in(3);
    let n_coefs = decoder.coef.as_ref().map_or(n_linear, |coef| coef.cols);
    let n_inputs = if direct { patch.n_values() } else { n_coefs };
    let offset_q24 = rng.often_extreme(1, 1 << 24) as u32;
    let scales = |rng: &mut TestRng, len| (0..len).map(|_| rng.often_extreme(-128, 127) as i8).collect();
    ModelSpec {
        patch,
        point_symmetric,
        transform: [Transform::None, Transform::Sqrt { offset_q24 }, Transform::Log { offset_q24 }]
            [rng.count(0, 2)],
        penalty: [Penalty::Z, Penalty::Grad][rng.count(0, 1)],
        sparsity_lambda: f64::from(rng.unit().abs()),
        active: rng.count(0, n_latents) as u32,
        none_step_log2: rng.count(0, decoder.latent_frac_bits.into()) as u8,
        decoder,
        encoder: EncoderWeights {
            input: rng.floats(n_inputs * n_hidden),
            input_bias: rng.floats(n_hidden),
            latent: rng.floats(n_hidden * n_latents),
            latent_bias: rng.floats(n_latents),
            direct,
        },
        priors: Priors {
            fire: (0..n_latents).map(|_| rng.often_extreme(1, 65535) as u16).collect(),
            weight_scale: scales(rng, n_latents),
            linear_scale: scales(rng, n_linear),
            linear_only_scale: scales(rng, n_linear),
        },
        provenance: BTreeMap::from([("made_by".to_owned(), "a random generator, for tests".to_owned())]),
    }
}

fn draw_decoder(
    rng: &mut TestRng,
    patch: PatchShape,
    point_symmetric: bool,
    n_latents: usize,
    extreme: bool,
) -> DecoderWeights {
    let n_stored = if point_symmetric { patch.n_values().div_ceil(2) } else { patch.n_values() };
    let n_hidden = rng.count(1, 24);
    let with_coef = rng.one_in(2);
    let n_linear = if with_coef { rng.count(1, 40) } else { n_hidden };
    let first_rows = rng.count(1, n_linear);
    let block_rows = [first_rows, n_linear - first_rows];
    let basis: Vec<_> = block_rows
        .iter()
        .filter(|&&rows| rows > 0)
        .map(|&rows| rng.weights(rows, n_stored, extreme))
        .collect();
    let most_bits = widest_coefficients(&basis, n_stored);
    let mut biases = |len, most: i64| -> Vec<i32> {
        let mut draw = || {
            if extreme { rng.often_extreme(i32::MIN.into(), i32::MAX.into()) } else { rng.int(-most, most) }
        };
        (0..len).map(|_| draw() as i32).collect()
    };
    let (hidden_bias, coef_bias) = (biases(n_hidden, 1 << 20), biases(n_linear, 1 << 20));
    let coef_bits = if extreme { most_bits } else { rng.count(1, most_bits.into()) as u8 };
    let output_frac_bits = rng.often_extreme(0, 44) as u8;
    let mean_reach = if extreme { (1 << 53) - 1 } else { 1i64 << output_frac_bits };
    DecoderWeights {
        latent_frac_bits: rng.often_extreme(0, 20) as u8,
        hidden: rng.weights(n_latents, n_hidden, extreme),
        hidden_bias,
        hidden_shift: rng.often_extreme(0, 31) as u8,
        hidden_bits: rng.often_extreme(1, 20) as u8,
        coef: with_coef.then(|| {
            let n_coefs = if rng.one_in(2) { n_linear } else { rng.count(1, n_linear) };
            rng.weights(n_hidden, n_coefs, extreme)
        }),
        coef_bias,
        coef_shift: (0..n_linear).map(|_| rng.often_extreme(0, 40) as u8).collect(),
        coef_frac_bits: (0..n_linear).map(|_| rng.often_extreme(0, 40) as u8).collect(),
        coef_bits,
        mean: (0..n_stored).map(|_| rng.often_extreme(-mean_reach, mean_reach)).collect(),
        basis,
        output_frac_bits,
    }
}

/// The largest `coef_bits` that keeps every sum of the basis layer below 2⁵³.
fn widest_coefficients(basis: &[IntTensor], n_stored: usize) -> u8 {
    let magnitude_in = |block: &IntTensor, col: usize| -> i64 {
        (0..block.rows).map(|row| i64::from(block.get(row * n_stored + col).unsigned_abs())).sum()
    };
    let column_sums =
        (0..n_stored).map(|col| basis.iter().map(|block| magnitude_in(block, col)).sum::<i64>());
    let largest = i128::from(column_sums.max().unwrap_or(0));
    (1..=40).rev().find(|&bits| largest * ((1i128 << bits) - 1) < 1 << 53).unwrap_or(1)
}

/// Random valid codes for a model: empty ones, sparse ones, full ones, and levels at their limits.
pub fn random_codes(spec: &ModelSpec, seed: u64, n_patches: usize) -> Vec<PatchCode> {
    let mut rng = TestRng::new(seed ^ 0x0063_6f64_6573);
    (0..n_patches).map(|_| draw_code(&mut rng, spec)).collect()
}

fn draw_code(rng: &mut TestRng, spec: &ModelSpec) -> PatchCode {
    let frac_bits = spec.decoder.latent_frac_bits;
    let latent_step_log2 = rng.count(0, frac_bits.into()) as u8;
    let least_frac_bits = spec.decoder.coef_frac_bits.iter().min().copied().unwrap_or(0);
    PatchCode {
        latent_step_log2,
        linear_step_quarters: rng.count(0, 4 * usize::from(least_frac_bits)) as u8,
        latents: draw_latents(rng, spec, ((1 << 24) - 1) >> (frac_bits - latent_step_log2)),
        linear: draw_linear(rng, spec.decoder.coef_frac_bits.len()),
    }
}

/// Levels whose values, or whose running sums for `Penalty::Grad`, are at most `most` in magnitude.
fn draw_latents(rng: &mut TestRng, spec: &ModelSpec, most: i64) -> Vec<(u32, i32)> {
    let keep_one_in = [1, 3, 1_000_000][rng.count(0, 2)];
    let mut sum = 0;
    let mut latents = Vec::new();
    for index in 0..spec.decoder.hidden.rows as u32 {
        if !rng.one_in(keep_one_in) {
            continue;
        }
        let target = rng.often_extreme(-most, most);
        let level = if spec.penalty == Penalty::Grad { target - sum } else { target };
        sum = target;
        if level != 0 {
            latents.push((index, level as i32));
        }
    }
    latents
}

fn draw_linear(rng: &mut TestRng, n_linear: usize) -> Vec<(u32, i32)> {
    let keep_one_in = [1, 4, 1_000_000][rng.count(0, 2)];
    let reach = [3, 1 << 12, i64::from(i32::MAX)][rng.count(0, 2)];
    let indices = (0..n_linear as u32).filter(|_| rng.one_in(keep_one_in)).collect::<Vec<_>>();
    let levels = indices.into_iter().map(|index| (index, rng.often_extreme(-reach, reach) as i32));
    levels.filter(|&(_, level)| level != 0).collect()
}

/// A model that compresses smooth frames: the basis is the lowest frequencies of a cosine transform (at most 64), and
/// each coefficient has two latents, one for its positive and one for its negative part. `Transform::None` and
/// `Penalty::Z`; both may be changed in the result. The latents have steps down to 2⁻¹⁴, the coefficients to 2⁻¹⁶.
pub fn cosine_spec(patch: PatchShape, point_symmetric: bool) -> ModelSpec {
    const MOST_ROWS: usize = 64;
    let n_stored = if point_symmetric { patch.n_values().div_ceil(2) } else { patch.n_values() };
    let frequencies = low_frequencies(patch, point_symmetric, MOST_ROWS);
    let n_linear = frequencies.len();
    let basis = frequencies.iter().flat_map(|&frequency| cosine_row(patch, n_stored, frequency)).collect();
    let n_latents = 2 * n_linear;
    let sign = |latent: usize| if latent.is_multiple_of(2) { 1 } else { -1 };
    let matrix = |rows: usize, cols: usize, entry: &dyn Fn(usize, usize) -> i8| {
        (0..rows * cols).map(|index| entry(index / cols, index % cols)).collect::<Vec<i8>>()
    };
    let identity = matrix(n_latents, n_latents, &|row, col| i8::from(row == col));
    let join =
        matrix(n_latents, n_linear, &|latent, row| if latent / 2 == row { 4 * sign(latent) } else { 0 });
    let split = matrix(n_linear, n_latents, &|row, latent| if latent / 2 == row { sign(latent) } else { 0 });
    let as_floats = |values: &[i8]| values.iter().map(|&value| f32::from(value)).collect::<Vec<_>>();
    ModelSpec {
        patch,
        point_symmetric,
        transform: Transform::None,
        penalty: Penalty::Z,
        sparsity_lambda: 0.0,
        active: 0,
        none_step_log2: 8,
        encoder: EncoderWeights {
            input: as_floats(&split),
            input_bias: vec![0.0; n_latents],
            latent: as_floats(&identity),
            latent_bias: vec![0.0; n_latents],
            direct: false,
        },
        decoder: DecoderWeights {
            latent_frac_bits: 14,
            hidden: IntTensor { rows: n_latents, cols: n_latents, values: IntValues::I8(identity) },
            hidden_bias: vec![0; n_latents],
            hidden_shift: 0,
            hidden_bits: 20,
            coef: Some(IntTensor { rows: n_latents, cols: n_linear, values: IntValues::I8(join) }),
            coef_bias: vec![0; n_linear],
            coef_shift: vec![0; n_linear],
            coef_frac_bits: vec![16; n_linear],
            coef_bits: 28,
            basis: vec![IntTensor { rows: n_linear, cols: n_stored, values: IntValues::I16(basis) }],
            mean: vec![0; n_stored],
            output_frac_bits: 30,
        },
        priors: Priors {
            fire: vec![1 << 12; n_latents],
            weight_scale: vec![0; n_latents],
            linear_scale: vec![-8; n_linear],
            linear_only_scale: vec![0; n_linear],
        },
        provenance: BTreeMap::from([("made_by".to_owned(), "a cosine transform, for tests".to_owned())]),
    }
}

/// (down, across) frequencies of the patch, lowest first; even sums only where rows must be point-symmetric.
fn low_frequencies(patch: PatchShape, point_symmetric: bool, most: usize) -> Vec<(usize, usize)> {
    let all = (0..patch.rows).flat_map(|down| (0..patch.cols).map(move |across| (down, across)));
    let mut frequencies: Vec<_> =
        all.filter(|(down, across)| !point_symmetric || (down + across).is_multiple_of(2)).collect();
    frequencies.sort_by_key(|&(down, across)| (down * down + across * across, down));
    frequencies.truncate(most);
    frequencies
}

/// First `n_stored` values of a row of the orthonormal cosine transform, times 2¹⁴.
fn cosine_row(patch: PatchShape, n_stored: usize, (down, across): (usize, usize)) -> Vec<i16> {
    let wave = |position: usize, frequency: usize, len: usize| {
        let norm = (if frequency == 0 { 1.0 } else { 2.0 } / len as f64).sqrt();
        norm * (PI * (position as f64 + 0.5) * frequency as f64 / len as f64).cos()
    };
    let value = |p: usize| wave(p / patch.cols, down, patch.rows) * wave(p % patch.cols, across, patch.cols);
    (0..n_stored).map(|p| (value(p) * f64::from(1 << 14)).round() as i16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_model_is_valid() {
        for seed in 0..300 {
            random_spec(seed).check().unwrap_or_else(|broken| panic!("random, seed {seed}: {broken}"));
            extreme_spec(seed).check().unwrap_or_else(|broken| panic!("extreme, seed {seed}: {broken}"));
        }
        for (rows, cols) in [(1, 1), (3, 5), (16, 16), (64, 64)] {
            for point_symmetric in [false, true] {
                cosine_spec(PatchShape { rows, cols }, point_symmetric).check().unwrap();
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_models_and_codes() {
        let spec = random_spec(7);
        assert_eq!(spec, random_spec(7));
        assert_ne!(spec, random_spec(8));
        assert_eq!(random_codes(&spec, 1, 5), random_codes(&spec, 1, 5));
    }
}
