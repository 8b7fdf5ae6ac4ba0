//! Matrix products for the H5Z-SAE codec by `matrixmultiply`, which picks the SIMD kernel for the machine.
//!
//! Integer products run in floating point: a model's weights are such that every partial sum, in any order and with or
//! without fused multiply-add, is an integer that f32 or f64 holds. So they equal those of
//! [`h5z_sae::sae::backend::ScalarBackend`] bit for bit.

use std::num::NonZero;

use h5z_sae::sae::backend::{Backend, ExactIn, ScalarBackend, Weights, inner_product};

mod gemm;

use gemm::{Factor, gemm};

/// Up to this many rows plain loops win: packing the weights for `matrixmultiply` costs more than the product. With
/// 512 × 2048 weights: 0.6 against 2.8 ms for one row, 1.1 against 1.5 ms for two, 2.0 against 1.1 ms for four.
const MOST_PLAIN_ROWS: usize = 2;

/// Columns of weights that are made floats at a time.
const PANEL_COLS: usize = 128;

/// `matrixmultiply` on the calling thread, or on several scoped threads that share the rows of the left operand.
///
/// Threads change neither integers nor floats: each row is multiplied by the same kernel in the same order.
#[derive(Clone, Copy, Debug)]
pub struct GemmBackend {
    /// Most threads of one product; a product of fewer rows takes fewer.
    pub threads: NonZero<usize>,
}

impl Default for GemmBackend {
    /// One thread: a filter runs inside programs that have threads of their own.
    fn default() -> Self {
        Self { threads: NonZero::<usize>::MIN }
    }
}

impl GemmBackend {
    /// Runs `product` on bands of rows: `(rows of the band, its part of left, its part of out)`.
    fn split_rows<L: Sync, O: Send>(
        &self,
        rows: usize,
        left: &[L],
        out: &mut [O],
        product: impl Fn(usize, &[L], &mut [O]) + Sync,
    ) {
        let band_rows = rows.div_ceil(self.threads.get()).max(1);
        if rows <= band_rows {
            return product(rows, left, out);
        }
        let (depth, cols) = (left.len() / rows, out.len() / rows);
        std::thread::scope(|scope| {
            let mut rest = (left, out);
            let mut rows_left = rows;
            while rows_left > 0 {
                let taken = band_rows.min(rows_left);
                let (left, left_rest) = rest.0.split_at(taken * depth);
                let (out, out_rest) = rest.1.split_at_mut(taken * cols);
                rest = (left_rest, out_rest);
                rows_left -= taken;
                let product = &product;
                if rows_left == 0 {
                    product(taken, left, out);
                } else {
                    scope.spawn(move || product(taken, left, out));
                }
            }
        });
    }
}

impl Backend for GemmBackend {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn integer_product(&self, rows: usize, left: &[i64], weights: &Weights, out: &mut [i64]) {
        assert_eq!(left.len(), rows * weights.depth, "left operand");
        assert_eq!(out.len(), rows * weights.cols, "result");
        if rows <= MOST_PLAIN_ROWS {
            return ScalarBackend.integer_product(rows, left, weights, out);
        }
        self.split_rows(rows, left, out, |rows, left, out| match weights.exact_in {
            ExactIn::F32 => integer_band::<f32>(rows, left, weights, out),
            ExactIn::F64 => integer_band::<f64>(rows, left, weights, out),
        });
    }

    fn float_product(
        &self,
        (rows, depth, cols): (usize, usize, usize),
        left: &[f32],
        right: &[f32],
        right_transposed: bool,
        out: &mut [f32],
    ) {
        assert_eq!(left.len(), rows * depth, "left operand");
        assert_eq!(out.len(), rows * cols, "result");
        if rows <= MOST_PLAIN_ROWS {
            return plain_float_product(cols, left, right, right_transposed, out);
        }
        self.split_rows(rows, left, out, |rows, left, out| {
            gemm((rows, depth, cols), left, right, right_transposed, out);
        });
    }
}

/// A float product without packing. Factors of 0, of which a patch's levels have many, cost nothing.
fn plain_float_product(cols: usize, left: &[f32], right: &[f32], right_transposed: bool, out: &mut [f32]) {
    let n_rows = out.len() / cols.max(1);
    let depth = left.len() / n_rows.max(1);
    if depth == 0 {
        return out.fill(0.0);
    }
    for (left, out) in left.chunks_exact(depth).zip(out.chunks_exact_mut(cols)) {
        if right_transposed {
            out.iter_mut()
                .zip(right.chunks_exact(depth))
                .for_each(|(out, row)| *out = inner_product(left, row));
            continue;
        }
        out.fill(0.0);
        for (&factor, row) in left.iter().zip(right.chunks_exact(cols)).filter(|(factor, _)| **factor != 0.0)
        {
            out.iter_mut().zip(row).for_each(|(out, &value)| *out += factor * value);
        }
    }
}

/// An integer product in the float format `F`, which must hold every partial sum: columns by columns, so that few weights
/// lie in memory as floats.
fn integer_band<F: Factor>(rows: usize, left: &[i64], weights: &Weights, out: &mut [i64]) {
    let (depth, cols) = (weights.depth, weights.cols);
    let left: Vec<F> = left.iter().map(|&factor| F::from_integer(factor)).collect();
    let mut panel = Vec::with_capacity(depth * PANEL_COLS.min(cols));
    let mut sums = vec![F::from_integer(0); rows * PANEL_COLS.min(cols)];
    for first in (0..cols).step_by(PANEL_COLS) {
        let width = PANEL_COLS.min(cols - first);
        panel.clear();
        for row in weights.values.chunks_exact(cols) {
            panel.extend(row[first..first + width].iter().map(|&weight| F::from_weight(weight)));
        }
        let sums = &mut sums[..rows * width];
        gemm((rows, depth, width), &left, &panel, false, sums);
        for (out, sums) in out.chunks_exact_mut(cols).zip(sums.chunks_exact(width)) {
            out[first..first + width].iter_mut().zip(sums).for_each(|(out, sum)| *out = sum.to_integer());
        }
    }
}
