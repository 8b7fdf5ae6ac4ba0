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
    /// To see whether an atom helps at all.
    pub(super) const NONE: Self = Self { most: 0, in_vain: 1 };
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
    code: PatchCode,
    /// K, in real units.
    wanted: Vec<f32>,
}

impl Search<'_> {
    /// Gives patches the linear atoms that make up for what their latents leave, and returns how many pixels these leave
    /// beyond the bound.
    ///
    /// Coefficients are rounded; then, time and again, what is beyond the bound is projected and added to them before
    /// they are rounded anew. Those that lie near the middle between two levels follow, at next to no cost, until no
    /// pixel is left beyond the bound or it does not get better: projections onto the set of what the bound allows and
    /// onto that of what the basis can say, in turn.
    pub(super) fn add_linear(&self, begun: &Begun, pulls: Pulls, codes: &mut [PatchCode]) -> Vec<usize> {
        let (n_values, n_linear) = (self.grid.patch.n_values(), self.model.n_linear());
        let mut pulled: Vec<Pulled> = codes
            .iter()
            .zip(begun.coefs.chunks_exact(n_linear))
            .map(|(code, coefs)| Pulled {
                code: PatchCode { linear: Vec::new(), ..code.clone() },
                wanted: coefs.to_vec(),
            })
            .collect();
        pulled.iter_mut().for_each(|patch| self.round_linear(patch));
        let mut left = self.model.less_linear(self.chunk.backend, &begun.left, &self.linear_values(&pulled));
        let mut n_beyond = vec![0; codes.len()];
        for (place, (code, patch)) in codes.iter_mut().zip(pulled).enumerate() {
            let values = place * n_values..(place + 1) * n_values;
            let coefs = &begun.coefs[place * n_linear..][..n_linear];
            (code.linear, n_beyond[place]) =
                self.pull(patch, (coefs, &begun.limits[values.clone()]), &mut left[values], pulls);
        }
        n_beyond
    }

    /// The best levels of a patch, and how many pixels they leave beyond the bound; `left` is what its present ones leave.
    fn pull(
        &self,
        mut patch: Pulled,
        (coefs, limits): (&[f32], &[f32]),
        left: &mut [f32],
        pulls: Pulls,
    ) -> (Vec<(u32, i32)>, usize) {
        let step = (-f32::from(patch.code.linear_step_quarters) / 4.0).exp2();
        let reach = LONGEST_PULL * step;
        let (mut best, mut fewest, mut n_vain) = (Vec::new(), usize::MAX, 0);
        for n_pulls in 0..=pulls.most {
            let (beyond, n_beyond) = excess(left, limits);
            n_vain += 1;
            if n_beyond < fewest {
                best.clone_from(&patch.code.linear);
                (fewest, n_vain) = (n_beyond, 0);
            }
            if n_pulls == pulls.most || fewest == 0 || n_vain >= pulls.in_vain {
                break;
            }
            let changes = self.model.project_few(&beyond);
            for ((wanted, change), coef) in patch.wanted.iter_mut().zip(changes).zip(coefs) {
                // Not `clamp`, which panics where a strange model makes a coefficient infinite.
                *wanted = (*wanted + change).max(coef - reach).min(coef + reach);
            }
            let before = std::mem::take(&mut patch.code.linear);
            self.round_linear(&mut patch);
            for (atom, change) in level_changes(&before, &patch.code.linear) {
                self.model.subtract_atom(left, atom, change as f32 * step);
            }
        }
        (best, fewest)
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

/// What errors are beyond a share of their limits, with their places; and how many are beyond the limits.
fn excess(errors: &[f32], limits: &[f32]) -> (Vec<(usize, f32)>, usize) {
    let mut n_beyond = 0;
    let mut beyond = Vec::new();
    for (place, (&error, &limit)) in errors.iter().zip(limits).enumerate() {
        let kept = PULLING_SHARE * limit;
        if error.abs() > kept {
            n_beyond += usize::from(error.abs() > limit);
            beyond.push((place, error - error.clamp(-kept, kept)));
        }
    }
    (beyond, n_beyond)
}

/// Atoms whose levels differ, and by how much; both lists are in the order of atoms.
fn level_changes(before: &[(u32, i32)], after: &[(u32, i32)]) -> Vec<(u32, i32)> {
    let mut changes = Vec::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    while let Some(&atom) = before.peek().into_iter().chain(after.peek()).map(|(atom, _)| atom).min() {
        let level = |list: &mut std::iter::Peekable<std::slice::Iter<(u32, i32)>>| {
            list.next_if(|(at, _)| *at == atom).map_or(0, |(_, level)| *level)
        };
        let change = level(&mut after) - level(&mut before);
        if change != 0 {
            changes.push((atom, change));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_the_bound_or_beyond_pulls() {
        let errors = [0.5, -0.95, 1.5, -3.0, 9.0];
        let limits = [1.0, 1.0, 1.0, 2.0, f32::INFINITY];
        let (beyond, n_beyond) = excess(&errors, &limits);
        assert_eq!(n_beyond, 2);
        let expected = [(1, -0.05), (2, 0.6), (3, -1.2)];
        assert!(beyond.iter().zip(expected).all(|(found, expected): (&(usize, f32), (usize, f32))| {
            found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-6
        }));
        assert_eq!(beyond.len(), expected.len());
    }

    #[test]
    fn levels_change_where_they_differ() {
        let before = [(0, 3), (2, -1), (5, 4)];
        let after = [(1, 2), (2, -1), (5, -4), (7, 1)];
        assert_eq!(level_changes(&before, &after), [(0, -3), (1, 2), (5, -8), (7, 1)]);
        assert_eq!(level_changes(&[], &[]), []);
    }
}
