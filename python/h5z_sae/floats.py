"""The encoder, and the decoder in floats: what docs/models.md writes down. Nothing here needs to be exact."""
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .model import Model

# Patches worked on together.
BATCH = 512
LARGEST_LEVEL = (1 << 24) - 1

Array = np.ndarray[Any, Any]


def transform(x: Array, name: str, offset_q24: int) -> Array:
    """T(x), element by element."""
    c = np.float32(offset_q24 / (1 << 24))
    if name == "none":
        return x
    if name == "sqrt":
        return np.asarray(np.sqrt(np.maximum(x, 0) + c))
    return np.asarray(np.log1p(np.maximum(x, 0) / c) / np.log1p(1 / c))


def inverse_transform(t: Array, name: str, offset_q24: int) -> Array:
    """T⁻¹, element by element; outputs beyond 4 are cut, as the exact decoder does."""
    c = np.float32(offset_q24 / (1 << 24))
    if name == "none":
        return t
    t = np.clip(t, 0, 4)
    return np.asarray(t * t - c if name == "sqrt" else c * np.expm1(t * np.log1p(1 / c)))


def encode(model: "Model", transformed: Array) -> Array:
    """Latents of patches in the network's domain (B × n): B × ℓ, float32."""
    encoder = model.encoder
    layers = [array.astype(np.float32)
              for array in (encoder.input, encoder.input_bias, encoder.latent, encoder.latent_bias)]
    basis = None if encoder.direct else model.float_basis()[: model.n_coefs]
    mean = model.unfold(float_mean(model)[None])[0]
    out = np.empty((len(transformed), model.n_latents), np.float32)
    for start in range(0, len(transformed), BATCH):
        x = transformed[start:start + BATCH]
        y = x if basis is None else coordinates(model, x - mean, basis)
        h = np.maximum(y @ layers[0] + layers[1], 0)
        z = np.maximum(h @ layers[2] + layers[3], 0)
        out[start:start + BATCH] = keep_largest(z, model.active) if model.penalty == "z" and model.active else z
    return out


def float_mean(model: "Model") -> Array:
    """n', in real units."""
    return (model.decoder.mean * 2.0 ** -model.decoder.output_frac_bits).astype(np.float32)


def coordinates(model: "Model", centred: Array, basis: Array) -> Array:
    """Inner products of patches (B × n) with the full rows of the basis (K × n' as stored): B × K."""
    folded = centred[:, : model.n_stored].copy() if model.point_symmetric else centred
    if model.point_symmetric:
        pairs = model.n_values - model.n_stored
        folded[:, :pairs] += centred[:, ::-1][:, :pairs]
    return folded @ basis.T


def project(model: "Model", residual: Array) -> Array:
    """Linear coefficients of what a reconstruction leaves: B × n to B × K. Least squares if rows are orthogonal."""
    basis = model.float_basis()
    norms = np.square(model.unfold(basis)).sum(axis=1)
    return coordinates(model, residual, basis) / np.where(norms > 0, norms, np.inf)


def keep_largest(latents: Array, kept: int) -> Array:
    """Zeroes all but the `kept` largest of each row; of equal ones the first are kept."""
    if kept >= latents.shape[1]:
        return latents
    out = np.zeros_like(latents)
    # Partitioning is not stable; rows whose threshold is shared are sorted.
    threshold = np.partition(latents, -kept, axis=1)[:, -kept, None]
    above = latents > threshold
    out[above] = latents[above]
    for row in np.flatnonzero(threshold[:, 0] > 0):
        equal = np.flatnonzero(latents[row] == threshold[row, 0])
        out[row, equal[: kept - np.count_nonzero(above[row])]] = threshold[row, 0]
    return out


def quantize(latents: Array, step_log2: int, dead_zone: float, running: bool, latent_frac_bits: int) -> Array:
    """Levels of latents: Model.quantize says more."""
    most = ((1 << 24) - 1) >> max(0, latent_frac_bits - step_log2)
    wanted = np.clip(np.asarray(latents, np.float32) * np.float32(2.0**step_log2), -most, most)
    if not running:
        levels = np.where(np.abs(wanted) < np.float32(dead_zone), 0, round_half_away(wanted))
        return np.clip(levels, -LARGEST_LEVEL, LARGEST_LEVEL).astype(np.int32)
    # One row for each latent, so that what is done for all patches at once lies together in memory.
    columns = np.ascontiguousarray(wanted.T)
    levels = np.zeros(columns.shape, np.int32)
    reached = np.zeros(len(wanted), np.int32)
    for level, target in zip(levels, columns, strict=True):
        distance = target - reached.astype(np.float32)
        far = np.flatnonzero(np.abs(distance) >= np.float32(dead_zone))
        new = np.clip(round_half_away(distance[far]).astype(np.int32) + reached[far], -most, most)
        level[far] = np.clip(new - reached[far], -LARGEST_LEVEL, LARGEST_LEVEL)
        reached[far] += level[far]
    return np.ascontiguousarray(levels.T)


def round_half_away(x: Array) -> Array:
    """To the nearest integer, halves away from zero, as Rust's `round`."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)


def decode(model: "Model", latents: Array) -> Array:
    """Outputs in the network's domain of real latents (B × ℓ): B × n, float32."""
    weights, bias = hidden_layer(model)
    basis, mean = model.float_basis(), float_mean(model)
    coef, coef_bias = coefficient_layer(model)
    out = np.empty((len(latents), model.n_values), np.float32)
    for start in range(0, len(latents), BATCH):
        h = np.maximum(latents[start:start + BATCH] @ weights + bias, 0)
        c = (h if coef is None else h @ coef) + coef_bias
        rows = out[start:start + BATCH]
        rows[:, : model.n_stored] = c @ basis + mean
        rows[:, model.n_stored:] = rows[:, : model.n_values - model.n_stored][:, ::-1]
    return out


def hidden_frac_bits(model: "Model") -> Array:
    """Fraction bits of the hidden activations, m of them.

    Without `coef` each is fixed by its coefficient. With it they cancel out, and 0 is as good as any other number.
    """
    decoder = model.decoder
    if decoder.coef is not None:
        return np.zeros(model.n_hidden)
    return decoder.coef_frac_bits.astype(np.float64) + decoder.coef_shift


def hidden_layer(model: "Model") -> tuple[Array, Array]:
    """Weights (ℓ × m) and bias (m) from latents in real units to hidden activations in real units."""
    decoder = model.decoder
    unit = np.exp2(-decoder.hidden_shift - hidden_frac_bits(model))
    weights = decoder.hidden * unit * 2.0**decoder.latent_frac_bits
    return weights.astype(np.float32), (decoder.hidden_bias * unit).astype(np.float32)


def coefficient_layer(model: "Model") -> tuple[Array | None, Array]:
    """Weights (m × K, None for the identity) and bias (K) from hidden activations to coefficients, in real units."""
    decoder = model.decoder
    unit = np.exp2(-decoder.coef_shift.astype(np.float64) - decoder.coef_frac_bits)
    bias = (decoder.coef_bias * unit).astype(np.float32)
    if decoder.coef is None:
        return None, bias
    coef = np.zeros((model.n_hidden, model.n_linear), np.float32)
    coef[:, : model.n_coefs] = decoder.coef * unit[: model.n_coefs]
    return coef, bias
