//! Everything that a model file holds, in memory.

use crate::array::PatchShape;

/// Integers of a layer, row-major, `rows × cols`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntTensor {
    /// Rows: inputs of the layer.
    pub rows: usize,
    /// Columns: outputs of the layer.
    pub cols: usize,
    /// The weights in the width that the file stores.
    pub values: IntValues,
}

/// Stored widths of a layer's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntValues {
    /// 8-bit weights.
    I8(Vec<i8>),
    /// 16-bit weights.
    I16(Vec<i16>),
}

/// Map between the linear domain and the one in which the network works. x is the value over the patch's scale,
/// so that the largest is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transform {
    /// T(x) = x
    None,
    /// T(x) = sqrt(max(x, 0) + c), c ≥ 0.
    Sqrt {
        /// The offset c, in Q24 (c·2²⁴ rounded), 0 to 2²⁴.
        offset_q24: u32,
    },
    /// T(x) = log2(1 + max(x, 0)/c) / log2(1 + 1/c), c > 0, so that T(0) = 0 and T(1) = 1.
    Log {
        /// The offset c, in Q24, 1 to 2²⁴.
        offset_q24: u32,
    },
}

/// What the L1 penalty of training acts on (arXiv 2405.14270, equation of the loss).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// ‖z‖₁: few latents are nonzero.
    Z,
    /// ‖∇z‖₁: z is a running sum of few steps; the stream holds the steps.
    Grad,
}

/// The integer layers that turn a [`PatchCode`](super::PatchCode) into a patch. With >> a rounding right shift
/// (`(x + 2^(s−1)) >> s`, arithmetic; s = 0 does nothing):
///
/// ```text
/// z[i]  = level[i] << (latent_frac_bits − t)                 running sum of these for Penalty::Grad
/// h[j]  = clamp((Σᵢ z[i]·hidden[i][j] + hidden_bias[j]) >> hidden_shift, 0, 2^hidden_bits − 1)
/// c[k]  = clamp((Σⱼ h[j]·coef[j][k] + coef_bias[k]) >> coef_shift[k]        the sum is 0 for k ≥ K′
///               + linear_level[k]·2^(coef_frac_bits[k] − u/4), ± (2^coef_bits − 1))
/// o[p]  = Σₖ c[k]·basis[k][p] + mean[p]                      in units of 2^−output_frac_bits
/// v[p]  = T⁻¹(o[p]) in Q30, clamped to the range of i32
/// ```
///
/// Row k of the basis is in units of 2^−(output_frac_bits − coef_frac_bits\[k\]). |z| must stay below 2²⁴.
/// Every sum is the exact integer: (2^coef_bits − 1)·Σₖ |basis\[k\]\[p\]| must be below 2⁵³ for every p.
/// If `point_symmetric`, basis and mean have n′ = ⌈n/2⌉ columns and v\[n−1−p\] = v\[p\]; else n′ = n.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderWeights {
    /// Fraction bits of the latents, 0 to 20.
    pub latent_frac_bits: u8,
    /// ℓ × m.
    pub hidden: IntTensor,
    /// m.
    pub hidden_bias: Vec<i32>,
    /// 0 to 31.
    pub hidden_shift: u8,
    /// Width of the hidden activations, 1 to 20.
    pub hidden_bits: u8,
    /// m × K′ with K′ ≤ K: the network speaks through the first K′ rows of the basis, the others serve linear atoms
    /// alone. `None` where K = m and the matrix is the identity (a plain five-layer network).
    pub coef: Option<IntTensor>,
    /// K.
    pub coef_bias: Vec<i32>,
    /// K, each 0 to 40.
    pub coef_shift: Vec<u8>,
    /// K, each 0 to 40: fraction bits of c\[k\].
    pub coef_frac_bits: Vec<u8>,
    /// Width of the coefficients, 1 to 40.
    pub coef_bits: u8,
    /// The basis in blocks of rows, n′ columns each: the first rows are often stored wider than the rest. The
    /// rows of all blocks together are K.
    pub basis: Vec<IntTensor>,
    /// n′, in units of 2^−output_frac_bits, each below 2⁵³ in magnitude.
    pub mean: Vec<i64>,
    /// 0 to 44.
    pub output_frac_bits: u8,
}

/// The float layers that turn a patch into latents. y = (T(x) − mean)·basisᵀ has K′ entries, in real units and over
/// all n values, so that a half stored basis of a point-symmetric model acts on T(x)\[p\] + T(x)\[n−1−p\]; then
/// `z = relu(relu(y·input + input_bias)·latent + latent_bias)`, of which the `active` largest are kept.
/// Stored as IEEE binary16; an encoder needs no exactness.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderWeights {
    /// K′ × m, row-major, for the columns of [`DecoderWeights::coef`]; n × m with `direct`.
    pub input: Vec<f32>,
    /// m.
    pub input_bias: Vec<f32>,
    /// m × ℓ.
    pub latent: Vec<f32>,
    /// ℓ.
    pub latent_bias: Vec<f32>,
    /// The first layer takes the n values T(x) themselves rather than their first K′ basis coefficients.
    pub direct: bool,
}

/// What training learned about the code, for the arithmetic coder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priors {
    /// ℓ: how often a latent's level (of z, or of ∇z for `Penalty::Grad`) is nonzero, in 1/65536, 1 to 65535.
    pub fire: Vec<u16>,
    /// ℓ: 4·log2 of a latent's mean magnitude where it is nonzero, rounded.
    pub weight_scale: Vec<i8>,
    /// K: 4·log2 of the root mean square of a linear coefficient beside the nonlinear code, rounded.
    pub linear_scale: Vec<i8>,
    /// K: the same where the nonlinear code is left out and the linear atoms work alone.
    pub linear_only_scale: Vec<i8>,
}

/// Everything that a model file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Rows and columns of a patch; n is their product.
    pub patch: PatchShape,
    /// Frames of the training data satisfy I(q) = I(−q) about the patch's centre, and half the output is stored.
    pub point_symmetric: bool,
    /// Domain of the network.
    pub transform: Transform,
    /// What the L1 term acted on.
    pub penalty: Penalty,
    /// Weight of the L1 term in training.
    pub sparsity_lambda: f64,
    /// Most latents that the encoder keeps in a patch; 0 keeps all.
    pub active: u32,
    /// log2 of the inverse latent step that `Bound::None` uses, at most `latent_frac_bits`.
    pub none_step_log2: u8,
    /// The exact half.
    pub decoder: DecoderWeights,
    /// The float half.
    pub encoder: EncoderWeights,
    /// For the arithmetic coder.
    pub priors: Priors,
    /// Where the model comes from: training data, seeds, date, metrics; free text by key.
    pub provenance: std::collections::BTreeMap<String, String>,
}
