"""Bytes of a model file to a Model and back: names, types and settings. Values are judged by `checks`."""
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from .checks import ModelError

if TYPE_CHECKING:
    from .model import Model

FORMAT_VERSION = 0
SETTINGS_KEY = "h5z-sae"
MAX_FILE_BYTES = 1 << 29
MAX_HEADER_BYTES = 1 << 20
MAX_BASIS_BLOCKS = 64

WEIGHTS = ("int8", "int16")
# Tensor -> types allowed. The basis blocks come beside these.
DECODER_TENSORS = {
    "hidden": WEIGHTS, "hidden_bias": ("int32",), "coef": WEIGHTS, "coef_bias": ("int32",), "coef_shift": ("uint8",),
    "coef_frac_bits": ("uint8",), "mean": ("int64",),
}
ENCODER_TENSORS = ("input", "input_bias", "latent", "latent_bias")
PRIOR_TENSORS = {
    "fire": ("uint16",), "weight_scale": ("int8",), "linear_scale": ("int8",), "linear_only_scale": ("int8",),
}
RANK_TWO = {"decoder.hidden", "decoder.coef", "encoder.input", "encoder.latent"}

# Field of the settings -> type, in the order in which they are written.
SETTINGS: dict[str, Any] = {
    "format_version": int, "patch": list, "point_symmetric": bool, "transform": str, "transform_offset_q24": int,
    "penalty": str, "sparsity_lambda": float, "active": int, "none_step_log2": int, "latent_frac_bits": int,
    "hidden_shift": int, "hidden_bits": int, "coef_bits": int, "output_frac_bits": int, "direct_encoder": bool,
    "provenance": dict,
}
DECODER_SETTINGS = ("latent_frac_bits", "hidden_shift", "hidden_bits", "coef_bits", "output_frac_bits")
MODEL_SETTINGS = ("point_symmetric", "transform", "transform_offset_q24", "penalty", "sparsity_lambda", "active",
                  "none_step_log2")


def parse(data: bytes, name: str) -> "Model":
    """A model whose values are not checked yet. Raises ModelError."""
    from .model import Decoder, Encoder, Model, Priors

    settings = read_settings(header_metadata(data, name), name)
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{name}: not a whole safetensors container ({error})") from error
    decoder = {field: take(tensors, f"decoder.{field}", types, name)
               for field, types in DECODER_TENSORS.items() if field != "coef" or "decoder.coef" in tensors}
    basis: list[Any] = []
    while len(basis) < MAX_BASIS_BLOCKS and f"decoder.basis.{len(basis)}" in tensors:
        basis.append(take(tensors, f"decoder.basis.{len(basis)}", WEIGHTS, name))
    encoder = {field: take(tensors, f"encoder.{field}", ("float16",), name) for field in ENCODER_TENSORS}
    priors = {field: take(tensors, f"priors.{field}", types, name) for field, types in PRIOR_TENSORS.items()}
    if tensors:
        raise ModelError(f"{name}: unknown tensor {sorted(tensors)[0]!r}")
    return Model(
        patch=(settings["patch"][0], settings["patch"][1]),
        decoder=Decoder(**{"coef": None, **decoder}, basis=tuple(basis),
                        **{field: settings[field] for field in DECODER_SETTINGS}),
        encoder=Encoder(**encoder, direct=settings["direct_encoder"]),
        priors=Priors(**priors),
        provenance=settings["provenance"],
        **{field: settings[field] for field in MODEL_SETTINGS},
    )


