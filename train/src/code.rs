//! The sparse codes of a batch of patches, and the products in which only their nonzero entries take part.
//!
//! A code holds what the stream will hold: the latents z, or with [`Penalty::Grad`] the steps ∇z (with `∇z[0] = z[0]`).
//! A product costs (entries × columns) where codes are sparse, and falls back to a dense matrix product where they
//! are not, which is the case early in a training without a limit on the number of entries.

use h5z_sae::sae::Penalty;
use h5z_sae::sae::backend::inner_product;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2};

use crate::real::Real;

/// Share of nonzero entries above which a dense matrix product is faster than gathering rows: sgemm does about eight
/// times the multiplications per second.
const DENSE_SHARE: f64 = 0.125;

/// Nonzero entries of a batch of codes, patch by patch.
#[derive(Clone, Debug)]
pub struct SparseCode<F> {
    /// ℓ, the length of a code.
    pub width: usize,
    /// Entries of patch b are `starts[b]..starts[b + 1]`.
    pub starts: Vec<usize>,
    /// Which latent; ascending within a patch.
    pub indices: Vec<u32>,
    /// Its value.
    pub values: Vec<F>,
}

impl<F: Real> SparseCode<F> {
    /// No patches yet.
    pub fn new(width: usize) -> Self {
        Self { width, starts: vec![0], indices: Vec::new(), values: Vec::new() }
    }

    /// Codes of a batch from the latents before their ReLU (B × ℓ), of which the `active` entries of largest
    /// magnitude are kept in each patch; 0 keeps all.
    pub fn select(preactivations: ArrayView2<F>, active: usize, penalty: Penalty) -> Self {
        let mut code = Self::new(preactivations.ncols());
        let mut entries: Vec<(u32, F)> = Vec::new();
        let mut magnitudes: Vec<F> = Vec::new();
        for row in preactivations.rows() {
            entries.clear();
            let mut previous = F::zero();
            for (index, &value) in row.iter().enumerate() {
                let latent = value.max(F::zero());
                let entry = if penalty == Penalty::Grad { latent - previous } else { latent };
                previous = latent;
                if entry != F::zero() {
                    entries.push((index as u32, entry));
                }
            }
            keep_largest(&mut entries, active, &mut magnitudes);
            code.push(&entries);
        }
        code
    }

    fn push(&mut self, entries: &[(u32, F)]) {
        self.indices.extend(entries.iter().map(|&(index, _)| index));
        self.values.extend(entries.iter().map(|&(_, value)| value));
        self.starts.push(self.indices.len());
    }

    /// Number of patches.
    pub fn n_patches(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of nonzero entries in all patches.
    pub fn n_entries(&self) -> usize {
        self.indices.len()
    }

    /// Entries of one patch.
    pub fn patch(&self, patch: usize) -> impl Iterator<Item = (usize, F)> + '_ {
        let range = self.starts[patch]..self.starts[patch + 1];
        self.indices[range.clone()].iter().map(|&i| i as usize).zip(self.values[range].iter().copied())
    }

    fn is_dense(&self) -> bool {
        self.n_entries() as f64 > DENSE_SHARE * (self.n_patches() * self.width) as f64
    }

    fn to_dense(&self) -> Array2<F> {
        let mut dense = Array2::zeros((self.n_patches(), self.width));
        for patch in 0..self.n_patches() {
            for (index, value) in self.patch(patch) {
                dense[[patch, index]] += value;
            }
        }
        dense
    }

    /// out += code · weights, with weights ℓ × m and out B × m.
    pub fn add_product(&self, weights: &Array2<F>, out: &mut Array2<F>) {
        if self.is_dense() {
            return general_mat_mul(F::one(), &self.to_dense(), weights, F::one(), out);
        }
        let cols = weights.ncols();
        let weights = weights.as_slice().expect("weights are contiguous");
        for (patch, mut sums) in out.rows_mut().into_iter().enumerate() {
            let sums = sums.as_slice_mut().expect("rows are contiguous");
            for (index, value) in self.patch(patch) {
                add_scaled(sums, value, &weights[index * cols..(index + 1) * cols]);
            }
        }
    }

    /// out += codeᵀ · dense, with dense B × m and out ℓ × m.
    pub fn add_transposed_product(&self, dense: &Array2<F>, out: &mut Array2<F>) {
        if self.is_dense() {
            return general_mat_mul(F::one(), &self.to_dense().t(), dense, F::one(), out);
        }
        let cols = out.ncols();
        let out = out.as_slice_mut().expect("gradients are contiguous");
        for (patch, row) in dense.rows().into_iter().enumerate() {
            let row = row.to_slice().expect("rows are contiguous");
            for (index, value) in self.patch(patch) {
                add_scaled(&mut out[index * cols..(index + 1) * cols], value, row);
            }
        }
    }

