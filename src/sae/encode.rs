//! The encoder: values to latents and linear coefficients, in f32. Nothing here needs to be exact, since the codec
//! decodes what it encodes and codes what is left over.
//!
//! Rows of values are in the network's domain ([`Model::transform_patch`]) and must be finite. "Row k of the basis"
//! below is the full one, n values in real units; a point-symmetric model stores its first half, which then acts on
//! x\[p\] + x\[n−1−p\] (a middle value counts once).

use super::backend::{Backend, DerivedConstants};
use super::decode::LATENT_LIMIT;
use super::exp2_table::EXP2_Q30;
use super::spec::{ModelSpec, Penalty};
use super::{Model, transform};
use crate::octaves::quarter_octaves;

/// Levels that the stream can hold end here on both sides.
const LARGEST_LEVEL: i32 = LATENT_LIMIT as i32 - 1;

/// What the encoder multiplies by, in real units.
#[derive(Debug)]
pub(super) struct FloatLayers {
    /// K × n′.
    basis: Vec<f32>,
    /// n′ × K: the same, transposed.
    by_value: Vec<f32>,
    /// K: one over the squared norm of the full row; 0 for a row of zeros.
    inverse_norms: Vec<f32>,
    /// n, both halves.
    mean: Vec<f32>,
}

impl FloatLayers {
    pub(super) fn of(spec: &ModelSpec) -> Self {
        let decoder = &spec.decoder;
        let n_stored = spec.n_stored();
        let stored_at = stored_positions(spec);
        let unit = |frac_bits: i32| f64::from(-frac_bits).exp2();
        let weights = decoder.basis_rows();
        let mut basis = Vec::with_capacity(weights.len());
        let mut inverse_norms = Vec::with_capacity(decoder.coef_frac_bits.len());
        for (row, &frac_bits) in weights.chunks_exact(n_stored).zip(&decoder.coef_frac_bits) {
            let row_unit = unit(i32::from(decoder.output_frac_bits) - i32::from(frac_bits));
            let squares = stored_at.iter().map(|&p| (f64::from(row[p]) * row_unit).powi(2));
            let norm: f64 = squares.sum();
            inverse_norms.push(if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 });
            basis.extend(row.iter().map(|&weight| (f64::from(weight) * row_unit) as f32));
        }
        let mean_unit = unit(decoder.output_frac_bits.into());
        let mean = stored_at.iter().map(|&p| (decoder.mean[p] as f64 * mean_unit) as f32).collect();
        let n_rows = inverse_norms.len();
        let mut by_value = Vec::with_capacity(basis.len());
        for p in 0..n_stored {
            by_value.extend((0..n_rows).map(|k| basis[k * n_stored + p]));
        }
        Self { basis, by_value, inverse_norms, mean }
    }
}

/// For each of the n values the stored column that it has.
fn stored_positions(spec: &ModelSpec) -> Vec<usize> {
    let (n_values, n_stored) = (spec.patch.n_values(), spec.n_stored());
    (0..n_values).map(|p| if p < n_stored { p } else { n_values - 1 - p }).collect()
}

