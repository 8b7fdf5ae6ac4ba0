"""The filter in HDF5: registered with every HDF5 library of the process, and written by h5py with `SAE`.

A process may hold several HDF5 libraries, as the wheels of h5py, netCDF4 and PyTables bring one each; a filter that is
known to one is unknown to the others. Neither HDF5_PLUGIN_PATH nor any other variable is touched: netCDF4 sets that one
for itself, and only where nobody else has.
"""
import ctypes
import os
import pathlib
import re
import warnings
from types import ModuleType
from typing import Any, Unpack

import h5py
import wrapt

from .handles import ModelName, register_model
from .library import FILTER_ID, LibraryError, Status, library
from .request import Request, RequestKeywords

# Python packages whose wheels bring an HDF5 of their own.
OTHER_HDF5 = ("netCDF4", "tables")

# libhdf5.so.103, libhdf5_serial.so.103, libhdf5-34cf00cd.so.320.2.0 (a wheel's); not libhdf5_hl, libhdf5_cpp, ...
HDF5_LIBRARY = re.compile(r"libhdf5(_serial|_openmpi|_mpich)?(-[0-9a-f]+)?\.so[.0-9]*")


class SAE(h5py.filters.FilterRefBase):  # type: ignore[misc]  # h5py has no types
    """The filter and its parameters: `create_dataset(..., compression=SAE(...))`, or `create_dataset(..., **SAE(...))`.

    `model`: path, id or Model; None is the built-in one. It is registered in this process; whoever reads the file
    elsewhere needs its file as `<id>.sae` (docs/models.md), or `register_model`.
    `asked`: RequestKeywords; exactly one of absolute=, relative=, noise=, lossless=True, none=True. A mask value must
    be a numpy scalar of the dataset's type.

    Give chunks, too: the last two dimensions whole frames, and as many frames as 1 MiB takes.

    Raises ArgumentError (a ValueError), TypeError, MissingModelError, LibraryError. What does not suit the dataset (its
    type, a filter before this one) is refused by `create_dataset`.
    """

    filter_id = FILTER_ID

    def __init__(self, model: ModelName = None, **asked: Unpack[RequestKeywords]) -> None:
        self.request = Request(**asked)
        self.model_id = None if model is None else register_model(model)
        self.filter_options = self.request.cd_values(int(self.model_id or "0", 16))

    def __repr__(self) -> str:
        model = {"model": self.model_id} if self.model_id else {}
        return f"SAE({', '.join(f'{name}={value!r}' for name, value in {**model, **self.request.given()}.items())})"


def register() -> list[pathlib.Path]:
    """Registers the filter with every HDF5 library that is loaded. Returns their files.

    Called when this package is imported, and when netCDF4 or PyTables is imported later. Call it yourself after another
    package has loaded an HDF5 of its own, and before threads use that. A second call does no harm.

    Raises LibraryError where an HDF5 library refuses the filter.
    """
    filter_class = library().h5zsae_filter_class()
    # Through h5py, as it holds a lock whenever it calls HDF5.
    h5py.h5z.register_filter(filter_class)
    of_h5py = function_address(ctypes.CDLL(h5py.h5z.__file__))
    registered = loaded_libraries()
    for path in registered:
        # PyDLL keeps the GIL, so that no other thread of Python comes to this HDF5 meanwhile.
        hdf5 = ctypes.PyDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        if function_address(hdf5) == of_h5py:
            continue
        hdf5.H5Zregister.argtypes = [ctypes.c_void_p]
        if hdf5.H5Zregister(filter_class) < 0:
            raise LibraryError(Status.UNSUPPORTED, f"{path}: this HDF5 library refuses the filter (H5Zregister)")
    return registered


def register_when_imported() -> None:
    """Registers the filter once more whenever a package is imported that brings its own HDF5."""
    for name in OTHER_HDF5:
        wrapt.register_post_import_hook(_register_after, name)


def _register_after(module: ModuleType) -> None:
    # Whoever imports netCDF4 may never come across this filter: no reason to fail.
    try:
        register()
    except LibraryError as error:
        warnings.warn(f"h5z_sae: {module.__name__} cannot use the filter: {error}", RuntimeWarning, stacklevel=2)


def loaded_libraries() -> list[pathlib.Path]:
    """Files of the HDF5 libraries in this process. Those that are linked into a program are not among them."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        mapped = {line.rstrip("\n").split(maxsplit=5)[5] for line in maps if len(line.split(maxsplit=5)) == 6}
    return sorted(path for path in map(pathlib.Path, mapped) if HDF5_LIBRARY.fullmatch(path.name))


def function_address(hdf5: Any) -> int | None:
    """Where H5Zregister lies, to tell whether two handles lead to the same library."""
    return ctypes.cast(hdf5.H5Zregister, ctypes.c_void_p).value
