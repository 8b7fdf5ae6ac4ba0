//! The exact decoder: patch codes to values, in integers alone, so that every machine and backend gives equal bits.
//!
//! `x >>ᵣ s` is the rounding shift `(x + 2^(s−1)) >> s`, with an arithmetic shift (x itself for s = 0).
//!
//! ```text
//! 1  z[i] = level[i]·2^(latent_frac_bits − t), 0 where the code has no level; for Penalty::Grad the running sum
//!    z[0] + … + z[i] of these. Every |z[i]| must be below 2²⁴.
//! 2  h[j] = clamp((Σᵢ z[i]·hidden[i][j] + hidden_bias[j]) >>ᵣ hidden_shift, 0, 2^hidden_bits − 1)
//! 3  b[k] = (Σⱼ h[j]·coef[j][k] + coef_bias[k]) >>ᵣ coef_shift[k], the sum being 0 beyond the columns of coef;
//!    without coef: (h[k] + coef_bias[k]) >>ᵣ coef_shift[k]
//! 4  c[k] = clamp(b[k] + a[k], −(2^coef_bits − 1), 2^coef_bits − 1),
//!    a[k] = (linear_level[k]·Q[4·⌈u/4⌉ − u]·2^(coef_frac_bits[k] − ⌈u/4⌉)) >>ᵣ 30, Q[i] = 2^(i/4) in Q30
//! 5  o[p] = Σₖ c[k]·basis[k][p] + mean[p]
//! 6  v[p] = T⁻¹(o[p]); see `transform`. For a point-symmetric model v[n−1−p] = v[p].
//! ```
//!
//! Steps 3 and 5 are products that a [`Backend`] makes; step 2 is a gather of the few rows whose level is not zero.
//! For Penalty::Grad the rows gathered are sums: Σᵢ z[i]·w[i] with z a running sum of steps g is Σᵢ g[i]·s[i], where
//! s[i] = w[i] + w[i+1] + … + w[ℓ−1].

use super::backend::{Backend, CheckedCodes, LeftRange, Weights};
use super::check::Broken;
use super::spec::{IntTensor, ModelSpec, Penalty};
use super::transform::{InverseTransform, rounding_shift};
use super::{Model, PatchCode};
use crate::error::Error;
use crate::octaves::quarter_octaves;

/// |z| stays below this.
pub(super) const LATENT_LIMIT: i64 = 1 << 24;

/// Largest number of intermediate integers of one layer that are held at a time: 8 MB.
const LARGEST_BATCH: usize = 1 << 20;

/// The decoder's layers, laid out for products.
#[derive(Debug)]
pub(super) struct ExactLayers {
    /// For `Penalty::Grad` the sums s of the module's description, ℓ × m; at most 2¹⁶·2¹⁵ = 2³¹ in magnitude.
    hidden_sums: Option<Vec<i32>>,
    /// m × K′.
    coef: Option<Weights>,
    /// K × n′.
    basis: Weights,
    inverse: InverseTransform,
}

impl ExactLayers {
    pub(super) fn of(spec: &ModelSpec) -> Result<Self, Broken> {
        let decoder = &spec.decoder;
        let largest_hidden = (1 << decoder.hidden_bits) - 1;
        let largest_coef = (1 << decoder.coef_bits) - 1;
        let coef = decoder.coef.as_ref().map(|coef| {
            Weights::try_new(coef.rows, coef.cols, coef.to_i16(), LeftRange::UpTo(largest_hidden))
        });
        let (n_linear, n_stored) = (decoder.coef_bias.len(), decoder.mean.len());
        Ok(Self {
            hidden_sums: (spec.penalty == Penalty::Grad).then(|| sums_to_the_end(&decoder.hidden)),
            coef: coef.transpose()?,
            basis: Weights::try_new(
                n_linear,
                n_stored,
                decoder.basis_rows(),
                LeftRange::Within(largest_coef),
            )?,
            inverse: InverseTransform::of(spec.transform),
        })
    }

    pub(super) fn basis(&self) -> &Weights {
        &self.basis
    }

    pub(super) fn hidden_sums(&self) -> Option<&[i32]> {
        self.hidden_sums.as_deref()
    }

    pub(super) fn inverse(&self) -> InverseTransform {
        self.inverse
    }
}

/// s[i][j] = w[i][j] + w[i+1][j] + … for all rows i.
fn sums_to_the_end(hidden: &IntTensor) -> Vec<i32> {
    let mut sums: Vec<i32> = hidden.to_i16().into_iter().map(i32::from).collect();
    for index in (0..sums.len().saturating_sub(hidden.cols)).rev() {
        sums[index] += sums[index + hidden.cols];
    }
    sums
}

