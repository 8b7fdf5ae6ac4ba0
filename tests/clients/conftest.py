"""Clients of the built plugin: the wheels of h5py and netCDF4 with HDF5 2.0 and 2.2 of their own, and Debian's tools,
netCDF, Octave and R with HDF5 1.10.8.

The plugin and the CLI are those of `make build`, or of the folder in H5ZSAE_PLUGIN_DIR. HDF5_PLUGIN_PATH must stand
before h5py is imported, so it is set here, at import.
"""
import hashlib
import os
import shutil
import sys

# Before numpy: the products here are small, and two threads that wait for each other are ten times slower than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tools  # noqa: E402

os.environ["HDF5_PLUGIN_PATH"] = str(tools.PLUGIN_DIR)
# The Python package, as it is: nothing is installed.
sys.path.insert(0, str(tools.ROOT / "python"))
for name in ("H5Z_SAE_MODEL_PATH", "H5Z_SAE_NUM_THREADS", "H5Z_SAE_DEVICE"):
    os.environ.pop(name, None)

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402


def pytest_report_header():
    return [
        f"plugin: {tools.PLUGIN_DIR / 'libh5zsae.so'}",
        f"h5py {h5py.__version__} with HDF5 {h5py.version.hdf5_version}; Debian's {tools.h5repack_version()}",
    ]


def pytest_configure():
    for path in (tools.PLUGIN_DIR / "libh5zsae.so", tools.SAE):
        if not path.exists():
            pytest.exit(f"{path} does not exist: run `make build` first", returncode=2)


@pytest.fixture(scope="session")
def frames(tmp_path_factory):
    """96 simulated frames of 64 x 64, f32, each of maximum 1, of several particle families."""
    path = tmp_path_factory.mktemp("synth") / "frames.h5"
    tools.sae("synth", path, "--frames", "96", "--seed", "5")
    with h5py.File(path) as f:
        data = f["frames"][...]
    assert data.shape == (96, 64, 64) and data.dtype == np.float32
    return data


@pytest.fixture(scope="session")
def counts(frames):
    """Poisson counts with the frames as their means, 1000 at the brightest pixel; u32."""
    return np.random.default_rng(11).poisson(frames * 1000.0).astype(np.uint32)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A small model, trained for seconds, and a folder in which the plugin finds it by its id."""
    folder = tmp_path_factory.mktemp("model")
    data, model = folder / "train.h5", folder / "spheres.sae"
    tools.sae("synth", data, "--frames", "600", "--families", "sphere", "--seed", "21")
    tools.sae(
        "train", f"{data}:/frames", "-o", model, "--patch", "64x64", "--components", "32",
        "--hidden", "64", "--latent", "128", "--active", "8", "--batch", "50", "--epochs", "25", "--seed", "1",
    )
    model_id = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    searched = folder / "searched"
    searched.mkdir()
    shutil.copy(model, searched / f"{model_id}.sae")
    return model, model_id, searched


@pytest.fixture(scope="session")
def spheres(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("spheres") / "test.h5"
    tools.sae("synth", path, "--frames", "64", "--families", "sphere", "--seed", "22")
    with h5py.File(path) as f:
        return path, f["frames"][...]


@pytest.fixture
def write(tmp_path):
    """Writes one dataset `/frames` with h5py; filter flags as for `sae filter-args`, none for an unfiltered one."""
    def write_file(name, data, *flags, chunks=None, dtype=None, **keywords):
        path = tmp_path / name
        arguments = tools.h5py_arguments(*flags) if flags else {}
        chunks = chunks or (min(16, data.shape[0]), *data.shape[1:])
        with h5py.File(path, "w") as f:
            f.create_dataset("frames", data=data, chunks=chunks, dtype=dtype, **arguments, **keywords)
        return path

    return write_file