impl Model {
    /// What a [`NetworkDevice`](super::backend::NetworkDevice) needs beside [`Model::spec`].
    pub fn derived_constants(&self) -> DerivedConstants<'_> {
        let (exact, float) = (self.exact(), self.float());
        DerivedConstants {
            hidden_sums: exact.hidden_sums(),
            log_exponent_q24: exact.inverse().log_exponent_q24(),
            powers_q30: &EXP2_Q30,
            quarter_octaves_q30: std::array::from_fn(quarter_octaves),
            basis: &float.basis,
            inverse_norms: &float.inverse_norms,
            mean: &float.mean,
        }
    }

    /// T of values over the patch's scale: where a frame's largest value is 1 after scaling, `values` are these.
    /// Any number of values; `out` has the same length. Inverse, in integers: the end of [`Model::decode_patches`].
    pub fn transform_patch(&self, values: &[f32], out: &mut [f32]) {
        transform::forward(self.transform(), values, out);
    }

    /// Latents of patches: ℓ values from 0 for each row of n. For `Penalty::Z` all but the `active` largest are 0;
    /// for `Penalty::Grad` they are all there, as [`Model::quantize_latents`] chooses the steps.
    pub fn analyze(&self, backend: &dyn Backend, patches: &[f32]) -> Vec<f32> {
        let n_latents = self.n_latents();
        let mut latents = vec![0.0; patches.len() / self.n_values() * n_latents];
        if !backend.device().is_some_and(|device| device.latents(self, patches, &mut latents)) {
            let batch_len = self.batch_len();
            let batches = patches.chunks(batch_len * self.n_values());
            for (patches, latents) in batches.zip(latents.chunks_mut(batch_len * n_latents)) {
                latents.copy_from_slice(&self.latents_of_batch(backend, patches));
            }
        }
        let active = self.spec().active as usize;
        if self.penalty() == Penalty::Z && active > 0 {
            latents.chunks_exact_mut(n_latents).for_each(|row| keep_largest(row, active));
        }
        latents
    }

    fn latents_of_batch(&self, backend: &dyn Backend, patches: &[f32]) -> Vec<f32> {
        let encoder = &self.spec().encoder;
        let n_rows = patches.len() / self.n_values();
        let (n_hidden, n_latents) = (self.n_hidden(), self.n_latents());
        let coordinates;
        let (inputs, n_inputs) = if encoder.direct {
            (patches, self.n_values())
        } else {
            coordinates = self.coordinates(backend, patches, &self.float().mean, self.n_coefs());
            (coordinates.as_slice(), self.n_coefs())
        };
        let mut hidden = vec![0.0; n_rows * n_hidden];
        backend.float_product((n_rows, n_inputs, n_hidden), inputs, &encoder.input, false, &mut hidden);
        add_bias_and_rectify(&mut hidden, &encoder.input_bias);
        let mut latents = vec![0.0; n_rows * n_latents];
        backend.float_product((n_rows, n_hidden, n_latents), &hidden, &encoder.latent, false, &mut latents);
        add_bias_and_rectify(&mut latents, &encoder.latent_bias);
        latents
    }

    /// (rows − mean)·basisᵀ for the first `n_wanted` rows of the basis: so many for each row of n.
    fn coordinates(&self, backend: &dyn Backend, rows: &[f32], mean: &[f32], n_wanted: usize) -> Vec<f32> {
        let (n_values, n_stored) = (self.n_values(), self.spec().n_stored());
        let n_rows = rows.len() / n_values;
        let mut folded = Vec::with_capacity(n_rows * n_stored);
        for row in rows.chunks_exact(n_values) {
            let centred = |p: usize| row[p] - mean[p];
            folded.extend((0..n_stored).map(|p| {
                let mirrored = n_values - 1 - p;
                if n_stored == n_values || mirrored == p {
                    centred(p)
                } else {
                    centred(p) + centred(mirrored)
                }
            }));
        }
        let mut coordinates = vec![0.0; n_rows * n_wanted];
        let basis = &self.float().basis[..n_wanted * n_stored];
        backend.float_product((n_rows, n_stored, n_wanted), &folded, basis, true, &mut coordinates);
        coordinates
    }

    /// Linear coefficients of what a reconstruction leaves: for each row of n the K inner products with the rows of
    /// the basis over their squared norms. Least squares as far as the rows are orthogonal.
    pub fn project(&self, backend: &dyn Backend, residual: &[f32]) -> Vec<f32> {
        let (n_values, n_linear) = (self.n_values(), self.n_linear());
        let mut coefs = vec![0.0; residual.len() / n_values * n_linear];
        if backend.device().is_some_and(|device| device.project(self, residual, &mut coefs)) {
            return coefs;
        }
        let no_mean = vec![0.0; n_values];
        let batch_len = self.batch_len();
        let batches = residual.chunks(batch_len * n_values);
        for (residual, coefs) in batches.zip(coefs.chunks_mut(batch_len * n_linear)) {
            coefs.copy_from_slice(&self.coordinates(backend, residual, &no_mean, n_linear));
        }
        for row in coefs.chunks_exact_mut(n_linear) {
            row.iter_mut().zip(&self.float().inverse_norms).for_each(|(coef, norm)| *coef *= norm);
        }
        coefs
    }

    /// Coordinates of patches in the basis: K for each row of n, such that mean + coordinates·basis is as near as may be.
    pub(crate) fn least_squares(&self, backend: &dyn Backend, patches: &[f32]) -> Vec<f32> {
        let mean = &self.float().mean;
        let centred =
            |patch: &[f32]| patch.iter().zip(mean).map(|(value, mean)| value - mean).collect::<Vec<_>>();
        let centred: Vec<f32> = patches.chunks_exact(self.n_values()).flat_map(centred).collect();
        self.project_twice(backend, &centred)
    }

    /// As [`Model::project`], for what is large against the precision asked for. Rows of the basis are rounded and so
    /// not quite orthogonal: what a projection misses is projected again.
    pub(crate) fn project_twice(&self, backend: &dyn Backend, residual: &[f32]) -> Vec<f32> {
        let mut coefs = self.project(backend, residual);
        let missed = self.less_linear(backend, residual, &coefs);
        for (coef, change) in coefs.iter_mut().zip(self.project(backend, &missed)) {
            *coef += change;
        }
        coefs
    }

    /// What linear coefficients (K for each row of n) leave of rows.
    pub(crate) fn less_linear(&self, backend: &dyn Backend, rows: &[f32], coefs: &[f32]) -> Vec<f32> {
        let (n_values, n_stored, n_linear) = (self.n_values(), self.spec().n_stored(), self.n_linear());
        let batch_len = self.batch_len();
        let mut left = rows.to_vec();
        for (left, coefs) in left.chunks_mut(batch_len * n_values).zip(coefs.chunks(batch_len * n_linear)) {
            let n_rows = left.len() / n_values;
            let mut sums = vec![0.0; n_rows * n_stored];
            let shape = (n_rows, n_linear, n_stored);
            backend.float_product(shape, coefs, &self.float().basis, false, &mut sums);
            for (left, sums) in left.chunks_exact_mut(n_values).zip(sums.chunks_exact(n_stored)) {
                for (p, left) in left.iter_mut().enumerate() {
                    *left -= sums[if p < n_stored { p } else { n_values - 1 - p }];
                }
            }
        }
        left
    }

    /// As [`Model::project`] for one row of which few values, given with their places, are not 0.
    pub(crate) fn project_few(&self, residual: &[(usize, f32)]) -> Vec<f32> {
        let (n_values, n_stored) = (self.n_values(), self.spec().n_stored());
        let mut coefs = vec![0.0; self.n_linear()];
        for &(p, value) in residual {
            let stored = if p < n_stored { p } else { n_values - 1 - p };
            add_scaled(
                &mut coefs,
                value,
                &self.float().by_value[stored * self.n_linear()..][..self.n_linear()],
            );
        }
        coefs.iter_mut().zip(&self.float().inverse_norms).for_each(|(coef, norm)| *coef *= norm);
        coefs
    }

    /// Takes an atom times a coefficient from a row of n.
    pub(crate) fn subtract_atom(&self, row: &mut [f32], atom: u32, coef: f32) {
        let n_stored = self.spec().n_stored();
        let stored = &self.float().basis[atom as usize * n_stored..][..n_stored];
        let (first, second) = row.split_at_mut(n_stored);
        add_scaled(first, -coef, stored);
        for (value, &weight) in second.iter_mut().rev().zip(stored) {
            *value -= coef * weight;
        }
    }

    /// The largest level of a latent for the step 2^−`step_log2` (at most [`Model::latent_frac_bits`]).
    pub(crate) fn most_latent_level(&self, step_log2: u8) -> i32 {
        let shift = self.latent_frac_bits().saturating_sub(step_log2);
        ((LATENT_LIMIT - 1) >> shift) as i32
    }

    /// Latent levels of one patch for the step 2^−`step_log2` (at most [`Model::latent_frac_bits`]), ready for a
    /// [`PatchCode`](super::PatchCode).
    ///
    /// `latents`: ℓ values. Magnitudes below `dead_zone` steps become 0, others the nearest level (0.5 is plain
    /// rounding). For `Penalty::Grad` the levels are steps of a running sum that follows the latents: a step is made
    /// where the sum is at least `dead_zone` steps away, so that errors do not add up.
    pub fn quantize_latents(&self, latents: &[f32], step_log2: u8, dead_zone: f32) -> Vec<(u32, i32)> {
        let most = self.most_latent_level(step_log2);
        let running = self.penalty() == Penalty::Grad;
        let scale = f32::from(step_log2).exp2();
        let mut sum = 0;
        let mut levels = Vec::new();
        for (index, &latent) in (0..).zip(latents) {
            let wanted = (latent * scale).clamp(-(most as f32), most as f32);
            let from = if running { sum } else { 0 };
            let level = (dead_zone_level(wanted - from as f32, dead_zone) + from).clamp(-most, most) - from;
            let level = level.clamp(-LARGEST_LEVEL, LARGEST_LEVEL);
            if level != 0 {
                sum += level;
                levels.push((index, level));
            }
        }
        levels
    }

    /// Linear levels of one patch for the step 2^−(`step_quarters`/4) (at most [`Model::max_linear_step_quarters`]).
    ///
    /// `coefs`: K values in real units, as [`Model::project`] gives them. `dead_zone` of an atom as for
    /// [`Model::quantize_latents`]; an atom for which it is infinite stays out.
    pub fn quantize_linear(
        &self,
        coefs: &[f32],
        step_quarters: u8,
        dead_zone: impl Fn(usize) -> f32,
    ) -> Vec<(u32, i32)> {
        let scale = (f32::from(step_quarters) / 4.0).exp2();
        let levels = coefs.iter().enumerate().map(|(atom, &coef)| {
            dead_zone_level(coef * scale, dead_zone(atom)).clamp(-LARGEST_LEVEL, LARGEST_LEVEL)
        });
        (0..).zip(levels).filter(|&(_, level)| level != 0).collect()
    }
}

