"""Chunks of Zarr version 3: the array-to-bytes codec "h5z-sae".

    zarr.create_array(..., serializer=SAE(absolute=1e-3), compressors=None)

It stands in the place of `bytes`, as a bound needs numbers and their shape; compressors after it gain nothing. Its
bytes are the streams of HDF5 chunks. The entry point of this package makes Zarr find it by its name.
"""
import asyncio
import dataclasses
import math
from typing import Any, Self, Unpack

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON

from .arrays import decode, encode_request
from .handles import ModelName, register_model
from .library import ArgumentError, BoundKind, LibraryError, Status
from .request import Number, Request, RequestKeywords

NAME = "h5z-sae"


@dataclasses.dataclass(frozen=True, init=False)
class SAE(ArrayBytesCodec):
    """The codec and what is asked of it.

    `model`: path, id or Model; None is the built-in one. The metadata hold its id.
    `asked`: RequestKeywords; exactly one of absolute=, relative=, noise=, lossless=True, none=True.

    A fill value other than 0 comes back exactly; under a relative bound 0 does, too, as chunks at the edges are filled
    up with it. Neither counts in a range.

    Raises ArgumentError (a ValueError), TypeError, MissingModelError, LibraryError.
    """

    is_fixed_size = False

    request: Request
    model: str | None

    def __init__(self, model: ModelName = None, **asked: Unpack[RequestKeywords]) -> None:
        object.__setattr__(self, "request", Request(**asked))
        object.__setattr__(self, "model", None if model is None else register_model(model))
        self.to_dict()

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """From the metadata. Raises ArgumentError where they are of another codec."""
        configuration = data.get("configuration", {})
        if data.get("name") != NAME or not isinstance(configuration, dict):
            raise ArgumentError(f"codec {data!r}: name {NAME!r} with a configuration expected")
        return cls(**configuration)

    def to_dict(self) -> dict[str, JSON]:
        """For the metadata: `model` if there is one, and the keywords that are not as by default."""
        model: dict[str, JSON] = {"model": self.model} if self.model else {}
        return {"name": NAME, "configuration": {**model, **self.request.to_json()}}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Refuses arrays that the codec cannot hold when they are made, not when they are first written."""
        dtype = array_spec.dtype.to_native_dtype()
        if dtype.kind not in "uif":
            raise ArgumentError(f"array of dtype {dtype}: integers of 8 to 64 bits and floats of 16 to 64 expected")
        self.request.options(dtype)
        return self

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError("sizes of streams depend on their values")

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        values = chunk_data.as_numpy_array()
        fill_value = self._fill_value(chunk_spec)
        stream = await asyncio.to_thread(encode_request, values, self.request, self.model, fill_value)
        return chunk_spec.prototype.buffer.from_bytes(stream)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        # Streams are from outside: no more is decoded than the chunk takes, and nothing but what the metadata declare.
        max_bytes = dtype.itemsize * math.prod(chunk_spec.shape)
        values = await asyncio.to_thread(decode, chunk_data.to_bytes(), max_bytes=max_bytes)
        if values.shape != chunk_spec.shape or values.dtype.newbyteorder("=") != dtype.newbyteorder("="):
            raise LibraryError(Status.CORRUPT, f"the stream holds {values.shape} elements of type {values.dtype}, the "
                                               f"metadata declare {chunk_spec.shape} of type {dtype}")
        return chunk_spec.prototype.nd_buffer.from_numpy_array(values)

    def _fill_value(self, chunk_spec: ArraySpec) -> Number | None:
        """As the HDF5 filter treats it: 0 is data, except that it must not widen the range of a relative bound."""
        fill: Any = chunk_spec.fill_value
        relative = self.request.bound()[0] == BoundKind.RELATIVE
        is_data = fill is None or (not relative and np.asarray(fill) == 0)
        return None if is_data else fill
