"""What one client writes, the other reads: h5py's wheel (HDF5 2.0) and Debian's tools (1.10.8), both ways."""
import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3
FLOATS = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
INTEGERS = [f"{order}{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8) for order in "<>" if size > 1 or order == "<"]


def as_type(frames, dtype):
    """Simulated frames as counts of `dtype` (offset into the negatives where it is signed), or as floats."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return frames.astype(dtype)
    peak = min(np.iinfo(dtype).max // 2, 10**6)
    counts = np.round(frames.astype(np.float64) * peak)
    return (counts - (peak // 3 if dtype.kind == "i" else 0)).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_debian_reads_what_h5py_wrote_within_the_bound(frames, write, tmp_path, dtype):
    data = as_type(frames, dtype)
    path = write("h5py.h5", data, "--abs", EPSILON)
    with h5py.File(path) as f:
        assert f["frames"].dtype == data.dtype
        decoded = f["frames"][...]
    dumped = tools.h5dump_array(path, "/frames", dtype, data.shape, tmp_path)
    assert tools.max_abs_err(data, decoded) <= EPSILON
    assert np.array_equal(tools.bits(dumped), tools.bits(decoded))


@pytest.mark.parametrize("dtype", FLOATS)
def test_h5py_reads_what_debian_wrote_within_the_bound(frames, write, tmp_path, dtype):
    data = as_type(frames, dtype)
    plain, packed = write("plain.h5", data), tmp_path / "packed.h5"
    tools.h5repack(plain, packed, "-f", f"frames:{tools.h5repack_filter('--abs', EPSILON)}")
    assert tools.stored_filters(packed) == [tools.FILTER_ID]
    with h5py.File(packed) as f:
        decoded = f["frames"][...]
    assert tools.max_abs_err(data, decoded) <= EPSILON
    assert packed.stat().st_size < plain.stat().st_size


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("flags, allowed", [(("--lossless",), 0), (("--abs", "2"), 2)])
def test_integers_of_every_width_come_back(frames, write, tmp_path, dtype, flags, allowed):
    data = as_type(frames[:32], dtype)
    path = write("h5py.h5", data, *flags)
    with h5py.File(path) as f:
        decoded = f["frames"][...]
    dumped = tools.h5dump_array(path, "/frames", dtype, data.shape, tmp_path)
    assert tools.max_abs_err(data, decoded) <= allowed
    assert np.array_equal(tools.bits(dumped), tools.bits(decoded))


@pytest.mark.parametrize("dtype", FLOATS)
def test_lossless_is_bit_for_bit(frames, write, dtype):
    data = as_type(frames[:32], dtype)
    with h5py.File(write("lossless.h5", data, "--lossless")) as f:
        assert np.array_equal(tools.bits(f["frames"][...]), tools.bits(data))


@pytest.mark.parametrize("flags", [("--abs", EPSILON), ("--rel", EPSILON)])
def test_h5diff_agrees_with_the_bound(frames, write, tmp_path, flags):
    """Frames have a range of at most 1, so the relative bound is never above the absolute one."""
    plain = write("plain.h5", frames)
    packed = tmp_path / "packed.h5"
    tools.h5repack(plain, packed, "-f", f"frames:{tools.h5repack_filter(*flags)}")
    tools.run("h5diff", f"--delta={EPSILON * (1 + 1e-12)}", plain, packed, "/frames")


@pytest.mark.parametrize("epsilon", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
def test_bound_holds_down_to_a_few_ulp(frames, write, epsilon):
    with h5py.File(write("tight.h5", frames, "--abs", epsilon)) as f:
        assert tools.max_abs_err(frames, f["frames"][...]) <= epsilon


@pytest.mark.parametrize("k", [0.5, 1, 3])
@pytest.mark.parametrize("dtype", ["<u2", ">u4", "<i8", "<f4", ">f8"])
def test_noise_bounds_hold_for_counts(counts, write, tmp_path, k, dtype):
    data = counts[:32].astype(dtype)
    path = write("noise.h5", data, "--noise", k)
    with h5py.File(path) as f:
        decoded = f["frames"][...]
    dumped = tools.h5dump_array(path, "/frames", dtype, data.shape, tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(decoded))
    original = data.astype(np.float64)
    assert (np.abs(decoded - original) <= k * np.sqrt(np.maximum(original, 1))).all()
    assert path.stat().st_size < write("exact.h5", data, "--lossless").stat().st_size


@pytest.mark.parametrize("epsilon", [1e-2, 1e-3])
def test_unbiased_errors_cancel_out_in_blocks(frames, write, epsilon):
    def block_means(*flags):
        with h5py.File(write("unbiased.h5", frames, "--abs", epsilon, *flags, chunks=(48, 64, 64))) as f:
            errors = f["frames"][...].astype(np.float64) - frames
        assert np.abs(errors).max() <= epsilon
        return np.abs(errors.reshape(96, 8, 8, 8, 8).mean(axis=(2, 4))).max() / epsilon

    assert block_means() > 1 / 8
    assert block_means("--unbiased") <= 1 / 16 * (1 + 1e-9)


def test_noise_bounds_stand_in_the_third_kind_of_cd_values(counts, tmp_path):
    path = tmp_path / "words.h5"
    words = (0, 3, 0, 0x3FE00000, 0, 0, 0)
    with h5py.File(path, "w") as f:
        f.create_dataset("frames", data=counts[:8], compression=tools.FILTER_ID, compression_opts=words)
    assert words[1:4] == tuple(tools.filter_values("--noise", "0.5")[1:4])
    with h5py.File(path) as f:
        decoded = f["frames"][...].astype(np.float64)
    original = counts[:8].astype(np.float64)
    assert (np.abs(decoded - original) <= 0.5 * np.sqrt(np.maximum(original, 1))).all()
    assert (decoded != original).any()


def test_h5py_stores_sixteen_words_and_debian_the_same(frames, write, tmp_path):
    """Idempotent `set_local`: the words do not depend on the client, nor on how often it was called."""
    by_h5py = write("h5py.h5", frames, "--abs", EPSILON)
    by_debian = tmp_path / "debian.h5"
    tools.h5repack(write("plain.h5", frames), by_debian, "-f", f"frames:{tools.h5repack_filter('--abs', EPSILON)}")
    words = []
    for path in (by_h5py, by_debian):
        with h5py.File(path) as f:
            words.append(f["frames"].id.get_create_plist().get_filter(0)[2])
    assert len(words[0]) == 16 and words[0] == words[1]


def test_no_values_mean_lossless(frames, tmp_path):
    path = tmp_path / "default.h5"
    with h5py.File(path, "w") as f:
        f.create_dataset("frames", data=frames, chunks=(16, 64, 64), compression=tools.FILTER_ID)
    with h5py.File(path) as f:
        assert np.array_equal(tools.bits(f["frames"][...]), tools.bits(frames))


def test_existing_readers_of_a_file_with_other_datasets_are_undisturbed(frames, tmp_path):
    """A file of several datasets, one of them ours: the others, attributes and links stay as they were."""
    source, packed = tmp_path / "mixed.h5", tmp_path / "packed.h5"
    with h5py.File(source, "w") as f:
        f.create_dataset("entry/frames", data=frames, chunks=(16, 64, 64)).attrs["units"] = "1/cm"
        f.create_dataset("entry/axis", data=np.arange(64.0))
        f["link"] = h5py.SoftLink("/entry/frames")
    tools.h5repack(source, packed, "-f", f"/entry/frames:{tools.h5repack_filter('--abs', EPSILON)}")
    with h5py.File(packed) as f:
        assert f["entry/frames"].attrs["units"] == "1/cm"
        assert np.array_equal(f["entry/axis"][...], np.arange(64.0))
        assert tools.max_abs_err(frames, f["link"][...]) <= EPSILON
