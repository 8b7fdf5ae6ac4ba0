"""SAE with h5py, and several HDF5 libraries in one process, imported in every order."""
import itertools
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

import h5z_sae

# Each in a process of its own: h5z_sae before, between and after the others, and without hdf5plugin.
ORDERS = sorted({tuple(name for name in order if name not in absent)
                 for order in itertools.permutations(("h5z_sae", "netCDF4", "hdf5plugin"))
                 for absent in ((), ("hdf5plugin",))})

CLIENT = """
import importlib, os, sys
path, *order = sys.argv[1:]
for name in order:
    importlib.import_module(name)
import h5py, h5z_sae, netCDF4
import numpy as np
values = np.linspace(0, 1, 8 * 32 * 32, dtype=np.float32).reshape(8, 32, 32)
with h5py.File(path, "w") as file:
    file.create_dataset("values", data=values, chunks=(4, 32, 32), compression=h5z_sae.SAE(absolute=1e-3))
    if "hdf5plugin" in order:
        import hdf5plugin
        file.create_dataset("zstd", data=values, compression=hdf5plugin.Zstd())
with h5py.File(path) as file:
    assert np.abs(file["values"][...] - values).max() <= 1e-3
    assert "zstd" not in file or (file["zstd"][...] == values).all()
with netCDF4.Dataset(path) as dataset:
    assert np.abs(np.asarray(dataset["values"][...]) - values).max() <= 1e-3
libraries = [library.name for library in h5z_sae.register()]
assert len(libraries) == 2 and len(set(libraries)) == 2, libraries
# netCDF4 names its own plugins in this variable, and only where nobody else has.
assert os.environ["HDF5_PLUGIN_PATH"] == os.path.join(os.path.dirname(netCDF4.__file__), "plugins")
print("served", *libraries)
"""


def test_both_ways_to_ask_h5py_are_one(frames, tmp_path):
    asked = h5z_sae.SAE(absolute=1e-3, effort="fast")
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file.create_dataset("mapping", data=frames, chunks=(8, 64, 64), **asked)
        file.create_dataset("reference", data=frames, chunks=(8, 64, 64), compression=asked)
    with h5py.File(tmp_path / "both.h5") as file:
        stored = [file[name].id.get_create_plist().get_filter(0) for name in ("mapping", "reference")]
        number, _, words, _ = stored[0]
        # Words 4 and 5 name the model, which is the built-in one by its id.
        assert stored[0] == stored[1] and number == 34222 and words[:4] == asked.filter_options[:4] and words[6] == 1
        for name in ("mapping", "reference"):
            assert np.abs(file[name][...] - frames).max() <= 1e-3
            assert file[name].id.get_storage_size() < frames.nbytes / 10
    again = h5z_sae.SAE(absolute=1e-3, effort="fast")
    assert again == asked and hash(again) == hash(asked)
    assert repr(asked) == "SAE(absolute=0.001, effort='fast')"


def test_parameters_are_those_of_the_c_library():
    assert h5z_sae.SAE(absolute=1e-3).filter_options == (0, 1, 3539053052, 1062232653, 0, 0, 0)
    assert h5z_sae.SAE(lossless=True).filter_options == (0, 0, 0, 0, 0, 0, 0)
    masked = h5z_sae.SAE(relative=0.5, effort="best", unbiased=True, mask_value=np.float32(-1))
    assert masked.filter_options == (0, 2, 0, 0x3FE00000, 0, 0, 6, 0xBF800000, 0)
    with pytest.raises(h5z_sae.ArgumentError, match=r"a numpy scalar of the dataset's type, such as np.float32\(-1\)"):
        h5z_sae.SAE(absolute=1, mask_value=-1)


def test_a_chunk_is_a_stream(frames, tmp_path):
    with h5py.File(tmp_path / "chunk.h5", "w") as file:
        asked = h5z_sae.SAE(absolute=1e-2, effort="fast")
        dataset = file.create_dataset("frames", data=frames[:8], chunks=(8, 64, 64), compression=asked)
        stream = dataset.id.read_direct_chunk((0, 0, 0))[1]
        assert np.array_equal(h5z_sae.decode(stream), dataset[...])
        assert h5z_sae.stream_info(stream).bound == 1e-2


def test_the_filters_sentence_reaches_python(tmp_path):
    with h5py.File(tmp_path / "refused.h5", "w") as file:
        with pytest.raises(ValueError, match="put filter 34222 first"):
            file.create_dataset("shuffled", (64, 64), "f4", chunks=(64, 64), shuffle=True, **h5z_sae.SAE(absolute=1))
        with pytest.raises(h5z_sae.ArgumentError, match="absolute bound of 0"):
            h5z_sae.SAE(absolute=0)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_serves_all_hdf5_libraries_of_a_process(order, tmp_path):
    clean = {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PATH"}
    done = subprocess.run([sys.executable, "-c", CLIENT, tmp_path / "order.h5", *order], capture_output=True, text=True,
                          env=clean, check=False)
    assert done.returncode == 0 and done.stdout.startswith("served"), done.stdout + done.stderr


def test_a_plugin_on_the_path_does_not_take_its_place(tmp_path):
    """Models that are registered in Python are those of the package's own library, so that one must be called."""
    script = """
import h5z_sae, h5py, sys
with h5py.File(sys.argv[1], "w") as file:
    file.create_dataset("x", (64, 64), "f4", chunks=(64, 64), **h5z_sae.SAE(lossless=True))[...] = 1
libraries = {line.split()[-1] for line in open("/proc/self/maps") if "libh5zsae.so" in line}
assert libraries == {str(h5z_sae.library.PATH)}, libraries
"""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "libh5zsae.so").write_bytes(pathlib.Path(h5z_sae.library.PATH).read_bytes())
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "x.h5"], capture_output=True, text=True,
                          env={**os.environ, "HDF5_PLUGIN_PATH": str(folder)}, check=False)
    assert done.returncode == 0, done.stderr