impl Model {
    /// Decodes patches: `out` receives n values for each code, in Q30 of the patch's scale (module description of
    /// `sae::decode`, steps 1 to 6).
    ///
    /// # Errors
    /// `Corrupt` where a code breaks a rule of [`PatchCode`] or a latent reaches 2²⁴; `InvalidArgument` where `out`
    /// has another length than `codes.len()·n`.
    pub fn decode_patches(
        &self,
        backend: &dyn Backend,
        codes: &[PatchCode],
        out: &mut [i32],
    ) -> Result<(), Error> {
        let checked = self.check_codes(codes)?;
        self.check_room(codes, out.len())?;
        if backend.device().is_some_and(|device| device.decode_patches(checked, out)) {
            return Ok(());
        }
        let (inverse, frac_bits) = (self.exact().inverse, self.spec().decoder.output_frac_bits);
        self.for_each_output(backend, codes, out, |output| inverse.value_q30(output, frac_bits));
        Ok(())
    }

    /// As [`Model::decode_patches`], but in the domain of the network: o in real units, rounded to f32.
    ///
    /// # Errors
    /// As [`Model::decode_patches`].
    pub fn reconstruct_transformed(
        &self,
        backend: &dyn Backend,
        codes: &[PatchCode],
        out: &mut [f32],
    ) -> Result<(), Error> {
        let checked = self.check_codes(codes)?;
        self.check_room(codes, out.len())?;
        if backend.device().is_some_and(|device| device.reconstruct_transformed(checked, out)) {
            return Ok(());
        }
        let unit = (-f64::from(self.spec().decoder.output_frac_bits)).exp2();
        self.for_each_output(backend, codes, out, |output| (output as f64 * unit) as f32);
        Ok(())
    }

    /// Checks codes of patches.
    ///
    /// # Errors
    /// `Corrupt` where a code breaks a rule of [`PatchCode`] or a latent reaches 2²⁴.
    pub fn check_codes<'a>(&'a self, codes: &'a [PatchCode]) -> Result<CheckedCodes<'a>, Error> {
        codes.iter().try_for_each(|code| self.check_code(code))?;
        Ok(CheckedCodes { model: self, codes })
    }

    fn check_room(&self, codes: &[PatchCode], room: usize) -> Result<(), Error> {
        let (n_codes, n_needed) = (codes.len(), codes.len() * self.n_values());
        if room == n_needed {
            return Ok(());
        }
        Err(Error::invalid(format!("room for {room} values: {n_codes} patches need {n_needed}")))
    }

    fn check_code(&self, code: &PatchCode) -> Result<(), Error> {
        let shift = latent_shift(code.latent_step_log2, self.latent_frac_bits())?;
        check_indices("latent", &code.latents, self.n_latents())?;
        let mut running_sum = 0;
        for &(index, level) in &code.latents {
            let step = i64::from(level) << shift;
            running_sum += step;
            let latent = if self.penalty() == Penalty::Grad { running_sum } else { step };
            if latent.abs() >= LATENT_LIMIT {
                return Err(Error::corrupt(format!("latent {index} is {latent}: below 2^24 allowed")));
            }
        }
        let (step, most) = (code.linear_step_quarters, self.max_linear_step_quarters());
        if step > most {
            return Err(Error::corrupt(format!(
                "linear step 2^-({step}/4): the model allows 2^-({most}/4) and coarser"
            )));
        }
        check_indices("linear", &code.linear, self.n_linear())
    }

    /// Steps 1 to 5, then `value` of every output, in batches of bounded size.
    fn for_each_output<V: Copy>(
        &self,
        backend: &dyn Backend,
        codes: &[PatchCode],
        out: &mut [V],
        value: impl Fn(i64) -> V,
    ) {
        let n_values = self.n_values();
        let n_stored = self.spec().n_stored();
        let batch_len = self.batch_len();
        for (codes, out) in codes.chunks(batch_len).zip(out.chunks_mut(batch_len * n_values)) {
            let coefs = self.coefficients(backend, codes);
            let mut sums = vec![0; codes.len() * n_stored];
            backend.integer_product(codes.len(), &coefs, self.exact().basis(), &mut sums);
            for (sums, patch) in sums.chunks_exact(n_stored).zip(out.chunks_exact_mut(n_values)) {
                for (p, (&sum, &mean)) in sums.iter().zip(&self.spec().decoder.mean).enumerate() {
                    patch[p] = value(sum + mean);
                }
                mirror(patch, n_stored);
            }
        }
    }

    /// Patches that are worked on together, so that no layer holds more than [`LARGEST_BATCH`] integers.
    pub(super) fn batch_len(&self) -> usize {
        let widest = [self.n_hidden(), self.n_linear(), self.n_latents(), self.n_values()].into_iter().max();
        (LARGEST_BATCH / widest.unwrap_or(1)).clamp(1, 1024)
    }

    /// Steps 1 to 4: c, K for each code.
    fn coefficients(&self, backend: &dyn Backend, codes: &[PatchCode]) -> Vec<i64> {
        let (n_hidden, n_linear) = (self.n_hidden(), self.n_linear());
        let mut hidden = vec![0; codes.len() * n_hidden];
        for (code, hidden) in codes.iter().zip(hidden.chunks_exact_mut(n_hidden)) {
            self.hidden_layer(code, hidden);
        }
        let mut coefs = match &self.exact().coef {
            None => hidden,
            Some(weights) => {
                let mut sums = vec![0; codes.len() * weights.cols];
                backend.integer_product(codes.len(), &hidden, weights, &mut sums);
                widen_rows(sums, weights.cols, n_linear)
            }
        };
        for (code, coefs) in codes.iter().zip(coefs.chunks_exact_mut(n_linear)) {
            self.finish_coefficients(code, coefs);
        }
        coefs
    }

