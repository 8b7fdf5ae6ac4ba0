//! From a trained network in float to the integers of a model file.
//!
//! Every layer is scaled by a power of two, as large as its stored width allows; the scales follow the data: hidden
//! activations and coefficients of a calibration set say how many bits they need. Latents that never fire there are
//! left out, and the others stand in the order of how often they do.

use h5z_sae::sae::{DecoderWeights, EncoderWeights, IntTensor, IntValues, ModelSpec, Penalty, Transform};
use h5z_sae::{Error, ErrorKind, PatchShape};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Slice, concatenate};

use crate::code::SparseCode;
use crate::network::{Atoms, Network};
use crate::pca::{Basis, Folding};
use crate::priors::{learn_priors, quantize};

/// Stored width of a layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8 bits.
    I8,
    /// 16 bits.
    I16,
}

impl Width {
    /// 8 or 16.
    pub fn bits(self) -> u32 {
        match self {
            Self::I8 => 8,
            Self::I16 => 16,
        }
    }

    fn largest(self) -> f64 {
        match self {
            Self::I8 => f64::from(i8::MAX),
            Self::I16 => f64::from(i16::MAX),
        }
    }
}

/// Widths that trade the model's size for quality.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    /// Leading rows of the basis that are stored in 16 bits; the rest take 8.
    pub wide_rows: usize,
    /// Of the decoder's first layer.
    pub hidden_width: Width,
}

/// What the model file says besides weights.
#[derive(Clone, Debug)]
pub struct ExportMeta {
    /// Shape of a patch.
    pub patch: PatchShape,
    /// Domain of the network.
    pub transform: Transform,
    /// Where the model comes from.
    pub provenance: std::collections::BTreeMap<String, String>,
}

/// 2^−14 is far below any latent step that pays; |z| < 2²⁴ then leaves latents up to 1024.
const LATENT_FRAC_BITS: u8 = 14;
/// Width of hidden activations: rounding them costs less than rounding 16-bit weights does.
const HIDDEN_BITS: u8 = 15;
/// Other frames may go beyond the calibration set by these factors before a clamp bites.
const HIDDEN_HEADROOM: f64 = 2.0;
const COEF_HEADROOM: f64 = 8.0;
/// Fraction bits of the output that are tried first. Values of Q30 leave it some bits for rounding.
const OUTPUT_FRAC_BITS: i32 = 38;
/// Sums of the basis layer stay below this with room for the mean: f64 holds them exactly.
const LARGEST_SUM: f64 = (1u64 << 52) as f64;

/// Writes the network, which works on the leading components of the basis, as a model. `calibration`: all components
/// of some thousand training patches.
///
/// # Errors
/// `InvalidArgument` if no patch of the calibration set has a code, or the weights fit no integer layout.
pub fn export(
    network: &Network<f32>,
    basis: &Basis,
    calibration: ArrayView2<f32>,
    options: ExportOptions,
    meta: ExportMeta,
) -> Result<ModelSpec, Error> {
    let leading = calibration.slice_axis(Axis(1), Slice::from(..network.n_components()));
    let network = with_useful_latents(network, leading)?;
    let atoms = network.atoms();
    let code = network.encode(leading);
    let none_step_log2 = choose_none_step(&network, &atoms, &code, leading);
    let priors = learn_priors(&network, &atoms, &code, calibration, none_step_log2);
    let decoder = integer_decoder(&network, &atoms, &code, basis, calibration, options)?;
    let n_latents = network.parameters.latent.nrows();
    let encoder = float_encoder(&network, &basis.leading(network.n_components())?);
    Ok(ModelSpec {
        patch: meta.patch,
        point_symmetric: basis.folding.point_symmetric,
        transform: meta.transform,
        penalty: network.objective.penalty,
        sparsity_lambda: network.objective.sparsity_lambda,
        active: network.objective.active.min(n_latents) as u32,
        none_step_log2,
        decoder,
        encoder,
        priors,
        provenance: meta.provenance,
    })
}

