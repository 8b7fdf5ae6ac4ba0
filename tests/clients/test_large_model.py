"""A model of fifty megabytes that travels in the file: nothing on its way may be sized for small ones."""
import dataclasses
import json

import h5py
import numpy as np
import pytest

import tools
from h5z_sae import Model

EPSILON = 1e-3
N_HIDDEN, N_LATENTS = 2048, 8192
LEAST_BYTES = 50_000_000


def padded(array, *sizes, fill=0):
    """The array at the beginning of a larger one."""
    larger = np.full(sizes, fill, array.dtype)
    larger[tuple(slice(0, length) for length in array.shape)] = array
    return larger


@pytest.fixture(scope="module")
def large(trained, tmp_path_factory):
    """The trained model with hidden units and latents that say nothing, so that it codes as before."""
    small = Model.read(trained[0])
    decoder, encoder, priors = small.decoder, small.encoder, small.priors
    model = dataclasses.replace(
        small,
        decoder=dataclasses.replace(
            decoder, hidden=padded(decoder.hidden, N_LATENTS, N_HIDDEN),
            hidden_bias=padded(decoder.hidden_bias, N_HIDDEN),
            coef=padded(decoder.coef, N_HIDDEN, decoder.coef.shape[1])),
        encoder=dataclasses.replace(
            encoder, input=padded(encoder.input, len(encoder.input), N_HIDDEN),
            input_bias=padded(encoder.input_bias, N_HIDDEN),
            latent=padded(encoder.latent, N_HIDDEN, N_LATENTS), latent_bias=padded(encoder.latent_bias, N_LATENTS)),
        priors=dataclasses.replace(
            priors, fire=padded(priors.fire, N_LATENTS, fill=1), weight_scale=padded(priors.weight_scale, N_LATENTS)))
    path = tmp_path_factory.mktemp("large") / "large.sae"
    path.write_bytes(model.to_bytes())
    assert path.stat().st_size > LEAST_BYTES
    return path


@pytest.fixture(scope="module")
def packed(large, spheres, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "packed.h5"
    tools.sae("repack", spheres[0], path, "--abs", EPSILON, "--chunk", "16,64,64", "--embed", "--model", large)
    info = json.loads(tools.sae("info", path, "--json").stdout)
    assert info["embedded_models"][0]["file_bytes"] == large.stat().st_size
    assert info["datasets"][0]["chunks"]["patches_by_method"]["network"] > 0
    return path


def test_the_plugin_reads_with_it_in_both_libraries(packed, spheres, tmp_path):
    out = tmp_path / "out.npy"
    tools.python_client(tools.READ, packed, out)
    by_h5py = np.load(out)
    assert tools.max_abs_err(spheres[1], by_h5py) <= EPSILON
    by_h5dump = tools.h5dump_array(packed, "/frames", "<f4", spheres[1].shape, tmp_path)
    assert np.array_equal(tools.bits(by_h5dump), tools.bits(by_h5py))


def test_it_is_taken_along_out_and_in(packed, large, spheres, tmp_path):
    repacked, extracted, alone = tmp_path / "repacked.h5", tmp_path / "out.sae", tmp_path / "alone.h5"
    tools.h5repack(packed, repacked)
    tools.sae("extract", repacked, "-o", extracted)
    assert extracted.read_bytes() == large.read_bytes()
    tools.run("h5copy", "-i", packed, "-o", alone, "-s", "/frames", "-d", "/frames")
    tools.sae("embed", alone, extracted)
    with h5py.File(alone) as f:
        (model,) = f["/_h5z_sae/models"].values()
        assert model.id.get_storage_size() == large.stat().st_size
    tools.python_client(tools.READ, alone, tmp_path / "out.npy")
    assert tools.max_abs_err(spheres[1], np.load(tmp_path / "out.npy")) <= EPSILON