/// `steps` rounded to the nearest integer (halves away from zero), 0 where its magnitude is below the dead zone.
/// Far-away values stop at ±2³⁰, so that sums of two levels stay within i32.
fn dead_zone_level(steps: f32, dead_zone: f32) -> i32 {
    if steps.abs() < dead_zone { 0 } else { (steps.round() as i32).clamp(-(1 << 30), 1 << 30) }
}

/// Adds a row times a factor.
pub(super) fn add_scaled(sums: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

fn add_bias_and_rectify(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(value, &bias)| *value = (*value + bias).max(0.0));
    }
}

/// Zeroes all but the `kept` largest values; of equal ones the first are kept.
fn keep_largest(row: &mut [f32], kept: usize) {
    if kept >= row.len() {
        return;
    }
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.select_nth_unstable_by(kept, |&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    order[kept..].iter().for_each(|&index| row[index] = 0.0);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{TestRng, cosine_spec, random_spec};
    use super::super::{PatchCode, Transform, backend::ScalarBackend};
    use super::*;
    use crate::array::PatchShape;

    fn smooth_patch(patch: PatchShape) -> Vec<f32> {
        let wave = |p: usize| {
            let down = (p / patch.cols) as f32 / patch.rows as f32 - 0.5 + 0.5 / patch.rows as f32;
            let across = (p % patch.cols) as f32 / patch.cols as f32 - 0.5 + 0.5 / patch.cols as f32;
            0.1 + 0.9 * (-4.0 * (down * down + 2.0 * across * across)).exp()
        };
        (0..patch.n_values()).map(wave).collect()
    }

    fn largest_difference(model: &Model, code: PatchCode, values: &[f32]) -> f32 {
        let mut decoded = vec![0; values.len()];
        model.decode_patches(&ScalarBackend, &[code], &mut decoded).unwrap();
        let differences =
            decoded.iter().zip(values).map(|(&q30, x)| (q30 as f32 / (1 << 30) as f32 - x).abs());
        differences.fold(0.0, f32::max)
    }

    #[test]
    fn smooth_frames_come_back_from_latents_and_from_linear_atoms() {
        let patch = PatchShape { rows: 16, cols: 12 };
        let values = smooth_patch(patch);
        for transform in
            [Transform::None, Transform::Sqrt { offset_q24: 1 << 14 }, Transform::Log { offset_q24: 1 << 20 }]
        {
            for (penalty, point_symmetric) in [(Penalty::Z, false), (Penalty::Z, true), (Penalty::Grad, true)]
            {
                let spec = ModelSpec { transform, penalty, ..cosine_spec(patch, point_symmetric) };
                let model = Model::parse(&spec.to_bytes().unwrap()).unwrap();
                let mut transformed = vec![0.0; values.len()];
                model.transform_patch(&values, &mut transformed);

                let latents = model.analyze(&ScalarBackend, &transformed);
                let latents = model.quantize_latents(&latents, 12, 0.5);
                assert!(!latents.is_empty());
                let code = PatchCode { latent_step_log2: 12, latents, ..PatchCode::default() };
                let difference = largest_difference(&model, code, &values);
                assert!(difference < 0.01, "latents, {transform:?}, {penalty:?}: off by {difference}");

                let linear = model.quantize_linear(&model.project(&ScalarBackend, &transformed), 50, |_| 0.6);
                let code = PatchCode { linear_step_quarters: 50, linear, ..PatchCode::default() };
                let difference = largest_difference(&model, code, &values);
                assert!(difference < 0.01, "linear atoms, {transform:?}, {penalty:?}: off by {difference}");
            }
        }
    }

    #[test]
    fn a_running_sum_of_steps_follows_the_latents() {
        let seed = (0..).find(|&seed| random_spec(seed).penalty == Penalty::Grad).unwrap();
        let model: Arc<Model> = Model::parse(&random_spec(seed).to_bytes().unwrap()).unwrap();
        let mut rng = TestRng::new(3);
        let latents: Vec<f32> = (0..200).map(|_| rng.unit().abs()).collect();
        for dead_zone in [0.5, 0.75] {
            let levels = model.quantize_latents(&latents, 0, dead_zone);
            let mut sum = 0;
            let mut levels = levels.into_iter().peekable();
            for (index, latent) in latents.iter().enumerate() {
                sum += levels.next_if(|&(at, _)| at as usize == index).map_or(0, |(_, level)| level);
                assert!(
                    (sum as f32 - latent).abs() <= dead_zone,
                    "latent {index} is {latent}, the sum {sum}"
                );
            }
        }
    }

    #[test]
    fn absurd_values_still_make_codes_that_decode() {
        for seed in 0..100 {
            let model = Model::parse(&random_spec(seed).to_bytes().unwrap()).unwrap();
            let mut rng = TestRng::new(seed);
            let mut huge = |len: usize| (0..len).map(|_| rng.unit() * 3e38).collect::<Vec<f32>>();
            let (t, u) = (model.latent_frac_bits(), model.max_linear_step_quarters());
            let code = PatchCode {
                latent_step_log2: t,
                linear_step_quarters: u,
                latents: model.quantize_latents(&huge(model.n_latents()), t, 0.5),
                linear: model.quantize_linear(&huge(model.n_linear()), u, |_| 0.5),
            };
            let mut out = vec![0; model.n_values()];
            model
                .decode_patches(&ScalarBackend, &[code], &mut out)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }

    #[test]
    fn only_the_active_largest_latents_are_kept() {
        let mut row = [3.0, 1.0, 2.0, 3.0, 0.5];
        keep_largest(&mut row, 2);
        assert_eq!(row, [3.0, 0.0, 0.0, 3.0, 0.0]);
        let mut row = [1.0, 1.0, 1.0];
        keep_largest(&mut row, 2);
        assert_eq!(row, [1.0, 1.0, 0.0]);
    }
}
