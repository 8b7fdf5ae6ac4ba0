//! The five-layer network in component coordinates, and its gradient by hand.
//!
//! ```text
//! h = relu((y∘s)·input + input_bias)          B × m      s: fixed scale of each component
//! a = h·latentᵀ + latent_bias                 B × ℓ
//! g = the largest of relu(a), or of ∇relu(a)  B × ℓ, sparse
//! p = g·atoms + hidden_bias                   B × m      atoms: rows of `hidden` at unit norm (their suffix sums for ∇)
//! r = relu(p)·coef + coef_bias − y            B × K
//! loss = mean over patches of Σ ρ(r) + λ Σ|g|        ρ(r) = r², or c²·ln(1 + r²/c²)
//! ```
//!
//! Patches come as their K leading principal components: the component basis is the fixed outer layer, so that a
//! squared error here is one of pixels, up to the energy that lies outside the basis. Rows of `hidden` have unit
//! norm, since an L1 term means nothing where a latent can shrink while its atom grows.
//!
//! The logarithm is what a codec pays: a component that is off by r takes about log2(1 + r²/c²)/2 bits to correct in
//! steps near c, so that halving an error of 100 c is worth as much as halving one of 10 c. Squared error sees the
//! former alone.

use h5z_sae::sae::Penalty;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::code::SparseCode;
use crate::real::Real;

/// Sizes of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkShape {
    /// K, principal components.
    pub components: usize,
    /// m, hidden units of encoder and decoder.
    pub hidden: usize,
    /// ℓ, latents.
    pub latents: usize,
}

/// What training minimises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Entries kept in a patch's code; 0 keeps all.
    pub active: usize,
    /// What the L1 term acts on.
    pub penalty: Penalty,
    /// λ, its weight.
    pub sparsity_lambda: f64,
    /// c, the error of a component beyond which it counts by its logarithm; 0 for squared error throughout.
    pub rate_scale: f64,
}

impl Objective {
    /// ρ(r) of one component.
    pub(crate) fn distortion(&self, residual: f64) -> f64 {
        let square = residual * residual;
        if self.rate_scale == 0.0 {
            return square;
        }
        let scale = self.rate_scale * self.rate_scale;
        scale * (square / scale).ln_1p()
    }

    /// ρ′(r)/2 of all components.
    fn slopes<F: Real>(&self, residuals: &Array2<F>) -> Array2<F> {
        if self.rate_scale == 0.0 {
            return residuals.clone();
        }
        let per_square = F::of(1.0 / (self.rate_scale * self.rate_scale));
        residuals.mapv(|residual| residual / (F::one() + residual * residual * per_square))
    }
}

/// Weights of all layers, or anything of their shape: a gradient, a moment.
#[derive(Clone, Debug)]
pub struct Parameters<F> {
    /// K × m.
    pub input: Array2<F>,
    /// m.
    pub input_bias: Array1<F>,
    /// ℓ × m: one row for each latent, so that the gradient of a sparse code touches whole rows.
    pub latent: Array2<F>,
    /// ℓ.
    pub latent_bias: Array1<F>,
    /// ℓ × m, used at unit norm.
    pub hidden: Array2<F>,
    /// m.
    pub hidden_bias: Array1<F>,
    /// m × K.
    pub coef: Array2<F>,
    /// K.
    pub coef_bias: Array1<F>,
}

/// Number of tensors in [`Parameters`].
pub const N_TENSORS: usize = 8;

impl<F: Real> Parameters<F> {
    /// All zero.
    pub fn zeros(shape: NetworkShape) -> Self {
        let NetworkShape { components, hidden, latents } = shape;
        Self {
            input: Array2::zeros((components, hidden)),
            input_bias: Array1::zeros(hidden),
            latent: Array2::zeros((latents, hidden)),
            latent_bias: Array1::zeros(latents),
            hidden: Array2::zeros((latents, hidden)),
            hidden_bias: Array1::zeros(hidden),
            coef: Array2::zeros((hidden, components)),
            coef_bias: Array1::zeros(components),
        }
    }

