"""Runs the programs under test and reads what they leave; asserts nothing about the filter itself."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN_DIR = pathlib.Path(os.environ.get("H5ZSAE_PLUGIN_DIR", ROOT / "target" / "release")).resolve()
SAE = PLUGIN_DIR / "sae"
FILTER_ID = 34222

# Places of the words in cd_values (docs/format.md).
WORD_VERSION, WORD_BOUND_KIND, WORD_MODEL_LOW, WORD_MODEL_HIGH, WORD_OPTIONS = 0, 1, 4, 5, 6
# And in those that a file stores.
WORD_MARKS, WORD_FILL = 11, 12

# Generous: one core of a busy machine. A hang is a failure, not a wait.
TIMEOUT_S = 300


class Finished:
    """A finished program. `text` is all that it printed: `stdout`, then `stderr`."""

    def __init__(self, done):
        self.returncode = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr
        self.text = done.stdout + done.stderr


def run(*command, check=True, cwd=None, **environment):
    """Runs a program with the plugin on its path; with `check`, its failure is ours. A variable of None is unset."""
    variables = {**os.environ, "HDF5_PLUGIN_PATH": str(PLUGIN_DIR), **environment}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL, cwd=cwd, env={name: value for name, value in variables.items() if value is not None},
    )
    finished = Finished(done)
    assert not check or done.returncode == 0, f"{command} exits {done.returncode}:\n{finished.text}"
    return finished


def sae(*arguments, check=True, **environment):
    return run(SAE, *arguments, check=check, **environment)


def filter_values(*flags):
    """cd_values as requested, from `sae filter-args`."""
    found = json.loads(sae("filter-args", *flags, "--format", "json").stdout)
    assert found["id"] == FILTER_ID
    return list(found["values"])


def h5py_arguments(*flags):
    return dict(compression=FILTER_ID, compression_opts=tuple(filter_values(*flags)))


def h5repack_filter(*flags):
    """The word after `h5repack -f`."""
    return sae("filter-args", *flags, "--format", "h5repack").stdout.strip()


def h5repack(source, target, *options, check=True, **environment):
    return run("h5repack", *options, source, target, check=check, **environment)


def h5repack_version():
    return run("h5repack", "--version").stdout.strip()


def h5dump_array(path, dataset, dtype, shape, folder):
    """A dataset as h5dump writes it to a binary file, in the file's own type: `-b LE` leaves out 16-bit floats."""
    out = folder / "h5dump.bin"
    run("h5dump", "-d", dataset, "-b", "FILE", "-o", out, path)
    return np.fromfile(out, dtype).reshape(shape)


# For `python_client`: saves the frames of the first file as the second.
READ = """
with h5py.File(sys.argv[1]) as f:
    np.save(sys.argv[2], f["frames"][...])
"""


def python_client(script, *arguments, check=True, **environment):
    """Runs a few lines of Python with h5py and numpy in a process of their own: for variables read once."""
    lines = "import sys, h5py, numpy as np\n" + script
    return run(sys.executable, "-c", lines, *arguments, check=check, **environment)


def verify(original, compressed, check=True, **environment):
    """`sae verify --json`: exit status and report."""
    done = sae("verify", original, compressed, "--json", check=check, **environment)
    return done.returncode, json.loads(done.stdout)


def bits(array):
    """The elements as unsigned integers in native order, to compare values that `==` does not tell apart."""
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return native.view(f"u{array.dtype.itemsize}")


def max_abs_err(original, decoded):
    """Largest |difference| of the finite values: exact for integers (as Python ints), in f64 for floats."""
    if original.dtype.kind in "iu":
        larger, smaller = np.maximum(original, decoded), np.minimum(original, decoded)
        # Two's complement: the difference of 64-bit integers always fits u64.
        return int((larger.astype(np.uint64) - smaller.astype(np.uint64)).max())
    finite = np.isfinite(original)
    difference = original[finite].astype(np.float64) - decoded[finite].astype(np.float64)
    return float(np.abs(difference).max(initial=0.0))


def stored_chunks(path, dataset="frames"):
    """Raw bytes of every chunk, in the order of the dataset."""
    import h5py

    with h5py.File(path) as f:
        d = f[dataset].id
        return [d.read_direct_chunk(d.get_chunk_info(i).chunk_offset)[1] for i in range(d.get_num_chunks())]


def stored_filters(path, dataset="frames"):
    """Ids of the dataset's filters, in order."""
    import h5py

    with h5py.File(path) as f:
        plist = f[dataset].id.get_create_plist()
        return [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
