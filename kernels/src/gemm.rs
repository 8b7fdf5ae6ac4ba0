//! The one place that calls `matrixmultiply`, behind a function that cannot be misused.

/// A float format that `matrixmultiply` multiplies.
pub(crate) trait Factor: Copy {
    /// Nearest value; exact where the format holds the integer.
    fn from_integer(value: i64) -> Self;

    /// The same number.
    fn from_weight(weight: i16) -> Self;

    /// The integer that an exact sum is.
    fn to_integer(self) -> i64;

    /// `c = a · b`, sizes `(m, k, n)`, strides in elements.
    ///
    /// # Safety
    /// Every element that sizes and strides address lies within its allocation, and `c` overlaps neither `a` nor `b`.
    unsafe fn product(sizes: (usize, usize, usize), a: Operand<Self>, b: Operand<Self>, c: *mut Self);
}

/// A matrix in memory.
pub(crate) struct Operand<F> {
    start: *const F,
    row_stride: isize,
    col_stride: isize,
}

/// Implements [`Factor`] for a format by the function that multiplies it.
macro_rules! impl_factor {
    ($format:ty, $multiply:path) => {
        impl Factor for $format {
            fn from_integer(value: i64) -> Self {
                value as Self
            }

            fn from_weight(weight: i16) -> Self {
                weight.into()
            }

            fn to_integer(self) -> i64 {
                self as i64
            }

            unsafe fn product(
                (m, k, n): (usize, usize, usize),
                a: Operand<Self>,
                b: Operand<Self>,
                c: *mut Self,
            ) {
                let (a_rows, a_cols) = (a.row_stride, a.col_stride);
                let (b_rows, b_cols) = (b.row_stride, b.col_stride);
                let c_rows = n as isize;
                // SAFETY: the caller's promise; `c` is row-major with n columns, as the trait says.
                unsafe {
                    $multiply(
                        m, k, n, 1.0, a.start, a_rows, a_cols, b.start, b_rows, b_cols, 0.0, c, c_rows, 1,
                    );
                }
            }
        }
    };
}

impl_factor!(f32, matrixmultiply::sgemm);
impl_factor!(f64, matrixmultiply::dgemm);

/// `out = left · right`, row-major, `m × k` times `k × n`; `right` is `n × k` where `right_transposed`.
///
/// # Panics
/// Where a slice is not as long as its sizes say.
pub(crate) fn gemm<F: Factor>(
    (m, k, n): (usize, usize, usize),
    left: &[F],
    right: &[F],
    right_transposed: bool,
    out: &mut [F],
) {
    assert!(Some(left.len()) == m.checked_mul(k), "left operand of {} values for {m} x {k}", left.len());
    assert!(Some(right.len()) == k.checked_mul(n), "right operand of {} values for {k} x {n}", right.len());
    assert!(Some(out.len()) == m.checked_mul(n), "result of {} values for {m} x {n}", out.len());
    let (row_stride, col_stride) = if right_transposed { (1, k as isize) } else { (n as isize, 1) };
    let left = Operand { start: left.as_ptr(), row_stride: k as isize, col_stride: 1 };
    let right = Operand { start: right.as_ptr(), row_stride, col_stride };
    // SAFETY:
    // - left: the largest offset is (m−1)·k + k−1 = m·k − 1, right: k·n − 1 in either layout, out: m·n − 1; the
    //   lengths were checked above. Sizes of 0 address nothing.
    // - `out` is borrowed mutably, so it overlaps neither operand.
    unsafe { F::product((m, k, n), left, right, out.as_mut_ptr()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_both_layouts() {
        let left = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let right = [1.0, 0.0, 2.0, 0.0, 1.0, 3.0];
        let mut out = [0.0; 4];
        gemm((2, 3, 2), &left, &right, false, &mut out);
        assert_eq!(out, [8.0, 9.0, 20.0, 18.0]);
        gemm((2, 3, 2), &left, &right, true, &mut out);
        assert_eq!(out, [7.0, 11.0, 16.0, 23.0]);
    }

    #[test]
    fn an_empty_depth_gives_zeros() {
        let mut out = [7.0f64; 2];
        gemm((1, 0, 2), &[], &[], false, &mut out);
        assert_eq!(out, [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "right operand of 5 values for 3 x 2")]
    fn rejects_slices_of_another_length() {
        gemm((2, 3, 2), &[0.0f32; 6], &[0.0; 5], false, &mut [0.0; 4]);
    }
}
