"""The Python package's reader, writer and exact decoder beside the Rust ones."""
import dataclasses
import json

import h5py
import numpy as np
import pytest

import tools
from h5z_sae import Model, ModelError, container, stream
from h5z_sae.model import file_id

BUILT_IN = tools.ROOT / "models" / "builtin.sae"
N_LATENTS = Model.read(BUILT_IN).n_latents


@pytest.fixture(scope="module")
def builtin():
    return Model.read(BUILT_IN)


@pytest.fixture(scope="module")
def grad_model(tmp_path_factory):
    """A model of penalty grad and transform sqrt, trained for seconds; its levels are steps of a running sum."""
    folder = tmp_path_factory.mktemp("grad")
    tools.sae("synth", folder / "train.h5", "--frames", "400", "--pixels", "32", "--seed", "31")
    tools.sae("train", f"{folder / 'train.h5'}:/frames", "-o", folder / "grad.sae", "--components", "24", "--hidden",
              "32", "--latent", "64", "--penalty", "grad", "--lambda", "1e-4", "--transform", "sqrt:0.01", "--batch",
              "50", "--epochs", "10", "--threads", "1")
    return folder / "grad.sae"


def chunk_of(path, model):
    """Headers of the first chunk, and its frames as HDF5 decodes them."""
    with h5py.File(path) as f:
        dataset = f["frames"]
        raw = dataset.id.read_direct_chunk((0,) * dataset.ndim)[1]
        return stream.read_chunk(raw, model), dataset[: dataset.chunks[0]]


def assert_decodes_alike(chunk, decoded):
    """Every network patch of a chunk of latents alone: the same bits from the integer decoder in numpy."""
    parameters = chunk.parameters
    assert parameters.latents_only
    unit = parameters.step / 2**parameters.fraction_bits
    n_network = 0
    for index, (header, frame) in enumerate(zip(chunk.patches, decoded, strict=True)):
        if header.method == stream.NETWORK:
            n_network += 1
            values = (chunk.given(index) * unit).astype(frame.dtype)
            assert np.array_equal(tools.bits(values), tools.bits(frame)), f"patch {index}"
    return n_network


def test_a_model_that_is_read_and_written_keeps_its_bytes(builtin, grad_model):
    for path in (BUILT_IN, grad_model):
        assert Model.read(path).to_bytes() == path.read_bytes(), path
    assert file_id(BUILT_IN.read_bytes()) == json.loads(tools.sae("info", "--json", BUILT_IN).stdout)["model"]


def test_numpy_decodes_a_file_to_the_same_bits(builtin, frames, write, tmp_path):
    packed = tmp_path / "packed.h5"
    tools.sae("repack", write("plain.h5", frames), packed, "--none")
    chunk, decoded = chunk_of(packed, builtin)
    assert assert_decodes_alike(chunk, decoded) == len(decoded)


def test_numpy_decodes_running_sums_and_transforms_to_the_same_bits(grad_model, tmp_path):
    model = Model.read(grad_model)
    assert model.penalty == "grad" and model.transform == "sqrt"
    tools.sae("synth", tmp_path / "plain.h5", "--frames", "40", "--pixels", "32", "--seed", "32")
    tools.sae("repack", tmp_path / "plain.h5", tmp_path / "packed.h5", "--none", "--model", grad_model)
    path = str(grad_model.parent)
    (grad_model.parent / f"{file_id(grad_model.read_bytes())}.sae").write_bytes(grad_model.read_bytes())
    script = "with h5py.File(sys.argv[1]) as f: np.save(sys.argv[2], f['frames'][...])"
    tools.python_client(script, tmp_path / "packed.h5", tmp_path / "out.npy", H5Z_SAE_MODEL_PATH=path)
    with h5py.File(tmp_path / "packed.h5") as f:
        chunk = stream.read_chunk(f["frames"].id.read_direct_chunk((0, 0, 0))[1], model)
    decoded = np.load(tmp_path / "out.npy")
    assert any(level < 0 for header in chunk.patches for level in header.latents.values())
    # The last chunk is padded with frames of the fill value.
    chunk = dataclasses.replace(chunk, patches=chunk.patches[: len(decoded)])
    assert assert_decodes_alike(chunk, decoded) == len(decoded)


def test_the_filter_writes_the_latents_that_numpy_finds_refined(builtin, frames, write, tmp_path):
    packed = tmp_path / "packed.h5"
    tools.sae("repack", write("plain.h5", frames), packed, "--none")
    chunk, _ = chunk_of(packed, builtin)
    seen = frames[: len(chunk.patches)]
    latents, written = builtin.encode(seen), chunk.levels()
    # Float products differ in their last bits, so the least of the active latents may be another one.
    assert np.mean(latents[written != 0] > 0) > 0.99
    own = builtin.quantize(latents, builtin.none_step_log2)

    def squared_errors(levels):
        rebuilt = builtin.decode_levels(levels, builtin.none_step_log2) / 2.0**30
        return np.square(rebuilt - seen).sum(axis=(1, 2))

    assert squared_errors(written).mean() < 0.9 * squared_errors(own).mean()