def header_metadata(data: bytes, name: str) -> dict[str, Any]:
    """`__metadata__` of the container's header, after the file's and the header's length."""
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"{name}: file of {len(data)} bytes, at most {MAX_FILE_BYTES} allowed")
    if len(data) < 8:
        raise ModelError(f"{name}: {len(data)} bytes are no model")
    header_bytes = int.from_bytes(data[:8], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise ModelError(f"{name}: header of {header_bytes} bytes, at most {MAX_HEADER_BYTES} allowed")
    try:
        metadata = json.loads(data[8:8 + header_bytes]).get("__metadata__") or {}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{name}: not a whole safetensors container ({error})") from error
    return dict(metadata)


def read_settings(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings, each of its type. Raises ModelError."""
    if SETTINGS_KEY not in metadata:
        raise ModelError(f"{name}: a safetensors file, but not of h5z-sae (no such metadata key)")
    for key in metadata:
        if key != SETTINGS_KEY:
            raise ModelError(f"{name}: unknown metadata key {key!r}")
    try:
        settings = dict(json.loads(metadata[SETTINGS_KEY]))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{name}: bad settings ({error})") from error
    if settings.get("format_version") != FORMAT_VERSION:
        found = settings.get("format_version")
        raise ModelError(f"{name} of format version {found}: this library reads version {FORMAT_VERSION}")
    if settings.keys() != SETTINGS.keys():
        odd = sorted(settings.keys() ^ SETTINGS.keys())[0]
        raise ModelError(f"{name}: setting {odd!r} is {'unknown' if odd in settings else 'missing'}")
    for field, kind in SETTINGS.items():
        if not has_type(settings[field], kind):
            raise ModelError(f"{name}: setting {field!r} is {settings[field]!r}: {kind.__name__} expected")
    if len(settings["patch"]) != 2 or not all(has_type(edge, int) for edge in settings["patch"]):
        raise ModelError(f"{name}: patch is {settings['patch']!r}: [rows, columns] expected")
    for key, text in settings["provenance"].items():
        if not isinstance(text, str):
            raise ModelError(f"{name}: provenance {key!r} is {text!r}: text expected")
    return settings


def has_type(value: Any, kind: type) -> bool:
    """As JSON tells types apart: True is no number, and an integer may stand for a float."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def take(tensors: dict[str, Any], tensor: str, types: tuple[str, ...], name: str) -> Any:
    """Removes a tensor of one of `types` and of its rank from `tensors`."""
    if tensor not in tensors:
        raise ModelError(f"{name}: tensor {tensor} is missing")
    found = tensors.pop(tensor)
    rank = 2 if tensor in RANK_TWO or tensor.startswith("decoder.basis.") else 1
    if found.dtype.name not in types or found.ndim != rank:
        raise ModelError(f"{name}: tensor {tensor} is {found.dtype.name} of shape {list(found.shape)}: "
                         f"{' or '.join(types)} of rank {rank} expected")
    return found


def to_bytes(model: "Model") -> bytes:
    """The file's bytes of a checked model."""
    tensors = {f"decoder.{field}": getattr(model.decoder, field) for field in DECODER_TENSORS}
    tensors |= {f"decoder.basis.{index}": block for index, block in enumerate(model.decoder.basis)}
    tensors |= {f"encoder.{field}": getattr(model.encoder, field) for field in ENCODER_TENSORS}
    tensors |= {f"priors.{field}": getattr(model.priors, field) for field in PRIOR_TENSORS}
    values = {
        "format_version": FORMAT_VERSION, "patch": list(model.patch), "direct_encoder": model.encoder.direct,
        "provenance": dict(sorted(model.provenance.items())),
        **{field: getattr(model, field) for field in MODEL_SETTINGS},
        **{field: getattr(model.decoder, field) for field in DECODER_SETTINGS},
    }
    fields = (f'"{field}":{json_text(values[field])}' for field in SETTINGS)
    settings = "{" + ",".join(fields) + "}"
    present = {tensor: np.ascontiguousarray(array) for tensor, array in tensors.items() if array is not None}
    data = safetensors.numpy.save(present, {SETTINGS_KEY: settings})
    header_metadata(data, "model")
    return data


def json_text(value: Any) -> str:
    """A value as the Rust library writes it: a model that is read and written again keeps its bytes, and so its id."""
    if not isinstance(value, float):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if 1e-5 <= value < 1e-4:
        return str(np.format_float_positional(value, trim="-"))
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa
