//! What the network can do for each patch of a chunk: scale, latents, linear atoms and their steps.
//!
//! Everything here is an encoder's guess. The exact decoder says what a guess is worth, and the coded size decides.

use std::sync::Arc;

use crate::atoms::{AtomCoder, AtomRules, NetworkPatch, PatchHeader};
use crate::decode::atom_rules;
use crate::domain::round_shift;
use crate::encode::Chunk;
use crate::entropy::{BitCoder, CostCounter};
use crate::error::Error;
use crate::patch::{BLOCK, PatchGrid};
use crate::sae::{Model, PatchCode};
use crate::stream::payload::{NetworkRules, patch_is_allowed};

/// What the network can do for each patch of a chunk, `Pixels` where it is no candidate.
pub(crate) struct NetworkCandidates {
    pub(crate) rules: NetworkRules,
    pub(crate) headers: Vec<PatchHeader>,
}

/// Patches on which the steps of a chunk are chosen.
const SAMPLES: usize = 8;

/// Steps of the latents and of the linear atoms from which the search starts, in units of the bound: near the best in
/// every measurement so far.
const LATENT_STEP_BOUNDS: f64 = 12.0;
const LINEAR_STEP_BOUNDS: f64 = 8.0;

/// Levels within this many steps of 0 become 0: a nonzero level costs more bits than it saves nearby.
const DEAD_ZONE: f32 = 0.6;

/// Patches darker than 2⁻²⁴ of the brightest have nothing that a bound would not swallow.
const DARKEST_SCALE: i32 = -24 * 8;

/// Patches that are run through the network together.
const BATCH: usize = 64;

/// Rough costs of a residual, in 1/16 bit: an empty block, a busy one, a zero in a busy one, and a nonzero of
/// magnitude 1; each doubling of the magnitude costs two bits more.
const EMPTY_BLOCK: u64 = 2;
const BUSY_BLOCK: u64 = 48;
const ZERO_PIXEL: u64 = 1;
const NONZERO_PIXEL: u64 = 32;

/// Finds the candidates; `None` if the model's patches do not suit the frames or nothing in them has a scale.
pub(crate) fn find_candidates(chunk: &Chunk, model: &Arc<Model>) -> Result<Option<NetworkCandidates>, Error> {
    let patch = model.patch();
    if !patch_is_allowed(patch, chunk.rows, chunk.cols) {
        return Ok(None);
    }
    let Some(search) = Search::new(chunk, model) else { return Ok(None) };
    let rules = search.choose_steps()?;
    let headers = search.all_headers(&rules)?;
    Ok(Some(NetworkCandidates { rules, headers }))
}

/// The patches of a chunk as the network sees them.
struct Search<'a> {
    chunk: &'a Chunk<'a>,
    model: &'a Arc<Model>,
    grid: PatchGrid,
    base: NetworkRules,
    /// The bound over the brightest value.
    relative_bound: f64,
    /// Scale of each patch, `None` where it has no values.
    scales: Vec<Option<i32>>,
    /// Patches with a scale, and their inputs and latents, n and ℓ values each, in the same order.
    patches: Vec<usize>,
    inputs: Vec<f32>,
    latents: Vec<f32>,
}

/// Which atoms a candidate may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Both,
    Latents,
    Linear,
}

/// A candidate for one patch and its estimated cost in 1/16 bit.
struct Guess {
    patch: NetworkPatch,
    cost: u64,
}

impl<'a> Search<'a> {
    fn new(chunk: &'a Chunk<'a>, model: &'a Arc<Model>) -> Option<Self> {
        let grid = PatchGrid { rows: chunk.rows, cols: chunk.cols, patch: model.patch() };
        let target = &chunk.target;
        let brightest = target.lowest.abs().max(target.highest.abs()) as f64;
        let brightest = target
            .positions
            .iter()
            .zip(&target.specials)
            .filter(|(_, special)| **special == 0)
            .fold(0.0, |most: f64, (position, _)| most.max(position.abs() as f64))
            .min(brightest);
        if brightest < 1.0 {
            return None;
        }
        let exponent = brightest.log2().floor();
        let mantissa = (brightest * (29.0 - exponent).exp2()).round() as u32;
        let base = NetworkRules {
            mantissa: mantissa.clamp(1 << 29, (1 << 30) - 1),
            shift: (59 - exponent as i64) as i8,
            latent_step_log2: 0,
            linear_step_log2: 0,
        };
        let relative_bound = target.domain.step_positions() as f64 / 2.0 / brightest;
        let mut search = Self {
            chunk,
            model,
            grid,
            base,
            relative_bound,
            scales: Vec::new(),
            patches: Vec::new(),
            inputs: Vec::new(),
            latents: Vec::new(),
        };
        search.gather_inputs(brightest);
        if search.patches.is_empty() {
            return None;
        }
        search.latents = model.analyze(chunk.backend, &search.inputs);
        Some(search)
    }

