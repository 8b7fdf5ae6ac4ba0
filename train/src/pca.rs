//! Principal components of the patches: the basis in which the network is trained, and which becomes its outer layer.
//!
//! Covariances are summed in blocks, so that the data need not fit in memory. Where patches have point symmetry,
//! I(q) = I(−q), they are folded first: n′ = ⌈n/2⌉ numbers of the same Euclidean norm, a quarter of the work for
//! covariances, an eighth for eigenvectors, half the bytes in the model.

use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, Side};
use h5z_sae::{Error, ErrorKind};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;

use crate::ranks::{Ranks, broadcast_array};

/// Largest share of the energy that may be antisymmetric in patches that count as point-symmetric.
const SYMMETRY_TOLERANCE: f64 = 1e-5;

/// The isometry between symmetric patches of n values and n′ = ⌈n/2⌉ numbers; the identity where there is no symmetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    /// n.
    pub patch_len: usize,
    /// `v[n−1−p] = v[p]` for all patches.
    pub point_symmetric: bool,
}

impl Folding {
    /// n′.
    pub fn folded_len(self) -> usize {
        if self.point_symmetric { self.patch_len.div_ceil(2) } else { self.patch_len }
    }

    /// What a folded number is worth in each of its pixels: 1/√2 where it stands for two.
    pub fn pixel_weight(self, index: usize) -> f32 {
        let is_pair = self.point_symmetric && 2 * index + 1 != self.patch_len;
        if is_pair { std::f32::consts::FRAC_1_SQRT_2 } else { 1.0 }
    }

    /// Folds patches (rows of n values); the antisymmetric part is dropped.
    pub fn fold(self, patches: ArrayView2<f32>) -> Array2<f32> {
        if !self.point_symmetric {
            return patches.to_owned();
        }
        Array2::from_shape_fn((patches.nrows(), self.folded_len()), |(row, index)| {
            let mirrored = self.patch_len - 1 - index;
            let both = patches[[row, index]] + if mirrored == index { 0.0 } else { patches[[row, mirrored]] };
            both * self.pixel_weight(index)
        })
    }

    /// Whether the antisymmetric part of the patches has at most 1e-5 of their energy.
    pub fn detect(patches: ArrayView2<f32>) -> Self {
        let patch_len = patches.ncols();
        let (mut antisymmetric, mut energy) = (0f64, 0f64);
        for patch in patches.rows() {
            for (index, &value) in patch.iter().enumerate() {
                let half_difference = f64::from(value - patch[patch_len - 1 - index]) / 2.0;
                antisymmetric += half_difference * half_difference;
                energy += f64::from(value) * f64::from(value);
            }
        }
        Self { patch_len, point_symmetric: antisymmetric <= SYMMETRY_TOLERANCE * energy }
    }
}

/// Running sums of a covariance.
pub struct Covariance {
    /// Subtracted from every patch: close to the mean, so that f32 products keep small variances.
    shift: Array1<f32>,
    sum: Array1<f64>,
    products: Array2<f64>,
    n_patches: usize,
}

