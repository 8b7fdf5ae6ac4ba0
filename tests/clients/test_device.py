"""Networks on a device, as programs ask for it: by H5Z_SAE_DEVICE and by --device. The kernels are compiled for the
host here, which has a device 0, and a device 1 that is always short of memory and so shows that it was asked."""
import json
import os
import shutil
import subprocess

import h5py
import numpy as np
import pytest

import documents
import tools

# The child may name another device: one that complains whenever it is used.
READ_IN_A_FORKED_CHILD = """
import os
with h5py.File(sys.argv[1]) as f:
    before = f["frames"][...]
child = os.fork()
if child == 0:
    os.environ["H5Z_SAE_DEVICE"] = sys.argv[2]
    with h5py.File(sys.argv[1]) as f:
        os._exit(0 if np.array_equal(f["frames"][...], before) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
COMPLAINT = "h5zsae: GPU cuda:{} is not used, the CPU takes its place: "


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Plugin and tool without any library for devices."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("libh5zsae.so", "sae"):
        shutil.copy2(tools.PLUGIN_DIR / name, folder)
    return folder


@pytest.fixture(scope="module")
def release_with_device(release, tmp_path_factory):
    """The same with the kernels, compiled for the host, where programs look for them."""
    folder = tmp_path_factory.mktemp("device") / "release"
    shutil.copytree(release, folder)
    (folder / "h5zsae").mkdir()
    subprocess.run(
        ["g++", "-x", "c++", "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-shared", "-pthread", "-o",
         folder / "h5zsae" / "libh5zsae_cuda.so", tools.ROOT / "cuda" / "kernels" / "library.cu"],
        check=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def packed(frames, tmp_path_factory):
    """Frames in three chunks, written on the CPU, and their values as the CPU reads them."""
    folder = tmp_path_factory.mktemp("packed")
    plain, path = folder / "in.h5", folder / "packed.h5"
    with h5py.File(plain, "w") as f:
        f.create_dataset("frames", data=frames[:48])
    tools.sae("repack", plain, path, "--abs", "1e-2", "--chunk", "16,64,64")
    assert '"network": 0' not in tools.sae("info", path, "--json").stdout
    with h5py.File(path) as f:
        return plain, path, f["frames"][...]


def read(folder, path, out, device):
    done = tools.python_client(tools.READ, path, out, HDF5_PLUGIN_PATH=str(folder), H5Z_SAE_DEVICE=device)
    return np.load(out), done.text


def same_bits(a, b):
    return np.array_equal(tools.bits(a), tools.bits(b))


def test_without_the_library_the_cpu_reads_the_same_and_says_so_once(release, packed, tmp_path):
    _, path, expected = packed
    values, printed = read(release, path, tmp_path / "values.npy", "cuda")
    assert same_bits(values, expected)
    assert printed.count("\n") == 1 and printed.startswith(COMPLAINT.format(0)), printed
    assert str(release / "h5zsae" / "libh5zsae_cuda.so") in printed and "make cuda" in printed


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cpu"])
def test_a_device_reads_the_same_values_in_silence(release_with_device, packed, device, tmp_path):
    _, path, expected = packed
    values, printed = read(release_with_device, path, tmp_path / "values.npy", device)
    assert same_bits(values, expected) and printed == ""


def test_a_device_that_fails_loses_nothing_and_says_so_once(release_with_device, packed, tmp_path):
    _, path, expected = packed
    values, printed = read(release_with_device, path, tmp_path / "values.npy", "cuda:1")
    assert same_bits(values, expected)
    assert printed.count("\n") == 1 and printed.startswith(COMPLAINT.format(1) + "allocating "), printed


def test_a_device_that_is_not_there_is_named(release_with_device, packed, tmp_path):
    _, path, expected = packed
    values, printed = read(release_with_device, path, tmp_path / "values.npy", "cuda:7")
    assert same_bits(values, expected)
    assert printed == COMPLAINT.format(7) + "there is no device 7, only 2\n"


@pytest.mark.parametrize("in_child", [0, 1])
def test_a_forked_child_leaves_the_device_alone_and_says_so_once(release_with_device, packed, in_child):
    done = tools.python_client(READ_IN_A_FORKED_CHILD, packed[1], f"cuda:{in_child}",
                               HDF5_PLUGIN_PATH=str(release_with_device), H5Z_SAE_DEVICE="cuda")
    assert done.text.count("\n") == 1, done.text
    assert done.text.startswith(COMPLAINT.format(in_child) + "this process was forked from one that uses"), done.text


def test_a_forked_child_does_not_repeat_that_there_is_no_device(release, packed):
    done = tools.python_client(READ_IN_A_FORKED_CHILD, packed[1], "cuda", HDF5_PLUGIN_PATH=str(release),
                               H5Z_SAE_DEVICE="cuda")
    assert done.text.count("\n") == 1 and "make cuda" in done.text, done.text


def test_unpack_takes_a_device(release_with_device, packed, tmp_path):
    out = tmp_path / "out.h5"
    done = tools.run(release_with_device / "sae", "unpack", packed[1], out, "--device", "cuda:1")
    assert done.text.count(COMPLAINT.format(1) + "allocating ") == 1, done.text
    with h5py.File(out) as f:
        assert same_bits(f["frames"][...], packed[2])


def test_a_name_that_is_no_device_stops_the_read(release, packed, tmp_path):
    done = tools.python_client(
        tools.READ, packed[1], tmp_path / "out.npy", check=False, HDF5_PLUGIN_PATH=str(release), H5Z_SAE_DEVICE="gpu")
    assert done.returncode != 0
    assert 'H5Z_SAE_DEVICE is "gpu": expected cpu, cuda or cuda:N with the number of a GPU' in done.text


def test_the_tool_refuses_a_name_that_is_no_device(packed, tmp_path):
    done = tools.sae("repack", packed[0], tmp_path / "out.h5", "--abs", "1e-3", "--device", "cuda:x", check=False)
    assert done.returncode == 2 and "expected cpu, cuda or cuda:N" in done.text
    assert not (tmp_path / "out.h5").exists()


def test_without_the_library_the_tool_writes_the_streams_of_the_cpu(release, packed, tmp_path):
    plain, path, _ = packed
    out = tmp_path / "out.h5"
    done = tools.run(
        release / "sae", "repack", plain, out, "--abs", "1e-2", "--chunk", "16,64,64", "--device", "cuda")
    assert tools.stored_chunks(out) == tools.stored_chunks(path)
    assert done.text.count(COMPLAINT.format(0)) == 1, done.text


def test_chunks_without_a_network_do_not_ask_for_the_device(release, packed, tmp_path):
    out = tmp_path / "fast.h5"
    done = tools.run(
        release / "sae", "repack", packed[0], out, "--abs", "1e-3", "--effort", "fast", "--device", "cuda")
    assert COMPLAINT.format(0) not in done.text


def test_the_example_of_the_document_runs_on_the_device(release_with_device, packed, tmp_path):
    (example,) = documents.blocks("cuda.md", "sh")
    shutil.copy2(packed[0], tmp_path / "in.h5")
    done = tools.run("sh", "-euc", example, cwd=tmp_path, HDF5_PLUGIN_PATH=str(release_with_device),
                     PATH=f"{release_with_device}:{os.environ['PATH']}")
    assert "is not used" not in done.text
    # Written on the device, read on the CPU.
    assert tools.verify(packed[0], tmp_path / "out.h5")[0] == 0


def train(release, packed, model, *flags, **environment):
    """A training of 60 steps, or that of a checkpoint."""
    data = [] if "--resume" in flags else [
        f"{packed[0]}:/frames", "-o", model, "--patch", "16x16", "--components", "12", "--hidden", "16", "--latent",
        "24", "--active", "4", "--steps", "60", "--batch", "32", "--refine", "0.5", "--threads", "1"]
    return tools.run(release / "sae", "train", *data, "--json", *flags, **environment)


def squared_error(done):
    return json.loads(done.stdout)["held_out"]["squared_error"]


def test_a_training_on_the_device_ends_where_that_of_the_cpu_does(release_with_device, packed, tmp_path):
    on_cpu = train(release_with_device, packed, tmp_path / "cpu.sae", "--device", "cpu")
    on_device = train(release_with_device, packed, tmp_path / "device.sae", "--device", "cuda")
    by_variable = train(release_with_device, packed, tmp_path / "variable.sae", H5Z_SAE_DEVICE="cuda")
    assert on_device.stderr == by_variable.stderr == ""
    assert (tmp_path / "device.sae").read_bytes() == (tmp_path / "variable.sae").read_bytes()
    assert (tmp_path / "device.sae").read_bytes() != (tmp_path / "cpu.sae").read_bytes()
    assert squared_error(on_device) == pytest.approx(squared_error(on_cpu), rel=0.05)


@pytest.mark.parametrize("flags", [(), ("--control",)])
def test_without_the_library_a_training_gives_the_model_of_the_cpu(release, packed, tmp_path, flags):
    train(release, packed, tmp_path / "cpu.sae", *flags)
    done = train(release, packed, tmp_path / "asked.sae", "--device", "cuda", *flags)
    expected = "sae: no GPU is used: a control has no steps\n" if flags else COMPLAINT.format(0) + "there is no "
    assert done.stderr.startswith(expected) and done.stderr.count("\n") == 1, done.stderr
    assert (tmp_path / "asked.sae").read_bytes() == (tmp_path / "cpu.sae").read_bytes()


def test_a_training_on_a_device_short_of_memory_says_so_once(release_with_device, packed, tmp_path):
    train(release_with_device, packed, tmp_path / "cpu.sae")
    done = train(release_with_device, packed, tmp_path / "asked.sae", "--device", "cuda:1")
    assert done.stderr.startswith(COMPLAINT.format(1) + "allocating ") and done.stderr.count("\n") == 1, done.stderr
    assert (tmp_path / "asked.sae").read_bytes() == (tmp_path / "cpu.sae").read_bytes()


def test_a_training_refuses_a_name_that_is_no_device(release, packed, tmp_path):
    with pytest.raises(AssertionError, match="expected cpu, cuda or cuda:N"):
        train(release, packed, tmp_path / "model.sae", H5Z_SAE_DEVICE="gpu")
    assert not (tmp_path / "model.sae").exists()

