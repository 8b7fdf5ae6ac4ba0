//! Rules that a [`ModelSpec`] must obey, whoever made it: a trainer before it writes one, a reader of a file.
//!
//! Three kinds: ranges of single fields, lengths against each other, and the bound on the sums of the basis layer.
//! The other layers need no such bound. A layer has at most 2¹⁶ inputs with weights of 16 bits, so Σ|w| ≤ 2³¹:
//! the hidden sums stay below 2²⁴·2³¹ = 2⁵⁵ (exact in i64), those of the coefficient layer below
//! 2²⁰·2³¹ = 2⁵¹ (exact in f64). Coefficients may have 40 bits, so there the weights themselves decide.

use super::backend::{LeftRange, largest_sum};
use super::spec::{DecoderWeights, EncoderWeights, IntTensor, IntValues, ModelSpec, Priors, Transform};
use crate::limits::{MAX_BASIS_BLOCKS, MAX_LAYER_WIDTH, MAX_PATCH_EDGE};

/// First integer that f64 no longer tells from its neighbours.
pub(super) const F64_EXACT_LIMIT: i64 = 1 << 53;

/// First magnitude that rounds to infinity in binary16.
const F16_LIMIT: f32 = 65520.0;

/// A rule that was broken, as a sentence.
pub(super) type Broken = String;

impl IntTensor {
    /// Weight number `index` in row-major order.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn get(&self, index: usize) -> i16 {
        match &self.values {
            IntValues::I8(values) => i16::from(values[index]),
            IntValues::I16(values) => values[index],
        }
    }

    /// The weights as 16-bit integers, row-major.
    pub(super) fn to_i16(&self) -> Vec<i16> {
        match &self.values {
            IntValues::I8(values) => values.iter().map(|&value| i16::from(value)).collect(),
            IntValues::I16(values) => values.clone(),
        }
    }

    fn len(&self) -> usize {
        match &self.values {
            IntValues::I8(values) => values.len(),
            IntValues::I16(values) => values.len(),
        }
    }
}

impl DecoderWeights {
    /// The basis, all blocks together, K × n′.
    pub(super) fn basis_rows(&self) -> Vec<i16> {
        self.basis.iter().flat_map(IntTensor::to_i16).collect()
    }
}

impl ModelSpec {
    /// n′: columns that the basis and the mean store, ⌈n/2⌉ for a point-symmetric model, else n.
    pub fn n_stored(&self) -> usize {
        let n_values = self.patch.n_values();
        if self.point_symmetric { n_values.div_ceil(2) } else { n_values }
    }

    /// Checks every field and every length.
    pub(super) fn check(&self) -> Result<(), Broken> {
        let edges = 1..=MAX_PATCH_EDGE;
        if !edges.contains(&self.patch.rows) || !edges.contains(&self.patch.cols) {
            let (rows, cols) = (self.patch.rows, self.patch.cols);
            return Err(format!("patch of {rows} x {cols} values: each edge must be 1 to {MAX_PATCH_EDGE}"));
        }
        check_transform(self.transform)?;
        if !(self.sparsity_lambda.is_finite() && self.sparsity_lambda >= 0.0) {
            return Err(format!(
                "sparsity_lambda is {}: a finite number from 0 is needed",
                self.sparsity_lambda
            ));
        }
        let sizes = Sizes::of(self)?;
        check_decoder(&self.decoder, &sizes)?;
        check_encoder(&self.encoder, &sizes)?;
        check_priors(&self.priors, &sizes)?;
        in_range("active", u64::from(self.active), 0, sizes.n_latents as u64)?;
        in_range("none_step_log2", self.none_step_log2.into(), 0, self.decoder.latent_frac_bits.into())?;
        check_basis_sums(&self.decoder, sizes.n_stored)
    }
}

/// Lengths that the tensors must share.
struct Sizes {
    n_values: usize,
    n_stored: usize,
    n_hidden: usize,
    n_latents: usize,
    n_linear: usize,
    /// K′.
    n_coefs: usize,
}

impl Sizes {
    fn of(spec: &ModelSpec) -> Result<Self, Broken> {
        let decoder = &spec.decoder;
        let n_linear = decoder.basis.iter().fold(0, |rows: usize, block| rows.saturating_add(block.rows));
        let sizes = Self {
            n_values: spec.patch.n_values(),
            n_stored: spec.n_stored(),
            n_hidden: decoder.hidden.cols,
            n_latents: decoder.hidden.rows,
            n_linear,
            n_coefs: decoder.coef.as_ref().map_or(n_linear, |coef| coef.cols),
        };
        in_range("number of latents", sizes.n_latents as u64, 1, MAX_LAYER_WIDTH as u64)?;
        in_range("number of hidden units", sizes.n_hidden as u64, 1, MAX_LAYER_WIDTH as u64)?;
        in_range("number of basis rows", sizes.n_linear as u64, 1, MAX_LAYER_WIDTH as u64)?;
        in_range("columns of decoder.coef", sizes.n_coefs as u64, 1, sizes.n_linear as u64)?;
        Ok(sizes)
    }
}

fn in_range(field: &str, found: u64, least: u64, most: u64) -> Result<(), Broken> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(format!("{field} is {found}: {least} to {most} allowed"))
    }
}

fn each_in_range(field: &str, values: &[u8], most: u8) -> Result<(), Broken> {
    match values.iter().enumerate().find(|&(_, &value)| value > most) {
        Some((index, value)) => Err(format!("{field}[{index}] is {value}: 0 to {most} allowed")),
        None => Ok(()),
    }
}

fn has_len(field: &str, found: usize, expected: usize) -> Result<(), Broken> {
    if found == expected { Ok(()) } else { Err(format!("{field} has {found} values: {expected} expected")) }
}

