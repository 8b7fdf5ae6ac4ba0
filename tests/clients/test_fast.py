"""Effort fast: a decoder written from the document reads what the filter writes."""
import zlib

import fast_decoder
import h5py
import numpy as np
import pytest

import tools


def off_centre_rings():
    """Two frames of noisy rings, odd edges, a centre between pixels, a masked strip, infinities and -0."""
    y, x = np.mgrid[:61, :75]
    r = np.hypot(y - 27.25, (x - 36.5) * 1.3)
    rings = np.stack([100 * np.exp(-r / 20) * (1.2 + np.cos(r / 2 + k)) for k in range(2)])
    rings += np.random.default_rng(1).normal(size=rings.shape) * 0.3
    rings[:, :, 20:23] = np.nan
    rings[0, 5, 5] = -0.0
    rings[1, 40] = np.inf
    return rings.astype("<f4")


@pytest.mark.parametrize("epsilon", [1e-2, 1e-3, 1e-5])
def test_frames_are_read_by_the_second_decoder(frames, write, epsilon):
    check(write("fast.h5", frames[:4], "--abs", epsilon, "--effort", "fast"), frames[:4], epsilon)


def test_special_values_and_odd_edges_are_read_by_the_second_decoder(write):
    data = off_centre_rings()
    check(write("fast.h5", data, "--abs", 0.05, "--effort", "fast"), data, 0.05)


def check(path, data, epsilon):
    with h5py.File(path) as f:
        dataset = f["frames"]
        stream = dataset.id.read_direct_chunk((0,) * data.ndim)[1]
        read = dataset[...]
    decoded, values_crc = fast_decoder.decode(stream)
    assert zlib.crc32(decoded) == values_crc
    assert np.array_equal(np.frombuffer(decoded, "<u4"), tools.bits(read).ravel())
    finite = np.isfinite(data)
    assert tools.max_abs_err(data[finite], read[finite]) <= epsilon