def test_levels_of_a_bounded_file_describe_its_frames(builtin, frames, write):
    """With linear atoms: what the network gives is close to the frame before any residual."""
    chunk, decoded = chunk_of(write("packed.h5", frames, "--abs", "1e-2"), builtin)
    unit = chunk.parameters.step / 2**chunk.parameters.fraction_bits
    network = [index for index, header in enumerate(chunk.patches) if header.method == stream.NETWORK]
    assert network and any(chunk.patches[index].linear for index in network)
    for index in network:
        error = np.square(chunk.given(index) * unit - decoded[index]).sum()
        assert error < 0.05 * np.square(decoded[index]).sum(), f"patch {index}"


def test_float_and_exact_decoder_agree(builtin, frames):
    step_log2 = builtin.decoder.latent_frac_bits
    levels = builtin.quantize(builtin.encode(frames), step_log2, 0.5)
    exact = builtin.decode_levels(levels, step_log2) / 2.0**30
    # Hidden activations of 15 bits and the rounding of coefficients: a few 1e-4 at most.
    assert np.abs(builtin.decode(levels * 2.0**-step_log2) - exact).max() < 5e-3


def changed(model, part=None, **fields):
    """A model with other fields, of itself or of one of its parts."""
    if part is None:
        return dataclasses.replace(model, **fields)
    return dataclasses.replace(model, **{part: dataclasses.replace(getattr(model, part), **fields)})


@pytest.mark.parametrize(("part", "fields", "message"), [
    (None, {"active": 100_000}, f"active is 100000: 0 to {N_LATENTS} allowed"),
    (None, {"transform": "exp"}, "transform is 'exp'"),
    (None, {"transform": "log"}, "transform_offset_q24 is 0: 1 to 16777216 allowed"),
    (None, {"sparsity_lambda": float("nan")}, "sparsity_lambda is nan"),
    (None, {"patch": (64, 63)}, "decoder.mean is of shape [2048]: [2016] expected"),
    ("decoder", {"hidden_bits": 21}, "hidden_bits is 21: 1 to 20 allowed"),
    ("decoder", {"coef_bits": 40}, "must stay below 2^53"),
    ("decoder", {"coef": None}, "decoder.coef is absent: 384 hidden units and 256 basis rows"),
    ("priors", {"fire": np.zeros(N_LATENTS, np.uint16)}, "priors.fire has a 0"),
])
def test_refuses_to_write_what_no_reader_takes(builtin, part, fields, message):
    with pytest.raises(ModelError) as raised:
        changed(builtin, part, **fields).to_bytes()
    assert message in str(raised.value)


def test_rejects_what_is_no_model(builtin):
    data = BUILT_IN.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    header = data[8:8 + header_bytes]
    for wrong, message in [
        (data[:5], "5 bytes are no model"),
        (data[:-1], "not a whole safetensors container"),
        ((1 << 21).to_bytes(8, "little") + data[8:], "header of 2097152 bytes"),
        (data.replace(b'\\"format_version\\":0', b'\\"format_version\\":7', 1), "version 7"),
        (data.replace(b"priors.fire", b"priors.fear", 1), "priors.fire is missing"),
        (data.replace(b'\\"active\\":', b'\\"passiv\\":', 1), "setting 'active' is missing"),
        (data.replace(header, header.replace(b"h5z-sae", b"h5z-saf"), 1), "no such metadata key"),
    ]:
        with pytest.raises(ModelError) as raised:
            Model.parse(wrong)
        assert message in str(raised.value), f"{message!r} not in {str(raised.value)!r}"


def test_lambda_is_written_as_rust_writes_it():
    for value, text in [(1e-6, "1e-6"), (0.00001, "0.00001"), (3.5e-5, "0.000035"), (0.1, "0.1"), (1e20, "1e20")]:
        assert container.json_text(value) == text


def test_rejects_streams_that_are_cut_or_changed(builtin, frames, write, tmp_path):
    packed = tmp_path / "packed.h5"
    tools.sae("repack", write("plain.h5", frames), packed, "--none")
    data = tools.stored_chunks(packed)[0]
    for end in (*range(60), len(data) - 1):
        with pytest.raises(ModelError):
            stream.read_chunk(data[:end], builtin)
    for at, byte in [(0, 0x88), (2, 0x21), (2, 0x10)]:
        with pytest.raises(ModelError):
            stream.read_chunk(data[:at] + bytes([byte]) + data[at + 1:], builtin)
    # Beyond the fields a change makes other levels, or an end that comes too early: never another kind of error.
    for at in range(60, len(data), 97):
        try:
            stream.read_chunk(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:], builtin)
        except ModelError:
            pass
