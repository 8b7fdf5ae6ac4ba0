//! From a model file back to a network in float, to go on training it with other data: the inverse of `export`.
//!
//! Integers become the numbers that they stand for. What a file does not say is free: hidden activations may be scaled
//! by any power of two, and are scaled such that atoms have about unit norm; what is left of a norm goes into the
//! latent's encoder weights, so that the network computes what the model does.

use h5z_sae::sae::{IntTensor, IntValues, ModelSpec};
use h5z_sae::{Error, ErrorKind, PatchShape};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::export::round_basis;
use crate::network::{Network, NetworkShape, Parameters};
use crate::options::{TrainOptions, name_of_penalty, name_of_transform};
use crate::pca::{Basis, Folding};
use crate::ranks::Ranks;

/// Sizes of a model's layers.
pub fn shape(spec: &ModelSpec) -> NetworkShape {
    NetworkShape {
        components: spec.decoder.coef.as_ref().map_or(spec.decoder.hidden.cols, |coef| coef.cols),
        hidden: spec.decoder.hidden.cols,
        latents: spec.decoder.hidden.rows,
    }
}

/// K, rows of a model's basis.
pub fn basis_rows(spec: &ModelSpec) -> usize {
    spec.decoder.coef_bias.len()
}

/// Basis rows that the model stores in 16 bits.
pub fn wide_rows(spec: &ModelSpec) -> usize {
    let is_wide = |block: &&IntTensor| matches!(block.values, IntValues::I16(_));
    spec.decoder.basis.iter().take_while(is_wide).map(|block| block.rows).sum()
}

/// Refuses options under which a model cannot be trained on.
///
/// # Errors
/// `InvalidArgument`, naming the first one that differs, what the model has and what is asked for.
pub fn check(spec: &ModelSpec, options: &TrainOptions, patch: PatchShape) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
    if spec.encoder.direct {
        return refuse("the model's encoder takes pixels, expected one that takes components".to_owned());
    }
    let edges = |patch: PatchShape| format!("{}x{}", patch.rows, patch.cols);
    let shape = shape(spec);
    let pairs = [
        ("patch", edges(spec.patch), edges(patch)),
        ("transform", name_of_transform(spec.transform), name_of_transform(options.transform)),
        (
            "penalty",
            name_of_penalty(spec.penalty).to_owned(),
            name_of_penalty(options.objective.penalty).to_owned(),
        ),
        ("components", shape.components.to_string(), options.components.to_string()),
        ("basis rows", basis_rows(spec).to_string(), options.basis_rows.to_string()),
        ("hidden", shape.hidden.to_string(), options.hidden.to_string()),
        ("latents", shape.latents.to_string(), options.latents.to_string()),
    ];
    pairs.into_iter().find(|(_, has, asked)| has != asked).map_or(Ok(()), |(name, has, asked)| {
        refuse(format!("{name} is {has} in the model to start from, and {asked} is asked for"))
    })
}

/// The model's basis, its variances yet unknown. Rows that shall be narrower than they are in the model are rounded
/// again.
///
/// # Errors
/// `InvalidArgument` if the rows are linearly dependent.
pub fn basis(spec: &ModelSpec, wide_rows: usize) -> Result<Basis, Error> {
    let folding = Folding { patch_len: spec.patch.n_values(), point_symmetric: spec.point_symmetric };
    let decoder = &spec.decoder;
    let output = i32::from(decoder.output_frac_bits);
    let mut rows = stacked(&decoder.basis);
    for (mut row, &frac_bits) in rows.rows_mut().into_iter().zip(&decoder.coef_frac_bits) {
        row *= unit(output - i32::from(frac_bits)) as f32;
    }
    let weights = Array1::from_shape_fn(folding.folded_len(), |index| folding.pixel_weight(index));
    let mean: Array1<f32> = decoder.mean.iter().map(|&mean| (mean as f64 * unit(output)) as f32).collect();
    let n_components = rows.nrows();
    let orthonormal = Array2::eye(n_components);
    Basis::restored(folding, mean / &weights, rows / &weights, orthonormal, Array1::ones(n_components), 1.0)
        .rounded(|rows| round_basis(rows, folding, wide_rows))
}

/// The model's network on components of `basis`, with inputs scaled by `input_scale` (K).
pub fn network(
    spec: &ModelSpec,
    basis: &Basis,
    input_scale: Array1<f32>,
    options: &TrainOptions,
) -> Network<f32> {
    let mut parameters = Parameters::zeros(shape(spec));
    read_decoder(spec, &mut parameters);
    read_encoder(spec, basis, &input_scale, &mut parameters);
    Network { parameters, input_scale, objective: options.objective }
}

/// Variances of components (patches × K), those of all ranks; one that does not vary counts as if it did so a little.
/// Collective.
pub fn variances(components: ArrayView2<f32>, ranks: &mut dyn Ranks) -> Array1<f64> {
    /// Share of the largest one.
    const LEAST_SHARE: f64 = 1e-12;
    let count = ranks.sum_of(components.nrows() as f64);
    let mut mean_over_ranks = |values: Array2<f64>| {
        let mut sums = values.sum_axis(Axis(0)).to_vec();
        ranks.sum_f64(&mut sums);
        Array1::from(sums) / count
    };
    let means = mean_over_ranks(components.mapv(f64::from));
    let variances = mean_over_ranks((components.mapv(f64::from) - &means).mapv(|value| value * value));
    let largest = variances.iter().fold(f64::MIN_POSITIVE, |most, &variance| most.max(variance));
    variances.mapv(|variance| variance.max(LEAST_SHARE * largest))
}