    /// Normal weights of the variance that suits ReLU layers (He et al. 2015), a small output layer, no biases.
    pub fn random(shape: NetworkShape, rng: &mut impl Rng) -> Self {
        let mut parameters = Self::zeros(shape);
        let mut fill = |weights: &mut Array2<F>, inputs: usize, gain: f64| {
            let deviation = gain * (2.0 / inputs as f64).sqrt();
            weights.mapv_inplace(|_| {
                let normal: f64 = StandardNormal.sample(rng);
                F::of(deviation * normal)
            });
        };
        fill(&mut parameters.input, shape.components, 1.0);
        fill(&mut parameters.latent, shape.hidden, 0.7);
        fill(&mut parameters.hidden, shape.latents, 1.0);
        fill(&mut parameters.coef, shape.hidden, 0.1);
        parameters
    }

    /// Sizes of the layers.
    pub fn shape(&self) -> NetworkShape {
        let (components, hidden) = self.input.dim();
        NetworkShape { components, hidden, latents: self.latent.nrows() }
    }

    /// All tensors as flat slices, in the order of the fields.
    pub fn tensors(&self) -> [&[F]; N_TENSORS] {
        [
            self.input.as_slice(),
            self.input_bias.as_slice(),
            self.latent.as_slice(),
            self.latent_bias.as_slice(),
            self.hidden.as_slice(),
            self.hidden_bias.as_slice(),
            self.coef.as_slice(),
            self.coef_bias.as_slice(),
        ]
        .map(|tensor| tensor.expect("tensors are contiguous"))
    }

    /// All tensors as flat slices, in the order of the fields.
    pub fn tensors_mut(&mut self) -> [&mut [F]; N_TENSORS] {
        [
            self.input.as_slice_mut(),
            self.input_bias.as_slice_mut(),
            self.latent.as_slice_mut(),
            self.latent_bias.as_slice_mut(),
            self.hidden.as_slice_mut(),
            self.hidden_bias.as_slice_mut(),
            self.coef.as_slice_mut(),
            self.coef_bias.as_slice_mut(),
        ]
        .map(|tensor| tensor.expect("tensors are contiguous"))
    }

    /// Sets every entry to zero.
    pub fn clear(&mut self) {
        for tensor in self.tensors_mut() {
            tensor.fill(F::zero());
        }
    }
}

/// The decoder's first layer as it is used: computed once for a step, shared by all shards of the batch.
#[derive(Clone, Debug)]
pub struct Atoms<F> {
    /// ℓ × m; rows at unit norm, summed from the end for `Penalty::Grad`: a step at i raises all latents from i on.
    pub rows: Array2<F>,
    unit: Array2<F>,
    norms: Array1<F>,
    penalty: Penalty,
}

impl<F: Real> Atoms<F> {
    /// From the rows of [`Parameters::hidden`].
    pub fn new(hidden: &Array2<F>, penalty: Penalty) -> Self {
        let norms = hidden.map_axis(Axis(1), |row| row.dot(&row).sqrt().max(F::of(1e-30)));
        let unit = hidden / &norms.view().insert_axis(Axis(1));
        let mut rows = unit.clone();
        if penalty == Penalty::Grad {
            let mut from_the_end = rows.view_mut();
            from_the_end.invert_axis(Axis(0));
            from_the_end.accumulate_axis_inplace(Axis(0), |&after, row| *row += after);
        }
        Self { rows, unit, norms, penalty }
    }

    /// Turns the gradient with respect to `rows` into that with respect to the raw `hidden` weights.
    pub fn backward(&self, gradient: &mut Array2<F>) {
        if self.penalty == Penalty::Grad {
            gradient.accumulate_axis_inplace(Axis(0), |&before, row| *row += before);
        }
        for ((mut row, unit), &norm) in gradient.rows_mut().into_iter().zip(self.unit.rows()).zip(&self.norms)
        {
            let along = row.dot(&unit);
            row.zip_mut_with(&unit, |g, &u| *g = (*g - along * u) / norm);
        }
    }
}

/// What a batch tells besides its gradient. Sums over patches, not means.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// Patches.
    pub n_patches: usize,
    /// Σ of squared errors.
    pub squared_error: f64,
    /// Σ ρ(r).
    pub distortion: f64,
    /// Σ|g|.
    pub l1: f64,
    /// Nonzero entries of codes.
    pub n_entries: usize,
    /// How often each latent took part.
    pub fired: Vec<u32>,
}

impl BatchStats {
    /// Of both batches.
    pub fn joined(mut self, other: Self) -> Self {
        self.n_patches += other.n_patches;
        self.squared_error += other.squared_error;
        self.distortion += other.distortion;
        self.l1 += other.l1;
        self.n_entries += other.n_entries;
        for (count, more) in self.fired.iter_mut().zip(other.fired) {
            *count += more;
        }
        self
    }
}

