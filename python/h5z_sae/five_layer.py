"""A plain five-layer ReLU autoencoder (n, m, ℓ, m, n) as a model, and any model as such a network.

    z = relu(relu(x·E0ᵀ + e0)·E2ᵀ + e2)        x: T of a patch over its scale, n values in raster order
    x ≈ relu(z·D0ᵀ + d0)·D2ᵀ + d2

It maps onto the format without loss of structure: `direct_encoder`, no `decoder.coef` (K = m, the identity), the
columns of D2 as rows of the basis, d2 as the mean. What is lost is precision: 16 bits for each weight of the decoder,
binary16 in the encoder. Widths and scales follow calibration patches, as do the priors: `priors`.
"""
import dataclasses
from typing import Any

import numpy as np

from . import floats
from .checks import ModelError
from .model import Decoder, Encoder, Model, Priors
from .priors import choose_none_step, learn_priors

Array = np.ndarray[Any, Any]

# Names of a state dict: `encoder` and `decoder` are torch.nn.Sequential(Linear, ReLU, Linear[, ReLU]).
STATE_NAMES = tuple(f"{half}.{layer}.{kind}"
                    for half in ("encoder", "decoder") for layer in (0, 2) for kind in ("weight", "bias"))

# The largest latents of the calibration set may be exceeded by these factors before a clamp bites.
LATENT_HEADROOM, HIDDEN_HEADROOM, COEF_HEADROOM = 8.0, 2.0, 8.0
# 2^-14 is far below any latent step that pays; |z| < 2^24 then leaves latents up to 1024.
LATENT_FRAC_BITS = 14
HIDDEN_BITS = 15
LARGEST_WEIGHT = 32767
LARGEST_BIAS = (1 << 30) - 1
# Rows of the basis this many octaves below the largest still get all their bits; each octave costs one of the
# coefficients, and the least precise coefficient limits the step of the linear atoms.
MOST_ROW_OCTAVES = 6
# Sums of the basis layer stay below this with room for the mean.
LARGEST_SUM = 1 << 52
# Calibration patches, at most: spread evenly.
CALIBRATION_PATCHES = 8192


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a state dict does not say of a model."""

    patch: tuple[int, int]
    transform: str = "none"
    transform_offset_q24: int = 0
    penalty: str = "z"
    sparsity_lambda: float = 0.0
    active: int = 0
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)


def from_state_dict(state: dict[str, Array], settings: Settings, patches: Array) -> Model:
    """A model of a state dict (arrays by STATE_NAMES, as torch lays them out: outputs × inputs).

    `patches`: calibration patches, B × rows × columns, like those that will be compressed, some hundred at least; each
    is scaled to a largest magnitude of 1. Raises ModelError where shapes disagree or no latent ever fires.
    """
    weights = checked_state(state, settings)
    inputs = floats.transform(scaled(patches, settings.patch), settings.transform, settings.transform_offset_q24)
    latents = encode(weights, inputs, settings)
    if not latents.any():
        raise ModelError("no latent fires on any calibration patch: are they scaled and transformed as in training?")
    model = Model(
        patch=settings.patch, point_symmetric=False, transform=settings.transform,
        transform_offset_q24=settings.transform_offset_q24, penalty=settings.penalty,
        sparsity_lambda=settings.sparsity_lambda, active=settings.active, none_step_log2=0,
        decoder=integer_decoder(weights, latents), encoder=float_encoder(weights),
        priors=no_priors(weights), provenance=dict(settings.provenance),
    )
    model = dataclasses.replace(model, none_step_log2=choose_none_step(model, latents, inputs))
    return dataclasses.replace(model, priors=learn_priors(model, latents, inputs))


def checked_state(state: dict[str, Array], settings: Settings) -> dict[str, Array]:
    """The eight tensors in float64, after a look at names and shapes."""
    if set(state) != set(STATE_NAMES):
        odd = sorted(set(state) ^ set(STATE_NAMES))[0]
        word = "unknown" if odd in state else "missing"
        raise ModelError(f"state dict: tensor {odd!r} is {word}; expected are {', '.join(STATE_NAMES)}")
    weights = {name: np.asarray(array, np.float64) for name, array in state.items()}
    n = settings.patch[0] * settings.patch[1]
    first, second = weights["encoder.0.weight"].shape, weights["encoder.2.weight"].shape
    if len(first) != 2 or len(second) != 2:
        raise ModelError(f"state dict: encoder weights of shapes {first} and {second}: two dimensions each expected")
    m, n_latents = first[0], second[0]
    expected = dict(zip(STATE_NAMES, ((m, n), (m,), (n_latents, m), (n_latents,), (m, n_latents), (m,), (n, m), (n,)),
                        strict=True))
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise ModelError(f"state dict: {name} is of shape {list(weights[name].shape)}: {list(shape)} expected for "
                             f"layers {n}, {m}, {n_latents}, {m}, {n}")
        if not np.isfinite(weights[name]).all():
            raise ModelError(f"state dict: {name} has a value that is not finite")
    return weights


def scaled(patches: Array, patch: tuple[int, int]) -> Array:
    """At most CALIBRATION_PATCHES patches as rows of n values of largest magnitude 1; blank ones are left out."""
    patches = np.asarray(patches, np.float32)
    if patches.ndim != 3 or patches.shape[1:] != patch:
        raise ModelError(f"calibration patches of shape {list(patches.shape)}: B x {patch[0]} x {patch[1]} expected")
    rows = patches[:: max(1, -(-len(patches) // CALIBRATION_PATCHES))].reshape(-1, patch[0] * patch[1])
    largest = np.abs(rows).max(axis=1, initial=0)
    used = (largest > 0) & np.isfinite(largest)
    return np.asarray(rows[used] / largest[used, None])


def encode(weights: dict[str, Array], inputs: Array, settings: Settings) -> Array:
    """Latents of the float network, B × ℓ."""
    h = np.maximum(inputs @ weights["encoder.0.weight"].T.astype(np.float32) + weights["encoder.0.bias"], 0)
    z = np.maximum(h @ weights["encoder.2.weight"].T + weights["encoder.2.bias"], 0).astype(np.float32)
    return floats.keep_largest(z, settings.active) if settings.penalty == "z" and settings.active else z


def fraction_bits(magnitude: float, limit: float) -> int:
    """The largest s with magnitude·2^s ≤ limit."""
    return int(np.floor(np.log2(limit / max(magnitude, 1e-9))))


def as_integers(values: Array, frac_bits: Any, dtype: type) -> Array:
    return np.asarray(np.rint(values * np.exp2(np.asarray(frac_bits, np.float64))), dtype)


def integer_decoder(weights: dict[str, Array], latents: Array) -> Decoder:
    """Every layer at the largest power of two that its stored width allows."""
    d0, bias0 = weights["decoder.0.weight"].T, weights["decoder.0.bias"]
    d2, bias2 = weights["decoder.2.weight"].T, weights["decoder.2.bias"]
    hidden = np.maximum(latents @ d0 + bias0, 0)
    latent_bits = min(LATENT_FRAC_BITS,
                      fraction_bits(float(latents.max()) * LATENT_HEADROOM, (1 << 24) - 1))
    if latent_bits < 0:
        raise ModelError(f"latents reach {latents.max():.3g} on calibration patches: below {1 << 21} allowed")
    sum_bits = min(latent_bits + fraction_bits(np.abs(d0).max(), LARGEST_WEIGHT),
                   fraction_bits(np.abs(bias0).max(), LARGEST_BIAS))
    activation_bits = min(
        fraction_bits(float(hidden.max()) * HIDDEN_HEADROOM, (1 << HIDDEN_BITS) - 1), sum_bits)
    sum_bits = min(sum_bits, activation_bits + 31)
    row_bits = choose_row_bits(d2)
    output_bits, coef_bits = choose_output_bits(d2, row_bits, activation_bits, float(hidden.max()))
    coef_frac_bits = output_bits - row_bits
    return Decoder(
        latent_frac_bits=latent_bits, hidden=as_integers(d0, sum_bits - latent_bits, np.int16),
        hidden_bias=as_integers(bias0, sum_bits, np.int32), hidden_shift=sum_bits - activation_bits,
        hidden_bits=HIDDEN_BITS, coef=None, coef_bias=np.zeros(len(d2), np.int32),
        coef_shift=(activation_bits - coef_frac_bits).astype(np.uint8),
        coef_frac_bits=coef_frac_bits.astype(np.uint8), coef_bits=coef_bits,
        basis=(as_integers(d2, row_bits[:, None], np.int16),),
        mean=as_integers(bias2, output_bits, np.int64), output_frac_bits=output_bits,
    )


def choose_row_bits(rows: Array) -> Array:
    """Fraction bits of each row of the basis."""
    bits = np.array([fraction_bits(largest, LARGEST_WEIGHT) for largest in np.abs(rows).max(axis=1)])
    return np.asarray(np.minimum(bits, bits.min() + MOST_ROW_OCTAVES))


def choose_output_bits(rows: Array, row_bits: Array, activation_bits: int, largest: float) -> tuple[int, int]:
    """The finest output for which every shift is one to the right and every sum exact; the coefficients' bits."""
    weights = (np.abs(rows) * np.exp2(row_bits)[:, None] + 0.5).sum(axis=0).max()
    finest = min(44, activation_bits + int(row_bits.min()))
    for output_bits in range(finest, -1, -1):
        frac_bits = output_bits - row_bits
        shifts = activation_bits - frac_bits
        if frac_bits.min() < 0 or frac_bits.max() > 40 or shifts.max() > 40:
            continue
        most = largest * COEF_HEADROOM * 2.0 ** int(frac_bits.max())
        coef_bits = max(1, int(np.ceil(np.log2(max(most, 1.0)))))
        if coef_bits <= 40 and 2.0**coef_bits * weights < LARGEST_SUM:
            return output_bits, coef_bits
    raise ModelError(f"decoder.2.weight: rows from {np.abs(rows).max(axis=1).min():.3g} to {np.abs(rows).max():.3g} "
                     f"with activations up to {largest:.3g} fit no integer decoder: scale the layers more evenly")


