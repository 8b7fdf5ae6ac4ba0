"""Error-bounded compression of scientific frames: the HDF5 filter H5Z-SAE for Python, its codec, and its models.

    import h5py, h5z_sae

    with h5py.File("out.h5", "w") as file:
        file.create_dataset("frames", data=frames, chunks=(64, 64, 64), compression=h5z_sae.SAE(absolute=1e-3))

Importing this package makes the filter known to h5py, and to netCDF4 and PyTables, whichever is imported first.

    SAE            parameters of the filter, for h5py
    register       makes the filter known to HDF5 libraries that were loaded later by other packages
    register_model makes a trained model known to the filter
    encode, decode arrays to streams and back, without HDF5; stream_info says what a stream is
    train, info    the program `sae`, where it is installed
    numcodecs.SAE  the codec for Zarr 2, zarr.SAE for Zarr 3
    Model          what a `.sae` file holds, read, computed with and written in numpy
    five_layer     a plain five-layer network as a model, and a model as such a network; convert is its command line
    stream         latents straight from a compressed chunk

Models in numpy (Model, five_layer, convert, stream) work in a source tree, too, where no library was built.
"""
from .arrays import StreamInfo, decode, encode, stream_info
from .handles import register_model
from .hdf5 import SAE, register, register_when_imported
from .library import PATH, ArgumentError, LibraryError, MissingModelError, Status
from .model import Model, ModelError
from .request import RequestKeywords
from .tool import ToolError, info, train

__all__ = [
    "SAE", "ArgumentError", "LibraryError", "MissingModelError", "Model", "ModelError", "RequestKeywords", "Status",
    "StreamInfo", "ToolError", "decode", "encode", "info", "register", "register_model", "stream_info", "train",
]

# A source tree has no library; everything that needs one says so when it is called.
if PATH.exists():
    register()
    register_when_imported()
