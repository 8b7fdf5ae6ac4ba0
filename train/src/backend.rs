//! Where steps are made: on the CPU's threads, or on a device that holds weights, moments and activations. The loop
//! around them is the same, and so are its draws; results differ by rounding.

use std::sync::Arc;

use h5z_sae::sae::Penalty;
use h5z_sae_cuda::{Device, Training, TrainingSizes, TrainingStep};
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use crate::fit::FitOptions;
use crate::network::{BatchStats, Parameters};
use crate::optimiser::{BETA1, BETA2, CLIP_NORM, EPSILON, sum_shards};
use crate::ranks::{Ranks, sum_parameters, sum_stats};
use crate::state::FitState;

/// What a step is made of, besides the state.
pub(crate) struct Step<'a> {
    /// Components of those patches of the batch that are here.
    pub batch: &'a Array2<f32>,
    /// Patches of the batch on all ranks.
    pub batch_len: usize,
    /// Of Adam.
    pub learning_rate: f32,
    /// Whether the decoder learns from refined codes.
    pub refines: bool,
}

/// Makes steps. Errors are sentences; after one the backend's weights are lost.
pub(crate) trait Backend: Send {
    /// Moves the weights against the gradient of the batch's loss, for the objective of the state. Collective.
    ///
    /// # Errors
    /// Those of a device.
    fn step(
        &mut self,
        state: &mut FitState,
        step: &Step,
        ranks: &mut dyn Ranks,
    ) -> Result<BatchStats, String>;

    /// Brings weights and moments of the state up to date.
    ///
    /// # Errors
    /// Those of a device.
    fn read(&mut self, state: &mut FitState) -> Result<(), String>;

    /// Takes over weights and moments of the state.
    ///
    /// # Errors
    /// Those of a device.
    fn write(&mut self, state: &FitState) -> Result<(), String>;

    /// The device, if it is one.
    fn device(&self) -> Option<&Arc<Device>> {
        None
    }
}

/// The device's backend where there is one that can be used, else the CPU's. Says why a device is not used.
pub(crate) fn choose(state: &FitState, options: &FitOptions, ranks: &dyn Ranks) -> Box<dyn Backend> {
    // Gradients of several ranks are summed in the CPU's memory.
    let usable = options.device.as_ref().filter(|device| ranks.n_ranks() == 1 && device.is_usable());
    if let Some(device) = usable {
        match DeviceBackend::new(device, state, options) {
            Ok(backend) => return Box::new(backend),
            Err(reason) => device.give_up(&reason),
        }
    }
    Box::new(CpuBackend::new(options))
}

/// Batches in shards, one for each thread; gradients are summed in the shards' order, then over ranks. Works on the
/// state itself.
pub(crate) struct CpuBackend {
    /// One for each shard.
    gradients: Vec<Parameters<f32>>,
}

impl CpuBackend {
    pub(crate) fn new(options: &FitOptions) -> Self {
        Self { gradients: vec![Parameters::zeros(options.shape); options.threads.max(1)] }
    }
}

impl Backend for CpuBackend {
    fn step(
        &mut self,
        state: &mut FitState,
        step: &Step,
        ranks: &mut dyn Ranks,
    ) -> Result<BatchStats, String> {
        let (network, atoms) = (&state.network, state.network.atoms());
        let shards =
            step.batch.axis_chunks_iter(Axis(0), step.batch.nrows().div_ceil(self.gradients.len()).max(1));
        let stats: Vec<BatchStats> = self
            .gradients
            .par_iter_mut()
            .zip(shards.into_par_iter())
            .map(|(gradient, rows)| {
                let pass = match step.refines {
                    true => network.forward_refined(rows, &atoms),
                    false => network.forward(rows, &atoms),
                };
                gradient.clear();
                network.backward(&pass, &atoms, step.batch_len, gradient);
                network.stats(&pass)
            })
            .collect();
        if stats.is_empty() {
            self.gradients[0].clear();
        }
        sum_shards(&mut self.gradients[..stats.len()]);
        sum_parameters(&mut self.gradients[0], ranks);
        atoms.backward(&mut self.gradients[0].hidden);
        state.adam.step(&mut state.network.parameters, &self.gradients[0], step.learning_rate);
        Ok(sum_stats(stats, state.network.parameters.shape().latents, ranks))
    }

    fn read(&mut self, _state: &mut FitState) -> Result<(), String> {
        Ok(())
    }

    fn write(&mut self, _state: &FitState) -> Result<(), String> {
        Ok(())
    }
}

/// Steps on a device. Between two calls of `read` the state's weights and moments are those of the last one.
struct DeviceBackend {
    training: Training,
    n_weights: usize,
}

impl DeviceBackend {
    fn new(device: &Arc<Device>, state: &FitState, options: &FitOptions) -> Result<Self, String> {
        let shape = state.network.parameters.shape();
        let sizes = TrainingSizes {
            components: shape.components,
            hidden: shape.hidden,
            latents: shape.latents,
            most_patches: options.batch,
        };
        let input_scale = state.network.input_scale.to_vec();
        let training = Training::new(Arc::clone(device), sizes, &input_scale)?;
        let mut backend = Self { training, n_weights: sizes.n_weights() };
        backend.write(state)?;
        Ok(backend)
    }
}

impl Backend for DeviceBackend {
    fn step(
        &mut self,
        state: &mut FitState,
        step: &Step,
        _ranks: &mut dyn Ranks,
    ) -> Result<BatchStats, String> {
        let objective = &state.network.objective;
        let request = TrainingStep {
            active: objective.active,
            codes_are_steps: objective.penalty == Penalty::Grad,
            refines: step.refines,
            sparsity_lambda: objective.sparsity_lambda,
            rate_scale: objective.rate_scale,
            learning_rate: step.learning_rate,
            clip_norm: CLIP_NORM,
            betas: [BETA1, BETA2],
            epsilon: EPSILON,
            corrections: state.adam.begin_step(),
        };
        let batch = step.batch.as_standard_layout();
        let sums = self.training.step(&request, batch.as_slice().ok_or("a batch with gaps")?)?;
        Ok(BatchStats {
            n_patches: step.batch.nrows(),
            squared_error: sums.squared_error,
            distortion: sums.distortion,
            l1: sums.l1,
            n_entries: sums.fired.iter().map(|&count| count as usize).sum(),
            fired: sums.fired,
        })
    }

    fn read(&mut self, state: &mut FitState) -> Result<(), String> {
        let [mut weights, mut mean, mut square] = [(); 3].map(|()| vec![0f32; self.n_weights]);
        self.training.read([&mut weights, &mut mean, &mut square])?;
        unpack(&weights, &mut state.network.parameters);
        for (numbers, moments) in [mean, square].iter().zip(state.adam.moments_mut()) {
            unpack(numbers, moments);
        }
        Ok(())
    }

    fn write(&mut self, state: &FitState) -> Result<(), String> {
        let [mean, square] = state.adam.moments().map(|moments| moments.tensors().concat());
        self.training.write([&state.network.parameters.tensors().concat(), &mean, &square])
    }

    fn device(&self) -> Option<&Arc<Device>> {
        Some(self.training.device())
    }
}

/// `numbers`: all tensors in a row.
fn unpack(numbers: &[f32], parameters: &mut Parameters<f32>) {
    let mut rest = numbers;
    for tensor in parameters.tensors_mut() {
        let (here, after) = rest.split_at(tensor.len());
        tensor.copy_from_slice(here);
        rest = after;
    }
}