    /// For every entry, the inner product of its patch's row of `dense` (B × m) with its row of `weights` (ℓ × m).
    pub fn inner_products(&self, dense: &Array2<F>, weights: &Array2<F>) -> Vec<F> {
        let mut products = Vec::with_capacity(self.n_entries());
        let all = self.is_dense().then(|| dense.dot(&weights.t()));
        for (patch, row) in dense.rows().into_iter().enumerate() {
            let row = row.to_slice().expect("rows are contiguous");
            products.extend(self.patch(patch).map(|(index, _)| match &all {
                Some(all) => all[[patch, index]],
                None => inner_product(row, weights.row(index).to_slice().expect("rows are contiguous")),
            }));
        }
        products
    }

    /// The gradient with respect to the latents before their ReLU, from that with respect to the entries.
    /// `preactivations` is what [`Self::select`] was given.
    pub fn backward(&self, gradients: &[F], preactivations: ArrayView2<F>, penalty: Penalty) -> Self {
        if penalty == Penalty::Z {
            return Self { values: gradients.to_vec(), ..self.clone() };
        }
        let mut through = Self::new(self.width);
        for patch in 0..self.n_patches() {
            let row = preactivations.row(patch);
            let range = self.starts[patch]..self.starts[patch + 1];
            for (&index, &gradient) in self.indices[range.clone()].iter().zip(&gradients[range]) {
                let index = index as usize;
                if index > 0 && row[index - 1] > F::zero() {
                    through.indices.push(index as u32 - 1);
                    through.values.push(-gradient);
                }
                if row[index] > F::zero() {
                    through.indices.push(index as u32);
                    through.values.push(gradient);
                }
            }
            through.starts.push(through.indices.len());
        }
        through
    }
}

/// Keeps the `active` entries of largest magnitude, in their order; of equal ones the first.
fn keep_largest<F: Real>(entries: &mut Vec<(u32, F)>, active: usize, magnitudes: &mut Vec<F>) {
    if active == 0 || entries.len() <= active {
        return;
    }
    magnitudes.clear();
    magnitudes.extend(entries.iter().map(|entry| entry.1.abs()));
    let order = |a: &F, b: &F| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal);
    let (larger, &mut threshold, _) = magnitudes.select_nth_unstable_by(active - 1, order);
    let mut equal_left = active - larger.iter().filter(|&&magnitude| magnitude > threshold).count();
    entries.retain(|entry| {
        let magnitude = entry.1.abs();
        let is_kept = magnitude > threshold || (magnitude == threshold && equal_left > 0);
        if is_kept && magnitude == threshold {
            equal_left -= 1;
        }
        is_kept
    });
}

fn add_scaled<F: Real>(sums: &mut [F], factor: F, row: &[F]) {
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn keeps_exactly_the_largest_even_among_equals() {
        let preactivations = array![[1.0, 3.0, -2.0, 3.0, 3.0, 0.5]];
        let code = SparseCode::select(preactivations.view(), 2, Penalty::Z);
        assert_eq!(code.patch(0).collect::<Vec<_>>(), [(1, 3.0), (3, 3.0)]);
    }

    #[test]
    fn steps_are_differences_of_rectified_latents() {
        let preactivations = array![[1.0, 1.0, -2.0, 3.0]];
        let code = SparseCode::select(preactivations.view(), 0, Penalty::Grad);
        assert_eq!(code.patch(0).collect::<Vec<_>>(), [(0, 1.0), (2, -1.0), (3, 3.0)]);
    }

    #[test]
    fn sparse_and_dense_products_agree() {
        let preactivations = Array2::from_shape_fn((5, 40), |(b, i)| ((b * 37 + i * 11) % 17) as f64 - 8.0);
        let weights = Array2::from_shape_fn((40, 19), |(i, j)| ((i * 5 + j * 3) % 13) as f64 - 6.0);
        let dense_rows = Array2::from_shape_fn((5, 19), |(b, j)| ((b * 7 + j) % 5) as f64);
        for active in [3, 0] {
            let code = SparseCode::select(preactivations.view(), active, Penalty::Z);
            assert_eq!(code.is_dense(), active == 0);
            let full = code.to_dense();
            let mut product = Array2::ones((5, 19));
            code.add_product(&weights, &mut product);
            assert_eq!(product, full.dot(&weights) + 1.0);
            let mut transposed = Array2::zeros((40, 19));
            code.add_transposed_product(&dense_rows, &mut transposed);
            assert_eq!(transposed, full.t().dot(&dense_rows));
            let inner = code.inner_products(&dense_rows, &weights);
            let all = dense_rows.dot(&weights.t());
            let expected: Vec<f64> =
                (0..5).flat_map(|b| code.patch(b).map(|(i, _)| all[[b, i]]).collect::<Vec<_>>()).collect();
            assert_eq!(inner, expected);
        }
    }
}
