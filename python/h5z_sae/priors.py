"""What a model tells the entropy coder, learnt from the latents of calibration patches; and the step of *none*."""
from typing import TYPE_CHECKING, Any

import numpy as np

from . import floats
from .model import Priors

if TYPE_CHECKING:
    from .model import Model

# The coarsest latent step that costs at most this factor in squared error is that of the bound *none*.
NONE_STEP_TOLERANCE = 1.2
PLAIN_ROUNDING = 0.5

Array = np.ndarray[Any, Any]


def rounded(model: "Model", latents: Array, step_log2: int) -> tuple[Array, Array]:
    """Levels (B × ℓ), and the latents z that they stand for, in real units."""
    levels = model.quantize(latents, step_log2, PLAIN_ROUNDING)
    sums = np.cumsum(levels, axis=1) if model.penalty == "grad" else levels
    return levels, (sums * 2.0**-step_log2).astype(np.float32)


def choose_none_step(model: "Model", latents: Array, inputs: Array) -> int:
    """log2 of the inverse step; `inputs` are the patches in the network's domain, B × n."""
    def squared_error(z: Array) -> float:
        return float(np.square(floats.decode(model, z) - inputs, dtype=np.float64).sum())

    finest = squared_error(latents)
    for step_log2 in range(model.decoder.latent_frac_bits):
        if squared_error(rounded(model, latents, step_log2)[1]) <= NONE_STEP_TOLERANCE * finest:
            return step_log2
    return model.decoder.latent_frac_bits


def learn_priors(model: "Model", latents: Array, inputs: Array) -> Priors:
    """Priors at the step of *none*; arguments as for `choose_none_step`."""
    step_log2 = model.none_step_log2
    levels, z = rounded(model, latents, step_log2)
    counts = np.count_nonzero(levels, axis=0)
    sums = np.abs(levels).sum(axis=0) * 2.0**-step_log2
    fire = np.clip(np.rint(counts / len(levels) * 65536), 1, 65535).astype(np.uint16)
    # A latent that was never seen has the scale of all.
    overall = sums.sum() / max(1, counts.sum())
    weight_scale = quarter_octaves(np.where(counts > 0, sums / np.maximum(counts, 1), overall))
    beside = floats.project(model, inputs - floats.decode(model, z))
    alone = floats.project(model, inputs - floats.decode(model, np.zeros_like(z[:1])))
    return Priors(fire, weight_scale, quarter_octaves(root_mean_square(beside)),
                  quarter_octaves(root_mean_square(alone)))


def root_mean_square(columns: Array) -> Array:
    return np.asarray(np.sqrt(np.square(columns, dtype=np.float64).mean(axis=0)))


def quarter_octaves(values: Array) -> Array:
    """4·log2, rounded, in the range of int8."""
    return np.asarray(np.clip(np.rint(4 * np.log2(np.maximum(values, 1e-12))), -128, 127), np.int8)
