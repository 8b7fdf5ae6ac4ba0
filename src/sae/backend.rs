//! Where the large integer matrix products run.

/// A matrix of integers that a backend multiplies by, row-major, `depth × cols`.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Rows: length of the left operand's rows.
    pub depth: usize,
    /// Columns: length of a result row.
    pub cols: usize,
    /// The integers; each is exact in f32.
    pub values: Vec<i16>,
    /// The same as f64, for backends that multiply in floating point; may be empty when f32 serves.
    pub as_f64: Vec<f64>,
    /// The same as f32, where the bound on every sum is below 2²⁴; empty otherwise.
    pub as_f32: Vec<f32>,
}

/// Integer matrix products. Every implementation gives the same integers: sums are bounded when a model is loaded,
/// so that no order of summation and no intermediate format can lose a bit.
pub trait Backend: Send + Sync {
    /// Name for reports and tests: `scalar`, `gemm`.
    fn name(&self) -> &'static str;

    /// out = left · weights; `left` is `rows × weights.depth`, `out` is `rows × weights.cols`, both row-major.
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