/// A code and what it decodes to.
#[derive(Clone, Debug)]
pub struct Decoded<F> {
    /// g.
    pub code: SparseCode<F>,
    /// relu(p).
    pub hidden: Array2<F>,
    /// r.
    pub residual: Array2<F>,
    /// ρ′(r)/2.
    pub slope: Array2<F>,
}

/// Values of one forward pass, kept for the backward one.
#[derive(Clone, Debug)]
pub struct Pass<F> {
    /// y∘s.
    pub scaled: Array2<F>,
    /// h.
    pub encoder_hidden: Array2<F>,
    /// a.
    pub preactivations: Array2<F>,
    /// From the encoder's own code: what the encoder learns from.
    pub decoded: Decoded<F>,
    /// From the refined one, where codes are refined: what the decoder learns from.
    pub refined: Option<Decoded<F>>,
}

impl<F> Pass<F> {
    /// What the decoder learns from.
    pub fn best(&self) -> &Decoded<F> {
        self.refined.as_ref().unwrap_or(&self.decoded)
    }
}

/// A network: its weights, and the fixed scale of its inputs.
#[derive(Clone, Debug)]
pub struct Network<F> {
    /// Weights.
    pub parameters: Parameters<F>,
    /// K: multiplies the components before the first layer.
    pub input_scale: Array1<F>,
    /// What it is trained for.
    pub objective: Objective,
}

fn rectify<F: Real>(mut values: Array2<F>) -> Array2<F> {
    values.mapv_inplace(|value| value.max(F::zero()));
    values
}

fn affine<F: Real>(inputs: ArrayView2<F>, weights: ArrayView2<F>, bias: &Array1<F>) -> Array2<F> {
    let shape = (inputs.nrows(), bias.len());
    let mut out = bias.broadcast(shape).expect("a bias fits every row").to_owned();
    general_mat_mul(F::one(), &inputs, &weights, F::one(), &mut out);
    out
}

impl<F: Real> Network<F> {
    /// K′, components that it works on.
    pub fn n_components(&self) -> usize {
        self.input_scale.len()
    }

    /// The decoder's first layer, ready for [`Self::forward`].
    pub fn atoms(&self) -> Atoms<F> {
        Atoms::new(&self.parameters.hidden, self.objective.penalty)
    }

    /// Codes of the patches with the given components (B × K).
    pub fn encode(&self, components: ArrayView2<F>) -> SparseCode<F> {
        let p = &self.parameters;
        let hidden = rectify(affine((&components * &self.input_scale).view(), p.input.view(), &p.input_bias));
        let preactivations = affine(hidden.view(), p.latent.t(), &p.latent_bias);
        SparseCode::select(preactivations.view(), self.objective.active, self.objective.penalty)
    }

    /// Components (B × K) from codes.
    pub fn decode(&self, code: &SparseCode<F>, atoms: &Atoms<F>) -> Array2<F> {
        let p = &self.parameters;
        affine(self.decode_hidden(code, atoms).view(), p.coef.view(), &p.coef_bias)
    }

    /// Activations of the decoder's hidden layer (B × m).
    pub fn decode_hidden(&self, code: &SparseCode<F>, atoms: &Atoms<F>) -> Array2<F> {
        let bias = &self.parameters.hidden_bias;
        let mut sums =
            bias.broadcast((code.n_patches(), bias.len())).expect("a bias fits every row").to_owned();
        code.add_product(&atoms.rows, &mut sums);
        rectify(sums)
    }

    /// All layers, keeping what [`Self::backward`] needs.
    pub fn forward(&self, components: ArrayView2<F>, atoms: &Atoms<F>) -> Pass<F> {
        let p = &self.parameters;
        let scaled = &components * &self.input_scale;
        let encoder_hidden = rectify(affine(scaled.view(), p.input.view(), &p.input_bias));
        let preactivations = affine(encoder_hidden.view(), p.latent.t(), &p.latent_bias);
        let code = SparseCode::select(preactivations.view(), self.objective.active, self.objective.penalty);
        let decoded = self.decoded(code, components, atoms);
        Pass { scaled, encoder_hidden, preactivations, decoded, refined: None }
    }

