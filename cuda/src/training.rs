//! A training whose weights, moments and activations live on a device.

use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use crate::Device;
use crate::codes::count;
use crate::library::{
    RawTraining, RawTrainingSizes, RawTrainingState, RawTrainingStep, RawTrainingSums, call,
};

/// Sizes of a network in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingSizes {
    /// K′, components.
    pub components: usize,
    /// m, hidden units.
    pub hidden: usize,
    /// ℓ, latents.
    pub latents: usize,
    /// Patches of a batch, at most.
    pub most_patches: usize,
}

impl TrainingSizes {
    /// Weights of all layers.
    pub fn n_weights(&self) -> usize {
        let Self { components, hidden, latents, .. } = *self;
        2 * components * hidden + 2 * latents * hidden + 2 * hidden + latents + components
    }
}

/// What one step is made of, besides its patches.
#[derive(Clone, Copy, Debug)]
pub struct TrainingStep {
    /// Entries kept in a code; 0 keeps all.
    pub active: usize,
    /// Codes are steps of the latents, not these.
    pub codes_are_steps: bool,
    /// The decoder learns from refined codes.
    pub refines: bool,
    /// λ.
    pub sparsity_lambda: f64,
    /// c; 0 for squared error.
    pub rate_scale: f64,
    /// Of Adam, as all that follows.
    pub learning_rate: f32,
    /// Largest norm of the gradient.
    pub clip_norm: f32,
    /// Decays of the means of gradients and of their squares.
    pub betas: [f32; 2],
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// 1/(1 − βⁿ) of both means after n steps.
    pub corrections: [f32; 2],
}

/// Sums over a batch, before its step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingSums {
    /// Σ of squared errors.
    pub squared_error: f64,
    /// Σ ρ(r).
    pub distortion: f64,
    /// Σ|g|.
    pub l1: f64,
    /// ℓ: patches in which each latent took part.
    pub fired: Vec<u32>,
}

/// A network in training on a device.
pub struct Training {
    device: Arc<Device>,
    handle: NonNull<RawTraining>,
    sizes: TrainingSizes,
}

// SAFETY: a handle may go from thread to thread, one at a time (include/h5zsae_cuda.h); `&mut self` sees to the latter.
unsafe impl Send for Training {}

impl Training {
    /// Makes room on the device. `input_scale`: K′. Its weights are set by [`Self::write`].
    ///
    /// # Errors
    /// A sentence: the device cannot be used any more, sizes are beyond 32 bits, too little memory.
    pub fn new(device: Arc<Device>, sizes: TrainingSizes, input_scale: &[f32]) -> Result<Self, String> {
        expect_len("scales of the input", input_scale.len(), sizes.components)?;
        let raw = RawTrainingSizes {
            n_components: count(sizes.components)?,
            n_hidden: count(sizes.hidden)?,
            n_latents: count(sizes.latents)?,
            most_patches: count(sizes.most_patches)?,
            input_scale: input_scale.as_ptr(),
        };
        let mut handle = null_mut();
        let (library, device_handle) = device.library()?;
        // SAFETY:
        // - the device is open as long as `device`, which is kept, lives;
        // - `raw` holds a scale for each component, as was checked;
        // - `handle` is valid for the library to write to.
        call(|message| unsafe {
            (library.training_new)(device_handle.as_ptr(), &raw, &mut handle, message)
        })?;
        let handle = NonNull::new(handle).ok_or("the library gave no training")?;
        Ok(Self { device, handle, sizes })
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Sets weights, and the means of gradients and of their squares: each all tensors in a row.
    ///
    /// # Errors
    /// A sentence: another number of weights, a failure of the device.
    pub fn write(&mut self, state: [&[f32]; 3]) -> Result<(), String> {
        self.expect_weights(state.map(<[f32]>::len))?;
        // The library reads where the pointers are not const.
        let [weights, mean, square] = state.map(|numbers| numbers.as_ptr().cast_mut());
        let raw = RawTrainingState { weights, mean, square };
        let (library, _) = self.device.library()?;
        // SAFETY: the handle lives as long as `self`; each pointer has as many numbers as the network has weights, and
        // this function only reads them.
        call(|message| unsafe { (library.training_write)(self.handle.as_ptr(), &raw, message) })
    }

    /// Reads what [`Self::write`] sets.
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, state: [&mut [f32]; 3]) -> Result<(), String> {
        self.expect_weights([state[0].len(), state[1].len(), state[2].len()])?;
        let [weights, mean, square] = state.map(<[f32]>::as_mut_ptr);
        let raw = RawTrainingState { weights, mean, square };
        let (library, _) = self.device.library()?;
        // SAFETY: as in `write`, and nobody else reads or writes the numbers, which are borrowed for this call.
        call(|message| unsafe { (library.training_read)(self.handle.as_ptr(), &raw, message) })
    }

    /// Makes a step on the patches of `components` (patches × K′).
    ///
    /// # Errors
    /// A sentence: no whole patches or more than a batch has, a failure of the device. The weights there are then lost.
    pub fn step(&mut self, step: &TrainingStep, components: &[f32]) -> Result<TrainingSums, String> {
        let n_patches = components.len() / self.sizes.components.max(1);
        expect_len("components of a batch", components.len(), n_patches * self.sizes.components)?;
        let raw = RawTrainingStep {
            n_patches: count(n_patches)?,
            active: count(step.active)?,
            steps: step.codes_are_steps.into(),
            refines: step.refines.into(),
            components: components.as_ptr(),
            sparsity_lambda: step.sparsity_lambda,
            rate_scale: step.rate_scale,
            learning_rate: step.learning_rate,
            clip_norm: step.clip_norm,
            beta1: step.betas[0],
            beta2: step.betas[1],
            epsilon: step.epsilon,
            mean_correction: step.corrections[0],
            square_correction: step.corrections[1],
        };
        let mut sums = TrainingSums { fired: vec![0; self.sizes.latents], ..TrainingSums::default() };
        let raw_sums = RawTrainingSums {
            squared_error: &mut sums.squared_error,
            distortion: &mut sums.distortion,
            l1: &mut sums.l1,
            fired: sums.fired.as_mut_ptr(),
        };
        let (library, _) = self.device.library()?;
        // SAFETY:
        // - the handle lives as long as `self`;
        // - `raw` has `n_patches` × K′ components, and the library refuses more patches than it has room for;
        // - `raw_sums` points to three numbers and ℓ counts that live here, and that nobody else uses meanwhile.
        call(|message| unsafe {
            (library.training_advance)(self.handle.as_ptr(), &raw, &raw_sums, message)
        })?;
        Ok(sums)
    }

    fn expect_weights(&self, lens: [usize; 3]) -> Result<(), String> {
        lens.into_iter().try_for_each(|len| expect_len("weights", len, self.sizes.n_weights()))
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        // Declined in a forked child, where CUDA's handles mean nothing.
        if let Some(library) = self.device.library_to_free() {
            // SAFETY: made by `new` and freed nowhere else; the device is still open.
            unsafe { (library.training_free)(self.handle.as_ptr()) };
        }
    }
}

fn expect_len(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found} {what}: {expected} expected")) }
}
