"""The codecs of the comparison, as keyword arguments of h5py's `create_dataset`.

A codec is asked for an absolute bound and gives back what h5py needs; nothing here reads or writes a file. All run
through HDF5 itself, so each pays for what a user pays for: headers, chunking, checksums.
"""
import dataclasses
import json
import subprocess
from typing import Callable

import hdf5plugin

FRAME_CHUNK_LEN = 1
STACK_CHUNK_LEN = 256


@dataclasses.dataclass(frozen=True)
class Codec:
    """One row of the table, at one chunking."""

    name: str
    frames_per_chunk: int
    arguments: Callable[[float], dict]
    ours: bool = False
    model_bytes: int = 0


def peers():
    """Error-bounded codecs of hdf5plugin, each at both chunkings: the table shows the better one."""
    by_bound = {
        "SZ3": lambda bound: dict(hdf5plugin.SZ3(absolute=bound)),
        "SZ": lambda bound: dict(hdf5plugin.SZ(absolute=bound)),
        "SPERR": lambda bound: dict(hdf5plugin.Sperr(absolute=bound)),
        "ZFP": lambda bound: dict(hdf5plugin.Zfp(accuracy=bound)),
    }
    return [
        Codec(name, frames, arguments)
        for name, arguments in by_bound.items()
        for frames in (FRAME_CHUNK_LEN, STACK_CHUNK_LEN)
    ]


def lossless_peers():
    """What is used today where no error is allowed."""
    settings = {
        "gzip 6": dict(compression="gzip", compression_opts=6),
        "bitshuffle + zstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    }
    return [
        Codec(name, frames, lambda _, chosen=chosen: chosen)
        for name, chosen in settings.items()
        for frames in (FRAME_CHUNK_LEN, STACK_CHUNK_LEN)
    ]


def filter_arguments(sae, *flags):
    """Filter id and cd_values that `sae filter-args` prints for `flags`."""
    command = [sae, "filter-args", *flags, "--format", "json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = json.loads(printed.stdout)
    return dict(compression=found["id"], compression_opts=tuple(found["values"]))


def ours(sae, name, *flags, model_bytes=0):
    """Our filter at both chunkings."""
    def arguments(bound):
        return filter_arguments(sae, "--abs", repr(bound), *flags)

    return [
        Codec(name, frames, arguments, ours=True, model_bytes=model_bytes)
        for frames in (STACK_CHUNK_LEN, FRAME_CHUNK_LEN)
    ]


def ours_lossless(sae):
    """Our filter without any error allowed."""
    return Codec("H5Z-SAE, lossless", STACK_CHUNK_LEN, lambda _: filter_arguments(sae, "--lossless"), ours=True)
