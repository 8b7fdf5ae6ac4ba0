//! Trains for a bound: chooses what the bytes of held-out patches depend on most, by short trainings.
//!
//! One setting after the other is tried, the others staying as they are: how many latents a code may have, from which
//! error on components count by their logarithm, and the weight of the L1 term. Each trial is a training in miniature
//! from the same start, with its whole course of learning rates; its network is written as a model and the codec,
//! which chooses steps and dead zones itself, codes held-out patches with it. The smallest total of logarithms of
//! bytes over all bounds wins. Trials are thrown away, and depend on numbers of steps alone.

use h5z_sae::Error;
use h5z_sae::sae::Penalty;
use ndarray::Array2;

use crate::early_stop::coded_bytes;
use crate::fit::{FitOptions, Loop};
use crate::network::{Network, Objective};
use crate::observer::{Event, Observer};
use crate::outcome::Finisher;
use crate::prepare::gave_up;
use crate::ranks::{Ranks, on_first};
use crate::state::FitState;

/// Share of the steps that all trials together may take.
pub const SEARCH_SHARE: f64 = 0.3;
/// Numbers of latents that are tried.
const ACTIVE: [usize; 3] = [8, 16, 32];
/// Scales of the rate, in bounds.
const RATE_SCALES: [f64; 2] = [1.0, 3.0];
/// Factor to the weight of the L1 term.
const LAMBDA_FACTOR: f64 = 100.0;
/// Trials of a search, at most: the start, and one for each value above that is not the start's.
const MOST_TRIALS: usize = 1 + ACTIVE.len() + RATE_SCALES.len() + 1;

/// Bounds that the model shall serve, and what may be chosen for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Absolute ones in the data's units.
    pub absolute: Vec<f64>,
    /// Relative ones, of the range of values.
    pub relative: Vec<f64>,
    /// The limit on active latents is free.
    pub active: bool,
    /// The scale of the rate is free.
    pub rate_scale: bool,
    /// λ is free.
    pub lambda: bool,
}

impl Search {
    /// The bounds for patches that are scaled to a maximum of 1 from a typical maximum of `largest`.
    pub fn scaled_bounds(&self, largest: f64) -> Vec<f64> {
        self.absolute.iter().map(|bound| bound / largest).chain(self.relative.iter().copied()).collect()
    }

    /// Values to try for each setting, each a change of the best objective so far.
    fn rounds(&self, bounds: &[f64], latents: usize, penalty: Penalty) -> Vec<Vec<Change>> {
        let mut rounds = Vec::new();
        if self.active && penalty == Penalty::Z {
            rounds.push(ACTIVE.into_iter().filter(|&n| n <= latents).map(Change::Active).collect());
        }
        if self.rate_scale {
            let mean = bounds.iter().map(|bound| bound.ln()).sum::<f64>() / bounds.len() as f64;
            rounds.push(RATE_SCALES.map(|factor| Change::RateScale(factor * mean.exp())).to_vec());
        }
        if self.lambda {
            rounds.push(vec![Change::Lambda(LAMBDA_FACTOR)]);
        }
        rounds
    }
}

#[derive(Clone, Copy)]
enum Change {
    Active(usize),
    RateScale(f64),
    Lambda(f64),
}

impl Change {
    fn of(self, objective: Objective) -> Objective {
        match self {
            Self::Active(active) => Objective { active, ..objective },
            Self::RateScale(rate_scale) => Objective { rate_scale, ..objective },
            Self::Lambda(factor) => {
                Objective { sparsity_lambda: objective.sparsity_lambda * factor, ..objective }
            }
        }
    }
}

/// One trial and what its model is worth.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// What it minimised.
    pub objective: Objective,
    /// Steps that it was trained.
    pub n_steps: usize,
    /// Bound, for patches of maximum 1, and bytes of the held-out patches within it.
    pub coded_bytes: Vec<(f64, usize)>,
}

impl Alternative {
    fn cost(&self) -> f64 {
        self.coded_bytes.iter().map(|&(_, bytes)| (bytes as f64).ln()).sum()
    }
}

