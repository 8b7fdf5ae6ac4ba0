//! Better codes than the encoder's layers give: a few Gauss-Newton steps on the latents of each patch, so that the
//! decoder comes as near to the patch as its atoms allow. It costs the writer, never the reader.
//!
//! With z the active latents of a patch, y its coordinates in the basis and ŷ(z) the decoder's,
//!
//! ```text
//! r = y − ŷ(z)        J[i] = ∂ŷ/∂z[i] = (atom i, where its hidden units are active)·coef
//! (J·Jᵀ + damping)·Δz = J·r,        z ← max(z + Δz, 0)      where that lowers ‖r‖²
//! ```
//!
//! A hidden unit is linear on either side of its bend, so steps are nearly exact and three are enough: on cylinders
//! (10 epochs, 8 active latents) the mean squared error falls from 0.051 to 0.027 in one step and 0.0266 in twenty.
//!
//! The same matrix J·Jᵀ says what it costs to leave a latent out, and how the others make up for the rounding of one.

use super::backend::{Backend, inner_product};
use super::encode::add_scaled;
use super::{IntTensor, Model, ModelSpec};

/// Active latents of a patch, at most: the work grows with the third power of their number, and codes of hundreds,
/// which an L1 term alone leaves, are near the best anyway.
const MOST_REFINED: usize = 48;
/// Steps at most.
const MAX_STEPS: usize = 4;
/// A step that lowers the squared error by less than this share is the last.
const LEAST_GAIN: f64 = 0.01;
/// Damping of the first step, against the diagonal of J·Jᵀ.
const FIRST_DAMPING: f64 = 1e-3;
/// Where even this damping finds no better code, there is none nearby.
const MOST_DAMPING: f64 = 10.0;

/// The decoder up to the coordinates in the basis, in real units and f32.
#[derive(Debug)]
pub(super) struct FloatDecoder {
    /// ℓ × m.
    atoms: Vec<f32>,
    /// m.
    hidden_bias: Vec<f32>,
    /// m × K′.
    coef: Vec<f32>,
    /// K′.
    coef_bias: Vec<f32>,
}

impl FloatDecoder {
    pub(super) fn of(spec: &ModelSpec) -> Self {
        let decoder = &spec.decoder;
        let unit = |bits: i32| f64::from(bits).exp2();
        let hidden_unit = unit(-i32::from(decoder.hidden_shift));
        let atom_unit = hidden_unit * unit(decoder.latent_frac_bits.into());
        let atoms = floats(&decoder.hidden, |_| atom_unit);
        let hidden_bias =
            decoder.hidden_bias.iter().map(|&bias| (f64::from(bias) * hidden_unit) as f32).collect();
        let coef_unit =
            |k: usize| unit(-i32::from(decoder.coef_shift[k]) - i32::from(decoder.coef_frac_bits[k]));
        let n_hidden = decoder.hidden.cols;
        let (coef, n_coefs) = match &decoder.coef {
            Some(coef) => (floats(coef, coef_unit), coef.cols),
            None => (diagonal(n_hidden, coef_unit), n_hidden),
        };
        let coef_bias =
            (0..n_coefs).map(|k| (f64::from(decoder.coef_bias[k]) * coef_unit(k)) as f32).collect();
        Self { atoms, hidden_bias, coef, coef_bias }
    }

    fn atom(&self, index: u32) -> &[f32] {
        let n_hidden = self.hidden_bias.len();
        &self.atoms[index as usize * n_hidden..][..n_hidden]
    }
}

fn floats(tensor: &IntTensor, unit_of_col: impl Fn(usize) -> f64) -> Vec<f32> {
    let weights = tensor.to_i16().into_iter().enumerate();
    weights.map(|(index, weight)| (f64::from(weight) * unit_of_col(index % tensor.cols)) as f32).collect()
}

fn diagonal(len: usize, value: impl Fn(usize) -> f64) -> Vec<f32> {
    let mut matrix = vec![0.0; len * len];
    (0..len).for_each(|k| matrix[k * len + k] = value(k) as f32);
    matrix
}

/// The active latents of a patch and what they reach.
#[derive(Clone, Debug)]
pub(crate) struct ActiveLatents {
    /// Latent and its value above 0, ascending by latent.
    pub(crate) entries: Vec<(u32, f32)>,
    /// Lower triangle of J·Jᵀ, row by row: how the squared error answers to changes of the values.
    curvature: Vec<f64>,
}

