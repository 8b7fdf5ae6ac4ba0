//! Where the large integer matrix products run.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

use super::check::{Broken, F64_EXACT_LIMIT};
use super::{Model, PatchCode};

/// First integer that f32 no longer tells from its neighbours.
const F32_EXACT_LIMIT: i64 = 1 << 24;

/// A matrix of integers that a backend multiplies by, row-major, `depth × cols`.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Rows: length of the left operand's rows.
    pub depth: usize,
    /// Columns: length of a result row.
    pub cols: usize,
    /// The integers.
    pub values: Vec<i16>,
    /// The narrowest format in which every product with an allowed left operand is exact.
    pub exact_in: ExactIn,
}

/// A float format that holds each partial sum of a product, in any order: sums are integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExactIn {
    /// Sums stay below 2²⁴.
    F32,
    /// Sums stay below 2⁵³.
    F64,
}

/// Which left operands a layer can meet.
#[derive(Clone, Copy, Debug)]
pub(super) enum LeftRange {
    /// 0 to the given integer, so that no partial sum leaves the range from the negative to the positive weights' sum.
    UpTo(i64),
    /// Any magnitude up to the given integer.
    Within(i64),
}

impl Weights {
    /// Weights for left operands of the given range.
    ///
    /// # Errors
    /// A sentence where not even f64 is exact.
    pub(super) fn try_new(
        depth: usize,
        cols: usize,
        values: Vec<i16>,
        left: LeftRange,
    ) -> Result<Self, Broken> {
        let largest_sum = largest_sum(cols, &values, left);
        let exact_in = if largest_sum < i128::from(F32_EXACT_LIMIT) {
            ExactIn::F32
        } else if largest_sum < i128::from(F64_EXACT_LIMIT) {
            ExactIn::F64
        } else {
            return Err(format!(
                "a layer of {depth} x {cols} weights can sum to {largest_sum}: below 2^53 is exact"
            ));
        };
        Ok(Self { depth, cols, values, exact_in })
    }
}

/// Largest magnitude that a partial sum of any column can reach.
pub(super) fn largest_sum(cols: usize, values: &[i16], left: LeftRange) -> i128 {
    let mut sums = vec![(0i64, 0i64); cols];
    for row in values.chunks_exact(cols) {
        for ((negative, positive), &weight) in sums.iter_mut().zip(row) {
            *negative += i64::from(weight.min(0)).abs();
            *positive += i64::from(weight.max(0));
        }
    }
    let largest_column = |column_sum: fn(&(i64, i64)) -> i64| sums.iter().map(column_sum).max().unwrap_or(0);
    let (most_left, largest_column) = match left {
        LeftRange::UpTo(most) => (most, largest_column(|&(negative, positive)| negative.max(positive))),
        LeftRange::Within(most) => (most, largest_column(|&(negative, positive)| negative + positive)),
    };
    i128::from(most_left) * i128::from(largest_column)
}

/// Integer matrix products. Every implementation gives the same integers: sums are bounded when a model is loaded,
/// so that no order of summation and no intermediate format can lose a bit.
pub trait Backend: Send + Sync {
    /// Name for reports and tests: `scalar`, `gemm`.
    fn name(&self) -> &'static str;

    /// out = left · weights; `left` is `rows × weights.depth`, `out` is `rows × weights.cols`, both row-major.
    /// `left` is within the range that `weights` was made for, so that the product may be made in the floats of
    /// `weights.exact_in`.
    fn integer_product(&self, rows: usize, left: &[i64], weights: &Weights, out: &mut [i64]);

    /// out = left · right in f32, any order of summation, for the encoder.
    /// `left` is `rows × depth`, `right` is `depth × cols`, or `cols × depth` where `right_transposed`.
    fn float_product(
        &self,
        shape: (usize, usize, usize),
        left: &[f32],
        right: &[f32],
        right_transposed: bool,
        out: &mut [f32],
    );

    /// A device that runs a network's layers as a whole, if there is one.
    fn device(&self) -> Option<&dyn NetworkDevice> {
        None
    }
}

/// Runs the layers of a network on whole batches of patches, of one chunk or of several.
///
/// Each method returns whether it did. Where it did not, `out` holds anything, and the codec works through the layers
/// itself, with the products of the [`Backend`]. So a device may decline a model, or fail, and nothing is lost.
pub trait NetworkDevice: Send + Sync {
    /// As [`Model::decode_patches`]: steps 1 to 6 of `sae::decode`, bit for bit. `out` has room for n values of each
    /// code.
    fn decode_patches(&self, codes: CheckedCodes<'_>, out: &mut [i32]) -> bool;

    /// As [`Model::reconstruct_transformed`], with the same room.
    fn reconstruct_transformed(&self, codes: CheckedCodes<'_>, out: &mut [f32]) -> bool;

    /// As [`Model::analyze`] before all but the largest latents are set to 0: ℓ values for each n of `patches`.
    fn latents(&self, model: &Model, patches: &[f32], out: &mut [f32]) -> bool;

    /// As [`Model::project`]: K values for each n of `residual`.
    fn project(&self, model: &Model, residual: &[f32], out: &mut [f32]) -> bool;
}

/// Codes that obey every rule of [`PatchCode`] for their model, as [`Model::check_codes`] found.
#[derive(Clone, Copy, Debug)]
pub struct CheckedCodes<'a> {
    pub(super) model: &'a Model,
    pub(super) codes: &'a [PatchCode],
}

impl<'a> CheckedCodes<'a> {
    /// The model that the codes are for.
    pub fn model(self) -> &'a Model {
        self.model
    }