/// Steps of each trial where the whole training has `n_steps`.
pub fn trial_steps(n_steps: usize) -> usize {
    ((n_steps as f64 * SEARCH_SHARE) as usize / MOST_TRIALS).max(1)
}

/// What trials are made with.
pub(crate) struct Trials<'a> {
    pub components: &'a Array2<f32>,
    pub state: &'a FitState,
    pub fit: FitOptions,
    pub finisher: &'a Finisher<'a>,
    /// Held-out patches that are coded, scaled to a maximum of 1.
    pub patches: Array2<f32>,
    pub bounds: Vec<f64>,
}

impl Trials<'_> {
    /// The objective that codes held-out patches in the fewest bytes.
    ///
    /// # Errors
    /// Those of export and codec; `System` if the observer gave up.
    pub(crate) fn choose(
        &self,
        search: &Search,
        observer: &mut dyn Observer,
        ranks: &mut dyn Ranks,
    ) -> Result<Objective, Error> {
        let mut best = self.run(self.fit.objective, observer, ranks)?;
        for round in search.rounds(&self.bounds, self.fit.shape.latents, self.fit.objective.penalty) {
            let from = best.objective;
            for change in round {
                let objective = change.of(from);
                if objective == from {
                    continue;
                }
                let alternative = self.run(objective, observer, ranks)?;
                if alternative.cost() < best.cost() {
                    best = alternative;
                }
            }
        }
        observer.event(&Event::Chosen(&best));
        Ok(best.objective)
    }

    fn run(
        &self,
        objective: Objective,
        observer: &mut dyn Observer,
        ranks: &mut dyn Ranks,
    ) -> Result<Alternative, Error> {
        let options = FitOptions { objective, early_stop: None, ..self.fit.clone() };
        let mut state = self.state.clone();
        state.network.objective = objective;
        let mut trial = Loop::new(self.components, state, &options, ranks);
        for _ in 0..options.n_steps {
            trial.advance();
            if !trial.all_ranks_say(observer.advance(1)) {
                return Err(gave_up());
            }
        }
        let coded_bytes = self.coded_bytes(&trial.network(), ranks)?;
        let alternative = Alternative { objective, n_steps: options.n_steps, coded_bytes };
        observer.event(&Event::Alternative(&alternative));
        Ok(alternative)
    }

    /// Bytes within each bound; rank 0 has the patches.
    fn coded_bytes(&self, network: &Network<f32>, ranks: &mut dyn Ranks) -> Result<Vec<(f64, usize)>, Error> {
        let mut model = None;
        let mut size = |&bound: &f64| {
            let bytes = on_first(ranks, || {
                let model = match &model {
                    Some(model) => model,
                    None => model.insert(self.finisher.model(network)?.1),
                };
                Ok(coded_bytes(model, self.patches.view(), bound)? as f64)
            })?;
            Ok((bound, bytes as usize))
        };
        self.bounds.iter().map(&mut size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(active: bool, rate_scale: bool, lambda: bool) -> Search {
        Search { absolute: vec![5.0], relative: vec![1e-3], active, rate_scale, lambda }
    }

    #[test]
    fn absolute_bounds_are_scaled_as_patches_are() {
        assert_eq!(search(true, true, true).scaled_bounds(1000.0), [5e-3, 1e-3]);
    }

    #[test]
    fn what_was_asked_for_is_not_tried() {
        let rounds = |search: Search, latents: usize, penalty: Penalty| -> Vec<usize> {
            search.rounds(&[1e-3], latents, penalty).iter().map(Vec::len).collect()
        };
        assert_eq!(rounds(search(true, true, true), 1024, Penalty::Z), [3, 2, 1]);
        assert_eq!(rounds(search(true, true, true), 16, Penalty::Z), [2, 2, 1]);
        assert_eq!(rounds(search(true, true, true), 1024, Penalty::Grad), [2, 1]);
        assert_eq!(rounds(search(false, false, true), 1024, Penalty::Z), [1]);
    }
}