/// One point of the search.
struct State {
    /// m, before rectification.
    hidden: Vec<f32>,
    /// K′: y − ŷ.
    residual: Vec<f32>,
    squared_error: f64,
}

impl Model {
    /// The active latents of one patch, refined, for a model of `Penalty::Z`; `None` where they are too many for that.
    /// `latents`: ℓ values as [`Model::analyze`] gives them; `coordinates`: at least K′ values as
    /// [`Model::least_squares`] gives them.
    pub(crate) fn refine(
        &self,
        backend: &dyn Backend,
        latents: &[f32],
        coordinates: &[f32],
    ) -> Option<ActiveLatents> {
        if latents.iter().filter(|latent| **latent > 0.0).count() > MOST_REFINED {
            return None;
        }
        let active = (0..).zip(latents).filter(|(_, latent)| **latent > 0.0);
        let entries = active.map(|(index, &latent)| (index, latent)).collect();
        Some(self.refine_entries(backend, entries, &coordinates[..self.n_coefs()]))
    }

    fn refine_entries(
        &self,
        backend: &dyn Backend,
        mut entries: Vec<(u32, f32)>,
        wanted: &[f32],
    ) -> ActiveLatents {
        let mut state = self.state(&entries, wanted);
        let mut jacobian = self.jacobian(backend, &entries, &state);
        let mut damping = FIRST_DAMPING;
        for _ in 0..MAX_STEPS {
            let moved = step(&entries, &jacobian, &state.residual, damping);
            let next = self.state(&moved, wanted);
            let gain = 1.0 - next.squared_error / state.squared_error;
            if gain > 0.0 {
                (entries, state) = (moved, next);
                jacobian = self.jacobian(backend, &entries, &state);
                damping *= 0.1;
            } else {
                damping *= 30.0;
            }
            if (0.0..LEAST_GAIN).contains(&gain) || damping > MOST_DAMPING || !gain.is_finite() {
                break;
            }
        }
        ActiveLatents { curvature: curvature(&jacobian, wanted.len()), entries }.without_zeros()
    }

    fn state(&self, entries: &[(u32, f32)], wanted: &[f32]) -> State {
        let decoder = self.float_decoder();
        let mut hidden = decoder.hidden_bias.clone();
        for &(index, value) in entries {
            add_scaled(&mut hidden, value, decoder.atom(index));
        }
        let mut residual: Vec<f32> =
            wanted.iter().zip(&decoder.coef_bias).map(|(y, bias)| y - bias).collect();
        for (&unit, weights) in hidden.iter().zip(decoder.coef.chunks_exact(wanted.len())) {
            if unit > 0.0 {
                add_scaled(&mut residual, -unit, weights);
            }
        }
        let squared_error = residual.iter().map(|&r| f64::from(r) * f64::from(r)).sum();
        State { hidden, residual, squared_error }
    }

    /// J, entries × K′.
    fn jacobian(&self, backend: &dyn Backend, entries: &[(u32, f32)], state: &State) -> Vec<f32> {
        let decoder = self.float_decoder();
        let n_coefs = state.residual.len();
        let units: Vec<usize> = (0..state.hidden.len()).filter(|&unit| state.hidden[unit] > 0.0).collect();
        let mut coef = Vec::with_capacity(units.len() * n_coefs);
        for &unit in &units {
            coef.extend_from_slice(&decoder.coef[unit * n_coefs..][..n_coefs]);
        }
        let atoms = entries.iter().map(|&(index, _)| decoder.atom(index));
        let atoms: Vec<f32> = atoms.flat_map(|atom| units.iter().map(|&unit| atom[unit])).collect();
        let mut jacobian = vec![0.0; entries.len() * n_coefs];
        backend.float_product((entries.len(), units.len(), n_coefs), &atoms, &coef, false, &mut jacobian);
        jacobian
    }
}

/// Lower triangle of J·Jᵀ.
fn curvature(jacobian: &[f32], n_coefs: usize) -> Vec<f64> {
    let rows: Vec<&[f32]> = jacobian.chunks_exact(n_coefs).collect();
    (0..rows.len())
        .flat_map(|i| (0..=i).map(move |j| (i, j)))
        .map(|(i, j)| f64::from(inner_product(rows[i], rows[j])))
        .collect()
}

