//! Which patches are worth a search, and the cheapest candidate of each: little is spent on what will not be chosen.

use crate::atoms::{NetworkPatch, PatchHeader};
use crate::error::Error;
use crate::options::Effort;

use super::group::{Begun, Group, Guess};
use super::linear::Pulls;
use super::{NetworkCandidates, Plan, Search, Settings};

/// A patch is promising where the network takes at most so many times the bits that the patch costs without one, by a
/// first estimate; it is likely where the network does so after a short search.
const PROMISING: f64 = 2.0;
const LIKELY: f64 = 1.2;

/// Quarters of an octave by which the linear step of a patch may differ from the chunk's.
const LINEAR_CHANGES: [i32; 4] = [-1, 1, -2, 2];

/// The cheapest candidate of a patch so far.
pub(super) struct Cheapest {
    bits: f64,
    patch: NetworkPatch,
}

/// A group in the course of a search: what its trials have in common, and what is cheapest so far.
pub(super) struct Searched {
    latents: Begun,
    linear: Begun,
    cheapest: Vec<Option<Cheapest>>,
}

impl Searched {
    /// Of all candidates.
    pub(super) fn bits(&self) -> f64 {
        self.cheapest.iter().flatten().map(|cheapest| cheapest.bits).sum()
    }
}

