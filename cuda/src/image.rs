//! A model as the device's library takes it.

use std::borrow::Cow;
use std::ffi::c_void;

use h5z_sae::sae::{IntTensor, IntValues, Model, Transform};

use crate::library::{RawBlock, RawModel};

/// Hands the model to `load`, whose pointers hold during that call.
pub(crate) fn with_image<R>(model: &Model, load: impl FnOnce(&RawModel) -> R) -> R {
    let (spec, derived) = (model.spec(), model.derived_constants());
    let (decoder, encoder) = (&spec.decoder, &spec.encoder);
    let (hidden, hidden_weight_bits) = match derived.hidden_sums {
        Some(sums) => (sums.as_ptr().cast::<c_void>(), 32),
        None => stored_weights(&decoder.hidden.values),
    };
    let coef = decoder.coef.as_ref().map(|coef| (coef, widened(coef)));
    let basis: Vec<_> = decoder.basis.iter().map(|block| (block, widened(block))).collect();
    let blocks: Vec<_> = basis.iter().map(|(tensor, weights)| block_of(tensor, weights)).collect();
    let (transform, offset_q24) = match spec.transform {
        Transform::None => (0, 0),
        Transform::Sqrt { offset_q24 } => (1, offset_q24),
        Transform::Log { offset_q24 } => (2, offset_q24),
    };
    load(&RawModel {
        n_values: size(model.n_values()),
        n_stored: size(spec.n_stored()),
        n_latents: size(model.n_latents()),
        n_hidden: size(model.n_hidden()),
        n_coefs: size(model.n_coefs()),
        n_linear: size(model.n_linear()),
        hidden,
        hidden_weight_bits,
        hidden_bias: decoder.hidden_bias.as_ptr(),
        hidden_shift: decoder.hidden_shift.into(),
        hidden_bits: decoder.hidden_bits.into(),
        coef: match &coef {
            Some((tensor, weights)) => block_of(tensor, weights),
            None => RawBlock { weights: std::ptr::null(), rows: 0, weight_bits: 8 },
        },
        coef_bias: decoder.coef_bias.as_ptr(),
        coef_shift: decoder.coef_shift.as_ptr(),
        coef_frac_bits: decoder.coef_frac_bits.as_ptr(),
        coef_bits: decoder.coef_bits.into(),
        basis: blocks.as_ptr(),
        n_basis_blocks: size(blocks.len()),
        mean: decoder.mean.as_ptr(),
        output_frac_bits: decoder.output_frac_bits.into(),
        transform,
        offset_q24,
        log_exponent_q24: derived.log_exponent_q24,
        powers_q30: derived.powers_q30.as_ptr(),
        quarter_octaves_q30: derived.quarter_octaves_q30.as_ptr(),
        basis_real: derived.basis.as_ptr(),
        inverse_norms: derived.inverse_norms.as_ptr(),
        mean_real: derived.mean.as_ptr(),
        input: encoder.input.as_ptr(),
        input_bias: encoder.input_bias.as_ptr(),
        latent: encoder.latent.as_ptr(),
        latent_bias: encoder.latent_bias.as_ptr(),
        input_is_direct: encoder.direct.into(),
    })
}

/// Sizes of a checked model: at most 4096 · 4096.
fn size(len: usize) -> u32 {
    len as u32
}

fn stored_weights(values: &IntValues) -> (*const c_void, u32) {
    match values {
        IntValues::I8(weights) => (weights.as_ptr().cast(), 8),
        IntValues::I16(weights) => (weights.as_ptr().cast(), 16),
    }
}

fn widened(tensor: &IntTensor) -> Cow<'_, [i16]> {
    match &tensor.values {
        IntValues::I8(weights) => weights.iter().map(|&weight| weight.into()).collect(),
        IntValues::I16(weights) => weights.into(),
    }
}

fn block_of(tensor: &IntTensor, weights: &[i16]) -> RawBlock {
    let (_, weight_bits) = stored_weights(&tensor.values);
    RawBlock { weights: weights.as_ptr(), rows: size(tensor.rows), weight_bits }
}