/// The entries after one damped step.
fn step(entries: &[(u32, f32)], jacobian: &[f32], residual: &[f32], damping: f64) -> Vec<(u32, f32)> {
    let mut factor = curvature(jacobian, residual.len());
    for i in 0..entries.len() {
        factor[triangle(i) + i] *= 1.0 + damping;
    }
    factorize(&mut factor, entries.len());
    let mut change: Vec<f64> =
        jacobian.chunks_exact(residual.len()).map(|row| f64::from(inner_product(row, residual))).collect();
    solve(&factor, &mut change);
    entries
        .iter()
        .zip(change)
        .map(|(&(index, value), change)| (index, (value + change as f32).max(0.0)))
        .collect()
}

/// Where row `i` of a lower triangle begins.
fn triangle(i: usize) -> usize {
    i * (i + 1) / 2
}

/// Cholesky: the lower triangle L with L·Lᵀ = `matrix`, in its place. What is not positive definite is made so by a
/// floor under the pivots: a direction that changes nothing then gets no change.
fn factorize(matrix: &mut [f64], len: usize) {
    let trace: f64 = (0..len).map(|i| matrix[triangle(i) + i]).sum();
    let least_pivot = 1e-9 * trace + f64::MIN_POSITIVE;
    for i in 0..len {
        for j in 0..=i {
            let (row_i, row_j) = (triangle(i), triangle(j));
            let inner: f64 = (0..j).map(|k| matrix[row_i + k] * matrix[row_j + k]).sum();
            let left = matrix[row_i + j] - inner;
            matrix[row_i + j] = if i == j { left.max(least_pivot).sqrt() } else { left / matrix[row_j + j] };
        }
    }
}

/// L·Lᵀ·x = `right`, in its place.
fn solve(factor: &[f64], right: &mut [f64]) {
    let len = right.len();
    for i in 0..len {
        let known: f64 = (0..i).map(|k| factor[triangle(i) + k] * right[k]).sum();
        right[i] = (right[i] - known) / factor[triangle(i) + i];
    }
    solve_upper(factor, right);
}

/// Lᵀ·x = `right`, in its place; L may be larger than that.
fn solve_upper(factor: &[f64], right: &mut [f64]) {
    let len = right.len();
    for i in (0..len).rev() {
        let known: f64 = (i + 1..len).map(|k| factor[triangle(k) + i] * right[k]).sum();
        right[i] = (right[i] - known) / factor[triangle(i) + i];
    }
}

impl ActiveLatents {
    fn without_zeros(self) -> Self {
        let kept: Vec<usize> = (0..self.entries.len()).filter(|&i| self.entries[i].1 > 0.0).collect();
        self.select(&kept)
    }

    fn select(&self, kept: &[usize]) -> Self {
        if kept.len() == self.entries.len() {
            return self.clone();
        }
        let entries = kept.iter().map(|&i| self.entries[i]).collect();
        let pairs = kept.iter().enumerate().flat_map(|(n, &i)| kept[..=n].iter().map(move |&j| (i, j)));
        let curvature = pairs.map(|(i, j)| self.curvature[triangle(i) + j]).collect();
        Self { entries, curvature }
    }

    /// Leaves out the latents that lower the squared error by less than `least_gain` each, the others making up for
    /// them (Hassibi and Stork 1993: the error grows by z²/(2·H⁻¹) for a latent's own entry of the inverse).
    pub(crate) fn pruned(&self, least_gain: f64) -> Self {
        let mut left = self.clone();
        while let Some((weakest, gain, changes)) = left.weakest() {
            if gain >= least_gain {
                break;
            }
            for (entry, change) in left.entries.iter_mut().zip(&changes) {
                entry.1 = (entry.1 + *change as f32).max(0.0);
            }
            let kept: Vec<usize> =
                (0..left.entries.len()).filter(|&i| i != weakest && left.entries[i].1 > 0.0).collect();
            left = left.select(&kept);
        }
        left
    }

