"""What the filter takes of a machine: memory beyond the program's own, measured in a child process."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import bounds
import codecs_hdf5

MEMORY_COLUMNS = (
    "direction", "setting", "chunk", "chunk_bytes", "model_bytes", "growth_bytes", "allowed_bytes", "holds",
)
# What a chunk may take: four times its bytes, the model, and this much.
ALLOWANCE_BYTES = 16_000_000
ALLOWANCE_CHUNKS = 4

def memory_rows(frames, epsilon):
    """Growth of the resident memory by one chunk, of two sizes, in both directions, by setting.

    HDF5's own copies of the chunk are in it: a user pays for them too.
    """
    rows = []
    for part in (frames[: max(len(frames) // 4, 1)], frames):
        for codec in codecs_hdf5.ours([]):
            for direction in ("encode", "decode"):
                rows.append(memory_row(direction, codec, part, bounds.absolute(epsilon)[0]))
    return rows


def memory_row(direction, codec, frames, bound):
    growth = memory_growth(direction, codec.arguments(bound), frames)
    allowed = ALLOWANCE_CHUNKS * frames.nbytes + codec.model_bytes + ALLOWANCE_BYTES
    return {
        "direction": direction, "setting": codec.name, "chunk": "x".join(map(str, frames.shape)),
        "chunk_bytes": frames.nbytes, "model_bytes": codec.model_bytes, "growth_bytes": growth,
        "allowed_bytes": allowed, "holds": growth <= allowed,
    }


def memory_growth(direction, arguments, frames):
    """Most bytes by which a process grows that writes or reads one chunk (one_chunk.py)."""
    with tempfile.TemporaryDirectory() as folder:
        values, path = os.path.join(folder, "values.npy"), os.path.join(folder, "values.h5")
        np.save(values, frames)
        child = [sys.executable, pathlib.Path(__file__).with_name("one_chunk.py")]
        encode = [*child, "encode", values, path, json.dumps(arguments)]
        wanted = [encode] if direction == "encode" else [encode, [*child, "decode", values, path]]
        for words in wanted:
            done = subprocess.run(words, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return int(done.stdout)
