//! The end of a training: the model file, checked on held-out patches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use h5z_sae::sae::{Model, ModelSpec};
use h5z_sae::{Error, PatchShape};
use h5z_sae_kernels::GemmBackend;
use ndarray::{Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::export::{ExportMeta, export};
use crate::loader::apply;
use crate::metrics::{CodedSize, Quality, coded_size, evaluate, network_squared_error};
use crate::network::Network;
use crate::options::TrainOptions;
use crate::pca::Basis;

/// A finished training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model, with its provenance.
    pub spec: ModelSpec,
    /// The model of that specification, as a reader gets it.
    pub model: Arc<Model>,
    /// Bytes of its file.
    pub file: Vec<u8>,
    /// On held-out patches.
    pub check: Check,
    /// Share of the patches' variance that lies outside the basis.
    pub share_outside_basis: f64,
    /// Held-out patches scaled to a maximum of 1.
    pub held_out: Array2<f32>,
    /// Steps made.
    pub n_steps: usize,
    /// Steps that were planned; more than were made if the training was ended early.
    pub n_planned: usize,
    /// The observer ended the network's training before its time.
    pub is_interrupted: bool,
    /// Steps after which the network was what it is: fewer than `n_steps` with early stopping.
    pub best_step: usize,
    /// Seconds for one pass over the data.
    pub epoch_seconds: f64,
}

/// What a model is worth on held-out patches.
#[derive(Clone, Debug)]
pub struct Check {
    /// At the finest latent step.
    pub quality: Quality,
    /// At the step of `Bound::None`.
    pub quality_none: Quality,
    /// Mean squared error of the float network before it was written as integers.
    pub float_squared_error: f64,
    /// Coded at each of the reported bounds. Empty where nothing was held out, or the training was interrupted.
    pub sizes: Vec<CodedSize>,
}

/// Patches of a chunk whose coded size is reported.
const CHUNK_PATCHES: usize = 256;
/// Of a chunk on which the time for all is measured.
const TIMED_CHUNK_PATCHES: usize = 32;

/// Turns networks into models and looks what they are worth.
pub(crate) struct Finisher<'a> {
    pub options: &'a TrainOptions,
    pub patch: PatchShape,
    pub basis: &'a Basis,
    /// Its rows that the network works on.
    pub leading: &'a Basis,
    /// Components of some training patches: scales and priors are taken from them.
    pub calibration: &'a Array2<f32>,
    /// Held-out patches, scaled to a maximum of 1.
    pub held_out: &'a Array2<f32>,
}

impl Finisher<'_> {
    /// The model of a network, without provenance.
    pub(crate) fn model(&self, network: &Network<f32>) -> Result<(ModelSpec, Arc<Model>), Error> {
        let meta =
            ExportMeta { patch: self.patch, transform: self.options.transform, provenance: BTreeMap::new() };
        let spec = export(network, self.basis, self.calibration.view(), self.options.export, meta)?;
        let model = Model::parse(&spec.to_bytes()?)?;
        Ok((spec, model))
    }

    /// Errors and, at the given bounds, sizes of some held-out patches.
    pub(crate) fn check(
        &self,
        network: &Network<f32>,
        model: &Arc<Model>,
        patches: ArrayView2<f32>,
        chunk_len: usize,
        bounds: &[f64],
    ) -> Result<Check, Error> {
        let backend = GemmBackend::default();
        let transformed = patches.mapv(|value| apply(self.options.transform, value));
        let is_empty = patches.nrows() == 0;
        Ok(Check {
            quality: evaluate(model, &backend, transformed.view(), model.latent_frac_bits())?,
            quality_none: evaluate(model, &backend, transformed.view(), model.spec().none_step_log2)?,
            float_squared_error: network_squared_error(network, self.leading, transformed.view()),
            sizes: if is_empty { Vec::new() } else { coded_sizes(model, patches, chunk_len, bounds)? },
        })
    }

    /// Seconds that export and [`Self::check`] of all held-out patches will take, measured on a few of them.
    pub(crate) fn measure_end(&self, network: &Network<f32>) -> Result<f64, Error> {
        let started = Instant::now();
        let (_, model) = self.model(network)?;
        // The file is written twice: without, then with what it is worth.
        let export_seconds = 2.0 * started.elapsed().as_secs_f64();
        let n_held_out = self.held_out.nrows();
        let n_timed = n_held_out.min(TIMED_CHUNK_PATCHES * self.options.threads);
        if n_timed == 0 {
            return Ok(export_seconds);
        }
        let started = Instant::now();
        let patches = self.held_out.slice_axis(Axis(0), Slice::from(..n_timed));
        let chunk_len = TIMED_CHUNK_PATCHES.min(n_timed);
        self.check(network, &model, patches, chunk_len, &self.options.reported_bounds)?;
        let check_seconds = started.elapsed().as_secs_f64();
        Ok(export_seconds + check_seconds * n_held_out as f64 / n_timed as f64)
    }
}

/// Coded sizes of the patches at each bound. In the caller's thread pool; its threads do not change the result.
fn coded_sizes(
    model: &Arc<Model>,
    patches: ArrayView2<f32>,
    chunk_len: usize,
    bounds: &[f64],
) -> Result<Vec<CodedSize>, Error> {
    let chunks: Vec<Array2<f32>> =
        patches.axis_chunks_iter(Axis(0), chunk_len).map(|chunk| chunk.to_owned()).collect();
    let size_at = |&bound: &f64| {
        let sizes: Result<Vec<CodedSize>, Error> =
            chunks.par_iter().map(|chunk| coded_size(model, &GemmBackend::default(), chunk, bound)).collect();
        let none = CodedSize { bound, raw_bytes: 0, coded_bytes: 0, coded_bytes_without_model: 0 };
        Ok(sizes?.into_iter().fold(none, joined))
    };
    bounds.iter().map(size_at).collect()
}

fn joined(mut sum: CodedSize, chunk: CodedSize) -> CodedSize {
    sum.raw_bytes += chunk.raw_bytes;
    sum.coded_bytes += chunk.coded_bytes;
    sum.coded_bytes_without_model += chunk.coded_bytes_without_model;
    sum
}

impl Finisher<'_> {
    /// Checks the model of a finished network. An interrupted training skips the sizes: whoever asked it to end
    /// does not want to wait for them.
    pub(crate) fn check_all(
        &self,
        network: &Network<f32>,
        model: &Arc<Model>,
        is_interrupted: bool,
    ) -> Result<Check, Error> {
        let bounds: &[f64] = if is_interrupted { &[] } else { &self.options.reported_bounds };
        self.check(network, model, self.held_out.view(), CHUNK_PATCHES, bounds)
    }
}
