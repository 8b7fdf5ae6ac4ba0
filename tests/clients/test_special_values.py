"""NaN, infinities, negative zero, fill values: bit for bit, in every mode, next to values that are not."""
import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-2


def with_specials(frames, dtype):
    """Frames with 3 % of their pixels replaced by values that no arithmetic may touch, NaN payloads among them."""
    data = frames[:32].astype(dtype)
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    pattern = {2: np.uint16, 4: np.uint32, 8: np.uint64}[data.dtype.itemsize]
    quiet_nan = bits_of(np.array([np.nan], dtype), pattern)[0]
    specials = [np.nan, np.inf, -np.inf, -0.0, info.smallest_subnormal, info.max, info.min, info.tiny]
    patterns = np.concatenate([bits_of(np.array(specials, dtype), pattern), [quiet_nan | pattern(5)]])
    flat = bits_of(data, pattern).reshape(-1)
    places = rng.choice(flat.size, flat.size // 33, replace=False)
    flat[places] = rng.choice(patterns, places.size)
    return flat.view(dtype).reshape(data.shape)


def bits_of(array, pattern):
    return np.ascontiguousarray(array).view(pattern)


def must_be_exact(data):
    return ~np.isfinite(data) | ((data == 0) & np.signbit(data))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("flags", [("--abs", EPSILON), ("--rel", "1e-3"), ("--lossless",)])
def test_special_values_are_exact_beside_bounded_ones(frames, write, tmp_path, dtype, flags):
    data = with_specials(frames, np.dtype(dtype))
    path = write("special.h5", data, *flags)
    with h5py.File(path) as f:
        decoded = f["frames"][...]
    exact = must_be_exact(data)
    assert exact.sum() > 1000
    assert np.array_equal(tools.bits(decoded)[exact], tools.bits(data)[exact])
    assert np.isfinite(decoded[~exact]).all()
    if flags[0] == "--abs":
        assert tools.max_abs_err(data, decoded) <= EPSILON
    dumped = tools.h5dump_array(path, "/frames", dtype, data.shape, tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(decoded))


@pytest.mark.parametrize("flags", [("--abs", EPSILON), ("--rel", "1e-3")])
def test_fill_values_are_exact_and_out_of_the_range(frames, write, flags):
    """-1e6 marks absent pixels: were it counted, the relative bound would be a thousand times the data."""
    data = frames[:32].copy()
    absent = np.random.default_rng(4).random(data.shape) < 0.1
    data[absent] = -1e6
    with h5py.File(write("fill.h5", data, *flags, fillvalue=np.float32(-1e6))) as f:
        decoded = f["frames"][...]
    assert (decoded[absent] == np.float32(-1e6)).all()
    assert tools.max_abs_err(data, decoded) <= EPSILON


@pytest.mark.parametrize("fill", [np.nan, -0.0, np.inf])
def test_fill_values_may_be_special_themselves(frames, write, fill):
    data = frames[:16].copy()
    data[:, 20:30, 20:30] = fill
    with h5py.File(write("fill.h5", data, "--abs", EPSILON, fillvalue=np.float32(fill))) as f:
        decoded = f["frames"][...]
    exact = must_be_exact(data)
    assert np.array_equal(tools.bits(decoded)[exact], tools.bits(data)[exact])
    assert tools.max_abs_err(data, decoded) <= EPSILON


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
def test_extremes_of_integers_come_back(write, dtype):
    info = np.iinfo(dtype)
    data = np.random.default_rng(6).choice(np.array([info.min, info.max, 0, 1], dtype), (8, 32, 32))
    for flags, allowed in ((("--lossless",), 0), (("--abs", "3"), 3)):
        with h5py.File(write("extremes.h5", data, *flags)) as f:
            assert tools.max_abs_err(data, f["frames"][...]) <= allowed


def test_constant_and_empty_frames(write):
    for value in (0.0, 1.5, -1e30, np.nan):
        data = np.full((16, 64, 64), value, np.float32)
        path = write("constant.h5", data, "--abs", EPSILON)
        with h5py.File(path) as f:
            assert np.array_equal(tools.bits(f["frames"][...]), tools.bits(data)) or np.isfinite(value)
            assert tools.max_abs_err(data, f["frames"][...]) <= EPSILON
