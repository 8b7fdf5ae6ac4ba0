//! One Gauss-Newton step on the codes of a batch, as the codec's encoder makes some of before it quantises. The decoder
//! learns from refined codes, those that it will meet; the encoder from its own.
//!
//! With J the derivative of a patch's residual r by its active latents and weights wₖ = 1/(1 + rₖ²/c²), which make the
//! logarithmic loss one of squares,
//!
//! ```text
//! z ← max(z − (J·W·Jᵀ + damping)⁻¹·J·W·r, 0)       where that lowers the loss of the patch
//! ```

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use h5z_sae::sae::Penalty;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

use crate::code::SparseCode;
use crate::network::{Atoms, Decoded, Network};
use crate::real::Real;

/// Added to the diagonal, as a share of it.
const DAMPING: f64 = 1e-2;

impl<F: Real> Network<F> {
    /// Refined codes of a batch with the given components (B × K) and what they decode to. Codes of `Penalty::Grad`
    /// stay as they are: they are running sums, of many steps.
    pub fn refine(&self, decoded: &Decoded<F>, components: ArrayView2<F>, atoms: &Atoms<F>) -> Decoded<F> {
        if self.objective.penalty == Penalty::Grad {
            return decoded.clone();
        }
        let mut moved = decoded.code.clone();
        for patch in 0..moved.n_patches() {
            self.move_code(decoded, patch, atoms, &mut moved);
        }
        let refined = self.decoded(moved, components, atoms);
        let is_better: Vec<bool> = (0..refined.code.n_patches())
            .map(|patch| self.distortion(&refined, patch) < self.distortion(decoded, patch))
            .collect();
        if is_better.iter().all(|&better| better) {
            return refined;
        }
        let mut code = refined.code;
        for (patch, _) in is_better.iter().enumerate().filter(|(_, better)| !**better) {
            let range = code.starts[patch]..code.starts[patch + 1];
            code.values[range.clone()].copy_from_slice(&decoded.code.values[range]);
        }
        self.decoded(code, components, atoms)
    }

    fn distortion(&self, decoded: &Decoded<F>, patch: usize) -> f64 {
        decoded.residual.row(patch).iter().map(|r| self.objective.distortion(r.wide())).sum()
    }

    fn move_code(&self, decoded: &Decoded<F>, patch: usize, atoms: &Atoms<F>, moved: &mut SparseCode<F>) {
        let jacobian = self.jacobian(decoded, patch, atoms);
        let slope = decoded.slope.row(patch);
        // w = slope / residual, and 1 where both are 0.
        let weights: Vec<F> = slope
            .iter()
            .zip(decoded.residual.row(patch))
            .map(|(&slope, &residual)| if residual == F::zero() { F::one() } else { slope / residual })
            .collect();
        let len = jacobian.nrows();
        let product = |i: usize, j: usize| -> f64 {
            let (row_i, row_j) = (jacobian.row(i), jacobian.row(j));
            let products = row_i.iter().zip(row_j).zip(&weights).map(|((&a, &b), &w)| a * b * w);
            products.sum::<F>().wide()
        };
        let mut curvature = Mat::from_fn(len, len, |i, j| if j <= i { product(i, j) } else { 0.0 });
        for i in 0..len {
            curvature[(i, i)] *= 1.0 + DAMPING;
        }
        let steepest: Vec<f64> = jacobian.rows().into_iter().map(|row| row.dot(&slope).wide()).collect();
        let Some(change) = solve(&curvature, &steepest) else { return };
        let range = moved.starts[patch]..moved.starts[patch + 1];
        for (value, change) in moved.values[range].iter_mut().zip(change) {
            *value = (*value - F::of(change)).max(F::zero());
        }
    }

