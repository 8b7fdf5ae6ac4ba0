"""A network trained elsewhere becomes a model: through safetensors, as torch would save its state dict, and back."""
import hashlib
import json
import shutil

import h5py
import numpy as np
import pytest
import safetensors.numpy

import numpy_net
import tools
from h5z_sae import Model, ModelError, convert, five_layer

EDGE, N_HIDDEN, N_LATENTS, LAMBDA = 16, 24, 32, 1e-3


@pytest.fixture(scope="module")
def textures():
    """Sums of a few rough textures, B × 16 × 16, maximum 1: a network learns them, neighbouring pixels say nothing."""
    rng = np.random.default_rng(5)
    patterns = rng.random((6, EDGE * EDGE)).astype(np.float32)
    weights = rng.random((2000, 6)).astype(np.float32) * (rng.random((2000, 6)) < 0.4)
    weights[np.arange(2000), rng.integers(0, 6, 2000)] += 0.5
    frames = weights @ patterns
    return (frames / frames.max(axis=1, keepdims=True)).reshape(-1, EDGE, EDGE)


@pytest.fixture(scope="module")
def network(textures):
    """State dict of a network trained on all but the last 200 textures."""
    return numpy_net.train(textures[:1800].reshape(1800, -1), N_HIDDEN, N_LATENTS, 2000, LAMBDA)


@pytest.fixture(scope="module")
def converted(network, textures, tmp_path_factory):
    """Path of the model, in a folder where the plugin finds it."""
    folder = tmp_path_factory.mktemp("convert")
    safetensors.numpy.save_file(network, folder / "net.safetensors")
    np.save(folder / "frames.npy", textures[:1800])
    assert run_converter(folder / "net.safetensors", folder / "net.sae", "--patch", f"{EDGE}x{EDGE}", "--frames",
                         folder / "frames.npy", "--lambda", LAMBDA) == 0
    digest = hashlib.sha256((folder / "net.sae").read_bytes()).hexdigest()[:16]
    shutil.copy(folder / "net.sae", folder / f"{digest}.sae")
    return folder / "net.sae"


def run_converter(*words):
    return convert.main([str(word) for word in words])


def test_sae_info_reads_a_converted_model(converted):
    report = json.loads(tools.sae("info", "--json", converted).stdout)
    assert report["model"] == hashlib.sha256(converted.read_bytes()).hexdigest()[:16]
    text = tools.sae("info", converted).stdout
    assert f"values {EDGE * EDGE}, hidden {N_HIDDEN}, latents {N_LATENTS}" in text


def test_a_converted_model_compresses_within_the_bound(converted, textures, tmp_path):
    held_out = textures[1800:]
    with h5py.File(tmp_path / "plain.h5", "w") as f:
        f.create_dataset("frames", data=held_out, chunks=(100, EDGE, EDGE))
    words = tools.h5repack_filter("--model", converted, "--abs", "3e-2")
    environment = {"H5Z_SAE_MODEL_PATH": str(converted.parent)}
    tools.h5repack(tmp_path / "plain.h5", tmp_path / "packed.h5", "-f", f"frames:{words}", **environment)
    dump = tmp_path / "dump.bin"
    tools.run("h5dump", "-d", "/frames", "-b", "FILE", "-o", dump, tmp_path / "packed.h5", **environment)
    decoded = np.fromfile(dump, "<f4").reshape(held_out.shape)
    assert tools.max_abs_err(held_out, decoded) <= 3e-2
    report = json.loads(tools.sae("verify", tmp_path / "plain.h5", tmp_path / "packed.h5", "--json", "--model",
                                  converted).stdout)
    assert report["datasets"][0]["patches_by_method"]["network"] == len(held_out)
    # Without the network a texture is noise: the context coder reaches 6.
    stored = sum(len(chunk) for chunk in tools.stored_chunks(tmp_path / "packed.h5"))
    assert held_out.nbytes / stored > 20


