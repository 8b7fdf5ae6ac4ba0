"""The C library `libh5zsae.so` of this package, over ctypes: include/h5zsae.h in Python.

Structures, constants and prototypes are those of the header, and a test compares them. ctypes releases the GIL for the
time of a call. A call that fails raises LibraryError with the library's own sentence, which is kept per thread, so that
nothing can come between the call and the question why it failed.
"""
import ctypes
import enum
import functools
import pathlib
import weakref
from ctypes import POINTER, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

import numpy as np

FILTER_ID = 34222
ABI_VERSION = 0
MAX_CD_VALUES = 9
MAX_RANK = 32

PATH = pathlib.Path(__file__).with_name("libh5zsae.so")


class ElementClass(enum.IntEnum):
    """H5ZSAE_CLASS_...; `numpy_kind` is the same as a letter."""

    UNSIGNED = 0
    SIGNED = 1
    FLOAT = 2

    @property
    def numpy_kind(self) -> str:
        return "uif"[self]


class ByteOrder(enum.IntEnum):
    """H5ZSAE_ORDER_..."""

    LITTLE = 0
    BIG = 1


class BoundKind(enum.IntEnum):
    """H5ZSAE_BOUND_..."""

    LOSSLESS = 0
    ABSOLUTE = 1
    RELATIVE = 2
    NOISE = 3
    NONE = 4


class Effort(enum.IntEnum):
    """H5ZSAE_EFFORT_..."""

    DEFAULT = 0
    FAST = 1
    BEST = 2


class Status(enum.IntEnum):
    """h5zsae_status: what a call came to."""

    OK = 0
    CORRUPT = 1
    TRUNCATED = 2
    UNSUPPORTED = 3
    INVALID_ARGUMENT = 4
    LIMIT_EXCEEDED = 5
    MISSING_MODEL = 6
    SYSTEM = 7
    INTERNAL = 100


class LibraryError(RuntimeError):
    """The library refused or failed. `status` says of what kind, the message is the library's sentence."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class ArgumentError(LibraryError, ValueError):
    """An argument is out of range."""

    def __init__(self, message: str) -> None:
        super().__init__(Status.INVALID_ARGUMENT, message)


class MissingModelError(LibraryError):
    """A model is needed that was not found. The message names its id, all places searched, and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(Status.MISSING_MODEL, message)


class ChunkStruct(ctypes.Structure):
    """h5zsae_chunk."""

    _fields_ = [
        ("element_class", c_uint32), ("element_bytes", c_uint32), ("byte_order", c_uint32), ("rank", c_uint32),
        ("dims", POINTER(c_size_t)),
    ]


class OptionsStruct(ctypes.Structure):
    """h5zsae_options."""

    _fields_ = [
        ("bound_kind", c_uint32), ("effort", c_uint32), ("bound", c_double), ("has_fill_value", c_uint32),
        ("has_mask_value", c_uint32), ("fill_value", c_uint64), ("mask_value", c_uint64), ("unbiased", c_uint32),
        ("reserved", c_uint32),
    ]


class HeaderStruct(ctypes.Structure):
    """h5zsae_header."""

    _fields_ = [
        ("element_class", c_uint32), ("element_bytes", c_uint32), ("byte_order", c_uint32), ("rank", c_uint32),
        ("dims", c_size_t * MAX_RANK), ("decoded_bytes", c_size_t), ("bound_kind", c_uint32), ("bound", c_double),
        ("max_abs_err", c_double), ("model_id", c_uint64),
    ]


# Function -> types of its arguments, for those that return a status.
CHECKED = {
    "h5zsae_model_load": (c_char_p, POINTER(c_void_p)),
    "h5zsae_model_parse": (c_void_p, c_size_t, POINTER(c_void_p)),
    "h5zsae_model_find": (c_uint64, POINTER(c_void_p)),
    "h5zsae_model_register": (c_void_p,),
    "h5zsae_compress": (c_void_p, c_size_t, POINTER(ChunkStruct), POINTER(OptionsStruct), c_void_p, POINTER(c_void_p),
                        POINTER(c_size_t)),
    "h5zsae_decompress": (c_void_p, c_size_t, c_void_p, c_size_t, POINTER(c_void_p), POINTER(c_size_t)),
    "h5zsae_stream_info": (c_void_p, c_size_t, POINTER(HeaderStruct)),
    "h5zsae_cd_values": (POINTER(OptionsStruct), c_uint64, POINTER(c_uint), POINTER(c_size_t)),
}
# Function -> type of its result, types of its arguments, for those that cannot fail.
PLAIN: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "h5zsae_version": (c_char_p, ()),
    "h5zsae_abi_version": (c_uint32, ()),
    "h5zsae_last_error": (c_char_p, ()),
    "h5zsae_model_id": (c_uint64, (c_void_p,)),
    "h5zsae_model_free": (None, (c_void_p,)),
    "h5zsae_buffer_free": (None, (c_void_p,)),
    "h5zsae_filter_class": (c_void_p, ()),
}


@functools.cache
def library() -> ctypes.CDLL:
    """The library of this package, loaded once.

    Raises ImportError where the package has none (a source tree that was not built) or one of another interface.
    """
    if not PATH.exists():
        raise ImportError(f"{PATH} does not exist: this is a source tree, not an installed package. Install it with "
                          "`pip install ./python` in a clone of the repository, which builds the library")
    loaded = ctypes.CDLL(str(PATH))
    for name, (result, arguments) in PLAIN.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    found = loaded.h5zsae_abi_version()
    if found != ABI_VERSION:
        raise ImportError(f"{PATH} has version {found} of its interface, this package is for {ABI_VERSION}: install "
                          "the package again")
    for name, arguments in CHECKED.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes, function.errcheck = c_int, arguments, _raise_failure
    return loaded


def _raise_failure(status: int, function: Any, arguments: tuple[Any, ...]) -> int:
    if status == Status.OK:
        return status
    sentence = library().h5zsae_last_error().decode(errors="replace")
    match Status(status):
        case Status.INVALID_ARGUMENT:
            raise ArgumentError(sentence)
        case Status.MISSING_MODEL:
            raise MissingModelError(sentence)
        case other:
            raise LibraryError(other, sentence)


def version() -> str:
    """The library's version, such as "0.1.0"."""
    return str(library().h5zsae_version().decode())


def owned_bytes(address: int, n_bytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A buffer of the library as an array that frees it once nobody looks at it any more: no copy is made."""
    buffer = (ctypes.c_uint8 * n_bytes).from_address(address)
    # Not at exit: other threads may still read.
    weakref.finalize(buffer, library().h5zsae_buffer_free, address).atexit = False
    return np.asarray(np.frombuffer(memoryview(buffer), np.uint8))