def float_encoder(weights: dict[str, Array]) -> Encoder:
    """The encoder in binary16. `Model.check` finds what that cannot hold."""
    with np.errstate(over="ignore"):
        first, first_bias, second, second_bias = (weights[name].T.astype(np.float16) for name in STATE_NAMES[:4])
    return Encoder(first, first_bias, second, second_bias, direct=True)


def no_priors(weights: dict[str, Array]) -> Priors:
    """A place for what is learnt with the integer network."""
    m, n_latents = weights["decoder.0.weight"].shape
    return Priors(np.ones(n_latents, np.uint16), np.zeros(n_latents, np.int8), np.zeros(m, np.int8),
                  np.zeros(m, np.int8))


def to_state_dict(model: Model) -> dict[str, Array]:
    """The five-layer network of any model, float32 arrays by STATE_NAMES.

    Layers through a basis are multiplied out: the first encoder layer becomes n × m, the last decoder layer m × n. The
    network acts on T(x), and of z the `active` largest are to be kept.
    """
    encoder = model.encoder
    first, first_bias = encoder.input.astype(np.float64), encoder.input_bias.astype(np.float64)
    basis, mean = model.unfold(model.float_basis().astype(np.float64)), model.unfold(floats.float_mean(model)[None])[0]
    if not encoder.direct:
        first = basis.T @ first
        first_bias = first_bias - mean @ first
    hidden, hidden_bias = floats.hidden_layer(model)
    coef, coef_bias = floats.coefficient_layer(model)
    last = basis if coef is None else coef.astype(np.float64) @ basis
    arrays = (first.T, first_bias, encoder.latent.T, encoder.latent_bias, hidden.T, hidden_bias, last.T,
              mean + coef_bias @ basis)
    return {name: np.ascontiguousarray(array, np.float32) for name, array in zip(STATE_NAMES, arrays, strict=True)}