    /// The same, with the decoder's part of the gradient taken at refined codes.
    pub fn forward_refined(&self, components: ArrayView2<F>, atoms: &Atoms<F>) -> Pass<F> {
        let pass = self.forward(components, atoms);
        let refined = self.refine(&pass.decoded, components, atoms);
        Pass { refined: Some(refined), ..pass }
    }

    /// What codes decode to, against the components that they stand for.
    pub fn decoded(&self, code: SparseCode<F>, components: ArrayView2<F>, atoms: &Atoms<F>) -> Decoded<F> {
        let p = &self.parameters;
        let hidden = self.decode_hidden(&code, atoms);
        let residual = affine(hidden.view(), p.coef.view(), &p.coef_bias) - components;
        let slope = self.objective.slopes(&residual);
        Decoded { code, hidden, residual, slope }
    }

    /// Gradient with respect to the sums p (B × m), where a patch of the whole batch of `batch_len` counts 1/batch_len.
    pub fn hidden_gradient(&self, decoded: &Decoded<F>, batch_len: usize) -> Array2<F> {
        let factor = F::of(2.0 / batch_len as f64);
        let mut gradient = Array2::zeros(decoded.hidden.raw_dim());
        general_mat_mul(factor, &decoded.slope, &self.parameters.coef.t(), F::zero(), &mut gradient);
        gradient.zip_mut_with(&decoded.hidden, |g, &hidden| {
            if hidden <= F::zero() {
                *g = F::zero();
            }
        });
        gradient
    }

    /// Adds the gradient of the loss to `gradient`, whose `hidden` stays with respect to `atoms.rows`: the caller
    /// applies [`Atoms::backward`] to the sum over shards. A patch counts 1/`batch_len`.
    pub fn backward(&self, pass: &Pass<F>, atoms: &Atoms<F>, batch_len: usize, gradient: &mut Parameters<F>) {
        let hidden_gradient = self.hidden_gradient(&pass.decoded, batch_len);
        self.backward_encoder(pass, self.code_gradient(pass, atoms, &hidden_gradient, batch_len), gradient);
        match &pass.refined {
            None => self.backward_decoder(&pass.decoded, &hidden_gradient, batch_len, gradient),
            Some(refined) => {
                let hidden_gradient = self.hidden_gradient(refined, batch_len);
                self.backward_decoder(refined, &hidden_gradient, batch_len, gradient);
            }
        }
    }

    fn backward_decoder(
        &self,
        decoded: &Decoded<F>,
        hidden_gradient: &Array2<F>,
        batch_len: usize,
        gradient: &mut Parameters<F>,
    ) {
        let factor = F::of(2.0 / batch_len as f64);
        general_mat_mul(factor, &decoded.hidden.t(), &decoded.slope, F::one(), &mut gradient.coef);
        gradient.coef_bias.scaled_add(factor, &decoded.slope.sum_axis(Axis(0)));
        gradient.hidden_bias += &hidden_gradient.sum_axis(Axis(0));
        decoded.code.add_transposed_product(hidden_gradient, &mut gradient.hidden);
    }

    fn code_gradient(
        &self,
        pass: &Pass<F>,
        atoms: &Atoms<F>,
        hidden_gradient: &Array2<F>,
        batch_len: usize,
    ) -> SparseCode<F> {
        let l1_slope = F::of(self.objective.sparsity_lambda / batch_len as f64);
        let code = &pass.decoded.code;
        let mut entries = code.inner_products(hidden_gradient, &atoms.rows);
        for (entry, &value) in entries.iter_mut().zip(&code.values) {
            *entry += l1_slope * value.signum();
        }
        code.backward(&entries, pass.preactivations.view(), self.objective.penalty)
    }

    fn backward_encoder(&self, pass: &Pass<F>, code_gradient: SparseCode<F>, gradient: &mut Parameters<F>) {
        code_gradient.add_transposed_product(&pass.encoder_hidden, &mut gradient.latent);
        for (&index, &value) in code_gradient.indices.iter().zip(&code_gradient.values) {
            gradient.latent_bias[index as usize] += value;
        }
        let mut hidden = Array2::zeros(pass.encoder_hidden.raw_dim());
        code_gradient.add_product(&self.parameters.latent, &mut hidden);
        hidden.zip_mut_with(&pass.encoder_hidden, |g, &activation| {
            if activation <= F::zero() {
                *g = F::zero();
            }
        });
        general_mat_mul(F::one(), &pass.scaled.t(), &hidden, F::one(), &mut gradient.input);
        gradient.input_bias += &hidden.sum_axis(Axis(0));
    }

