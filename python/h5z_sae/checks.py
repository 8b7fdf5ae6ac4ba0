"""Rules that every model obeys: docs/format.md, "Model file". One sentence for the first that is broken."""
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .model import Model

MAX_PATCH_EDGE = 4096
MAX_LAYER_WIDTH = 1 << 16
# Sums of the basis layer must be exact in binary64.
EXACT_LIMIT = 1 << 53


class ModelError(ValueError):
    """A file is no model, a model breaks a rule of the format, or a code does not suit its model."""


def check(model: "Model", name: str) -> None:
    """Raises ModelError for the first rule that is broken; `name` stands in the message."""
    for broken in broken_rules(model):
        raise ModelError(f"{name}: {broken}")


def broken_rules(model: "Model") -> Iterator[str]:
    """Sentences, one for each broken rule; later ones take the earlier rules for granted."""
    yield from broken_settings(model)
    yield from broken_shapes(model)
    yield from broken_values(model)


def in_range(field: str, found: int, least: int, most: int) -> Iterator[str]:
    if not least <= found <= most:
        yield f"{field} is {found}: {least} to {most} allowed"


def broken_settings(model: "Model") -> Iterator[str]:
    decoder = model.decoder
    for edge, found in zip(("patch rows", "patch columns"), model.patch, strict=True):
        yield from in_range(edge, found, 1, MAX_PATCH_EDGE)
    offsets = {"none": (0, 0), "sqrt": (0, 1 << 24), "log": (1, 1 << 24)}
    if model.transform not in offsets:
        yield f"transform is {model.transform!r}: none, sqrt or log allowed"
    else:
        yield from in_range("transform_offset_q24", model.transform_offset_q24, *offsets[model.transform])
    if model.penalty not in ("z", "grad"):
        yield f"penalty is {model.penalty!r}: z or grad allowed"
    if not (np.isfinite(model.sparsity_lambda) and model.sparsity_lambda >= 0):
        yield f"sparsity_lambda is {model.sparsity_lambda}: a finite number from 0 is needed"
    yield from in_range("latent_frac_bits", decoder.latent_frac_bits, 0, 20)
    yield from in_range("hidden_shift", decoder.hidden_shift, 0, 31)
    yield from in_range("hidden_bits", decoder.hidden_bits, 1, 20)
    yield from in_range("coef_bits", decoder.coef_bits, 1, 40)
    yield from in_range("output_frac_bits", decoder.output_frac_bits, 0, 44)
    yield from in_range("active", model.active, 0, model.n_latents)
    yield from in_range("none_step_log2", model.none_step_log2, 0, decoder.latent_frac_bits)


def broken_shapes(model: "Model") -> Iterator[str]:
    decoder, encoder, priors = model.decoder, model.encoder, model.priors
    m, latents, linear = model.n_hidden, model.n_latents, sum(len(block) for block in decoder.basis)
    yield from in_range("number of latents", latents, 1, MAX_LAYER_WIDTH)
    yield from in_range("number of hidden units", m, 1, MAX_LAYER_WIDTH)
    yield from in_range("number of basis rows", linear, 1, MAX_LAYER_WIDTH)
    yield from in_range("number of basis blocks", len(decoder.basis), 1, 64)
    if decoder.coef is None and m != linear:
        yield f"decoder.coef is absent: {m} hidden units and {linear} basis rows must then be equal"
    coefs = linear if decoder.coef is None else decoder.coef.shape[1]
    yield from in_range("columns of decoder.coef", coefs, 1, linear)
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {
        "decoder.hidden_bias": (decoder.hidden_bias, (m,)),
        "decoder.coef_bias": (decoder.coef_bias, (linear,)),
        "decoder.coef_shift": (decoder.coef_shift, (linear,)),
        "decoder.coef_frac_bits": (decoder.coef_frac_bits, (linear,)),
        "decoder.mean": (decoder.mean, (model.n_stored,)),
        "encoder.input": (encoder.input, (model.n_values if encoder.direct else coefs, m)),
        "encoder.input_bias": (encoder.input_bias, (m,)),
        "encoder.latent": (encoder.latent, (m, latents)),
        "encoder.latent_bias": (encoder.latent_bias, (latents,)),
        "priors.fire": (priors.fire, (latents,)),
        "priors.weight_scale": (priors.weight_scale, (latents,)),
        "priors.linear_scale": (priors.linear_scale, (linear,)),
        "priors.linear_only_scale": (priors.linear_only_scale, (linear,)),
    }
    if decoder.coef is not None:
        expected["decoder.coef"] = (decoder.coef, (m, coefs))
    for index, block in enumerate(decoder.basis):
        expected[f"decoder.basis.{index}"] = (block, (len(block), model.n_stored))
        yield from in_range(f"rows of decoder.basis.{index}", len(block), 1, MAX_LAYER_WIDTH)
    for field, (array, shape) in expected.items():
        if array.shape != shape:
            yield f"{field} is of shape {list(array.shape)}: {list(shape)} expected"


def broken_values(model: "Model") -> Iterator[str]:
    decoder = model.decoder
    for field in ("coef_shift", "coef_frac_bits"):
        yield from in_range(f"largest of decoder.{field}", int(getattr(decoder, field).max()), 0, 40)
    largest_mean = int(np.abs(decoder.mean.astype(np.float64)).max())
    if largest_mean >= EXACT_LIMIT:
        yield f"decoder.mean reaches {largest_mean}: below 2^53 allowed"
    for field in ("input", "input_bias", "latent", "latent_bias"):
        if not np.isfinite(getattr(model.encoder, field)).all():
            yield f"encoder.{field} has a value that is not finite, or beyond binary16"
    if model.priors.fire.min() == 0:
        yield "priors.fire has a 0: 1 to 65535 allowed"
    weights = sum(np.abs(block.astype(np.int64)).sum(axis=0) for block in decoder.basis)
    most = ((1 << decoder.coef_bits) - 1) * int(np.max(weights))
    if most >= EXACT_LIMIT:
        yield (f"the basis can sum to {most} with coefficients of {decoder.coef_bits} bits: sums must stay below 2^53 "
               "to be exact")
