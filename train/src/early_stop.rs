//! Ends a training whose held-out patches stop getting smaller, and keeps the network that coded them best.
//!
//! What counts is what users pay: bytes of held-out patches at a bound, coded by the finished integer model. A loss
//! would not do: it weighs neither the number of latents nor what the residuals cost. The evaluations lie at fixed
//! steps, so the result depends on nothing but the number of steps; the state is part of a checkpoint.

use std::sync::Arc;

use h5z_sae::sae::Model;
use h5z_sae::{Bound, ChunkShape, ElementType, Error, Options, compress_chunk};
use h5z_sae_kernels::GemmBackend;
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use crate::network::{Network, Parameters};

/// When to give up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStop {
    /// Evaluations without a new best after which training ends, at least 1.
    pub patience: usize,
    /// Absolute bound of the coded size, for patches scaled to a maximum of 1.
    pub bound: f64,
}

/// Held-out patches that are coded at each evaluation. Fixed, so that evaluations compare.
pub const EVALUATED_PATCHES: usize = 256;
/// Evaluations in a whole training, at most: each exports the network and codes a megabyte or so.
pub const MOST_EVALUATIONS: usize = 40;
/// Share of the steps during which nothing counts as a failure: a young network codes no patch better than the codec
/// does alone, so that sizes stay the same, and the limit on active latents may still be falling.
const PATIENT_SHARE: f64 = 0.25;
/// Patches of a chunk. Smaller than a file's chunks, so that several threads have work.
const CHUNK_PATCHES: usize = 64;

/// Steps between two evaluations: a fortieth of all, but at least one pass over the data.
pub fn steps_between(n_steps: usize, steps_per_epoch: usize) -> usize {
    (n_steps / MOST_EVALUATIONS).max(steps_per_epoch).max(1)
}

/// The best network so far.
#[derive(Clone, Debug)]
pub struct Best {
    /// Its weights.
    pub parameters: Parameters<f32>,
    /// Bytes that it took.
    pub coded_bytes: usize,
    /// Steps that had been made.
    pub step: usize,
    /// Evaluations since, none of which was better.
    pub n_since: usize,
}

impl Best {
    /// Takes an evaluation of the network after `step` of `n_steps` steps into account.
    pub fn update(
        best: &mut Option<Self>,
        network: &Network<f32>,
        (step, n_steps): (usize, usize),
        coded_bytes: usize,
    ) {
        match best {
            Some(best) if coded_bytes >= best.coded_bytes => {
                best.n_since += usize::from(step as f64 > PATIENT_SHARE * n_steps as f64);
            }
            _ => *best = Some(Self { parameters: network.parameters.clone(), coded_bytes, step, n_since: 0 }),
        }
    }
}

/// Bytes of the patches (rows, scaled to a maximum of 1) coded with the model, in chunks of 64. In the caller's
/// thread pool; the result does not depend on its threads.
///
/// # Errors
/// Those of the codec.
pub fn coded_bytes(model: &Arc<Model>, patches: ArrayView2<f32>, bound: f64) -> Result<usize, Error> {
    let mut options = Options::new(Bound::Absolute(bound));
    options.model = Some(Arc::clone(model));
    let chunks: Vec<ArrayView2<f32>> = patches.axis_chunks_iter(Axis(0), CHUNK_PATCHES).collect();
    let sizes = chunks.into_par_iter().map(|chunk| {
        let shape = ChunkShape::try_new(&[chunk.nrows(), model.patch().rows, model.patch().cols])?;
        let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Ok(compress_chunk(&bytes, ElementType::F32, &shape, &options, &GemmBackend::default())?.len())
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_are_few_and_never_closer_than_an_epoch() {
        assert_eq!(steps_between(4000, 10), 100);
        assert_eq!(steps_between(4000, 700), 700);
        assert_eq!(steps_between(7, 0), 1);
    }
}
