"""Threads change how long it takes, and not one byte."""
import h5py
import numpy as np

import tools

WRITE = """
path, values, frames = sys.argv[1], tuple(map(int, sys.argv[2].split(","))), np.load(sys.argv[3])
with h5py.File(path, "w") as f:
    f.create_dataset("frames", data=frames, chunks=(48, 64, 64), compression=34222, compression_opts=values)
"""
READ_IN_THREADS = """
import concurrent.futures
def read(i):
    with h5py.File(sys.argv[1]) as f:
        return f["frames"][i]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    np.save(sys.argv[2], np.stack(list(pool.map(read, range(96)))))
"""
FORK_AFTER_USE = """
import os
with h5py.File(sys.argv[1]) as f:
    before = f["frames"][:48]
child = os.fork()
if child == 0:
    with h5py.File(sys.argv[1]) as f:
        os._exit(0 if np.array_equal(f["frames"][:48], before) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_streams_and_values_do_not_depend_on_the_number_of_threads(frames, tmp_path):
    source = tmp_path / "frames.npy"
    np.save(source, frames)
    values = ",".join(str(v) for v in tools.filter_values("--abs", "1e-3"))
    streams, decoded = [], []
    for n_threads in ("1", "2", "7"):
        path, out = tmp_path / f"{n_threads}.h5", tmp_path / f"{n_threads}.npy"
        tools.python_client(WRITE, path, values, source, H5Z_SAE_NUM_THREADS=n_threads)
        tools.python_client(tools.READ, path, out, H5Z_SAE_NUM_THREADS=n_threads)
        streams.append(tools.stored_chunks(path))
        decoded.append(np.load(out))
    for other in (1, 2):
        assert streams[other] == streams[0]
        assert np.array_equal(tools.bits(decoded[other]), tools.bits(decoded[0]))
    assert tools.max_abs_err(frames, decoded[0]) <= 1e-3


def test_eight_python_threads_read_what_one_reads(frames, write, tmp_path):
    path, out = write("threads.h5", frames, "--abs", "1e-3"), tmp_path / "threads.npy"
    tools.python_client(READ_IN_THREADS, path, out, H5Z_SAE_NUM_THREADS="2")
    with h5py.File(path) as f:
        assert np.array_equal(np.load(out), f["frames"][...])


def test_a_forked_child_can_read(frames, write):
    path = write("fork.h5", frames, "--abs", "1e-3", chunks=(48, 64, 64))
    tools.python_client(FORK_AFTER_USE, path, H5Z_SAE_NUM_THREADS="4")