/// Sums of patches for their variance, folded as a model folds them.
pub struct Moments {
    folding: Folding,
    n_patches: usize,
    sum: Array1<f64>,
    squares: f64,
}

impl Moments {
    /// Nothing seen yet.
    pub fn new(folding: Folding) -> Self {
        Self { folding, n_patches: 0, sum: Array1::zeros(folding.folded_len()), squares: 0.0 }
    }

    /// Adds patches (rows of n values).
    ///
    /// # Errors
    /// `InvalidArgument` if the model is point-symmetric, and they are not.
    pub fn add(&mut self, patches: ArrayView2<f32>) -> Result<(), Error> {
        if self.folding.point_symmetric && !Folding::detect(patches).point_symmetric {
            let message = "point symmetry: the model to start from has it, the patches have not";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let folded = self.folding.fold(patches).mapv(f64::from);
        self.n_patches += folded.nrows();
        self.sum += &folded.sum_axis(Axis(0));
        self.squares += folded.iter().map(|value| value * value).sum::<f64>();
        Ok(())
    }

    /// Variance of folded patches about their mean, all values together.
    pub fn variance(&self) -> f64 {
        let count = self.n_patches.max(1) as f64;
        (self.squares - self.sum.dot(&self.sum) / count).max(0.0) / count
    }
}

fn read_decoder(spec: &ModelSpec, parameters: &mut Parameters<f32>) {
    let decoder = &spec.decoder;
    let atoms = integers(&decoder.hidden);
    let norms = atoms.map_axis(Axis(1), |row| row.dot(&row).sqrt());
    let hidden_bits = norms.mean().unwrap_or(1.0).max(1.0).log2().round() as i32;
    parameters.hidden = atoms * unit(hidden_bits) as f32;
    let sum_bits = hidden_bits + i32::from(decoder.latent_frac_bits);
    parameters.hidden_bias = reals(&decoder.hidden_bias, |_| sum_bits);
    let activation_bits = sum_bits - i32::from(decoder.hidden_shift);
    let bias_bits = |k: usize| i32::from(decoder.coef_shift[k]) + i32::from(decoder.coef_frac_bits[k]);
    parameters.coef = decoder.coef.as_ref().map_or_else(|| Array2::eye(decoder.coef_bias.len()), integers);
    let n_coefs = parameters.coef.ncols();
    for (k, mut column) in parameters.coef.columns_mut().into_iter().enumerate() {
        column *= unit(bias_bits(k) - activation_bits) as f32;
    }
    parameters.coef_bias = reals(&decoder.coef_bias[..n_coefs], bias_bits);
}

fn read_encoder(
    spec: &ModelSpec,
    basis: &Basis,
    input_scale: &Array1<f32>,
    parameters: &mut Parameters<f32>,
) {
    let encoder = &spec.encoder;
    let NetworkShape { components, hidden, latents } = parameters.shape();
    let matrix = |values: &[f32], rows: usize, cols: usize| {
        Array2::from_shape_vec((rows, cols), values.to_vec()).expect("a model's layers fit each other")
    };
    // A reader takes plain inner products with the basis, the network components by least squares.
    let rows = basis.rows.mapv(f64::from);
    let input = rows.dot(&rows.t()).dot(&matrix(&encoder.input, components, hidden).mapv(f64::from));
    parameters.input = input.mapv(|weight| weight as f32) / input_scale.view().insert_axis(Axis(1));
    parameters.input_bias = encoder.input_bias.clone().into();
    // The network normalises atoms: their norms must act on the latents.
    let norms = parameters.hidden.map_axis(Axis(1), |row| row.dot(&row).sqrt());
    let latent = matrix(&encoder.latent, hidden, latents).reversed_axes();
    parameters.latent = (&latent * &norms.view().insert_axis(Axis(1))).as_standard_layout().into_owned();
    parameters.latent_bias = Array1::from(encoder.latent_bias.clone()) * &norms;
}

/// 2^−bits.
fn unit(bits: i32) -> f64 {
    f64::from(-bits).exp2()
}

fn reals(values: &[i32], bits: impl Fn(usize) -> i32) -> Array1<f32> {
    values.iter().enumerate().map(|(index, &value)| (f64::from(value) * unit(bits(index))) as f32).collect()
}

fn integers(tensor: &IntTensor) -> Array2<f32> {
    let values: Vec<f32> = match &tensor.values {
        IntValues::I8(values) => values.iter().map(|&value| value.into()).collect(),
        IntValues::I16(values) => values.iter().map(|&value| value.into()).collect(),
    };
    Array2::from_shape_vec((tensor.rows, tensor.cols), values).expect("a model's tensors have their shape")
}

fn stacked(blocks: &[IntTensor]) -> Array2<f32> {
    let blocks: Vec<Array2<f32>> = blocks.iter().map(integers).collect();
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    ndarray::concatenate(Axis(0), &views).expect("rows of a basis are of one length")
}
