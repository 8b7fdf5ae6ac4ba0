"""Arrays to streams and back, without HDF5: what a chunk of a file holds, from and to numpy.

    stream = encode(frames, absolute=1e-3)
    frames = decode(stream)

Streams are those of docs/format.md: an HDF5 chunk as `read_direct_chunk` returns it, or a chunk of Zarr, is one. The
GIL is released while the library works.
"""
import ctypes
import dataclasses
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from .handles import ModelName, open_model
from .library import (
    ArgumentError,
    BoundKind,
    ByteOrder,
    ChunkStruct,
    ElementClass,
    HeaderStruct,
    library,
    owned_bytes,
)
from .request import Number, Request, RequestKeywords

Array = np.ndarray[Any, Any]
Buffer = bytes | bytearray | memoryview | Array


@dataclasses.dataclass(frozen=True)
class StreamInfo:
    """What a stream says of itself."""

    dtype: np.dtype[Any]
    """Element type, with its byte order."""
    shape: tuple[int, ...]
    bound_kind: str
    """absolute, relative, noise, lossless or none."""
    bound: float
    """The promised number; 0 for lossless and none."""
    max_abs_err: float
    """Largest error of the values, as the encoder measured it, rounded up."""
    model: str | None
    """Id of the model that decoding needs, sixteen hex digits."""


def encode(values: ArrayLike, model: ModelName = None, *, fill_value: Number | None = None,
           **asked: Unpack[RequestKeywords]) -> bytes:
    """Compresses an array to one stream.

    `values`: 1 to 32 dimensions, the last two rows and columns of a frame, all others count frames. Integers of 8 to 64
    bits, floats of 16 to 64, both byte orders; what is not contiguous is copied.
    `model`: path, id or Model; None is the built-in model.
    `fill_value`: comes back exactly and counts in no range.
    `asked`: RequestKeywords; exactly one of absolute=, relative=, noise=, lossless=True, none=True.

    Raises ArgumentError (a ValueError), TypeError, MissingModelError, LibraryError.
    """
    return encode_request(np.asarray(values), Request(**asked), model, fill_value)


def encode_request(values: Array, request: Request, model: ModelName, fill_value: Number | None = None) -> bytes:
    """As `encode`, for keywords that are checked already."""
    # ascontiguousarray makes a 0-dimensional array one of 1 dimension: such a one is for the library to refuse.
    values = values if values.flags.c_contiguous else np.ascontiguousarray(values)
    chunk, options = chunk_struct(values), request.options(values.dtype, fill_value)
    handle = open_model(model)
    stream, n_bytes = ctypes.c_void_p(), ctypes.c_size_t()
    library().h5zsae_compress(values.ctypes.data, values.nbytes, ctypes.byref(chunk), ctypes.byref(options),
                              handle.address, ctypes.byref(stream), ctypes.byref(n_bytes))
    try:
        return ctypes.string_at(stream, n_bytes.value)
    finally:
        library().h5zsae_buffer_free(stream)


def decode(stream: Buffer, model: ModelName = None, *, max_bytes: int | None = None) -> Array:
    """Decompresses one stream to an array of its own type and shape. Inverse of `encode`.

    `model`: a model to use if the stream names it; others, and all with None, are found as docs/models.md says.
    `max_bytes`: most bytes to decode to; None for 4 GiB.

    Raises LibraryError where the bytes are no stream, are damaged, or exceed `max_bytes`; MissingModelError.
    """
    if max_bytes is not None and max_bytes < 1:
        raise ArgumentError(f"max_bytes={max_bytes}: 1 or more expected")
    data, info = _stream_bytes(stream), stream_info(stream)
    handle = None if model is None else open_model(model)
    address, n_bytes = ctypes.c_void_p(), ctypes.c_size_t()
    library().h5zsae_decompress(data.ctypes.data, len(data), handle and handle.address, max_bytes or 0,
                                ctypes.byref(address), ctypes.byref(n_bytes))
    if address.value is None:
        raise RuntimeError("the library gave no values and no error: please report it")
    return owned_bytes(address.value, n_bytes.value).view(info.dtype).reshape(info.shape)


def stream_info(stream: Buffer) -> StreamInfo:
    """What a stream says of itself; its checksum is compared. Raises LibraryError where the bytes are no stream."""
    data, header = _stream_bytes(stream), HeaderStruct()
    library().h5zsae_stream_info(data.ctypes.data, len(data), ctypes.byref(header))
    order = ">" if header.byte_order == ByteOrder.BIG else "<"
    kind = ElementClass(header.element_class).numpy_kind
    return StreamInfo(
        np.dtype(f"{order}{kind}{header.element_bytes}"), tuple(header.dims[: header.rank]),
        BoundKind(header.bound_kind).name.lower(), header.bound, header.max_abs_err,
        f"{header.model_id:016x}" if header.model_id else None,
    )


def _stream_bytes(stream: Buffer) -> Array:
    return np.frombuffer(stream, np.uint8)


def chunk_struct(values: Array) -> ChunkStruct:
    """Type and shape as C takes them. Raises ArgumentError for types that have no class; sizes are for the library."""
    kinds = {element_class.numpy_kind: element_class for element_class in ElementClass}
    if values.dtype.kind not in kinds:
        raise ArgumentError(f"array of dtype {values.dtype}: integers of 8 to 64 bits and floats of 16 to 64 expected")
    order = ByteOrder.BIG if values.dtype.str[0] == ">" else ByteOrder.LITTLE
    dims = (ctypes.c_size_t * max(values.ndim, 1))(*values.shape)
    return ChunkStruct(kinds[values.dtype.kind], values.dtype.itemsize, order, values.ndim, dims)
