"""Virtual datasets and external links that lead to compressed chunks, read by h5py and by Debian's tools."""
import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3


@pytest.fixture
def runs(frames, write, tmp_path):
    """Three files of 32 frames with three bounds, and what each of them holds."""
    paths = [
        write(f"run{i}.h5", frames[32 * i : 32 * (i + 1)], *flags)
        for i, flags in enumerate([("--abs", EPSILON), ("--rel", EPSILON), ("--lossless",)])
    ]
    held = []
    for path in paths:
        with h5py.File(path) as f:
            held.append(f["frames"][...])
    return paths, np.concatenate(held)


def virtual(path, runs, shape, dtype="f4", fill=None):
    layout = h5py.VirtualLayout(shape, dtype)
    for i, run in enumerate(runs):
        layout[32 * i : 32 * (i + 1)] = h5py.VirtualSource(run.name, "frames", (32, 64, 64))
    with h5py.File(path, "w") as f:
        f.create_virtual_dataset("all", layout, fillvalue=fill)
    return path


def test_a_virtual_dataset_joins_compressed_files(runs, tmp_path):
    paths, held = runs
    joined = virtual(tmp_path / "joined.h5", paths, (96, 64, 64))
    with h5py.File(joined) as f:
        assert np.array_equal(tools.bits(f["all"][...]), tools.bits(held))
        # A selection that crosses all three files, in parts of their chunks.
        assert np.array_equal(f["all"][20:80:7, 5, ::9], held[20:80:7, 5, ::9])
    dumped = tools.h5dump_array(joined, "/all", "<f4", (96, 64, 64), tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(held))


def test_a_missing_file_of_a_virtual_dataset_reads_as_fill(runs, tmp_path):
    paths, held = runs
    joined = virtual(tmp_path / "joined.h5", paths, (96, 64, 64), fill=-1.0)
    paths[1].unlink()
    with h5py.File(joined) as f:
        decoded = f["all"][...]
    assert (decoded[32:64] == -1.0).all()
    assert np.array_equal(decoded[:32], held[:32]) and np.array_equal(decoded[64:], held[64:])


def test_a_damaged_chunk_is_an_error_through_a_virtual_dataset(runs, tmp_path):
    paths, held = runs
    joined = virtual(tmp_path / "joined.h5", paths, (96, 64, 64))
    with h5py.File(paths[1], "r+") as f:
        d = f["frames"].id
        stream = bytearray(d.read_direct_chunk((0, 0, 0))[1])
        stream[len(stream) // 2] ^= 1
        d.write_direct_chunk((0, 0, 0), bytes(stream))
    with h5py.File(joined) as f:
        assert np.array_equal(f["all"][:32], held[:32])
        with pytest.raises(OSError, match="changed after they were written"):
            f["all"][32:48]


def test_a_virtual_dataset_is_compressed_itself(runs, tmp_path):
    """Only then are its frames in the file: h5repack and `sae repack` read through it."""
    paths, held = runs
    joined = virtual(tmp_path / "joined.h5", paths, (96, 64, 64))
    by_h5repack, by_sae = tmp_path / "h5repack.h5", tmp_path / "sae.h5"
    words = tools.h5repack_filter("--abs", EPSILON)
    tools.h5repack(joined, by_h5repack, "-f", f"all:{words}", "-l", "all:CHUNK=32x64x64")
    tools.sae("repack", joined, by_sae, "--abs", EPSILON, "--dataset", "/all")
    for path in paths:
        path.unlink()
    for packed in (by_h5repack, by_sae):
        assert tools.stored_filters(packed, "all") == [tools.FILTER_ID]
        with h5py.File(packed) as f:
            assert tools.max_abs_err(held, f["all"][...]) <= EPSILON


def test_sae_names_a_virtual_dataset_and_leaves_it_virtual(runs, frames, tmp_path):
    """Also where its sources are not there beside the copy, where it reads as fill values."""
    paths, held = runs
    joined, packed = virtual(tmp_path / "joined.h5", paths, (96, 64, 64)), tmp_path / "there" / "packed.h5"
    packed.parent.mkdir()
    with h5py.File(joined, "r+") as f:
        f["own"] = frames
    named = "/all: a virtual dataset, whose values lie in other datasets; left as it is"
    done = tools.sae("repack", joined, packed, "--abs", EPSILON)
    assert named in done.stdout, done.text
    with h5py.File(packed) as f:
        assert f["all"].is_virtual and [s.file_name for s in f["all"].virtual_sources()] == [p.name for p in paths]
        assert (f["all"][...] == 0).all() and tools.max_abs_err(frames, f["own"][...]) <= EPSILON
    done = tools.sae("verify", joined, packed)
    assert named in done.stdout, done.text
    assert tools.verify(joined, packed)[1]["virtual_datasets"] == ["/all"]
    assert "virtual datasets: /all" in tools.sae("info", packed).stdout


def test_verify_tells_a_virtual_dataset_that_should_be_compressed(runs, tmp_path):
    paths, _ = runs
    joined = virtual(tmp_path / "joined.h5", paths, (96, 64, 64))
    done = tools.sae("verify", joined, joined, "--dataset", "/all", check=False)
    assert done.returncode == 1, done.text
    assert "/all: is not compressed by filter 34222: it is a virtual dataset" in done.text, done.text


def test_external_links_lead_to_compressed_datasets(runs, tmp_path):
    paths, held = runs
    linked = tmp_path / "linked.h5"
    with h5py.File(linked, "w") as f:
        for i, path in enumerate(paths):
            f[f"entry/run{i}"] = h5py.ExternalLink(path.name, "/frames")
    with h5py.File(linked) as f:
        read = np.concatenate([f[f"entry/run{i}"][...] for i in range(3)])
    assert np.array_equal(tools.bits(read), tools.bits(held))
    dumped = tools.h5dump_array(linked, "/entry/run1", "<f4", (32, 64, 64), tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(held[32:64]))


def test_region_references_select_in_compressed_datasets(runs, tmp_path):
    paths, held = runs
    with h5py.File(paths[0], "r+") as f:
        f.attrs["centre"] = f["frames"].regionref[3, 24:40, 24:40]
    with h5py.File(paths[0]) as f:
        assert np.array_equal(f["frames"][f.attrs["centre"]].reshape(16, 16), held[3, 24:40, 24:40])