impl Covariance {
    /// `first`: some folded patches, whose mean is subtracted from all.
    pub fn new(first: ArrayView2<f32>) -> Self {
        let len = first.ncols();
        let shift = first.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(len));
        Self { shift, sum: Array1::zeros(len), products: Array2::zeros((len, len)), n_patches: 0 }
    }

    /// Adds folded patches. Products of a block are summed in f32, blocks in f64.
    pub fn add(&mut self, mut patches: Array2<f32>) {
        const STRIPE: usize = 256;
        patches -= &self.shift;
        self.n_patches += patches.nrows();
        self.sum +=
            &patches.map_axis(Axis(0), |column| column.iter().map(|&value| f64::from(value)).sum::<f64>());
        self.products.axis_chunks_iter_mut(Axis(0), STRIPE).into_par_iter().enumerate().for_each(
            |(index, mut stripe)| {
                // The lower triangle is enough for a symmetric matrix.
                let (start, end) = (index * STRIPE, index * STRIPE + stripe.nrows());
                let columns = patches.slice_axis(Axis(1), Slice::from(start..end));
                let before = patches.slice_axis(Axis(1), Slice::from(..end));
                let mut products = Array2::zeros((end - start, end));
                general_mat_mul(1.0, &columns.t(), &before, 0.0, &mut products);
                let mut lower = stripe.slice_axis_mut(Axis(1), Slice::from(..end));
                lower.zip_mut_with(&products, |sum, &product| *sum += f64::from(product));
            },
        );
    }

    /// The `n_components` leading eigenvectors.
    ///
    /// # Errors
    /// `InvalidArgument` if the patches do not vary, or in fewer directions than components are asked for.
    pub fn finish(self, folding: Folding, n_components: usize) -> Result<Basis, Error> {
        let len = self.shift.len();
        let count = self.n_patches as f64;
        let offset = &self.sum / count;
        let covariance = Mat::from_fn(len, len, |row, col| {
            let (row, col) = (row.max(col), row.min(col));
            self.products[[row, col]] / count - offset[row] * offset[col]
        });
        let total_variance: f64 = (0..len).map(|index| covariance[(index, index)]).sum();
        let eigen = covariance.self_adjoint_eigen(Side::Lower).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, format!("no principal components of the data: {error:?}"))
        })?;
        // Eigenvalues come in ascending order.
        let variances = Array1::from_shape_fn(n_components, |k| eigen.S()[len - 1 - k]);
        check_variances(&variances, total_variance)?;
        let rows =
            Array2::from_shape_fn((n_components, len), |(k, index)| eigen.U()[(index, len - 1 - k)] as f32);
        let mean = &self.shift + &offset.mapv(|value| value as f32);
        let inverse_gram = Array2::eye(n_components);
        let dual = rows.clone();
        Ok(Basis { folding, mean, rows, inverse_gram, dual, variances, total_variance })
    }
}