/// Sorts latents by how often they fire, and leaves out those that never do. Steps of a running sum depend on the
/// order of latents: with `Penalty::Grad` all stay where they are.
fn with_useful_latents(network: &Network<f32>, calibration: ArrayView2<f32>) -> Result<Network<f32>, Error> {
    let code = network.encode(calibration);
    if code.n_entries() == 0 {
        let message = "a network none of whose latents fires: lower lambda, or train longer";
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let mut network = network.clone();
    if network.objective.penalty == Penalty::Grad {
        return Ok(network);
    }
    let mut fired = vec![0u32; code.width];
    for &index in &code.indices {
        fired[index as usize] += 1;
    }
    let mut order: Vec<usize> = (0..code.width).filter(|&latent| fired[latent] > 0).collect();
    order.sort_by_key(|&latent| std::cmp::Reverse(fired[latent]));
    let parameters = &mut network.parameters;
    parameters.latent = parameters.latent.select(Axis(0), &order);
    parameters.latent_bias = parameters.latent_bias.select(Axis(0), &order);
    parameters.hidden = parameters.hidden.select(Axis(0), &order);
    Ok(network)
}

/// The coarsest latent step that costs at most a fifth more squared error than none.
fn choose_none_step(
    network: &Network<f32>,
    atoms: &Atoms<f32>,
    code: &SparseCode<f32>,
    components: ArrayView2<f32>,
) -> u8 {
    const TOLERANCE: f64 = 1.2;
    let error_of = |code: &SparseCode<f32>| -> f64 {
        let residual = network.decode(code, atoms) - components;
        residual.iter().map(|&e| f64::from(e) * f64::from(e)).sum()
    };
    let finest = error_of(code);
    let penalty = network.objective.penalty;
    (0..LATENT_FRAC_BITS)
        .find(|&step_log2| error_of(&quantize(code, step_log2, penalty)) <= TOLERANCE * finest)
        .unwrap_or(LATENT_FRAC_BITS)
}

/// A reader gives the encoder plain inner products with the basis; the network was trained on least squares.
fn float_encoder(network: &Network<f32>, basis: &Basis) -> EncoderWeights {
    let parameters = &network.parameters;
    let input = &parameters.input * &network.input_scale.view().insert_axis(Axis(1));
    let input = basis.inverse_gram.dot(&input.mapv(f64::from)).mapv(|weight| weight as f32);
    EncoderWeights {
        input: input.into_iter().collect(),
        input_bias: parameters.input_bias.to_vec(),
        latent: parameters.latent.t().iter().copied().collect(),
        latent_bias: parameters.latent_bias.to_vec(),
        direct: false,
    }
}

/// Fraction bits of layers whose columns or rows may differ.
struct Scales {
    /// Of the hidden sums, before their shift.
    hidden_sum: i32,
    /// Of the hidden activations.
    hidden: i32,
    /// Of the coefficient weights, by column: K′.
    coef: Vec<i32>,
    /// Of the basis weights, by row.
    basis: Vec<i32>,
    output: i32,
    coef_bits: i32,
}

impl Scales {
    /// From a sum of the coefficient layer to the coefficient; none where the sum is 0.
    fn coef_shift(&self, k: usize) -> i32 {
        self.coef.get(k).map_or(0, |weight| self.hidden + weight - (self.output - self.basis[k]))
    }
}

/// Rows continued with zeros up to `n_cols` columns.
fn widened(rows: Array2<f32>, n_cols: usize) -> Array2<f32> {
    let zeros = Array2::zeros((rows.nrows(), n_cols - rows.ncols()));
    concatenate![Axis(1), rows, zeros]
}

fn integer_decoder(
    network: &Network<f32>,
    atoms: &Atoms<f32>,
    code: &SparseCode<f32>,
    basis: &Basis,
    components: ArrayView2<f32>,
    options: ExportOptions,
) -> Result<DecoderWeights, Error> {
    let parameters = &network.parameters;
    let hidden = network.decode_hidden(code, atoms);
    let coefs = hidden.dot(&parameters.coef) + &parameters.coef_bias;
    let coefs = widened(coefs, components.ncols());
    let rows = pixel_rows(basis);
    let unit_atoms = Atoms::new(&parameters.hidden, Penalty::Z).rows;
    let scales =
        choose_scales(network, &unit_atoms, &hidden, &largest_coefs(&coefs, components), &rows, options)?;
    let n_components = rows.nrows();
    let coef_frac_bits = (0..n_components).map(|k| scales.output - scales.basis[k]);
    let coef_shift = (0..n_components).map(|k| scales.coef_shift(k));
    let coef_bias = parameters.coef_bias.iter().zip(&scales.coef);
    let mut coef_bias: Vec<i32> =
        coef_bias.map(|(&bias, &weight)| scaled(bias, scales.hidden + weight) as i32).collect();
    coef_bias.resize(n_components, 0);
    Ok(DecoderWeights {
        latent_frac_bits: LATENT_FRAC_BITS,
        hidden: quantize_rows(unit_atoms.view(), options.hidden_width, |_| {
            scales.hidden_sum - i32::from(LATENT_FRAC_BITS)
        }),
        hidden_bias: parameters
            .hidden_bias
            .iter()
            .map(|&bias| scaled(bias, scales.hidden_sum) as i32)
            .collect(),
        hidden_shift: (scales.hidden_sum - scales.hidden) as u8,
        hidden_bits: HIDDEN_BITS,
        coef: Some(quantize_columns(parameters.coef.view(), &scales.coef)),
        coef_bias,
        coef_shift: coef_shift.map(|shift| shift as u8).collect(),
        coef_frac_bits: coef_frac_bits.map(|bits| bits as u8).collect(),
        coef_bits: scales.coef_bits as u8,
        basis: quantize_basis(rows.view(), &scales.basis, options.wide_rows),
        mean: pixel_mean(basis).iter().map(|&mean| scaled(mean, scales.output)).collect(),
        output_frac_bits: scales.output as u8,
    })
}

/// Rows of a folded basis (K × n′) as a model file holds them.
pub fn round_basis(rows: ArrayView2<f32>, folding: Folding, wide_rows: usize) -> Array2<f32> {
    let weights = pixel_weights(folding);
    let mut rounded = &rows * &weights;
    for (k, mut row) in rounded.rows_mut().into_iter().enumerate() {
        let unit = f64::from(basis_bits(row.view(), k, wide_rows)).exp2() as f32;
        row.zip_mut_with(&weights, |value, &weight| *value = (*value * unit).round() / unit / weight);
    }
    rounded
}

fn pixel_weights(folding: Folding) -> Array1<f32> {
    Array1::from_shape_fn(folding.folded_len(), |index| folding.pixel_weight(index))
}

fn basis_bits(row: ArrayView1<f32>, k: usize, wide_rows: usize) -> i32 {
    // What rounds to the largest integer still fits, so that a rounded row has the scale that it was rounded for.
    fraction_bits(largest(row), row_width(k, wide_rows).largest() + 0.499)
}

/// Rows of the basis as pixels see them: K × n′.
fn pixel_rows(basis: &Basis) -> Array2<f32> {
    &basis.rows * &pixel_weights(basis.folding)
}

fn pixel_mean(basis: &Basis) -> Array1<f32> {
    &basis.mean * &pixel_weights(basis.folding)
}

/// K: largest magnitude of each coefficient, from the network and from linear atoms alone.
fn largest_coefs(coefs: &Array2<f32>, components: ArrayView2<f32>) -> Vec<f64> {
    coefs.columns().into_iter().zip(components.columns()).map(|(a, b)| largest(a).max(largest(b))).collect()
}

fn largest(values: ArrayView1<f32>) -> f64 {
    values.iter().fold(0f32, |most, value| most.max(value.abs())).into()
}

/// The largest s with `magnitude`·2^s ≤ `limit`.
fn fraction_bits(magnitude: f64, limit: f64) -> i32 {
    (limit / magnitude.max(1e-9)).log2().floor() as i32
}

fn scaled(value: f32, fraction_bits: i32) -> i64 {
    (f64::from(value) * f64::from(fraction_bits).exp2()).round() as i64
}

fn choose_scales(
    network: &Network<f32>,
    unit_atoms: &Array2<f32>,
    hidden: &Array2<f32>,
    largest_coefs: &[f64],
    rows: &Array2<f32>,
    options: ExportOptions,
) -> Result<Scales, Error> {
    let parameters = &network.parameters;
    let i32_limit = f64::from(i32::MAX) / 2.0;
    let all_atoms = unit_atoms.iter().fold(0f32, |most, value| most.max(value.abs()));
    let hidden_bias = largest(parameters.hidden_bias.view());
    let hidden_sum = (i32::from(LATENT_FRAC_BITS)
        + fraction_bits(all_atoms.into(), options.hidden_width.largest()))
    .min(fraction_bits(hidden_bias, i32_limit));
    let largest_hidden = hidden.iter().fold(0f32, |most, &value| most.max(value));
    let hidden_limit = f64::from(1u32 << HIDDEN_BITS) - 1.0;
    let hidden = fraction_bits(f64::from(largest_hidden) * HIDDEN_HEADROOM, hidden_limit).min(hidden_sum);
    let coef: Vec<i32> = (0..network.n_components())
        .map(|k| {
            let by_weights = fraction_bits(largest(parameters.coef.column(k)), Width::I16.largest());
            let by_bias = fraction_bits(f64::from(parameters.coef_bias[k].abs()), i32_limit) - hidden;
            by_weights.min(by_bias)
        })
        .collect();
    let basis: Vec<i32> =
        rows.rows().into_iter().enumerate().map(|(k, row)| basis_bits(row, k, options.wide_rows)).collect();
    let (output, coef_bits) = choose_output_scale(hidden, &coef, &basis, largest_coefs, rows)?;
    Ok(Scales { hidden_sum, hidden, coef, basis, output, coef_bits })
}

fn row_width(row: usize, wide_rows: usize) -> Width {
    if row < wide_rows { Width::I16 } else { Width::I8 }
}

/// The finest output for which every shift is a right shift and every sum is exact; with it the coefficients' bits.
fn choose_output_scale(
    hidden: i32,
    coef: &[i32],
    basis: &[i32],
    largest_coefs: &[f64],
    rows: &Array2<f32>,
) -> Result<(i32, i32), Error> {
    let n_components = basis.len();
    let column_sums: Vec<f64> = rows
        .columns()
        .into_iter()
        .map(|column| {
            let weights = column
                .iter()
                .zip(basis)
                .map(|(&weight, &bits)| f64::from(weight.abs()) * f64::from(bits).exp2());
            // Rounding may add a half to each.
            weights.sum::<f64>() + n_components as f64
        })
        .collect();
    let largest_column = column_sums.into_iter().fold(0.0, f64::max);
    let fits = |output: i32| -> Option<i32> {
        let shifts_fit = (0..n_components).all(|k| {
            let coef_frac_bits = output - basis[k];
            let shift = coef.get(k).map_or(0, |weight| hidden + weight - coef_frac_bits);
            (0..=40).contains(&coef_frac_bits) && (0..=40).contains(&shift)
        });
        let most = (0..n_components)
            .map(|k| largest_coefs[k] * COEF_HEADROOM * f64::from(output - basis[k]).exp2())
            .fold(1.0, f64::max);
        let coef_bits = (most.log2().ceil() as i32).max(1);
        let sums_fit = f64::from(coef_bits).exp2() * largest_column < LARGEST_SUM;
        (shifts_fit && coef_bits <= 40 && sums_fit).then_some(coef_bits)
    };
    (8..=OUTPUT_FRAC_BITS).rev().find_map(|output| Some((output, fits(output)?))).ok_or_else(|| {
        let message = "weights too uneven for an integer decoder: train with fewer components";
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

fn quantize_rows(weights: ArrayView2<f32>, width: Width, bits_of_row: impl Fn(usize) -> i32) -> IntTensor {
    let (rows, cols) = weights.dim();
    let integers = weights.rows().into_iter().enumerate().flat_map(|(row, weights)| {
        let bits = bits_of_row(row);
        weights.iter().map(|&weight| scaled(weight, bits)).collect::<Vec<_>>()
    });
    let values = match width {
        Width::I8 => IntValues::I8(integers.map(|value| value as i8).collect()),
        Width::I16 => IntValues::I16(integers.map(|value| value as i16).collect()),
    };
    IntTensor { rows, cols, values }
}

fn quantize_columns(weights: ArrayView2<f32>, bits: &[i32]) -> IntTensor {
    let (rows, cols) = weights.dim();
    let integers = weights.rows().into_iter().flat_map(|row| {
        row.iter().zip(bits).map(|(&weight, &bits)| scaled(weight, bits) as i16).collect::<Vec<_>>()
    });
    IntTensor { rows, cols, values: IntValues::I16(integers.collect()) }
}

/// Wide rows first, then narrow ones; a block without rows is left out.
fn quantize_basis(rows: ArrayView2<f32>, bits: &[i32], wide_rows: usize) -> Vec<IntTensor> {
    let n_wide = wide_rows.min(rows.nrows());
    let (wide, narrow) = rows.split_at(Axis(0), n_wide);
    let blocks = [
        quantize_rows(wide, Width::I16, |row| bits[row]),
        quantize_rows(narrow, Width::I8, |row| bits[n_wide + row]),
    ];
    blocks.into_iter().filter(|block| block.rows > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_a_basis_twice_changes_nothing() {
        let folding = Folding { patch_len: 41, point_symmetric: true };
        let rows = Array2::from_shape_fn((12, 21), |(k, p)| {
            ((k * 7 + p * p) as f32 * 0.37).sin() / (1.0 + k as f32)
        });
        let once = round_basis(rows.view(), folding, 4);
        assert_eq!(round_basis(once.view(), folding, 4), once);
        let worst = (&once - &rows).iter().fold(0f32, |worst, e| worst.max(e.abs()));
        assert!(worst > 1e-4 && worst < 1e-2, "{worst}");
    }

    #[test]
    fn the_finest_scale_that_fits_is_chosen() {
        for (magnitude, bits) in [(1.0, 6), (127.0 / 128.0, 7), (0.4, 8), (100.0, 0), (200.0, -1)] {
            assert_eq!(fraction_bits(magnitude, 127.0), bits, "{magnitude}");
        }
    }
}
