"""One process writes frames, another reads them at the same time (single writer, multiple readers)."""
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3
N_FRAMES, PER_CHUNK = 32, 8

# Answers each line of its input, a number of frames, with that many as soon as they are there.
READER = """
import sys, h5py, numpy as np
with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as f:
    frames = f["frames"]
    print("open", flush=True)
    for line in sys.stdin:
        frames.refresh()
        print(len(frames), flush=True)
        np.save(sys.argv[2], frames[:int(line)])
        print("saved", flush=True)
"""


@pytest.fixture
def writer(tmp_path):
    """A growing dataset in a file that others may read."""
    with h5py.File(tmp_path / "swmr.h5", "w", libver="latest") as f:
        dataset = f.create_dataset(
            "frames", (0, 64, 64), "f4", maxshape=(None, 64, 64), chunks=(PER_CHUNK, 64, 64), fillvalue=-1,
            **tools.h5py_arguments("--abs", EPSILON),
        )
        f.swmr_mode = True
        yield dataset


def test_a_reader_follows_the_writer_chunk_by_chunk(frames, writer, tmp_path):
    out = tmp_path / "read.npy"
    command = [sys.executable, "-c", READER, writer.file.filename, out]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    too_long = threading.Timer(tools.TIMEOUT_S, reader.kill)
    too_long.start()
    try:
        assert reader.stdout.readline() == "open\n"
        for n in range(PER_CHUNK, N_FRAMES + 1, PER_CHUNK):
            writer.resize(n, axis=0)
            writer[n - PER_CHUNK :] = frames[n - PER_CHUNK : n]
            writer.flush()
            print(n, file=reader.stdin, flush=True)
            assert reader.stdout.readline() == f"{n}\n"
            assert reader.stdout.readline() == "saved\n"
            assert tools.max_abs_err(frames[:n], np.load(out)) <= EPSILON
        reader.stdin.close()
        assert reader.wait() == 0
    finally:
        too_long.cancel()
        reader.kill()
        reader.wait()


def test_a_reader_sees_fill_where_a_chunk_is_not_written_yet(frames, writer, tmp_path):
    writer.resize(2 * PER_CHUNK, axis=0)
    writer[:PER_CHUNK] = frames[:PER_CHUNK]
    writer.flush()
    out = tmp_path / "read.npy"
    script = 'np.save(sys.argv[2], h5py.File(sys.argv[1], "r", libver="latest", swmr=True)["frames"][...])'
    tools.python_client(script, writer.file.filename, out)
    read = np.load(out)
    assert tools.max_abs_err(frames[:PER_CHUNK], read[:PER_CHUNK]) <= EPSILON
    assert (read[PER_CHUNK:] == -1).all()
