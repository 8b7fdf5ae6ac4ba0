"""The exact integer network: docs/format.md, "Network", step by step. Equal bits on every machine.

Matrix products run in float64, where every partial sum of integers below 2^53 is exact in any order; the gather of
step 2 runs in int64, which wraps as the format allows.
"""
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import ModelError

if TYPE_CHECKING:
    from .model import Model

LATENT_LIMIT = 1 << 24
# 2^(i/8) in Q30.
EIGHTH_OCTAVES = (1073741824, 1170923762, 1276901417, 1392470869, 1518500250, 1655936265, 1805811301, 1969251188)
# Patches decoded together: 256 of 64 × 64 take 8 MB in int64.
BATCH = 256

Array = np.ndarray[Any, Any]


def decode(model: "Model", levels: Array, step_log2: int, linear_levels: Array | None, linear_step_quarters: int) -> Array:
    """Steps 1 to 6: B × rows × columns, int32 in Q30. Model.decode_levels says more."""
    levels = np.asarray(levels)
    layers = Layers(model)
    out = np.empty((len(levels), model.n_values), np.int32)
    for start in range(0, len(levels), BATCH):
        block = slice(start, start + BATCH)
        linear = None if linear_levels is None else np.asarray(linear_levels)[block]
        outputs = layers.outputs(levels[block], step_log2, linear, linear_step_quarters)
        out[block] = model.unfold(inverse_transform(model, outputs))
    return out.reshape(-1, *model.patch)


