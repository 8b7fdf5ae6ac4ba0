//! Which patches are worth a search, and the cheapest candidate of each: little is spent on what will not be chosen.

use super::{BATCH, Begun, Guess, ResidualCosts, Search, Settings, linear::Pulls};
use crate::atoms::{NetworkPatch, PatchHeader};
use crate::error::Error;
use crate::frame::Method;
use crate::options::Effort;

/// A patch is promising where the network takes at most so many times the bits that the patch costs without one, by a
/// first estimate; it is likely where the network does so after a short search.
const PROMISING: f64 = 2.0;
const LIKELY: f64 = 1.2;

/// Quarters of an octave by which the linear step of a patch may differ from the chunk's.
const LINEAR_CHANGES: [i32; 4] = [-1, 1, -2, 2];

/// The cheapest candidate of a patch so far.
struct Cheapest {
    bits: f64,
    patch: NetworkPatch,
}

impl Search<'_> {
    /// Those of some patches for which the network may be worth its bits; all where nothing is known of their costs, or
    /// no effort is to be spared.
    pub(super) fn promising(&self, settings: &Settings, nth: &[usize]) -> Result<Vec<usize>, Error> {
        if self.without.is_none() || self.chunk.effort == Effort::Best {
            return Ok(nth.to_vec());
        }
        let mut promising = Vec::new();
        for batch in nth.chunks(BATCH) {
            let begun = self.begin(settings, batch)?;
            let coded = self.code(settings, batch, &begun, Some(0), Pulls::NONE);
            promising.extend(batch.iter().zip(coded).filter_map(|(&nth, coded)| {
                let bits = coded.header_bits + self.least_residual_bits(coded.n_beyond);
                (bits <= PROMISING * self.bits_without(nth)).then_some(nth)
            }));
        }
        Ok(promising)
    }

    /// What so many residuals take that are not 0, if all there is to tell is where they are and their signs.
    fn least_residual_bits(&self, n_nonzero: usize) -> f64 {
        // Of mirror images one of two is told.
        let images = if self.model.spec().point_symmetric { 2.0 } else { 1.0 };
        let (n_pixels, n_nonzero) = (self.grid.patch.n_values() as f64, n_nonzero as f64);
        let term = |n: f64| if n > 0.0 { n * (n_pixels / n).log2() } else { 0.0 };
        (term(n_nonzero) + term(n_pixels - n_nonzero) + n_nonzero) / images
    }

    /// Bits of a patch without a network; without end where it has not been coded so.
    fn bits_without(&self, nth: usize) -> f64 {
        self.without.map_or(f64::INFINITY, |without| without.bits(self.patches[nth]))
    }

    /// The cheapest candidate of each of some patches, for all patches of the chunk.
    pub(super) fn all_headers(
        &self,
        settings: &Settings,
        costs: &ResidualCosts,
        nth: &[usize],
    ) -> Result<Vec<PatchHeader>, Error> {
        let unused = PatchHeader::Pixels(Method::Aligned);
        let mut headers = vec![unused; self.scales.len()];
        for batch in nth.chunks(BATCH) {
            let cheapest = match self.chunk.latents_only {
                true => self.only_latents(settings, costs, batch)?,
                false => self.cheapest(settings, costs, batch)?,
            };
            for (&nth, cheapest) in batch.iter().zip(cheapest) {
                if let Some(Cheapest { patch, .. }) = cheapest {
                    headers[self.patches[nth]] = PatchHeader::Network(Box::new(patch));
                }
            }
        }
        Ok(headers)
    }

    fn only_latents(
        &self,
        settings: &Settings,
        costs: &ResidualCosts,
        nth: &[usize],
    ) -> Result<Vec<Option<Cheapest>>, Error> {
        let guesses = self.guess(settings, nth, &self.begin(settings, nth)?, None, Pulls::NONE)?;
        let mut cheapest: Vec<Option<Cheapest>> = nth.iter().map(|_| None).collect();
        self.keep_cheaper(costs, &mut cheapest, guesses.into_iter().enumerate());
        Ok(cheapest)
    }

    /// All kinds of atoms in a short search, then the step of the linear ones in a long one, where the network is likely.
    fn cheapest(
        &self,
        settings: &Settings,
        costs: &ResidualCosts,
        nth: &[usize],
    ) -> Result<Vec<Option<Cheapest>>, Error> {
        let mut cheapest: Vec<Option<Cheapest>> = nth.iter().map(|_| None).collect();
        let (latents, linear) = (self.begin(settings, nth)?, self.begin_without_latents(nth)?);
        for (begun, linear_change) in [(&latents, None), (&latents, Some(0)), (&linear, Some(0))] {
            let guesses = self.guess(settings, nth, begun, linear_change, Pulls::FEW)?;
            self.keep_cheaper(costs, &mut cheapest, guesses.into_iter().enumerate());
        }
        let best_effort = self.chunk.effort == Effort::Best;
        for (cheapest, &nth) in cheapest.iter_mut().zip(nth) {
            let enough = LIKELY * self.bits_without(nth);
            cheapest.take_if(|cheapest| !best_effort && cheapest.bits > enough);
        }
        let (pulls, changes) = match best_effort {
            true => (Pulls::MOST, &LINEAR_CHANGES[..]),
            false => (Pulls::MANY, &LINEAR_CHANGES[..2]),
        };
        for (begun, with_latents) in [(&latents, true), (&linear, false)] {
            let has_these = |cheapest: &Cheapest| {
                (best_effort || cheapest.patch.has_linear) && cheapest.patch.has_latents == with_latents
            };
            let places: Vec<usize> =
                (0..nth.len()).filter(|&place| cheapest[place].as_ref().is_some_and(has_these)).collect();
            let begun = begun.select(&places);
            let nth: Vec<usize> = places.iter().map(|&place| nth[place]).collect();
            for &change in [0].iter().chain(changes) {
                let guesses = self.guess(settings, &nth, &begun, Some(change), pulls)?;
                self.keep_cheaper(costs, &mut cheapest, places.iter().copied().zip(guesses));
            }
        }
        Ok(cheapest)
    }

    fn keep_cheaper(
        &self,
        costs: &ResidualCosts,
        cheapest: &mut [Option<Cheapest>],
        guesses: impl Iterator<Item = (usize, Guess)>,
    ) {
        for (place, guess) in guesses {
            let bits = self.bits(&guess, costs);
            if cheapest[place].as_ref().is_none_or(|cheapest| bits < cheapest.bits) {
                cheapest[place] = Some(Cheapest { bits, patch: guess.patch });
            }
        }
    }
}

impl Begun {
    /// Some of the patches.
    fn select(&self, places: &[usize]) -> Self {
        let rows = |values: &[f32]| -> Vec<f32> {
            let length = values.len() / self.codes.len().max(1);
            places.iter().flat_map(|place| &values[place * length..][..length]).copied().collect()
        };
        Self {
            codes: places.iter().map(|&place| self.codes[place].clone()).collect(),
            left: rows(&self.left),
            limits: rows(&self.limits),
            coefs: rows(&self.coefs),
        }
    }
}