fn has_shape(field: &str, tensor: &IntTensor, rows: usize, cols: usize) -> Result<(), Broken> {
    if (tensor.rows, tensor.cols) != (rows, cols) {
        let found = (tensor.rows, tensor.cols);
        return Err(format!("{field} is {} x {}: {rows} x {cols} expected", found.0, found.1));
    }
    has_len(field, tensor.len(), rows.saturating_mul(cols))
}

fn check_transform(transform: Transform) -> Result<(), Broken> {
    match transform {
        Transform::None => Ok(()),
        Transform::Sqrt { offset_q24 } => in_range("transform_offset_q24", offset_q24.into(), 0, 1 << 24),
        Transform::Log { offset_q24 } => in_range("transform_offset_q24", offset_q24.into(), 1, 1 << 24),
    }
}

fn check_decoder(decoder: &DecoderWeights, sizes: &Sizes) -> Result<(), Broken> {
    in_range("latent_frac_bits", decoder.latent_frac_bits.into(), 0, 20)?;
    in_range("hidden_shift", decoder.hidden_shift.into(), 0, 31)?;
    in_range("hidden_bits", decoder.hidden_bits.into(), 1, 20)?;
    in_range("coef_bits", decoder.coef_bits.into(), 1, 40)?;
    in_range("output_frac_bits", decoder.output_frac_bits.into(), 0, 44)?;
    has_shape("decoder.hidden", &decoder.hidden, sizes.n_latents, sizes.n_hidden)?;
    has_len("decoder.hidden_bias", decoder.hidden_bias.len(), sizes.n_hidden)?;
    match &decoder.coef {
        Some(coef) => has_shape("decoder.coef", coef, sizes.n_hidden, sizes.n_coefs)?,
        None if sizes.n_hidden == sizes.n_linear => {}
        None => {
            let (m, k) = (sizes.n_hidden, sizes.n_linear);
            return Err(format!(
                "decoder.coef is absent: {m} hidden units and {k} basis rows must then be equal"
            ));
        }
    }
    has_len("decoder.coef_bias", decoder.coef_bias.len(), sizes.n_linear)?;
    has_len("decoder.coef_shift", decoder.coef_shift.len(), sizes.n_linear)?;
    has_len("decoder.coef_frac_bits", decoder.coef_frac_bits.len(), sizes.n_linear)?;
    each_in_range("decoder.coef_shift", &decoder.coef_shift, 40)?;
    each_in_range("decoder.coef_frac_bits", &decoder.coef_frac_bits, 40)?;
    in_range("number of basis blocks", decoder.basis.len() as u64, 1, MAX_BASIS_BLOCKS as u64)?;
    for (index, block) in decoder.basis.iter().enumerate() {
        in_range(&format!("rows of decoder.basis.{index}"), block.rows as u64, 1, MAX_LAYER_WIDTH as u64)?;
        has_shape(&format!("decoder.basis.{index}"), block, block.rows, sizes.n_stored)?;
    }
    has_len("decoder.mean", decoder.mean.len(), sizes.n_stored)?;
    match decoder.mean.iter().position(|mean| mean.unsigned_abs() >= F64_EXACT_LIMIT as u64) {
        Some(index) => Err(format!("decoder.mean[{index}] is {}: below 2^53 allowed", decoder.mean[index])),
        None => Ok(()),
    }
}

fn check_encoder(encoder: &EncoderWeights, sizes: &Sizes) -> Result<(), Broken> {
    let n_inputs = if encoder.direct { sizes.n_values } else { sizes.n_coefs };
    let layers = [
        ("encoder.input", &encoder.input, n_inputs.saturating_mul(sizes.n_hidden)),
        ("encoder.input_bias", &encoder.input_bias, sizes.n_hidden),
        ("encoder.latent", &encoder.latent, sizes.n_hidden.saturating_mul(sizes.n_latents)),
        ("encoder.latent_bias", &encoder.latent_bias, sizes.n_latents),
    ];
    for (field, values, expected_len) in layers {
        has_len(field, values.len(), expected_len)?;
        if let Some(index) = values.iter().position(|value| value.is_nan() || value.abs() >= F16_LIMIT) {
            return Err(format!(
                "{field}[{index}] is {}: below {F16_LIMIT} in magnitude allowed",
                values[index]
            ));
        }
    }
    Ok(())
}

fn check_priors(priors: &Priors, sizes: &Sizes) -> Result<(), Broken> {
    has_len("priors.fire", priors.fire.len(), sizes.n_latents)?;
    has_len("priors.weight_scale", priors.weight_scale.len(), sizes.n_latents)?;
    has_len("priors.linear_scale", priors.linear_scale.len(), sizes.n_linear)?;
    has_len("priors.linear_only_scale", priors.linear_only_scale.len(), sizes.n_linear)?;
    match priors.fire.iter().position(|&fire| fire == 0) {
        Some(index) => Err(format!("priors.fire[{index}] is 0: 1 to 65535 allowed")),
        None => Ok(()),
    }
}

/// Every sum of the basis layer, in any order, is an integer that f64 holds exactly.
fn check_basis_sums(decoder: &DecoderWeights, n_stored: usize) -> Result<(), Broken> {
    let largest_coef = (1 << decoder.coef_bits) - 1;
    let most = largest_sum(n_stored, &decoder.basis_rows(), LeftRange::Within(largest_coef));
    if most < i128::from(F64_EXACT_LIMIT) {
        return Ok(());
    }
    Err(format!(
        "the basis can sum to {most} with coefficients of {} bits: sums must stay below 2^53 to be exact",
        decoder.coef_bits
    ))
}