    /// The codes.
    pub fn codes(self) -> &'a [PatchCode] {
        self.codes
    }
}

/// What a [`NetworkDevice`] needs of a model beside its [`ModelSpec`](super::ModelSpec): numbers that follow from it.
#[derive(Clone, Copy, Debug)]
pub struct DerivedConstants<'m> {
    /// For `Penalty::Grad` what a row of the hidden layer adds up to from itself to the last: s of `sae::decode`, ℓ × m.
    pub hidden_sums: Option<&'m [i32]>,
    /// L of `sae::transform` in Q24; 0 unless the transform is `Transform::Log`.
    pub log_exponent_q24: i64,
    /// E of `sae::transform`: 2^(i/256) in Q30.
    pub powers_q30: &'static [u32; 257],
    /// Q of `sae::decode`: 2^(i/4) in Q30.
    pub quarter_octaves_q30: [u32; 4],
    /// The basis in real units, K × n′.
    pub basis: &'m [f32],
    /// K: one over the squared norm of a full row; 0 for a row of zeros.
    pub inverse_norms: &'m [f32],
    /// The mean in real units, n.
    pub mean: &'m [f32],
}

/// Inner product of two vectors of one length. Sixteen running sums, so that the compiler may use vector registers
/// without reordering a sum.
pub fn inner_product<F>(a: &[F], b: &[F]) -> F
where
    F: Copy + Default + AddAssign + Add<Output = F> + Mul<Output = F> + Sum,
{
    const LANES: usize = 16;
    let mut sums = [F::default(); LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: F = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum();
    sums.into_iter().sum::<F>() + rest
}

/// Plain loops: the oracle that every other backend is compared with.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScalarBackend;

impl Backend for ScalarBackend {
    fn name(&self) -> &'static str {
        "scalar"
    }

    fn integer_product(&self, rows: usize, left: &[i64], weights: &Weights, out: &mut [i64]) {
        let (depth, cols) = (weights.depth, weights.cols);
        out.fill(0);
        for row in 0..rows {
            let sums = &mut out[row * cols..(row + 1) * cols];
            for (&factor, weights_row) in
                left[row * depth..(row + 1) * depth].iter().zip(weights.values.chunks(cols))
            {
                if factor != 0 {
                    for (sum, &weight) in sums.iter_mut().zip(weights_row) {
                        *sum += factor * i64::from(weight);
                    }
                }
            }
        }
    }

    fn float_product(
        &self,
        (rows, depth, cols): (usize, usize, usize),
        left: &[f32],
        right: &[f32],
        right_transposed: bool,
        out: &mut [f32],
    ) {
        let (depth_stride, col_stride) = if right_transposed { (1, depth) } else { (cols, 1) };
        for row in 0..rows {
            for col in 0..cols {
                let products =
                    (0..depth).map(|k| left[row * depth + k] * right[k * depth_stride + col * col_stride]);
                out[row * cols + col] = products.sum();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In what a column of these weights is exact, if in anything.
    fn format_of(weights: &[i16], left: LeftRange) -> Option<ExactIn> {
        Weights::try_new(weights.len(), 1, weights.to_vec(), left).ok().map(|weights| weights.exact_in)
    }

    #[test]
    fn the_narrowest_exact_format_is_chosen() {
        let below_24_bits = (1 << 23) - 1;
        assert_eq!(format_of(&[1, -1], LeftRange::Within(below_24_bits)), Some(ExactIn::F32));
        assert_eq!(format_of(&[1, -1], LeftRange::Within(1 << 23)), Some(ExactIn::F64));
        assert_eq!(format_of(&[1, -1], LeftRange::UpTo(1 << 23)), Some(ExactIn::F32));
        assert_eq!(format_of(&[1, 1], LeftRange::UpTo(1 << 23)), Some(ExactIn::F64));
        assert_eq!(format_of(&[i16::MIN], LeftRange::Within((1 << 38) - 1)), Some(ExactIn::F64));
        assert_eq!(format_of(&[i16::MIN], LeftRange::Within(1 << 38)), None);
        assert_eq!(format_of(&[-1, -1], LeftRange::UpTo(1 << 52)), None);
    }
}