impl Search<'_> {
    /// Those of a group for which the network may be worth its bits; all where nothing is known of their costs, or no effort
    /// is to be spared.
    pub(super) fn promising(&self, settings: &Settings, group: Group) -> Result<Group, Error> {
        if self.without.is_none() || self.chunk.effort == Effort::Best {
            return Ok(group);
        }
        let settings = Settings { refined: false, ..*settings };
        let begun = self.begin(&settings, &group)?;
        let guesses = self.guess(&settings, &begun, Some(0), Pulls::NONE);
        let is_promising = |place: &usize| {
            let n_nonzero = guesses[*place].residuals.iter().filter(|residual| **residual != 0).count();
            let bits =
                self.header_bits(&settings, &guesses[*place].patch) + self.least_residual_bits(n_nonzero);
            self.bits_without(group.patches[*place]).is_none_or(|without| bits <= PROMISING * without)
        };
        let places: Vec<usize> = (0..group.patches.len()).filter(is_promising).collect();
        Ok(group.select(&places))
    }

    /// What so many residuals take that are not 0, if all there is to tell is where they are and their signs.
    fn least_residual_bits(&self, n_nonzero: usize) -> f64 {
        // Of mirror images one of two is told.
        let images = if self.model.spec().point_symmetric { 2.0 } else { 1.0 };
        let (n_pixels, n_nonzero) = (self.grid.patch.n_values() as f64, n_nonzero as f64);
        let term = |n: f64| if n > 0.0 { n * (n_pixels / n).log2() } else { 0.0 };
        (term(n_nonzero) + term(n_pixels - n_nonzero) + n_nonzero) / images
    }

    /// Finds the cheapest candidates of a group.
    pub(super) fn find(
        &self,
        plan: &Plan,
        group: &Group,
        candidates: &mut NetworkCandidates,
    ) -> Result<(), Error> {
        for (&patch, cheapest) in group.patches.iter().zip(self.cheapest(plan, group)?) {
            if let Some(cheapest) = cheapest {
                candidates.bits[patch] = cheapest.bits;
                candidates.headers[patch] = PatchHeader::Network(Box::new(cheapest.patch));
            }
        }
        Ok(())
    }

    /// The cheapest candidate of each patch; `None` where the network is not likely.
    fn cheapest(&self, plan: &Plan, group: &Group) -> Result<Vec<Option<Cheapest>>, Error> {
        if self.chunk.latents_only {
            return self.only_latents(plan, group);
        }
        let mut searched = self.search_shortly(plan, group)?;
        if plan.is_long {
            self.search_long(plan, &mut searched);
        }
        Ok(searched.cheapest)
    }

    fn only_latents(&self, plan: &Plan, group: &Group) -> Result<Vec<Option<Cheapest>>, Error> {
        let latents = self.begin(&plan.settings, group)?;
        let places: Vec<usize> = (0..group.patches.len()).collect();
        let mut cheapest: Vec<Option<Cheapest>> = places.iter().map(|_| None).collect();
        let guesses = self.guess(&plan.settings, &latents, None, Pulls::NONE);
        self.keep_cheaper(plan, &mut cheapest, &places, guesses);
        Ok(cheapest)
    }

    /// Tries all kinds of atoms, and drops patches for which the network is not likely.
    pub(super) fn search_shortly(&self, plan: &Plan, group: &Group) -> Result<Searched, Error> {
        let settings = &plan.settings;
        let (latents, linear) = (self.begin(settings, group)?, self.begin_without_latents(group)?);
        let everywhere: Vec<usize> = (0..group.patches.len()).collect();
        // Patches whose latents are all 0 are among those without.
        let has_latents = |place: &usize| !latents.codes[*place].latents.is_empty();
        let with_latents: Vec<usize> = everywhere.iter().copied().filter(has_latents).collect();
        let mut cheapest: Vec<Option<Cheapest>> = everywhere.iter().map(|_| None).collect();
        let mut keep = |places: &[usize], guesses| self.keep_cheaper(plan, &mut cheapest, places, guesses);
        keep(&everywhere, self.guess(settings, &latents, None, Pulls::NONE));
        keep(&with_latents, self.guess(settings, &latents.select(&with_latents), Some(0), Pulls::FEW));
        keep(&everywhere, self.guess(settings, &linear, Some(0), Pulls::FEW));
        if self.chunk.effort != Effort::Best {
            for (cheapest, &patch) in cheapest.iter_mut().zip(&group.patches) {
                let enough = self.bits_without(patch).map_or(f64::INFINITY, |without| LIKELY * without);
                cheapest.take_if(|cheapest| cheapest.bits > enough);
            }
        }
        Ok(Searched { latents, linear, cheapest })
    }

    /// Changes the step of the linear atoms of the cheapest candidates, with more pulls.
    pub(super) fn search_long(&self, plan: &Plan, searched: &mut Searched) {
        let Searched { latents, linear, cheapest } = searched;
        let best_effort = self.chunk.effort == Effort::Best;
        let (pulls, changes) = match best_effort {
            true => (Pulls::MOST, &LINEAR_CHANGES[..]),
            false => (Pulls::MANY, &LINEAR_CHANGES[..2]),
        };
        for (begun, with_latents) in [(latents, true), (linear, false)] {
            let has_these = |cheapest: &Cheapest| {
                (best_effort || cheapest.patch.has_linear) && cheapest.patch.has_latents == with_latents
            };
            let has_these = |place: &usize| cheapest[*place].as_ref().is_some_and(has_these);
            let places: Vec<usize> = (0..cheapest.len()).filter(has_these).collect();
            let begun = begun.select(&places);
            for &change in [0].iter().chain(changes) {
                let guesses = self.guess(&plan.settings, &begun, Some(change), pulls);
                self.keep_cheaper(plan, cheapest, &places, guesses);
            }
        }
    }

    /// Keeps the guesses about some places that are cheaper than what there is.
    fn keep_cheaper(
        &self,
        plan: &Plan,
        cheapest: &mut [Option<Cheapest>],
        places: &[usize],
        guesses: Vec<Guess>,
    ) {
        for (&place, guess) in places.iter().zip(guesses) {
            let enough = cheapest[place].as_ref().map_or(f64::INFINITY, |cheapest| cheapest.bits);
            let residual_bits = plan.costs.of(&self.residual_patch(&guess));
            // Headers take long to price.
            if residual_bits < enough {
                let bits = residual_bits + self.header_bits(&plan.settings, &guess.patch);
                if bits < enough {
                    cheapest[place] = Some(Cheapest { bits, patch: guess.patch });
                }
            }
        }
    }
}
