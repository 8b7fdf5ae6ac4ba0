//! Levels of linear atoms: rounded coefficients, changed where that keeps pixels within the bound.

use std::collections::HashMap;
use std::rc::Rc;

use crate::atoms::{linear_dead_zone, linear_reluctance};
use crate::sae::PatchCode;

use super::Search;
use super::group::{Begun, Limits};

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
    rounding: Rc<Rounding>,
}

/// How coefficients become levels of one step.
struct Rounding {
    /// By how much each of the K is lowered before, in real units.
    reluctance: Vec<f32>,
    /// Below which each, lowered, becomes 0, in steps.
    dead_zones: Vec<f32>,
}

impl Search<'_> {
    /// Gives patches the linear atoms that make up for what their latents leave, and returns what these leave in turn.
    ///
    /// Coefficients are rounded; then, time and again, what is beyond the bound is projected and added to them before
    /// they are rounded anew. Those that lie near the middle between two levels follow, at next to no cost, until no
    /// pixel is left beyond the bound or it does not get better: projections onto the set of what the bound allows and
    /// onto that of what the basis can say, in turn.
    pub(super) fn add_linear(&self, begun: &Begun, pulls: Pulls, codes: &mut [PatchCode]) -> Vec<f32> {
        let (n_values, n_linear) = (self.grid.patch.n_values(), self.model.n_linear());
        let mut roundings = HashMap::new();
        let mut pulled: Vec<Pulled> = codes
            .iter()
            .zip(begun.coefs.chunks_exact(n_linear))
            .map(|(code, coefs)| {
                let has_latents = !code.latents.is_empty();
                let rounding = roundings
                    .entry((code.linear_step_quarters, has_latents))
                    .or_insert_with(|| Rc::new(self.rounding(code.linear_step_quarters, has_latents)));
                let code = PatchCode { linear: Vec::new(), ..code.clone() };
                Pulled { code, wanted: coefs.to_vec(), rounding: rounding.clone() }
            })
            .collect();
        pulled.iter_mut().for_each(|patch| self.round_linear(patch));
        let mut left = self.model.less_linear(self.chunk.backend, &begun.left, &self.linear_values(&pulled));
        for (place, (code, patch)) in codes.iter_mut().zip(pulled).enumerate() {
            let values = place * n_values..(place + 1) * n_values;
            let coefs = &begun.coefs[place * n_linear..][..n_linear];
            code.linear = self.pull(patch, (coefs, &begun.limits[place]), &mut left[values], pulls);
        }
        left
    }

    /// The best levels of a patch; `left` is what its present ones leave, and becomes what these do.
    fn pull(
        &self,
        mut patch: Pulled,
        (coefs, limits): (&[f32], &Limits),
        left: &mut [f32],
        pulls: Pulls,
    ) -> Vec<(u32, i32)> {
        let step = (-f32::from(patch.code.linear_step_quarters) / 4.0).exp2();
        let reach = LONGEST_PULL * step;
        let (mut best, mut fewest, mut n_vain) = (patch.code.linear.clone(), usize::MAX, 0);
        let mut best_left = left.to_vec();
        for n_pulls in 0..=pulls.most {
            let (beyond, n_beyond) = excess(left, limits);
            n_vain += 1;
            if n_beyond < fewest {
                best.clone_from(&patch.code.linear);
                best_left.copy_from_slice(left);
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
        left.copy_from_slice(&best_left);
        best
    }

    fn rounding(&self, step_quarters: u8, has_latents: bool) -> Rounding {
        let priors = self.model.priors();
        let sizes = if has_latents { &priors.linear_scale } else { &priors.linear_only_scale };
        let step = (-f32::from(step_quarters) / 4.0).exp2();
        let atoms = sizes.iter().map(|&size| {
            let reluctance = linear_reluctance(size, step_quarters.into());
            (reluctance * step, linear_dead_zone(size, step_quarters.into()) - reluctance)
        });
        let (reluctance, dead_zones) = atoms.unzip();
        Rounding { reluctance, dead_zones }
    }

    /// Rounds the wanted coefficients of a patch to levels.
    fn round_linear(&self, patch: &mut Pulled) {
        let Rounding { reluctance, dead_zones } = &*patch.rounding;
        let lowered = patch.wanted.iter().zip(reluctance);
        let lowered: Vec<f32> = lowered.map(|(coef, reluctance)| coef - reluctance.copysign(*coef)).collect();
        let step_quarters = patch.code.linear_step_quarters;
        patch.code.linear = self.model.quantize_linear(&lowered, step_quarters, |atom| dead_zones[atom]);
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
}

/// What is left beyond a share of its limits, with its places; and how much is beyond the limits.
fn excess(left: &[f32], limits: &Limits) -> (Vec<(usize, f32)>, usize) {
    /// Most values are within: so many at once are seen to be.
    const AT_ONCE: usize = 16;
    let beyond_share = |(&left, (&below, &above)): (&f32, (&f32, &f32))| {
        (left > PULLING_SHARE * above) | (left < -PULLING_SHARE * below)
    };
    let mut n_beyond = 0;
    let mut beyond = Vec::new();
    let limits = limits.below.chunks(AT_ONCE).zip(limits.above.chunks(AT_ONCE));
    for (start, (left, (below, above))) in (0..).step_by(AT_ONCE).zip(left.chunks(AT_ONCE).zip(limits)) {
        let values = left.iter().zip(below.iter().zip(above));
        if !values.clone().map(beyond_share).fold(false, |any, is_beyond| any | is_beyond) {
            continue;
        }
        for (place, value) in (start..).zip(values).filter(|(_, value)| beyond_share(*value)) {
            let (&left, (&below, &above)) = value;
            n_beyond += usize::from(left > above || left < -below);
            beyond.push((place, left - left.clamp(-PULLING_SHARE * below, PULLING_SHARE * above)));
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
        let below = vec![f32::INFINITY, 1.0, f32::INFINITY, 2.0, 1.0];
        let above = vec![1.0, f32::INFINITY, 1.0, 1.0, f32::INFINITY];
        let (beyond, n_beyond) = excess(&errors, &Limits { below, above });
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