    /// Steps 1 and 2 of one patch; `hidden` comes with zeros.
    fn hidden_layer(&self, code: &PatchCode, hidden: &mut [i64]) {
        let decoder = &self.spec().decoder;
        let shift = decoder.latent_frac_bits - code.latent_step_log2;
        for &(index, level) in &code.latents {
            self.add_hidden_row(index as usize, i64::from(level) << shift, hidden);
        }
        let largest = (1 << decoder.hidden_bits) - 1;
        for (sum, &bias) in hidden.iter_mut().zip(&decoder.hidden_bias) {
            *sum = rounding_shift(*sum + i64::from(bias), decoder.hidden_shift).clamp(0, largest);
        }
    }

    /// Adds one gathered row. The sums wrap: with Penalty::Grad a partial sum may leave i64, the whole one cannot.
    fn add_hidden_row(&self, index: usize, factor: i64, sums: &mut [i64]) {
        let row = index * sums.len()..(index + 1) * sums.len();
        let add = |sum: &mut i64, weight: i64| *sum = sum.wrapping_add(factor.wrapping_mul(weight));
        match (&self.exact().hidden_sums, &self.spec().decoder.hidden.values) {
            (Some(rows), _) => sums.iter_mut().zip(&rows[row]).for_each(|(sum, &w)| add(sum, w.into())),
            (None, super::IntValues::I8(rows)) => {
                sums.iter_mut().zip(&rows[row]).for_each(|(sum, &w)| add(sum, w.into()));
            }
            (None, super::IntValues::I16(rows)) => {
                sums.iter_mut().zip(&rows[row]).for_each(|(sum, &w)| add(sum, w.into()));
            }
        }
    }

    /// Steps 3 (after its product) and 4 of one patch.
    fn finish_coefficients(&self, code: &PatchCode, coefs: &mut [i64]) {
        let decoder = &self.spec().decoder;
        for ((coef, &bias), &shift) in coefs.iter_mut().zip(&decoder.coef_bias).zip(&decoder.coef_shift) {
            *coef = rounding_shift(*coef + i64::from(bias), shift);
        }
        for &(index, level) in &code.linear {
            let coef = &mut coefs[index as usize];
            // Saturation is far beyond the clamp, so the result is that of exact integers.
            *coef = coef.saturating_add(linear_coef(
                level,
                code.linear_step_quarters,
                decoder.coef_frac_bits[index as usize],
            ));
        }
        let largest = (1 << decoder.coef_bits) - 1;
        coefs.iter_mut().for_each(|coef| *coef = (*coef).clamp(-largest, largest));
    }
}

/// Rows of `cols` numbers with zeros appended to each, up to `wanted`.
fn widen_rows(rows: Vec<i64>, cols: usize, wanted: usize) -> Vec<i64> {
    if cols == wanted {
        return rows;
    }
    let mut wide = vec![0; rows.len() / cols * wanted];
    for (wide, row) in wide.chunks_exact_mut(wanted).zip(rows.chunks_exact(cols)) {
        wide[..cols].copy_from_slice(row);
    }
    wide
}

/// Bits by which levels of a step are shifted to latents, if the model has that step.
fn latent_shift(step_log2: u8, frac_bits: u8) -> Result<u8, Error> {
    let message = || format!("latent step 2^-{step_log2}: the model allows 2^-{frac_bits} and coarser");
    frac_bits.checked_sub(step_log2).ok_or_else(|| Error::corrupt(message()))
}

/// a\[k\] of step 4; saturates.
fn linear_coef(level: i32, step_quarters: u8, frac_bits: u8) -> i64 {
    let octaves = step_quarters.div_ceil(4);
    let in_q30 = i64::from(level) * i64::from(quarter_octaves(usize::from(4 * octaves - step_quarters)));
    match frac_bits - octaves {
        bits @ 0..30 => rounding_shift(in_q30, 30 - bits),
        bits => in_q30.saturating_mul(1 << (bits - 30)),
    }
}

/// Indices ascend and are below `len`; no level is 0.
fn check_indices(kind: &str, entries: &[(u32, i32)], len: usize) -> Result<(), Error> {
    let mut least = 0;
    for &(index, level) in entries {
        if index as usize >= len {
            return Err(Error::corrupt(format!("{kind} index {index}: the model has {len}")));
        }
        if index < least {
            return Err(Error::corrupt(format!(
                "{kind} index {index} does not come after the one before it"
            )));
        }
        if level == 0 {
            return Err(Error::corrupt(format!("{kind} {index} is coded with level 0")));
        }
        least = index + 1;
    }
    Ok(())
}

/// Fills the second half of a point-symmetric patch; nothing to do where all values are stored.
fn mirror<V: Copy>(patch: &mut [V], n_stored: usize) {
    let n_values = patch.len();
    for p in n_stored..n_values {
        patch[p] = patch[n_values - 1 - p];
    }
}

#[cfg(test)]
mod tests;
