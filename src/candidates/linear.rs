//! Levels of linear atoms: rounded coefficients, changed where that keeps pixels within the bound.

use std::ops::Range;

use crate::atoms::{linear_dead_zone, linear_reluctance};
use crate::sae::{PatchCode, Transform};

use super::{Begun, Search};

/// How long linear coefficients are changed for the sake of pixels beyond the bound.
#[derive(Clone, Copy)]
pub(super) struct Pulls {
    /// Times at most.
    most: usize,
    /// Times in a row that nothing gets better, after which it ends.
    in_vain: usize,
}

impl Pulls {
    /// To compare settings.
    pub(super) const FEW: Self = Self { most: 3, in_vain: 2 };
    pub(super) const MANY: Self = Self { most: 20, in_vain: 7 };
    pub(super) const MOST: Self = Self { most: 60, in_vain: 15 };
}

/// How far a coefficient may be changed for that, in steps.
const LONGEST_PULL: f32 = 0.45;

/// Share of the bound beyond which errors pull.
const PULLING_SHARE: f32 = 0.9;

/// A patch whose coefficients are being changed.
struct Pulled {
    /// Among those that are worked on together.
    place: usize,
    code: PatchCode,
    /// K, in real units.
    wanted: Vec<f32>,
    /// Pixels beyond the bound, at best; and how often in a row it has not become better.
    fewest: usize,
    n_vain: usize,
}

