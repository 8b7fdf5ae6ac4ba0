//! Adam (Kingma and Ba 2015) on all weights, with the gradient clipped by its norm.

use rayon::prelude::*;

use crate::network::{NetworkShape, Parameters};

/// Decay of the mean of gradients.
pub(crate) const BETA1: f32 = 0.9;
/// Decay of the mean of squares. 0.99 rather than the usual 0.999: steps are few, and sparse codes make gradients
/// of single latents rare and large.
pub(crate) const BETA2: f32 = 0.99;
/// Added to the root of the mean square.
pub(crate) const EPSILON: f32 = 1e-8;

/// Weights that one task of a thread handles. Fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// Clip of the gradient's norm: far above that of a settled training, so that only a burst is cut.
pub const CLIP_NORM: f32 = 10.0;

/// Running moments of the gradient.
#[derive(Clone, Debug)]
pub struct Adam {
    mean: Parameters<f32>,
    square: Parameters<f32>,
    n_steps: i32,
    /// Gradients of a larger norm are scaled down to it.
    clip_norm: f32,
}

impl Adam {
    /// At rest.
    pub fn new(shape: NetworkShape, clip_norm: f32) -> Self {
        Self { mean: Parameters::zeros(shape), square: Parameters::zeros(shape), n_steps: 0, clip_norm }
    }

    /// As it was after `n_steps` steps, with the given means of gradients and of their squares.
    pub fn resumed(mean: Parameters<f32>, square: Parameters<f32>, n_steps: usize, clip_norm: f32) -> Self {
        Self { mean, square, n_steps: i32::try_from(n_steps).unwrap_or(i32::MAX), clip_norm }
    }

    /// Means of gradients, and of their squares.
    pub fn moments(&self) -> [&Parameters<f32>; 2] {
        [&self.mean, &self.square]
    }

    /// Counts a step, and gives the factors by which the means, which began at 0, are corrected in it.
    pub(crate) fn begin_step(&mut self) -> [f32; 2] {
        self.n_steps += 1;
        [BETA1, BETA2].map(|beta| 1.0 / (1.0 - beta.powi(self.n_steps)))
    }

    /// Moves the weights one step of the given learning rate against the gradient.
    pub fn step(&mut self, weights: &mut Parameters<f32>, gradient: &Parameters<f32>, learning_rate: f32) {
        let [mean_correction, square_correction] = self.begin_step();
        let scale = (self.clip_norm / norm(gradient)).min(1.0);
        let tensors = weights.tensors_mut().into_iter().zip(gradient.tensors());
        let moments = self.mean.tensors_mut().into_iter().zip(self.square.tensors_mut());
        for ((weights, gradient), (mean, square)) in tensors.zip(moments) {
            let chunks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
            let moments = mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK));
            chunks.zip(moments).for_each(|((weights, gradient), (mean, square))| {
                for index in 0..weights.len() {
                    let slope = gradient[index] * scale;
                    mean[index] = BETA1 * mean[index] + (1.0 - BETA1) * slope;
                    square[index] = BETA2 * square[index] + (1.0 - BETA2) * slope * slope;
                    let spread = (square[index] * square_correction).sqrt() + EPSILON;
                    weights[index] -= learning_rate * mean[index] * mean_correction / spread;
                }
            });
        }
    }

    /// Means and mean squares of gradients, to be set alike on all ranks.
    pub fn moments_mut(&mut self) -> [&mut Parameters<f32>; 2] {
        [&mut self.mean, &mut self.square]
    }

    /// Forgets what was learnt about a latent's weights, which have been set anew.
    pub fn reset_latent(&mut self, latent: usize) {
        for moments in self.moments_mut() {
            moments.latent.row_mut(latent).fill(0.0);
            moments.hidden.row_mut(latent).fill(0.0);
            moments.latent_bias[latent] = 0.0;
        }
    }
}

/// Euclidean norm over all tensors, summed in a fixed order.
fn norm(gradient: &Parameters<f32>) -> f32 {
    let squares = gradient.tensors().map(|tensor| {
        let chunk_sums: Vec<f64> = tensor
            .par_chunks(CHUNK)
            .map(|chunk| chunk.as_chunks::<8>().0.iter().fold([0f32; 8], add_squares))
            .zip(tensor.par_chunks(CHUNK).map(|chunk| chunk.as_chunks::<8>().1))
            .map(|(sums, rest)| f64::from(sums.iter().sum::<f32>() + rest.iter().map(|v| v * v).sum::<f32>()))
            .collect();
        chunk_sums.iter().sum::<f64>()
    });
    squares.iter().sum::<f64>().sqrt() as f32
}

fn add_squares(mut sums: [f32; 8], block: &[f32; 8]) -> [f32; 8] {
    for (sum, value) in sums.iter_mut().zip(block) {
        *sum += value * value;
    }
    sums
}

/// Sums the gradients of shards into the first one, in their order.
pub fn sum_shards(shards: &mut [Parameters<f32>]) {
    let Some((total, others)) = shards.split_first_mut() else { return };
    for other in others {
        for (sum, part) in total.tensors_mut().into_iter().zip(other.tensors()) {
            sum.par_chunks_mut(CHUNK).zip(part.par_chunks(CHUNK)).for_each(|(sum, part)| {
                for (sum, &value) in sum.iter_mut().zip(part) {
                    *sum += value;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: NetworkShape = NetworkShape { components: 2, hidden: 3, latents: 4 };

    #[test]
    fn finds_the_minimum_of_a_bowl() {
        let mut weights = Parameters::<f32>::zeros(SHAPE);
        let mut adam = Adam::new(SHAPE, 1e6);
        for step in 0..2000 {
            let mut gradient = Parameters::zeros(SHAPE);
            for (slopes, weights) in gradient.tensors_mut().into_iter().zip(weights.tensors()) {
                for (index, (slope, weight)) in slopes.iter_mut().zip(weights).enumerate() {
                    *slope = (1 + index) as f32 * (weight - 1.5);
                }
            }
            adam.step(&mut weights, &gradient, 1e-2 * (1.0 - step as f32 / 2000.0));
        }
        assert!(weights.tensors().into_iter().flatten().all(|weight| (weight - 1.5).abs() < 1e-3));
    }

    #[test]
    fn a_long_gradient_is_clipped_to_its_direction() {
        let mut long = Parameters::<f32>::zeros(SHAPE);
        long.coef.fill(300.0);
        let mut short = long.clone();
        short.coef.mapv_inplace(|slope| slope / norm(&long));
        let (mut after_long, mut after_short) = (Parameters::zeros(SHAPE), Parameters::zeros(SHAPE));
        Adam::new(SHAPE, 1.0).step(&mut after_long, &long, 0.1);
        Adam::new(SHAPE, 1.0).step(&mut after_short, &short, 0.1);
        assert!((after_long.coef - after_short.coef).iter().all(|d: &f32| d.abs() < 1e-6));
    }
}
