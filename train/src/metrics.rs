//! What a model is worth on patches that it was not trained on: errors, counts, coded bytes.

use h5z_sae::sae::backend::Backend;
use h5z_sae::sae::{Model, PatchCode, Penalty};
use h5z_sae::{Bound, ChunkShape, ElementType, Error, Options, compress_chunk};
use ndarray::{Array2, ArrayView2, Axis};
use std::sync::Arc;

use crate::network::Network;
use crate::pca::Basis;

/// Patches of a chunk whose coded size is reported.
const CHUNK_PATCHES: usize = 256;

/// Errors and counts on held-out patches. A squared error is Σ(x − x̂)² of a patch in the domain of the network,
/// where the largest value is 1 before the transform; counts are means over patches.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Patches.
    pub n_patches: usize,
    /// Mean of Σ(x − x̂)².
    pub squared_error: f64,
    /// Its median.
    pub median_squared_error: f64,
    /// Mean of ‖x − x̂‖₂.
    pub error: f64,
    /// Nonzero latents ‖z‖₀.
    pub nonzeros: f64,
    /// Nonzero steps ‖∇z‖₀.
    pub nonzero_steps: f64,
    /// Mean of ‖x‖₀ over mean of the entries that the penalty counts.
    pub count_ratio: f64,
    /// Latents that fire on any of the patches.
    pub latents_in_use: usize,
    /// All latents.
    pub n_latents: usize,
}

/// Size of held-out patches coded at one absolute bound, patches scaled to a maximum of 1.
#[derive(Clone, Copy, Debug)]
pub struct CodedSize {
    /// The bound.
    pub bound: f64,
    /// Raw f32 bytes.
    pub raw_bytes: usize,
    /// Bytes of all streams.
    pub coded_bytes: usize,
    /// The same without a model.
    pub coded_bytes_without_model: usize,
}

/// Quality of the float network, before it was written as integers. `patches` in the domain of the network.
pub fn network_squared_error(network: &Network<f32>, basis: &Basis, patches: ArrayView2<f32>) -> f64 {
    let atoms = network.atoms();
    let mut total = 0.0;
    for block in patches.axis_chunks_iter(Axis(0), CHUNK_PATCHES) {
        let code = network.encode(basis.project(block).view());
        let rebuilt = basis.expand(network.decode(&code, &atoms).view());
        total += (&rebuilt - &block).iter().map(|&e| f64::from(e) * f64::from(e)).sum::<f64>();
    }
    total / patches.nrows() as f64
}

/// Quality of the finished model with its latents at the step 2^−`step_log2`, through the exact decoder.
///
/// # Errors
/// Those of the decoder.
pub fn evaluate(
    model: &Model,
    backend: &dyn Backend,
    patches: ArrayView2<f32>,
    step_log2: u8,
) -> Result<Quality, Error> {
    let mut counts = Counts::new(model.n_latents());
    let mut squared_errors = Vec::with_capacity(patches.nrows());
    for block in patches.axis_chunks_iter(Axis(0), CHUNK_PATCHES) {
        let values: Vec<f32> = block.iter().copied().collect();
        let latents = model.analyze(backend, &values);
        let codes: Vec<PatchCode> = latents
            .chunks_exact(model.n_latents())
            .map(|latents| PatchCode {
                latent_step_log2: step_log2,
                latents: model.quantize_latents(latents, step_log2, 0.5),
                ..PatchCode::default()
            })
            .collect();
        let mut rebuilt = vec![0f32; values.len()];
        model.reconstruct_transformed(backend, &codes, &mut rebuilt)?;
        let pairs = rebuilt.chunks_exact(model.n_values()).zip(values.chunks_exact(model.n_values()));
        squared_errors.extend(pairs.map(|(rebuilt, values)| squared_distance(rebuilt, values)));
        counts.nonzero_values += values.iter().filter(|&&value| value != 0.0).count();
        codes.iter().for_each(|code| counts.add(code, model.penalty()));
    }
    Ok(counts.quality(squared_errors, model.penalty()))
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

/// Sums over patches.
struct Counts {
    nonzero_values: usize,
    nonzeros: usize,
    nonzero_steps: usize,
    fired: Vec<bool>,
}

impl Counts {
    fn new(n_latents: usize) -> Self {
        Self { nonzero_values: 0, nonzeros: 0, nonzero_steps: 0, fired: vec![false; n_latents] }
    }

    fn add(&mut self, code: &PatchCode, penalty: Penalty) {
        let mut latents = vec![0i64; self.fired.len()];
        for &(index, level) in &code.latents {
            latents[index as usize] = level.into();
        }
        if penalty == Penalty::Grad {
            let mut sum = 0;
            for latent in &mut latents {
                sum += *latent;
                *latent = sum;
            }
        }
        self.nonzeros += latents.iter().filter(|&&latent| latent != 0).count();
        let before = std::iter::once(&0).chain(&latents);
        self.nonzero_steps += latents.iter().zip(before).filter(|(latent, before)| latent != before).count();
        for (fired, &latent) in self.fired.iter_mut().zip(&latents) {
            *fired |= latent != 0;
        }
    }

    fn quality(self, mut squared_errors: Vec<f64>, penalty: Penalty) -> Quality {
        let n_patches = squared_errors.len();
        let mean = |sum: f64| sum / n_patches as f64;
        squared_errors.sort_by(f64::total_cmp);
        let entries = if penalty == Penalty::Grad { self.nonzero_steps } else { self.nonzeros };
        Quality {
            n_patches,
            squared_error: mean(squared_errors.iter().sum()),
            median_squared_error: squared_errors.get(n_patches / 2).copied().unwrap_or(f64::NAN),
            error: mean(squared_errors.iter().map(|e| e.sqrt()).sum()),
            nonzeros: mean(self.nonzeros as f64),
            nonzero_steps: mean(self.nonzero_steps as f64),
            count_ratio: self.nonzero_values as f64 / entries.max(1) as f64,
            latents_in_use: self.fired.iter().filter(|&&fired| fired).count(),
            n_latents: self.fired.len(),
        }
    }
}

/// Real bytes of patches that are scaled to a maximum of 1 (rows of `patches`), in chunks of 256.
///
/// # Errors
/// Those of the codec.
pub fn coded_size(
    model: &Arc<Model>,
    backend: &dyn Backend,
    patches: &Array2<f32>,
    bound: f64,
) -> Result<CodedSize, Error> {
    let mut options = Options::new(Bound::Absolute(bound));
    let mut size = CodedSize { bound, raw_bytes: 0, coded_bytes: 0, coded_bytes_without_model: 0 };
    for block in patches.axis_chunks_iter(Axis(0), CHUNK_PATCHES) {
        let shape = ChunkShape::try_new(&[block.nrows(), model.patch().rows, model.patch().cols])?;
        let bytes: Vec<u8> = block.iter().flat_map(|value| value.to_ne_bytes()).collect();
        size.raw_bytes += bytes.len();
        options.model = None;
        size.coded_bytes_without_model +=
            compress_chunk(&bytes, ElementType::F32, &shape, &options, backend)?.len();
        options.model = Some(Arc::clone(model));
        size.coded_bytes += compress_chunk(&bytes, ElementType::F32, &shape, &options, backend)?.len();
    }
    Ok(size)
}