class Layers:
    """The decoder's layers, laid out for products."""

    def __init__(self, model: "Model") -> None:
        decoder = model.decoder
        self.model = model
        hidden = decoder.hidden.astype(np.int64)
        # Σ z·w with z a running sum of steps g is Σ g·s, with s the sums of w to the end.
        self.hidden = np.cumsum(hidden[::-1], axis=0)[::-1] if model.penalty == "grad" else hidden
        self.coef = None if decoder.coef is None else decoder.coef.astype(np.float64)
        self.basis = np.concatenate(decoder.basis).astype(np.float64)

    def outputs(self, levels: Array, step_log2: int, linear: Array | None, linear_step_quarters: int) -> Array:
        """Steps 1 to 5: B × n', int64."""
        coefs = self.coefficients(self.hidden_layer(levels, step_log2))
        decoder = self.model.decoder
        frac_bits = decoder.coef_frac_bits.astype(np.int64)
        if linear is not None:
            if not 0 <= linear_step_quarters <= 4 * int(frac_bits.min()):
                raise ModelError(f"linear step 2^-({linear_step_quarters}/4): 0 to {4 * frac_bits.min()} quarters allowed")
            octaves = -(-linear_step_quarters // 4)
            in_q30 = linear.astype(np.int64) * EIGHTH_OCTAVES[2 * (4 * octaves - linear_step_quarters)]
            bits = frac_bits - octaves
            coefs = coefs + np.where(bits < 30, rounding_shift(in_q30, np.maximum(30 - bits, 0)),
                                     in_q30 << np.maximum(bits - 30, 0))
        most = (1 << decoder.coef_bits) - 1
        coefs = np.clip(coefs, -most, most)
        return (coefs.astype(np.float64) @ self.basis).astype(np.int64) + decoder.mean

    def hidden_layer(self, levels: Array, step_log2: int) -> Array:
        """Steps 1 and 2: B × m, int64."""
        decoder, model = self.model.decoder, self.model
        if levels.ndim != 2 or levels.shape[1] != model.n_latents:
            raise ModelError(f"levels of shape {list(levels.shape)}: B x {model.n_latents} expected")
        if not 0 <= step_log2 <= decoder.latent_frac_bits:
            raise ModelError(f"latent step 2^-{step_log2}: exponents 0 to {decoder.latent_frac_bits} allowed")
        steps = levels.astype(np.int64) << (decoder.latent_frac_bits - step_log2)
        latents = np.cumsum(steps, axis=1) if model.penalty == "grad" else steps
        if np.abs(latents).max(initial=0) >= LATENT_LIMIT:
            raise ModelError(f"a latent is {np.abs(latents).max()}: below 2^24 allowed")
        sums = np.empty((len(levels), model.n_hidden), np.int64)
        for row, patch_steps in zip(sums, steps, strict=True):
            nonzero = np.flatnonzero(patch_steps)
            row[:] = patch_steps[nonzero] @ self.hidden[nonzero]
        sums = rounding_shift(sums + decoder.hidden_bias, decoder.hidden_shift)
        return np.clip(sums, 0, (1 << decoder.hidden_bits) - 1)

    def coefficients(self, hidden: Array) -> Array:
        """Step 3: B × K, int64."""
        decoder = self.model.decoder
        sums = hidden
        if self.coef is not None:
            sums = np.zeros((len(hidden), self.model.n_linear), np.int64)
            sums[:, : self.model.n_coefs] = hidden.astype(np.float64) @ self.coef
        return rounding_shift(sums + decoder.coef_bias, decoder.coef_shift.astype(np.int64))


def rounding_shift(x: Array, shift: Any) -> Array:
    """x / 2^shift to the nearest integer, halves upwards; `shift` a number or one for each column."""
    shift = np.asarray(shift, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return np.asarray((x + half) >> shift)


def inverse_transform(model: "Model", outputs: Array) -> Array:
    """Step 6: values in Q30 of outputs in units of 2^-output_frac_bits; int64 within the range of int32."""
    frac_bits, offset = model.decoder.output_frac_bits, model.transform_offset_q24
    if model.transform == "none":
        values = rescale(outputs, frac_bits, 30)
    else:
        w = np.clip(rescale(outputs, frac_bits, 24), 0, 1 << 26)
        if model.transform == "sqrt":
            values = rounding_shift(w * w - (offset << 24), 18)
        else:
            exponent = binary_log_q24((1 << 24) + offset) - binary_log_q24(offset)
            values = scaled_power_q30(offset, rounding_shift(w * exponent, 24))
    return np.clip(values, -(1 << 31), (1 << 31) - 1)


def rescale(x: Array, frac_bits: int, wanted: int) -> Array:
    """x in units of 2^-frac_bits in units of 2^-wanted; saturates far beyond any clamp that follows."""
    if frac_bits >= wanted:
        return rounding_shift(x, frac_bits - wanted)
    most = (1 << 62) >> (wanted - frac_bits)
    return np.clip(x, -most, most) << (wanted - frac_bits)


def binary_log_q24(x: int) -> int:
    """A binary logarithm of x ≥ 1 by repeated squaring, in Q24."""
    whole = x.bit_length() - 1
    y, log = x << (31 - whole), whole
    for _ in range(24):
        y = (y * y) >> 31
        bit = y >> 32
        y >>= bit
        log = log << 1 | bit
    return log


EXP2_Q30 = np.rint(np.exp2(np.arange(257) / 256 + 30)).astype(np.int64)


def scaled_power_q30(offset_q24: int, exponent_q24: Array) -> Array:
    """c·(2^e − 1) in Q30; beyond 2^31 any larger number."""
    too_large = exponent_q24 >= 32 << 24
    e = np.where(too_large, 0, exponent_q24)
    entry, rest = (e >> 16) & 255, e & 0xFFFF
    mantissa = EXP2_Q30[entry] + rounding_shift((EXP2_Q30[entry + 1] - EXP2_Q30[entry]) * rest, 16)
    power = (mantissa << (e >> 24)) - (1 << 30)
    # offset·power may need 86 bits: its upper part is cut where the result is beyond every clamp anyway.
    upper = np.minimum(power >> 24, 1 << 32)
    value = offset_q24 * upper + ((offset_q24 * (power & 0xFFFFFF) + (1 << 23)) >> 24)
    return np.where(too_large, np.int64(1) << 40, value)