    /// Derivative of the components of one patch by its code: entries × K.
    fn jacobian(&self, decoded: &Decoded<F>, patch: usize, atoms: &Atoms<F>) -> Array2<F> {
        let hidden = decoded.hidden.row(patch);
        let units: Vec<usize> = (0..hidden.len()).filter(|&unit| hidden[unit] > F::zero()).collect();
        let entries: Vec<usize> = decoded.code.patch(patch).map(|(index, _)| index).collect();
        let active = Array2::from_shape_fn((entries.len(), units.len()), |(entry, unit)| {
            atoms.rows[[entries[entry], units[unit]]]
        });
        let mut coef = Array2::zeros((units.len(), self.n_components()));
        for (mut row, &unit) in coef.rows_mut().into_iter().zip(&units) {
            row.assign(&self.parameters.coef.row(unit));
        }
        let mut jacobian = Array2::zeros((entries.len(), self.n_components()));
        general_mat_mul(F::one(), &active, &coef, F::zero(), &mut jacobian);
        jacobian
    }
}

/// The solution of matrix · x = right for a symmetric matrix; `None` where it is not positive definite.
fn solve(matrix: &Mat<f64>, right: &[f64]) -> Option<Vec<f64>> {
    let right = Mat::from_fn(right.len(), 1, |i, _| right[i]);
    let solution = matrix.llt(Side::Lower).ok()?.solve(&right);
    Some((0..solution.nrows()).map(|i| solution[(i, 0)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{NetworkShape, Objective, Parameters};
    use ndarray::{Array1, array};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn directions_that_change_nothing_have_no_step() {
        assert!(solve(&Mat::zeros(2, 2), &[1.0, 1.0]).is_none());
        let matrix = Mat::from_fn(2, 2, |i, j| [[4.0, 2.0], [2.0, 3.0]][i][j]);
        let solution = solve(&matrix, &[10.0, 9.0]).unwrap();
        assert!((solution[0] - 1.5).abs() < 1e-12 && (solution[1] - 2.0).abs() < 1e-12, "{solution:?}");
    }

    #[test]
    fn codes_reach_patches_that_the_decoder_can_make() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let shape = NetworkShape { components: 12, hidden: 20, latents: 9 };
        for rate_scale in [0.0, 0.5] {
            let objective = Objective { active: 3, penalty: Penalty::Z, sparsity_lambda: 0.0, rate_scale };
            let parameters = Parameters::<f64>::random(shape, &mut rng);
            let network = Network { parameters, input_scale: Array1::ones(12), objective };
            let atoms = network.atoms();
            let batch = Array2::from_shape_simple_fn((30, 12), || StandardNormal.sample(&mut rng));
            let code = network.encode(batch.view());
            let wanted = network.decode(&code, &atoms);
            let mut off = code.clone();
            off.values.iter_mut().for_each(|value| *value *= 1.05);
            let decoded = network.decoded(off, wanted.view(), &atoms);
            let refined = network.refine(&decoded, wanted.view(), &atoms);
            let error = |decoded: &Decoded<f64>| decoded.residual.iter().map(|r| r * r).sum::<f64>();
            assert!(
                error(&decoded) > 1e-4 && error(&refined) < 0.02 * error(&decoded),
                "{}",
                error(&refined)
            );
        }
    }

    #[test]
    fn patches_that_a_step_makes_worse_keep_their_codes() {
        let shape = NetworkShape { components: 1, hidden: 1, latents: 1 };
        let mut parameters = Parameters::<f64>::zeros(shape);
        (parameters.hidden[[0, 0]], parameters.coef[[0, 0]]) = (1.0, 1.0);
        let objective = Objective { active: 1, penalty: Penalty::Z, sparsity_lambda: 0.0, rate_scale: 0.0 };
        let network = Network { parameters, input_scale: array![1.0], objective };
        let code =
            SparseCode { width: 1, starts: vec![0, 1, 2], indices: vec![0, 0], values: vec![1.0, 2.0] };
        let decoded = network.decoded(code, array![[1.0], [5.0]].view(), &network.atoms());
        let refined = network.refine(&decoded, array![[1.0], [5.0]].view(), &network.atoms());
        assert_eq!(refined.code.values[0], 1.0);
        assert!((refined.code.values[1] - 5.0).abs() < 0.05);
    }
}
