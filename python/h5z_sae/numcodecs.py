"""Chunks of Zarr version 2 and of all else that takes numcodecs: the codec "h5z-sae".

    zarr.create_array(..., zarr_format=2, compressors=SAE(absolute=1e-3))

Its bytes are the streams of HDF5 chunks. The entry point of this package makes numcodecs find it by its id.
"""
from typing import Any, ClassVar, Unpack

import numcodecs.abc
import numpy as np
from numcodecs.compat import ndarray_copy

from .arrays import decode, encode_request
from .handles import ModelName, register_model
from .library import ArgumentError
from .request import Request, RequestKeywords


class SAE(numcodecs.abc.Codec):  # type: ignore[misc]  # numcodecs has no types
    """The codec and what is asked of it.

    `model`: path, id or Model; None is the built-in one. The configuration holds its id.
    `asked`: RequestKeywords; exactly one of absolute=, relative=, noise=, lossless=True, none=True.

    Raises ArgumentError (a ValueError), TypeError, MissingModelError, LibraryError.
    """

    codec_id: ClassVar[str] = "h5z-sae"

    def __init__(self, model: ModelName = None, **asked: Unpack[RequestKeywords]) -> None:
        self.request = Request(**asked)
        self.asked = self.request.to_json()
        self.model = None if model is None else register_model(model)

    def encode(self, buf: Any) -> bytes:
        """A stream of an array of 1 to 32 dimensions.

        An array in Fortran's order is coded as its transpose, as numcodecs goes by the order in memory. Raises
        ArgumentError for bytes without an element type.
        """
        if not isinstance(buf, np.ndarray):
            raise ArgumentError(f"{type(buf).__name__} given: an array expected, as a bound needs to know the numbers")
        in_memory = buf.T if buf.flags.f_contiguous and not buf.flags.c_contiguous else buf
        return encode_request(in_memory, self.request, self.model)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The array of a stream, or `out` filled with it. Raises LibraryError, MissingModelError."""
        values = decode(buf)
        return values if out is None else ndarray_copy(values, out)

    def get_config(self) -> dict[str, Any]:
        """`id`, `model` (its id) if there is one, and the keywords that are not as by default."""
        model = {"model": self.model} if self.model else {}
        return {"id": self.codec_id, **model, **self.asked}

    def __repr__(self) -> str:
        return f"SAE({', '.join(f'{name}={value!r}' for name, value in self.get_config().items() if name != 'id')})"