impl Search<'_> {
    /// Gives patches the linear atoms that make up for what their latents leave.
    ///
    /// Coefficients are rounded; then, time and again, what is beyond the bound is projected and added to them before
    /// they are rounded anew. Those that lie near the middle between two levels follow, at next to no cost, until no
    /// pixel is left beyond the bound or it does not get better: projections onto the set of what the bound allows and
    /// onto that of what the basis can say, in turn.
    pub(super) fn add_linear(&self, begun: &Begun, pulls: Pulls, codes: &mut [PatchCode]) {
        let (n_values, n_linear) = (self.grid.patch.n_values(), self.model.n_linear());
        let mut open: Vec<Pulled> = (0..codes.len())
            .map(|place| Pulled {
                place,
                code: PatchCode { linear: Vec::new(), ..codes[place].clone() },
                wanted: begun.coefs[place * n_linear..][..n_linear].to_vec(),
                fewest: usize::MAX,
                n_vain: 0,
            })
            .collect();
        for _ in 0..=pulls.most {
            open.iter_mut().for_each(|patch| self.round_linear(patch));
            let rows: Vec<f32> = open
                .iter()
                .flat_map(|patch| &begun.left[patch.place * n_values..][..n_values])
                .copied()
                .collect();
            let mut beyond = self.model.less_linear(self.chunk.backend, &rows, &self.linear_values(&open));
            for (patch, left) in open.iter_mut().zip(beyond.chunks_exact_mut(n_values)) {
                let n_beyond = keep_excess(left, &begun.limits[patch.place * n_values..][..n_values]);
                patch.n_vain += 1;
                if n_beyond < patch.fewest {
                    (patch.fewest, patch.n_vain) = (n_beyond, 0);
                    codes[patch.place].linear.clone_from(&patch.code.linear);
                }
            }
            let is_open = |patch: &Pulled| patch.fewest > 0 && patch.n_vain < pulls.in_vain;
            let mut rows = beyond.chunks_exact(n_values);
            let kept = open.iter().zip(&mut rows).filter(|(patch, _)| is_open(patch));
            let beyond: Vec<f32> = kept.flat_map(|(_, row)| row).copied().collect();
            open.retain(is_open);
            let changes = self.model.project(self.chunk.backend, &beyond);
            for (patch, change) in open.iter_mut().zip(changes.chunks_exact(n_linear)) {
                let reach = LONGEST_PULL * (-f32::from(patch.code.linear_step_quarters) / 4.0).exp2();
                let coefs = &begun.coefs[patch.place * n_linear..][..n_linear];
                for ((wanted, change), coef) in patch.wanted.iter_mut().zip(change).zip(coefs) {
                    // Not `clamp`, which panics where a strange model makes a coefficient infinite.
                    *wanted = (*wanted + change).max(coef - reach).min(coef + reach);
                }
            }
        }
    }

    /// Rounds the wanted coefficients of a patch to levels.
    fn round_linear(&self, patch: &mut Pulled) {
        let priors = self.model.priors();
        let has_latents = !patch.code.latents.is_empty();
        let sizes = if has_latents { &priors.linear_scale } else { &priors.linear_only_scale };
        let step_quarters = patch.code.linear_step_quarters;
        let step = (-f32::from(step_quarters) / 4.0).exp2();
        let reluctance = |atom: usize| linear_reluctance(sizes[atom], step_quarters.into());
        let lowered = patch.wanted.iter().enumerate();
        let lowered: Vec<f32> =
            lowered.map(|(atom, coef)| coef - coef.signum() * reluctance(atom) * step).collect();
        let dead_zone = |atom: usize| linear_dead_zone(sizes[atom], step_quarters.into()) - reluctance(atom);
        patch.code.linear = self.model.quantize_linear(&lowered, step_quarters, dead_zone);
    }

    /// K values for each patch: its levels in real units.
    fn linear_values(&self, patches: &[Pulled]) -> Vec<f32> {
        let n_linear = self.model.n_linear();
        let mut values = vec![0.0; patches.len() * n_linear];
        for (Pulled { code, .. }, values) in patches.iter().zip(values.chunks_exact_mut(n_linear)) {
            let step = (-f32::from(code.linear_step_quarters) / 4.0).exp2();
            code.linear.iter().for_each(|&(atom, level)| values[atom as usize] = level as f32 * step);
        }
        values
    }

    /// How far each of the n values of some patches may be off, in the network's domain; infinity where pixels are
    /// special, or beyond the frame.
    pub(super) fn limits(&self, nth: &[usize]) -> Vec<f32> {
        let n_values = self.grid.patch.n_values();
        let mut limits = vec![f32::INFINITY; nth.len() * n_values];
        for (limits, &nth) in limits.chunks_exact_mut(n_values).zip(nth) {
            let bound = (self.relative_bound * (-f64::from(self.scale(nth)) / 8.0).exp2()) as f32;
            for (line, pixels) in self.lines(self.patches[nth]) {
                let limits = &mut limits[line];
                self.bound_in_domain(nth, pixels.clone(), bound, limits);
                for (limit, special) in limits.iter_mut().zip(&self.chunk.target.specials[pixels]) {
                    if *special != 0 {
                        *limit = f32::INFINITY;
                    }
                }
            }
        }
        limits
    }

    /// A bound on values over a patch's scale, as one on what the transform makes of them.
    fn bound_in_domain(&self, nth: usize, pixels: Range<usize>, bound: f32, limits: &mut [f32]) {
        if self.model.transform() == Transform::None {
            return limits.fill(bound);
        }
        let factor = self.position_scale(self.scale(nth));
        let values =
            self.chunk.target.positions[pixels].iter().map(|&position| (position as f64 * factor) as f32);
        let (above, below): (Vec<f32>, Vec<f32>) = values.map(|value| (value + bound, value - bound)).unzip();
        let mut lower = vec![0.0; limits.len()];
        self.model.transform_patch(&above, limits);
        self.model.transform_patch(&below, &mut lower);
        limits.iter_mut().zip(lower).for_each(|(limit, lower)| *limit = (*limit - lower) / 2.0);
    }
}

/// Replaces errors by what they are beyond a share of their limits; returns how many are beyond the limits.
fn keep_excess(errors: &mut [f32], limits: &[f32]) -> usize {
    let mut n_beyond = 0;
    for (error, &limit) in errors.iter_mut().zip(limits) {
        n_beyond += usize::from(error.abs() > limit);
        let kept = PULLING_SHARE * limit;
        *error -= error.clamp(-kept, kept);
    }
    n_beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_the_bound_or_beyond_pulls() {
        let mut errors = [0.5, -0.95, 1.5, -3.0, 9.0];
        let limits = [1.0, 1.0, 1.0, 2.0, f32::INFINITY];
        assert_eq!(keep_excess(&mut errors, &limits), 2);
        let expected = [0.0, -0.05, 0.6, -1.2, 0.0];
        assert!(
            errors.iter().zip(expected).all(|(found, expected): (&f32, f32)| (found - expected).abs() < 1e-6)
        );
    }
}
