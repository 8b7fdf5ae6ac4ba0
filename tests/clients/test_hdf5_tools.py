"""Debian's h5repack, h5copy, h5diff, h5stat and h5ls on compressed files, beyond what docs/hdf5-tools.md shows."""
import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3
NAME = "H5Z-SAE: error-bounded compression with sparse autoencoders"
GZIP = h5py.h5z.FILTER_DEFLATE


def values(path, dataset="frames"):
    with h5py.File(path) as f:
        return f[dataset][...]


@pytest.fixture
def packed(frames, write):
    return write("packed.h5", frames[:32], "--abs", EPSILON)


def test_h5repack_goes_from_ours_to_gzip_and_back(frames, packed, tmp_path):
    gzipped, again = tmp_path / "gzip.h5", tmp_path / "again.h5"
    tools.h5repack(packed, gzipped, "-f", "frames:GZIP=4")
    assert tools.stored_filters(gzipped) == [GZIP]
    assert np.array_equal(tools.bits(values(gzipped)), tools.bits(values(packed)))
    tools.h5repack(gzipped, again, "-f", f"frames:{tools.h5repack_filter('--abs', EPSILON)}")
    assert tools.stored_filters(again) == [tools.FILTER_ID]
    assert tools.max_abs_err(values(gzipped), values(again)) <= EPSILON
    assert tools.max_abs_err(frames[:32], values(again)) <= 2 * EPSILON


def test_h5repack_back_without_a_bound_changes_nothing(packed, tmp_path):
    gzipped, again = tmp_path / "gzip.h5", tmp_path / "again.h5"
    tools.h5repack(packed, gzipped, "-f", "frames:GZIP=4")
    tools.h5repack(gzipped, again, "-f", f"frames:{tools.h5repack_filter('--lossless')}")
    assert tools.stored_filters(again) == [tools.FILTER_ID]
    assert np.array_equal(tools.bits(values(again)), tools.bits(values(packed)))


def test_h5repack_gives_the_whole_file_one_filter(frames, tmp_path):
    """Without a dataset's name, what can be chunked is compressed and strings are passed over."""
    source, packed = tmp_path / "source.h5", tmp_path / "packed.h5"
    with h5py.File(source, "w") as f:
        f.create_dataset("a/frames", data=frames[:8], chunks=(8, 64, 64))
        f.create_dataset("b/counts", data=np.arange(64 * 64, dtype=">u2").reshape(64, 64), chunks=(64, 64))
        f.create_dataset("name", data="detector")
    tools.h5repack(source, packed, "-f", tools.h5repack_filter("--lossless"))
    for name in ("a/frames", "b/counts"):
        assert tools.stored_filters(packed, name) == [tools.FILTER_ID], name
        assert np.array_equal(values(packed, name), values(source, name)), name
    assert values(packed, "name") == b"detector"


def test_h5repack_to_the_latest_file_format_keeps_filter_and_bound(packed, tmp_path):
    """Its chunk index is another: a fixed array in place of a B-tree."""
    target = tmp_path / "latest.h5"
    tools.h5repack(packed, target, "-L")
    assert tools.stored_filters(target) == [tools.FILTER_ID]
    assert tools.max_abs_err(values(packed), values(target)) <= EPSILON


def test_h5copy_moves_chunks_as_they_are_and_needs_no_plugin(packed, tmp_path):
    copy = tmp_path / "copy.h5"
    tools.run("h5copy", "-p", "-i", packed, "-o", copy, "-s", "/frames", "-d", "/entry/data", HDF5_PLUGIN_PATH=None)
    assert tools.stored_chunks(copy, "entry/data") == tools.stored_chunks(packed)
    assert np.array_equal(tools.bits(values(copy, "entry/data")), tools.bits(values(packed)))


def test_h5diff_counts_what_is_beyond_its_own_limit(frames, write, packed):
    plain = write("plain.h5", frames[:32])
    tools.run("h5diff", f"--delta={EPSILON * 1.0001}", plain, packed, "/frames")
    limit = EPSILON / 10
    done = tools.run("h5diff", f"--delta={limit}", plain, packed, "/frames", check=False)
    beyond = np.abs(values(packed).astype(np.float64) - frames[:32]) > limit
    assert done.returncode == 1
    counted = int(done.text.split(" differences found")[0].split()[-1])
    # h5diff subtracts in f32: a difference next to the limit may fall on its other side.
    assert counted == pytest.approx(beyond.sum(), rel=1e-3) and counted > 0


def test_h5ls_h5dump_and_h5stat_show_the_filter_without_the_plugin(packed):
    def shown(*command):
        return tools.run(*command, packed, HDF5_PLUGIN_PATH=None).stdout

    words = ", ".join(map(str, tools.filter_values("--abs", EPSILON)[:4]))
    listed = shown("h5ls", "-v")
    # h5py declares every filter optional.
    assert f"Filter-0:  {NAME}-{tools.FILTER_ID} OPT {{{words}, " in listed, listed
    dumped = shown("h5dump", "-pH", "-d", "/frames")
    assert f"FILTER_ID {tools.FILTER_ID}" in dumped and f"COMMENT {NAME}" in dumped, dumped
    assert "USER-DEFINED filter: 1" in shown("h5stat")
