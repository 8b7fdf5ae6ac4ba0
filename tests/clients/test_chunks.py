"""Chunks of any shape, partial reads and writes, and changing chunks after the fact."""
import json

import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3


@pytest.mark.parametrize("chunks", [(7, 64, 64), (1, 64, 64), (96, 64, 64), (5, 24, 40), (10, 17, 33), (96, 1, 1)])
def test_chunks_need_not_divide_the_dataset(frames, write, tmp_path, chunks):
    path = write("odd.h5", frames, "--abs", EPSILON, chunks=chunks)
    with h5py.File(path) as f:
        decoded = f["frames"][...]
    assert tools.max_abs_err(frames, decoded) <= EPSILON
    dumped = tools.h5dump_array(path, "/frames", "f4", frames.shape, tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(decoded))


@pytest.mark.parametrize("rank", [1, 2, 4, 5])
def test_any_rank(frames, tmp_path, rank):
    shape = {1: (-1,), 2: (-1, 64), 4: (4, 24, 64, 64), 5: (2, 2, 24, 64, 64)}[rank]
    data = frames.reshape(shape)
    path = tmp_path / "rank.h5"
    with h5py.File(path, "w") as f:
        f.create_dataset("frames", data=data, chunks=True, **tools.h5py_arguments("--abs", EPSILON))
    with h5py.File(path) as f:
        assert tools.max_abs_err(data, f["frames"][...]) <= EPSILON


def test_partial_reads_equal_the_whole(frames, write, tmp_path):
    path = write("partial.h5", frames, "--abs", EPSILON, chunks=(7, 64, 64))
    with h5py.File(path) as f:
        whole = f["frames"][...]
    selections = [np.s_[3], np.s_[6:8, 10:20, ::3], np.s_[-1, 63, 63], np.s_[::13, 5, :], np.s_[95:, :, 60:]]
    for selection in selections:
        with h5py.File(path) as f:
            assert np.array_equal(f["frames"][selection], whole[selection]), selection
    part = tmp_path / "part.bin"
    tools.run("h5dump", "-d", "/frames", "-s", "6,10,20", "-c", "3,5,7", "-b", "FILE", "-o", part, path)
    assert np.array_equal(np.fromfile(part, "<f4").reshape(3, 5, 7), whole[6:9, 10:15, 20:27])


def test_without_a_chunk_cache_the_same_is_read(frames, write):
    path = write("cache.h5", frames, "--abs", EPSILON)
    with h5py.File(path) as cached, h5py.File(path, rdcc_nbytes=0, rdcc_nslots=0) as uncached:
        assert np.array_equal(cached["frames"][40:50], uncached["frames"][40:50])


def test_frames_are_appended_to_a_growing_dataset(frames, tmp_path):
    """The way a beamline writes: one frame at a time, flushed, chunks filled up and rewritten."""
    path = tmp_path / "growing.h5"
    with h5py.File(path, "w") as f:
        d = f.create_dataset(
            "frames", (0, 64, 64), "f4", maxshape=(None, 64, 64), chunks=(8, 64, 64),
            **tools.h5py_arguments("--abs", EPSILON),
        )
        for i, frame in enumerate(frames[:20]):
            d.resize(i + 1, axis=0)
            d[i] = frame
            f.flush()
    with h5py.File(path) as f:
        # A chunk that is flushed half full is decoded and coded again: its bound is kept by each writing.
        assert f["frames"].shape == (20, 64, 64)
        assert tools.max_abs_err(frames[:20], f["frames"][...]) <= 8 * EPSILON


def test_chunks_that_were_never_written_read_as_fill(tmp_path):
    path = tmp_path / "sparse.h5"
    with h5py.File(path, "w") as f:
        d = f.create_dataset(
            "frames", (32, 64, 64), "f4", chunks=(8, 64, 64), fillvalue=-7.25,
            **tools.h5py_arguments("--abs", EPSILON),
        )
        d[9] = 1.0
    with h5py.File(path) as f:
        decoded = f["frames"][...]
    assert (decoded[np.arange(32) != 9] == np.float32(-7.25)).all()
    assert np.abs(decoded[9] - 1.0).max() <= EPSILON


def test_repacking_again_with_other_chunks_keeps_the_words(frames, write, tmp_path):
    """h5repack hands back stored cd_values; the second error adds to the first, and never more."""
    once, twice = tmp_path / "once.h5", tmp_path / "twice.h5"
    plain = write("plain.h5", frames)
    tools.h5repack(plain, once, "-f", f"frames:{tools.h5repack_filter('--abs', EPSILON)}", "-l", "frames:CHUNK=16x64x64")
    tools.h5repack(once, twice, "-l", "frames:CHUNK=10x32x64")
    assert tools.stored_filters(twice) == [tools.FILTER_ID]
    with h5py.File(once) as a, h5py.File(twice) as b:
        first, second = a["frames"][...], b["frames"][...]
        assert b["frames"].chunks == (10, 32, 64)
        words = [f["frames"].id.get_create_plist().get_filter(0)[2] for f in (a, b)]
    assert len(words[0]) == len(words[1]) == 16
    assert words[0][:7] == words[1][:7]
    assert tools.max_abs_err(frames, first) <= EPSILON
    assert tools.max_abs_err(first, second) <= EPSILON


def test_filter_is_removed_by_h5repack(frames, write, tmp_path):
    packed, plain = write("packed.h5", frames, "--abs", EPSILON), tmp_path / "plain.h5"
    tools.h5repack(packed, plain, "-f", "frames:NONE")
    assert tools.stored_filters(plain) == []
    with h5py.File(packed) as a, h5py.File(plain) as b:
        assert np.array_equal(a["frames"][...], b["frames"][...])


@pytest.mark.parametrize("written", [slice(0, 96), slice(32, 64)], ids=["all", "with gaps"])
def test_info_counts_the_chunks_that_are_stored(frames, write, written, tmp_path):
    path = write("x.h5", frames[:0], "--abs", "1e-3", chunks=(16, 64, 64), maxshape=(None, 64, 64))
    with h5py.File(path, "r+") as f:
        f["frames"].resize(96, axis=0)
        f["frames"][written] = frames[written]
    chunks = json.loads(tools.sae("info", path, "--json").stdout)["datasets"][0]["chunks"]
    sizes = sorted(len(chunk) for chunk in tools.stored_chunks(path))
    assert chunks["number"] == len(sizes) == (written.stop - written.start) // 16
    assert (chunks["smallest_bytes"], chunks["largest_bytes"]) == (sizes[0], sizes[-1])
    assert chunks["patches_by_method"]


@pytest.mark.parametrize("verb", ["info", "repack", "unpack", "verify", "filter-args", "train"])
def test_an_extent_that_no_number_counts_is_refused(verb, tmp_path):
    """2^32 x 2^32 values of four bytes: a product that wraps is 0."""
    path, out = tmp_path / "x.h5", tmp_path / "out"
    with h5py.File(path, "w") as f:
        f.create_dataset("x", (1 << 32, 1 << 32), "f4", chunks=(64, 64), **tools.h5py_arguments("--abs", "1e-3"))
    arguments = {
        "info": [path], "repack": [path, out, "--abs", 1, "--dataset", "/x"], "unpack": [path, out],
        "verify": [path, path], "filter-args": ["--abs", 1, f"{path}:/x"], "train": [f"{path}:/x", "-o", out],
    }
    done = tools.sae(verb, *arguments[verb], check=False)
    assert done.returncode == 2 and not out.exists(), done.text
    assert "dimensions [4294967296, 4294967296] of 4 bytes each: expected less than 2^64 bytes in all" in done.text
    assert "/x" in done.text