    /// The latent that is missed least: its place, by how much the squared error would grow, and how the others then
    /// change.
    fn weakest(&self) -> Option<(usize, f64, Vec<f64>)> {
        let len = self.entries.len();
        let mut factor = self.curvature.clone();
        factorize(&mut factor, len);
        let candidates = (0..len).map(|i| {
            let mut column = vec![0.0; len];
            column[i] = 1.0;
            solve(&factor, &mut column);
            let value = f64::from(self.entries[i].1);
            (i, value * value / column[i], column)
        });
        let (weakest, gain, column) = candidates.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let scale = -f64::from(self.entries[weakest].1) / column[weakest];
        Some((weakest, gain, column.into_iter().map(|value| value * scale).collect()))
    }

    /// Values rounded to multiples of `step`, one after the other, the later ones making up for the rounding of those
    /// before. Levels are from 1; what rounds to 0 is left out.
    /// `most` is the largest level allowed.
    pub(crate) fn levels(&self, step: f64, most: i32) -> Vec<(u32, i32)> {
        let mut factor = self.curvature.clone();
        factorize(&mut factor, self.entries.len());
        let mut values: Vec<f64> = self.entries.iter().map(|&(_, value)| value.into()).collect();
        let mut levels = Vec::with_capacity(values.len());
        for (i, &(index, _)) in self.entries.iter().enumerate().rev() {
            let level = (values[i] / step).round().clamp(0.0, most.into());
            let rounding = level * step - values[i];
            // How the others change where this one changes by 1: the solution for its row of the curvature.
            let mut changes = factor[triangle(i)..][..i].to_vec();
            solve_upper(&factor, &mut changes);
            for (value, change) in values.iter_mut().zip(changes) {
                *value = (*value - rounding * change).max(0.0);
            }
            if level > 0.0 {
                levels.push((index, level as i32));
            }
        }
        levels.reverse();
        levels
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::backend::ScalarBackend;
    use super::super::testing::cosine_spec;
    use super::*;
    use crate::array::PatchShape;

    fn squared_error(model: &Arc<Model>, entries: &[(u32, f32)], wanted: &[f32]) -> f64 {
        model.state(entries, wanted).squared_error
    }

    #[test]
    fn a_few_steps_find_the_latents_that_made_a_patch() {
        for point_symmetric in [false, true] {
            let spec = cosine_spec(PatchShape { rows: 16, cols: 12 }, point_symmetric);
            let model = Model::parse(&spec.to_bytes().unwrap()).unwrap();
            let patch: Vec<f32> =
                (0..192).map(|p| 0.5 + 0.3 * (p.min(191 - p) as f32 * 0.05).cos()).collect();
            let latents = model.analyze(&ScalarBackend, &patch);
            let wanted = model.least_squares(&ScalarBackend, &patch);
            let wanted = &wanted[..model.n_coefs()];
            let exact: Vec<(u32, f32)> =
                (0..).zip(latents.iter().copied()).filter(|(_, latent)| *latent > 0.0).collect();
            let off: Vec<(u32, f32)> = exact.iter().map(|&(index, value)| (index, value * 1.3)).collect();
            let refined = model.refine_entries(&ScalarBackend, off.clone(), wanted);
            let (before, after) =
                (squared_error(&model, &off, wanted), squared_error(&model, &refined.entries, wanted));
            assert!(before > 1e-3 && after < 0.01 * before, "{before} before, {after} after");
        }
    }

    /// Two latents whose atoms are nearly alike.
    fn correlated(first: f32, second: f32) -> ActiveLatents {
        ActiveLatents { entries: vec![(3, first), (7, second)], curvature: vec![1.0, 0.9, 1.0] }
    }

    #[test]
    fn later_latents_make_up_for_the_rounding_of_earlier_ones() {
        // Each by itself would be rounded to 1, both downwards.
        assert_eq!(correlated(1.4, 1.4).levels(1.0, 100), [(3, 2), (7, 1)]);
        assert_eq!(correlated(1.4, 1.4).levels(1.0, 1), [(3, 1), (7, 1)]);
        assert_eq!(correlated(0.2, 0.1).levels(1.0, 100), []);
    }

    #[test]
    fn a_latent_that_others_can_replace_is_left_out() {
        // Without the second the error grows by 0.1²·(1 − 0.9²) = 0.0019.
        let pruned = correlated(1.0, 0.1).pruned(0.002);
        assert_eq!(pruned.entries.len(), 1);
        assert!((pruned.entries[0].1 - 1.09).abs() < 1e-6, "{:?}", pruned.entries);
        assert_eq!(correlated(1.0, 0.1).pruned(0.0018).entries, correlated(1.0, 0.1).entries);
    }
}
