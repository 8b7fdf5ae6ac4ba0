//! What a training holds between two steps: enough to go on from, bit for bit.

use ndarray::Array1;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::early_stop::Best;
use crate::fit::FitOptions;
use crate::network::{Network, Parameters};
use crate::optimiser::{Adam, CLIP_NORM};
use crate::revival::Activity;

/// Inputs are scaled by σ^−0.6: whitening in full drowns the network in what hardly matters, none hides it.
const INPUT_WHITENING: f64 = 0.6;

/// All that a training goes on from, between two steps.
#[derive(Clone, Debug)]
pub struct FitState {
    /// The network.
    pub network: Network<f32>,
    /// Moments of its gradient.
    pub adam: Adam,
    /// Draws what comes next.
    pub rng: ChaCha8Rng,
    /// Order of the patches in this pass over the data.
    pub order: Vec<usize>,
    /// Where in it the next batch begins.
    pub next: usize,
    /// Which latents fired.
    pub activity: Activity,
    /// Steps made.
    pub step: usize,
    /// The best network so far, with early stopping.
    pub best: Option<Best>,
}

impl FitState {
    /// Before the first step, with random weights. `variances`: of the K components.
    pub fn random(n_patches: usize, variances: &Array1<f64>, options: &FitOptions) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let parameters = Parameters::random(options.shape, &mut rng);
        let network =
            Network { parameters, input_scale: input_scale(variances), objective: options.objective };
        Self::start(network, rng, n_patches)
    }

    /// Before the first step, from a network that has been trained before.
    pub fn of_network(network: Network<f32>, n_patches: usize, options: &FitOptions) -> Self {
        Self::start(network, ChaCha8Rng::seed_from_u64(options.seed), n_patches)
    }

    fn start(network: Network<f32>, rng: ChaCha8Rng, n_patches: usize) -> Self {
        let shape = network.parameters.shape();
        Self {
            network,
            adam: Adam::new(shape, CLIP_NORM),
            rng,
            order: (0..n_patches).collect(),
            next: n_patches,
            activity: Activity::new(shape.latents),
            step: 0,
            best: None,
        }
    }
}

/// σ^−0.6 of each component, such that the first one comes at unit variance.
pub fn input_scale(variances: &Array1<f64>) -> Array1<f32> {
    let first = variances[0].sqrt();
    variances.mapv(|variance| ((first / variance.sqrt()).powf(INPUT_WHITENING) / first) as f32)
}