    /// Scales and transforms every patch.
    fn gather_inputs(&mut self, brightest: f64) {
        let target = &self.chunk.target;
        let mut values = Vec::new();
        for frame in 0..self.chunk.n_frames {
            let pixels = self.chunk.pixels(frame);
            let inpainted = inpaint(&target.positions[pixels.clone()], &target.specials[pixels]);
            for patch in 0..self.grid.n_patches() {
                values.clear();
                self.grid.gather(&inpainted, patch, &mut values);
                let most = values.iter().fold(0.0f64, |most, &v| most.max((v as f64).abs()));
                let scale =
                    patch_scale(most / brightest).filter(|&scale| self.base.multiplier(scale).is_some());
                self.scales.push(scale);
                let Some(scale) = scale else { continue };
                let factor = (-f64::from(scale) / 8.0).exp2() / brightest;
                let scaled: Vec<f32> = values.iter().map(|&v| (v as f64 * factor) as f32).collect();
                let start = self.inputs.len();
                self.inputs.resize(start + scaled.len(), 0.0);
                self.model.transform_patch(&scaled, &mut self.inputs[start..]);
                self.patches.push(self.scales.len() - 1);
            }
        }
    }

    /// Steps at scale 0 that make a sample of patches cheapest.
    fn choose_steps(&self) -> Result<NetworkRules, Error> {
        let at_bound =
            |bounds: f64| (-(bounds * self.relative_bound).log2()).round().clamp(-64.0, 64.0) as i8;
        let mut rules = NetworkRules {
            latent_step_log2: at_bound(LATENT_STEP_BOUNDS),
            linear_step_log2: at_bound(LINEAR_STEP_BOUNDS),
            ..self.base
        };
        if self.chunk.latents_only {
            rules.latent_step_log2 = self.model.spec().none_step_log2 as i8;
            return Ok(rules);
        }
        let n_samples = SAMPLES.min(self.patches.len());
        let samples: Vec<usize> =
            (0..n_samples).map(|i| (2 * i + 1) * self.patches.len() / (2 * n_samples)).collect();
        let cost = |rules: &NetworkRules| self.total_cost(rules, &samples);
        let mut best = cost(&rules)?;
        // One patch does not say enough to search far.
        let reach: i8 = if n_samples < SAMPLES { 1 } else { 3 };
        for latents in [false, true] {
            for direction in [-1, 1] {
                for _ in 0..reach {
                    let mut next = rules;
                    let step = if latents { &mut next.latent_step_log2 } else { &mut next.linear_step_log2 };
                    *step = step.saturating_add(direction);
                    let next_cost = cost(&next)?;
                    if next_cost >= best {
                        break;
                    }
                    (best, rules) = (next_cost, next);
                }
            }
        }
        Ok(rules)
    }

    fn total_cost(&self, rules: &NetworkRules, samples: &[usize]) -> Result<u64, Error> {
        Ok(self.guess(rules, samples, Kinds::Both)?.iter().map(|guess| guess.cost).sum())
    }

    /// The cheapest candidate of each patch of the chunk.
    fn all_headers(&self, rules: &NetworkRules) -> Result<Vec<PatchHeader>, Error> {
        let unused = PatchHeader::Pixels(crate::frame::Method::Aligned);
        let mut headers = vec![unused; self.scales.len()];
        let nth: Vec<usize> = (0..self.patches.len()).collect();
        let kinds: &[Kinds] = if self.chunk.latents_only {
            &[Kinds::Latents]
        } else {
            &[Kinds::Both, Kinds::Latents, Kinds::Linear]
        };
        for batch in nth.chunks(BATCH) {
            let mut best: Vec<Option<Guess>> = batch.iter().map(|_| None).collect();
            for &kinds in kinds {
                for (best, guess) in best.iter_mut().zip(self.guess(rules, batch, kinds)?) {
                    if best.as_ref().is_none_or(|best| guess.cost < best.cost) {
                        *best = Some(guess);
                    }
                }
            }
            for (&nth, best) in batch.iter().zip(best) {
                if let Some(best) = best {
                    headers[self.patches[nth]] = PatchHeader::Network(Box::new(best.patch));
                }
            }
        }
        Ok(headers)
    }

    /// Candidates with the given kinds of atoms for some patches (by their place in `patches`).
    fn guess(&self, rules: &NetworkRules, nth: &[usize], kinds: Kinds) -> Result<Vec<Guess>, Error> {
        let steps = atom_rules(rules, self.model);
        let mut codes: Vec<PatchCode> = nth.iter().map(|&nth| self.latent_code(&steps, nth, kinds)).collect();
        if kinds != Kinds::Latents {
            self.add_linear(nth, &mut codes)?;
        }
        let n_values = self.grid.patch.n_values();
        let mut output = vec![0; nth.len() * n_values];
        self.model.decode_patches(self.chunk.backend, &codes, &mut output)?;
        let atoms = AtomCoder::new(Some(steps));
        let guesses = nth.iter().zip(codes).enumerate().map(|(i, (&nth, code))| {
            let index = self.patches[nth];
            let scale = self.scales[index].unwrap_or(0);
            let patch = NetworkPatch {
                scale,
                has_latents: !code.latents.is_empty(),
                has_linear: !code.linear.is_empty(),
                code,
            };
            let residual = self.residual_cost(rules, index, scale, &output[i * n_values..][..n_values]);
            Guess { cost: residual + atom_cost(&atoms, &patch), patch }
        });
        Ok(guesses.collect())
    }