fn check_variances(variances: &Array1<f64>, total: f64) -> Result<(), Error> {
    /// Below this share of the variance a component is rounding of the f32 data.
    const NOISE: f64 = 1e-13;
    let n_varying = variances.iter().filter(|&&variance| variance > NOISE * total).count();
    if n_varying == variances.len() && total > 0.0 {
        return Ok(());
    }
    let message = if total <= 1e-12 {
        format!(
            "patches that are all the same (variance {total:.1e} of the scaled values): nothing to learn from"
        )
    } else {
        format!(
            "patches that vary in {n_varying} directions only: ask for at most {n_varying} components, not {}",
            variances.len()
        )
    };
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// The leading principal components of a set of patches.
#[derive(Clone, Debug)]
pub struct Basis {
    /// How patches are folded.
    pub folding: Folding,
    /// n′, folded.
    pub mean: Array1<f32>,
    /// K × n′, by falling variance; orthonormal but for the rounding of [`Self::rounded`].
    pub rows: Array2<f32>,
    /// K × K: inverse of the rows' inner products.
    pub inverse_gram: Array2<f64>,
    /// K × n′: inner products with these are the components that `rows` rebuild a patch from, by least squares.
    dual: Array2<f32>,
    /// K: variance of each component.
    pub variances: Array1<f64>,
    /// Variance of folded patches about their mean, all components together.
    pub total_variance: f64,
}

impl Basis {
    /// The basis of rank 0, on all ranks; the others give `None`. Collective.
    pub fn broadcast(
        first: Option<Self>,
        patch_len: usize,
        n_components: usize,
        ranks: &mut dyn Ranks,
    ) -> Self {
        let is_symmetric = first.as_ref().is_some_and(|basis| basis.folding.point_symmetric);
        let folding = Folding { patch_len, point_symmetric: ranks.any(is_symmetric) };
        let mut basis = first.unwrap_or_else(|| Self::empty(folding, n_components));
        if ranks.n_ranks() > 1 {
            broadcast_array(&mut basis.mean, ranks);
            broadcast_array(&mut basis.rows, ranks);
            broadcast_array(&mut basis.inverse_gram, ranks);
            broadcast_array(&mut basis.dual, ranks);
            broadcast_array(&mut basis.variances, ranks);
            ranks.broadcast(std::slice::from_mut(&mut basis.total_variance));
        }
        basis
    }

    fn empty(folding: Folding, n_components: usize) -> Self {
        let rows = Array2::zeros((n_components, folding.folded_len()));
        Self {
            folding,
            mean: Array1::zeros(folding.folded_len()),
            dual: rows.clone(),
            rows,
            inverse_gram: Array2::zeros((n_components, n_components)),
            variances: Array1::zeros(n_components),
            total_variance: 0.0,
        }
    }

    /// From its parts: mean (n′), rows (K × n′), the inverse of their inner products (K × K), variances (K).
    pub fn restored(
        folding: Folding,
        mean: Array1<f32>,
        rows: Array2<f32>,
        inverse_gram: Array2<f64>,
        variances: Array1<f64>,
        total_variance: f64,
    ) -> Self {
        let dual = inverse_gram.dot(&rows.mapv(f64::from)).mapv(|value| value as f32);
        Self { folding, mean, rows, inverse_gram, dual, variances, total_variance }
    }

    /// K.
    pub fn n_components(&self) -> usize {
        self.rows.nrows()
    }

    /// The same with rows as `round` makes them. A model file holds rounded rows; a network that is trained with
    /// those never notices, while one that meets them afterwards takes the rounding for signal: the inner product
    /// of a patch with an error of a hundredth of a row's length is as large as the last components are.
    ///
    /// # Errors
    /// `InvalidArgument` if the rounded rows are linearly dependent.
    pub fn rounded(mut self, round: impl Fn(ArrayView2<f32>) -> Array2<f32>) -> Result<Self, Error> {
        self.rows = round(self.rows.view());
        self.with_dual()
    }

    /// The first `n_rows` rows alone.
    ///
    /// # Errors
    /// `InvalidArgument` if they are linearly dependent.
    pub fn leading(&self, n_rows: usize) -> Result<Self, Error> {
        let rows = self.rows.slice_axis(Axis(0), Slice::from(..n_rows)).to_owned();
        let variances = self.variances.slice_axis(Axis(0), Slice::from(..n_rows)).to_owned();
        Self { rows, variances, ..self.clone() }.with_dual()
    }

    /// Works out what follows from the rows.
    fn with_dual(mut self) -> Result<Self, Error> {
        let n_components = self.n_components();
        let rows = self.rows.mapv(f64::from);
        let gram = rows.dot(&rows.t());
        let factored =
            Mat::from_fn(n_components, n_components, |i, j| gram[[i, j]]).llt(Side::Lower).map_err(|_| {
                Error::new(ErrorKind::InvalidArgument, "basis rows that rounding makes dependent")
            })?;
        let inverse = factored.inverse();
        self.inverse_gram = Array2::from_shape_fn((n_components, n_components), |(i, j)| inverse[(i, j)]);
        self.dual = self.inverse_gram.dot(&rows).mapv(|value| value as f32);
        Ok(self)
    }

    /// Components of patches: B × n to B × K.
    pub fn project(&self, patches: ArrayView2<f32>) -> Array2<f32> {
        /// Rows for one thread: enough for a matrix product to be efficient.
        const ROWS: usize = 128;
        let mut components = Array2::zeros((patches.nrows(), self.n_components()));
        components
            .axis_chunks_iter_mut(Axis(0), ROWS)
            .into_par_iter()
            .zip(patches.axis_chunks_iter(Axis(0), ROWS))
            .for_each(|(mut out, rows)| {
                let folded = self.folding.fold(rows) - &self.mean;
                general_mat_mul(1.0, &folded, &self.dual.t(), 0.0, &mut out);
            });
        components
    }

    /// Patches from components: B × K to B × n. Inverse of [`Self::project`] but for what lies outside the basis.
    pub fn expand(&self, components: ArrayView2<f32>) -> Array2<f32> {
        let folded = components.dot(&self.rows) + &self.mean;
        let (len, folded_len) = (self.folding.patch_len, self.folding.folded_len());
        Array2::from_shape_fn((folded.nrows(), len), |(row, pixel)| {
            let index = if pixel < folded_len { pixel } else { len - 1 - pixel };
            folded[[row, index]] * self.folding.pixel_weight(index)
        })
    }

    /// Mean squared distance of a training patch from the span of the basis.
    pub fn floor(&self) -> f64 {
        (self.total_variance - self.variances.sum()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// Patches in a three-dimensional subspace, symmetric if asked for.
    fn patches(n: usize, len: usize, is_symmetric: bool) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let directions = Array2::from_shape_fn((3, len), |(k, p)| {
            let position = if is_symmetric { p.min(len - 1 - p) } else { p };
            ((k + 1) as f32 * (position as f32 + 0.3)).sin()
        });
        let weights: Array2<f32> = Array2::from_shape_fn((n, 3), |(_, k)| {
            let normal: f32 = StandardNormal.sample(&mut rng);
            normal / (k + 1) as f32
        });
        weights.dot(&directions) + 5.0
    }

    fn basis_of(patches: &Array2<f32>, n_components: usize) -> Result<Basis, Error> {
        let folding = Folding::detect(patches.view());
        let mut covariance = Covariance::new(folding.fold(patches.slice(ndarray::s![..10, ..])).view());
        for block in patches.axis_chunks_iter(Axis(0), 100) {
            covariance.add(folding.fold(block));
        }
        covariance.finish(folding, n_components)
    }

    #[test]
    fn components_rebuild_what_they_span() {
        // Beyond one stripe of the covariance, and with a pixel in the middle.
        for (len, is_symmetric) in [(301, false), (77, true), (78, true)] {
            let patches = patches(400, len, is_symmetric);
            let basis = basis_of(&patches, 3).unwrap();
            assert_eq!(basis.folding.point_symmetric, is_symmetric);
            let rebuilt = basis.expand(basis.project(patches.view()).view());
            let worst = (&rebuilt - &patches).iter().fold(0f32, |worst, e| worst.max(e.abs()));
            assert!(worst < 1e-4, "{len} values: off by {worst}");
            let gram = basis.rows.dot(&basis.rows.t());
            assert!((gram - Array2::<f32>::eye(3)).iter().all(|e| e.abs() < 1e-5));
            assert!(basis.variances[0] > basis.variances[1] && basis.floor() < 1e-5);
        }
    }

    #[test]
    fn rounded_rows_still_rebuild_by_least_squares() {
        let patches = patches(400, 77, true);
        let coarse = |rows: ArrayView2<f32>| rows.mapv(|value| (value * 20.0).round() / 20.0);
        let basis = basis_of(&patches, 3).unwrap().rounded(coarse).unwrap();
        let rebuilt = basis.expand(basis.project(patches.view()).view());
        let again = basis.expand(basis.project(rebuilt.view()).view());
        assert!((&again - &rebuilt).iter().all(|e| e.abs() < 1e-4));
        let residual = &patches - &rebuilt;
        let left: f32 = basis
            .project((&residual + &basis.expand(Array2::zeros((1, 3)).view())).view())
            .iter()
            .fold(0.0, |m, e| m.max(e.abs()));
        assert!(left < 1e-3, "the residual still has components of {left}");
    }

    #[test]
    fn rejects_data_without_variance() {
        let message = basis_of(&Array2::ones((50, 20)), 2).unwrap_err().to_string();
        assert!(message.contains("all the same"), "{message}");
        // Three of thirty values vary, in steps that f32 sums exactly.
        let few =
            Array2::from_shape_fn((400, 30), |(row, p)| if p < 3 { (row >> p & 1) as f32 } else { 1.0 });
        let message = basis_of(&few, 12).unwrap_err().to_string();
        assert!(message.contains("at most 3 components, not 12"), "{message}");
    }
}
