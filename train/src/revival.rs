//! Gives latents that no patch uses any more a new start, where the network is at its worst.
//!
//! A latent that never fires has no gradient and stays dead. It gets the weights that make it fire on one badly
//! rebuilt patch, about as strongly as that patch's other latents, and an atom that points down the gradient there.

use ndarray::{Array1, ArrayView2, Axis};
use rand::Rng;
use rand_distr::weighted::WeightedIndex;
use rand_distr::{Distribution, Uniform};

use crate::network::Network;
use crate::optimiser::Adam;

/// How often each latent fired since the last look.
#[derive(Clone, Debug)]
pub struct Activity {
    fired: Vec<u64>,
}

impl Activity {
    /// Nothing seen yet.
    pub fn new(n_latents: usize) -> Self {
        Self { fired: vec![0; n_latents] }
    }

    /// As counted before.
    pub fn resumed(fired: Vec<u64>) -> Self {
        Self { fired }
    }

    /// ℓ: counts since the last look.
    pub fn fired(&self) -> &[u64] {
        &self.fired
    }

    /// Adds a batch.
    pub fn add(&mut self, fired: &[u32]) {
        for (total, &count) in self.fired.iter_mut().zip(fired) {
            *total += u64::from(count);
        }
    }

    /// The latents that did not fire; counting starts anew.
    pub fn take_dead(&mut self) -> Vec<usize> {
        let dead = (0..self.fired.len()).filter(|&latent| self.fired[latent] == 0).collect();
        self.fired.fill(0);
        dead
    }
}

/// Strength of a revived latent on its patch, as a share of the patch's mean latent: it must pass the limit on active
/// latents without taking over.
const RELATIVE_STRENGTH: f32 = 1.0;

/// Sets the weights of the dead latents anew from the patches of `components` (B × K), drawn by their squared error.
pub fn revive(
    network: &mut Network<f32>,
    adam: &mut Adam,
    dead: &[usize],
    components: ArrayView2<f32>,
    rng: &mut impl Rng,
) {
    let pass = network.forward(components, &network.atoms());
    let errors: Vec<f64> = pass
        .decoded
        .residual
        .rows()
        .into_iter()
        .map(|row| row.iter().map(|&e| f64::from(e * e)).sum())
        .collect();
    let Ok(by_error) = WeightedIndex::new(&errors) else { return };
    let slopes = network.hidden_gradient(&pass.decoded, 1);
    let mean_hidden = pass.encoder_hidden.mean_axis(Axis(0)).expect("a batch has patches");
    for &latent in dead {
        let patch = by_error.sample(rng);
        let direction = &pass.encoder_hidden.row(patch) - &mean_hidden;
        let squared_length = direction.dot(&direction);
        let (sum, count) =
            pass.decoded.code.patch(patch).fold((0f32, 0u32), |(sum, n), (_, v)| (sum + v.abs(), n + 1));
        let slope = slopes.row(patch);
        if squared_length <= 0.0 || count == 0 || slope.dot(&slope) <= 0.0 {
            continue;
        }
        let strength = RELATIVE_STRENGTH * sum / count as f32;
        let weights = direction * (strength / squared_length);
        network.parameters.latent_bias[latent] = -weights.dot(&mean_hidden);
        network.parameters.latent.row_mut(latent).assign(&weights);
        network.parameters.hidden.row_mut(latent).assign(&downhill(slope.to_owned(), rng));
        adam.reset_latent(latent);
    }
}

/// Unit vector against the slope, with some noise so that two latents from one patch differ.
fn downhill(slope: Array1<f32>, rng: &mut impl Rng) -> Array1<f32> {
    let spread = 0.3 * slope.dot(&slope).sqrt() / (slope.len() as f32).sqrt();
    let noise = Uniform::new_inclusive(-spread, spread).expect("a finite spread");
    let noisy = slope.mapv(|value| noise.sample(rng) - value);
    let norm = noisy.dot(&noisy).sqrt();
    noisy / norm.max(f32::MIN_POSITIVE)
}
