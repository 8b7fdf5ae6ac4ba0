"""Files whose frames are coded by a trained network: they need the model to be read, and say so without it."""
import json

import numpy as np

import tools


def pack(trained, spheres, folder, *flags):
    """Compresses the spheres with the trained model, by Debian's h5repack."""
    model, _, searched = trained
    packed = folder / "packed.h5"
    words = tools.h5repack_filter("--model", model, *flags)
    tools.h5repack(spheres[0], packed, "-f", f"frames:{words}", "-l", "frames:CHUNK=32x64x64",
                   H5Z_SAE_MODEL_PATH=str(searched))
    assert tools.stored_filters(packed) == [tools.FILTER_ID]
    return packed


def test_model_on_the_search_path_is_found_by_both_libraries(trained, spheres, tmp_path):
    packed, out = pack(trained, spheres, tmp_path, "--none"), tmp_path / "out.npy"
    tools.python_client(tools.READ, packed, out, H5Z_SAE_MODEL_PATH=str(trained[2]))
    decoded = np.load(out)
    dump = tmp_path / "dump.bin"
    tools.run("h5dump", "-d", "/frames", "-b", "FILE", "-o", dump, packed, H5Z_SAE_MODEL_PATH=str(trained[2]))
    assert np.array_equal(np.fromfile(dump, "<f4").reshape(decoded.shape), decoded)
    # The paper's mode promises nothing of a single value; a network that learned nothing would be far beyond this.
    error, signal = np.square(spheres[1] - decoded).sum(), np.square(spheres[1]).sum()
    assert error < 0.5 * signal


def test_bound_holds_with_a_trained_model(trained, spheres, tmp_path):
    packed, out = pack(trained, spheres, tmp_path, "--abs", "1e-2"), tmp_path / "out.npy"
    tools.python_client(tools.READ, packed, out, H5Z_SAE_MODEL_PATH=str(trained[2]))
    assert tools.max_abs_err(spheres[1], np.load(out)) <= 1e-2
    report = json.loads(tools.sae("verify", spheres[0], packed, "--json", "--model", trained[0]).stdout)
    # Spheres are what it was trained for: were no patch coded by it, the bound would say nothing about it.
    assert report["datasets"][0]["model"] == trained[1]
    assert report["datasets"][0]["patches_by_method"]["network"] > 32


def test_every_client_names_the_model_that_is_missing(trained, spheres, tmp_path):
    """`--none` codes every patch by the network, so the file cannot be read without the model."""
    packed = pack(trained, spheres, tmp_path, "--none")
    for command in (
        ["h5dump", "--enable-error-stack", "-d", "/frames", packed],
        ["h5repack", "--enable-error-stack", "-f", "NONE", packed, tmp_path / "out.h5"],
    ):
        done = tools.run(*command, check=False)
        assert done.returncode != 0, command[0]
        assert trained[1] in done.text and "H5Z_SAE_MODEL_PATH" in done.text, f"{command[0]}: {done.text[-2000:]}"
    done = tools.python_client(tools.READ, packed, tmp_path / "out.npy", check=False)
    assert done.returncode != 0
    assert trained[1] in done.text and "H5Z_SAE_MODEL_PATH" in done.text, done.text[-2000:]


def test_a_file_under_the_wrong_name_is_not_taken_for_the_model(trained, spheres, tmp_path):
    packed = pack(trained, spheres, tmp_path, "--none")
    forged = tmp_path / "forged"
    forged.mkdir()
    changed = bytearray(trained[0].read_bytes())
    changed[-1] ^= 1
    (forged / f"{trained[1]}.sae").write_bytes(changed)
    done = tools.python_client(tools.READ, packed, tmp_path / "out.npy", check=False, H5Z_SAE_MODEL_PATH=str(forged))
    assert done.returncode != 0
    assert trained[1] in done.text, done.text[-2000:]