def test_a_converted_model_computes_what_the_network_does(converted, network, textures):
    model, held_out = Model.read(converted), textures[1800:]
    activations = numpy_net.forward(network, held_out.reshape(200, -1))
    latents = model.encode(held_out)
    assert np.abs(latents - activations[2]).max() < 1e-2
    step_log2 = model.decoder.latent_frac_bits
    exact = model.decode_levels(model.quantize(latents, step_log2, 0.5), step_log2) / 2.0**30
    assert np.abs(exact.reshape(200, -1) - activations[-1]).max() < 1e-2
    share = np.mean(model.quantize(latents, model.none_step_log2) != 0, axis=0)
    assert np.abs(model.priors.fire / 65536 - share).max() < 0.15


def test_the_way_back_gives_the_weights_within_rounding(converted, network):
    back = converted.with_name("back.safetensors")
    assert run_converter(converted, back) == 0
    state = safetensors.numpy.load_file(back)
    assert state.keys() == network.keys()
    for name, array in network.items():
        # binary16 has 11 bits, the decoder's integers 15 at the layer's largest weight.
        assert np.abs(state[name] - array).max() <= 2.0**-11 * np.abs(array).max(), name


def test_a_trained_model_opens_as_a_plain_network():
    """The built-in model, whose layers go through a basis: the same latents and frames from eight dense tensors."""
    model = Model.read(tools.ROOT / "models" / "builtin.sae")
    state = five_layer.to_state_dict(model)
    assert state["encoder.0.weight"].shape == (model.n_hidden, 4096)
    frames = np.random.default_rng(3).random((8, 64, 64)).astype(np.float32)
    activations = numpy_net.forward(state, frames.reshape(8, -1))
    largest = five_layer.floats.keep_largest(activations[2], model.active)
    scale = np.abs(largest).max()
    assert np.abs(model.encode(frames) - largest).max() < 1e-3 * scale
    x = np.maximum(largest @ state["decoder.0.weight"].T + state["decoder.0.bias"], 0)
    x = x @ state["decoder.2.weight"].T + state["decoder.2.bias"]
    assert np.abs(model.decode(largest).reshape(8, -1) - x).max() < 1e-3 * np.abs(x).max()


def test_penalty_grad_can_be_converted(network, textures, tmp_path):
    settings = five_layer.Settings((EDGE, EDGE), penalty="grad")
    model = five_layer.from_state_dict(network, settings, textures[:500])
    model.write(tmp_path / "grad.sae")
    assert "penalty: grad" in tools.sae("info", tmp_path / "grad.sae").stdout
    step_log2 = model.decoder.latent_frac_bits
    levels = model.quantize(model.encode(textures[1800:]), step_log2, 0.5)
    exact = model.decode_levels(levels, step_log2).reshape(200, -1) / 2.0**30
    expected = numpy_net.forward(network, textures[1800:].reshape(200, -1))[-1]
    assert np.abs(exact - expected).max() < 1e-2


def test_errors_name_the_tensor_and_what_is_expected(network, textures):
    settings = five_layer.Settings((EDGE, EDGE))
    for state, message in [
        ({**network, "decoder.4.bias": network["decoder.2.bias"]}, "tensor 'decoder.4.bias' is unknown"),
        ({**network, "decoder.0.weight": network["decoder.0.weight"].T}, "is of shape [32, 24]: [24, 32] expected"),
        ({**network, "encoder.0.bias": network["encoder.0.bias"] * np.nan}, "encoder.0.bias has a value that is not"),
        ({**network, "encoder.2.weight": network["encoder.2.weight"] * 1e9}, "below 2097152 allowed"),
        ({**network, "encoder.2.bias": network["encoder.2.bias"] - 1e5}, "no latent fires"),
    ]:
        with pytest.raises(ModelError) as raised:
            five_layer.from_state_dict(state, settings, textures[:100]).to_bytes()
        assert message in str(raised.value)


def test_converter_says_what_is_missing_and_writes_nothing(converted, tmp_path, capsys):
    target = tmp_path / "out.sae"
    net = converted.with_name("net.safetensors")
    for words, message in [
        ((net, target), "--patch is missing"),
        ((net, target, "--patch", "16x16", "--frames", converted.with_name("none.npy")), "none.npy"),
        ((net, target, "--patch", "8x8", "--frames", converted.with_name("frames.npy")), "[24, 64] expected"),
        ((converted, tmp_path / "copy.sae"), "one of the two must end in .sae"),
    ]:
        assert run_converter(*words) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