    /// Sums over the batch for reports.
    pub fn stats(&self, pass: &Pass<F>) -> BatchStats {
        let Decoded { code, residual, .. } = pass.best();
        let mut fired = vec![0; code.width];
        for &index in &code.indices {
            fired[index as usize] += 1;
        }
        BatchStats {
            n_patches: code.n_patches(),
            squared_error: residual.iter().map(|r| r.wide() * r.wide()).sum(),
            distortion: residual.iter().map(|r| self.objective.distortion(r.wide())).sum(),
            l1: code.values.iter().map(|v| v.wide().abs()).sum(),
            n_entries: code.n_entries(),
            fired,
        }
    }

    /// The loss of a batch, for checks.
    pub fn loss(&self, components: ArrayView2<F>) -> f64 {
        let stats = self.stats(&self.forward(components, &self.atoms()));
        (stats.distortion + self.objective.sparsity_lambda * stats.l1) / stats.n_patches as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const SHAPE: NetworkShape = NetworkShape { components: 6, hidden: 9, latents: 14 };
    /// Central differences in f64 at h = 1e-6 are good to h² and to rounding over h: about 1e-9.
    const TOLERANCE: f64 = 2e-7;

    fn random_network(objective: Objective, seed: u64) -> (Network<f64>, Array2<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Parameters::random(SHAPE, &mut rng);
        for tensor in parameters.tensors_mut() {
            for value in tensor {
                let normal: f64 = StandardNormal.sample(&mut rng);
                *value += 0.2 * normal;
            }
        }
        let input_scale = Array1::from_shape_fn(SHAPE.components, |k| 1.0 + 0.3 * k as f64);
        let batch = Array2::from_shape_simple_fn((7, SHAPE.components), || StandardNormal.sample(&mut rng));
        (Network { parameters, input_scale, objective }, batch)
    }

    fn analytic_gradient(network: &Network<f64>, batch: &Array2<f64>) -> Parameters<f64> {
        let atoms = network.atoms();
        let mut gradient = Parameters::zeros(SHAPE);
        // In two shards, as training does it.
        for shard in [batch.slice(ndarray::s![..3, ..]), batch.slice(ndarray::s![3.., ..])] {
            let pass = network.forward(shard, &atoms);
            network.backward(&pass, &atoms, batch.nrows(), &mut gradient);
        }
        atoms.backward(&mut gradient.hidden);
        gradient
    }

    fn check_every_weight(objective: Objective) {
        let (network, batch) = random_network(objective, 5);
        let gradient = analytic_gradient(&network, &batch);
        assert!(network.stats(&network.forward(batch.view(), &network.atoms())).n_entries > 10);
        for (layer, slopes) in gradient.tensors().into_iter().enumerate() {
            for (index, &slope) in slopes.iter().enumerate() {
                let loss_at = |offset: f64| {
                    let mut moved = network.clone();
                    moved.parameters.tensors_mut()[layer][index] += offset;
                    moved.loss(batch.view())
                };
                let difference = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6;
                assert!(
                    (difference - slope).abs() <= TOLERANCE * (1.0 + slope.abs()),
                    "{objective:?}: tensor {layer}, weight {index}: {slope} by hand, {difference} by differences"
                );
            }
        }
    }

    #[test]
    fn gradients_equal_central_differences() {
        for penalty in [Penalty::Z, Penalty::Grad] {
            for (active, rate_scale) in [(0, 0.0), (3, 0.0), (3, 0.7)] {
                check_every_weight(Objective { active, penalty, sparsity_lambda: 0.05, rate_scale });
            }
        }
    }

    #[test]
    fn atoms_have_unit_norm_and_are_summed_for_steps() {
        let hidden = ndarray::array![[3.0, 4.0], [0.0, 2.0], [-5.0, 0.0]];
        assert_eq!(
            Atoms::new(&hidden, Penalty::Z).rows,
            ndarray::array![[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]
        );
        let steps: Array2<f64> = Atoms::new(&hidden, Penalty::Grad).rows;
        assert_eq!(steps.row(1), ndarray::array![-1.0, 1.0]);
        assert!((steps[[0, 0]] + 0.4).abs() < 1e-15 && (steps[[0, 1]] - 1.8).abs() < 1e-15);
    }
}