    fn latent_code(&self, steps: &AtomRules, nth: usize, kinds: Kinds) -> PatchCode {
        let n_latents = self.model.n_latents();
        let scale = self.scales[self.patches[nth]].unwrap_or(0);
        let (latent_step_log2, linear_step_log2) = steps.steps(scale);
        let latents = match kinds {
            Kinds::Linear => Vec::new(),
            Kinds::Both | Kinds::Latents => self.model.quantize_latents(
                &self.latents[nth * n_latents..][..n_latents],
                latent_step_log2,
                DEAD_ZONE,
            ),
        };
        PatchCode { latent_step_log2, linear_step_log2, latents, linear: Vec::new() }
    }

    /// Linear atoms for what the latents leave.
    fn add_linear(&self, nth: &[usize], codes: &mut [PatchCode]) -> Result<(), Error> {
        let n_values = self.grid.patch.n_values();
        let mut residual = vec![0.0; nth.len() * n_values];
        self.model.reconstruct_transformed(self.chunk.backend, codes, &mut residual)?;
        for (row, &nth) in residual.chunks_exact_mut(n_values).zip(nth) {
            for (left, &input) in row.iter_mut().zip(&self.inputs[nth * n_values..][..n_values]) {
                *left = input - *left;
            }
        }
        let n_linear = self.model.n_linear();
        let coefs = self.model.project(self.chunk.backend, &residual);
        for (code, row) in codes.iter_mut().zip(coefs.chunks_exact(n_linear)) {
            let has_latents = !code.latents.is_empty();
            let priors = self.model.priors();
            let sizes = if has_latents { &priors.linear_scale } else { &priors.linear_only_scale };
            code.linear = self.model.quantize_linear(row, code.linear_step_log2, DEAD_ZONE);
            let step_log2 = i32::from(code.linear_step_log2);
            code.linear
                .retain(|&(atom, _)| crate::atoms::linear_size(sizes[atom as usize], step_log2).is_some());
        }
        Ok(())
    }

    /// Estimated cost, in 1/16 bit, of what the network's output leaves of a patch.
    fn residual_cost(&self, rules: &NetworkRules, index: usize, scale: i32, output: &[i32]) -> u64 {
        let Some((factor, shift)) = rules.multiplier(scale) else { return u64::MAX / 2 };
        if self.chunk.latents_only {
            return 0;
        }
        let target = &self.chunk.target;
        let n_patches = self.grid.n_patches();
        let region = self.grid.region(index % n_patches);
        let frame = index / n_patches * self.grid.rows * self.grid.cols;
        let bits = target.domain.fraction_bits;
        let mut cost = 0;
        for top in (0..region.rows).step_by(BLOCK) {
            for left in (0..region.cols).step_by(BLOCK) {
                let (mut zeros, mut others) = (0, 0);
                for row in top..region.rows.min(top + BLOCK) {
                    for col in left..region.cols.min(left + BLOCK) {
                        let i = frame + (region.row + row) * self.grid.cols + region.col + col;
                        let value = i64::from(output[row * self.grid.patch.cols + col]);
                        let position =
                            round_shift(value * factor, shift).clamp(target.lowest, target.highest);
                        let residual = round_shift(target.positions[i] - position, bits).unsigned_abs();
                        if residual == 0 || target.specials[i] != 0 {
                            zeros += ZERO_PIXEL;
                        } else {
                            others += NONZERO_PIXEL + 32 * u64::from(residual.ilog2());
                        }
                    }
                }
                cost += if others == 0 { EMPTY_BLOCK } else { BUSY_BLOCK + zeros + others };
            }
        }
        cost
    }
}

/// Eighths of an octave from the brightest value up to which a patch reaches; `None` where it is dark.
fn patch_scale(share: f64) -> Option<i32> {
    if share <= 0.0 {
        return None;
    }
    // Rounding in the logarithm must not push an exact power over the edge.
    let scale = (share.log2() * 8.0 - 1e-6).ceil() as i32;
    (scale >= DARKEST_SCALE).then_some(scale.min(0))
}

/// Positions with special pixels replaced by the last ordinary one before them.
fn inpaint(positions: &[i64], specials: &[u8]) -> Vec<i64> {
    let mut last = 0;
    positions
        .iter()
        .zip(specials)
        .map(|(&position, &special)| {
            if special == 0 {
                last = position;
            }
            last
        })
        .collect()
}

/// Cost of a patch's header in 1/16 bit, before anything adapts.
fn atom_cost(atoms: &AtomCoder, patch: &NetworkPatch) -> u64 {
    let mut counter = CostCounter::default();
    let header = PatchHeader::Network(Box::new(patch.clone()));
    atoms.clone().code(&mut counter, Some(&header), None, None);
    counter.cost() >> 12
}
