"""What is asked of the encoder, in Python's words, and the same as the C library takes it.

Numbers are judged by the library, which makes the filter's parameters (cd_values), too: nothing of docs/cd-values.md is
written down a second time here.
"""
import ctypes
import dataclasses
from typing import Any, Literal, TypedDict

import numpy as np

from .library import MAX_CD_VALUES, ArgumentError, BoundKind, Effort, OptionsStruct, library

Number = int | float | np.generic
DType = np.dtype[Any]


class RequestKeywords(TypedDict, total=False):
    """The keywords that everything takes that compresses. Exactly one of the first five says how exact values return.

    `absolute`    no value is off by more than this, in the data's own units; above 0, finite
    `relative`    the same, times the range of each chunk's values; above 0 and below 1
    `noise`       for counts: a value x is off by at most this times sqrt(max(x, 1)); above 0, finite
    `lossless`    every bit comes back
    `none`        the network's latents alone: the error is measured, not promised
    `effort`      "fast": no network, many times the speed; "best": every variant that the format has
    `unbiased`    errors cancel out within each block of 8 x 8 pixels, which costs bits
    `mask_value`  value of masked pixels: it comes back exactly and counts in no range
    """

    absolute: float | None
    relative: float | None
    noise: float | None
    lossless: bool
    none: bool
    effort: Literal["fast", "default", "best"]
    unbiased: bool
    mask_value: Number | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Values of RequestKeywords, checked. Raises TypeError and ArgumentError (a ValueError)."""

    absolute: float | None = None
    relative: float | None = None
    noise: float | None = None
    lossless: bool = False
    none: bool = False
    effort: Literal["fast", "default", "best"] = "default"
    unbiased: bool = False
    mask_value: Number | None = None

    def __post_init__(self) -> None:
        for name in FLAGS:
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name}={getattr(self, name)!r}: True or False expected")
        if self.effort not in EFFORTS:
            raise ArgumentError(f"effort={self.effort!r}: expected is one of {', '.join(map(repr, EFFORTS))}")
        # A mask value is judged with the type of the elements, which may not be known yet.
        cd_values(self._options_without_patterns(), 0)

    def bound(self) -> tuple[BoundKind, float]:
        """Kind and number, 0 for kinds without one."""
        given = {name: getattr(self, name) for name in BOUNDS
                 if (bool(getattr(self, name)) if name in FLAGS else getattr(self, name) is not None)}
        if len(given) != 1:
            found = " and ".join(f"{name}={value!r}" for name, value in given.items()) or "none of them"
            raise ArgumentError("exactly one of absolute=, relative=, noise=, lossless=True, none=True says how exact "
                                f"values come back; given: {found}")
        name, value = next(iter(given.items()))
        if name in FLAGS:
            return BOUNDS[name], 0.0
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name}={value!r}: a number expected")
        return BOUNDS[name], float(value)

    def options(self, dtype: DType, fill_value: Number | None = None) -> OptionsStruct:
        """As h5zsae_compress takes it, for elements of type `dtype`."""
        options = self._options_without_patterns()
        if self.mask_value is not None:
            options.has_mask_value, options.mask_value = 1, bit_pattern("mask_value", self.mask_value, dtype)
        if fill_value is not None:
            options.has_fill_value, options.fill_value = 1, bit_pattern("fill_value", fill_value, dtype)
        return options

    def cd_values(self, model_id: int = 0) -> tuple[int, ...]:
        """The filter's parameters: docs/cd-values.md, "As given".

        The dataset's type is not known here, so a mask value must be a numpy scalar of that type. Raises ArgumentError.
        """
        mask = self.mask_value
        if mask is None:
            return cd_values(self._options_without_patterns(), model_id)
        if not isinstance(mask, np.generic):
            raise ArgumentError(f"mask_value={mask!r} does not say its type: give a numpy scalar of the dataset's "
                                f"type, such as np.float32({mask!r})")
        return cd_values(self.options(mask.dtype), model_id)

    def _options_without_patterns(self) -> OptionsStruct:
        kind, bound = self.bound()
        return OptionsStruct(bound_kind=kind, bound=bound, effort=EFFORTS[self.effort], unbiased=bool(self.unbiased))

    def given(self) -> dict[str, Any]:
        """The keywords that are not as by default."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: getattr(self, name) for name, default in fields.items() if getattr(self, name) != default}

    def to_json(self) -> dict[str, Any]:
        """The keywords that are not as by default, as JSON holds them. Inverse: Request(**found).

        Raises ArgumentError for mask values that JSON has no number for; they come back exactly without it.
        """
        if self.mask_value is not None and not np.isfinite(self.mask_value):
            raise ArgumentError(f"mask_value={self.mask_value!r}: a finite number expected; not-a-number and "
                                "infinities come back exactly without it")
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in self.given().items()}


BOUNDS = {"absolute": BoundKind.ABSOLUTE, "relative": BoundKind.RELATIVE, "noise": BoundKind.NOISE,
          "lossless": BoundKind.LOSSLESS, "none": BoundKind.NONE}
FLAGS = ("lossless", "none", "unbiased")
EFFORTS = {"fast": Effort.FAST, "default": Effort.DEFAULT, "best": Effort.BEST}


def cd_values(options: OptionsStruct, model_id: int) -> tuple[int, ...]:
    """h5zsae_cd_values."""
    words, n_words = (ctypes.c_uint * MAX_CD_VALUES)(), ctypes.c_size_t()
    library().h5zsae_cd_values(ctypes.byref(options), model_id, words, ctypes.byref(n_words))
    return tuple(words[: n_words.value])


def bit_pattern(name: str, value: Number, dtype: DType) -> int:
    """The bits of a number in an element type, zero-extended to 64.

    Floats are rounded to the type. Raises ArgumentError where the type does not hold the number.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            converted = np.array(value).astype(dtype.newbyteorder("="))
            held = dtype.kind == "f" and bool(np.isfinite(converted) == np.isfinite(value))
            held = held or (dtype.kind in "ui" and bool(converted == value))
    except (OverflowError, TypeError, ValueError):
        held = False
    if not held:
        raise ArgumentError(f"{name}={value!r}: not a number that elements of type {dtype} hold")
    return int(converted.reshape(1).view(f"u{dtype.itemsize}")[0])
