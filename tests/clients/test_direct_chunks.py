"""Chunks that go past the filter: H5Dread_chunk, H5Dwrite_chunk, and chunks whose filter mask leaves ours out."""
import h5py
import numpy as np
import pytest

import tools

EPSILON = 1e-3
SHAPE, CHUNK = (32, 64, 64), (16, 64, 64)
OURS_LEFT_OUT = 0b1


@pytest.fixture
def packed(frames, write):
    return write("packed.h5", frames[:32], "--abs", EPSILON, chunks=CHUNK)


def empty_like(path, target, *flags):
    with h5py.File(target, "w") as f:
        f.create_dataset("frames", SHAPE, "f4", chunks=CHUNK, **tools.h5py_arguments(*flags))
    return target


def values(path):
    with h5py.File(path) as f:
        return f["frames"][...]


@pytest.mark.parametrize("flags", [("--abs", EPSILON), ("--lossless",), ("--abs", EPSILON, "--effort", "fast")])
def test_streams_are_moved_to_another_file_undecoded(packed, tmp_path, flags):
    """They describe themselves, so that the target's bound and effort do not matter, only type and chunk."""
    target = empty_like(packed, tmp_path / "target.h5", *flags)
    with h5py.File(packed) as source, h5py.File(target, "r+") as f:
        for i in range(2):
            mask, stream = source["frames"].id.read_direct_chunk((16 * i, 0, 0))
            assert mask == 0
            f["frames"].id.write_direct_chunk((16 * i, 0, 0), stream)
    assert tools.stored_chunks(target) == tools.stored_chunks(packed)
    assert np.array_equal(tools.bits(values(target)), tools.bits(values(packed)))
    dumped = tools.h5dump_array(target, "/frames", "<f4", SHAPE, tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(values(packed)))


def test_a_chunk_stored_raw_is_read_raw(frames, packed, tmp_path):
    """A writer in a hurry stores some chunks uncompressed and says so in the chunk's mask."""
    with h5py.File(packed, "r+") as f:
        f["frames"].id.write_direct_chunk((16, 0, 0), frames[:16].tobytes(), filter_mask=OURS_LEFT_OUT)
    decoded = values(packed)
    assert tools.max_abs_err(frames[:16], decoded[:16]) <= EPSILON
    assert np.array_equal(tools.bits(decoded[16:]), tools.bits(frames[:16]))
    dumped = tools.h5dump_array(packed, "/frames", "<f4", SHAPE, tmp_path)
    assert np.array_equal(tools.bits(dumped), tools.bits(decoded))


def test_h5repack_compresses_what_was_stored_raw(frames, packed, tmp_path):
    again = tmp_path / "again.h5"
    with h5py.File(packed, "r+") as f:
        f["frames"].id.write_direct_chunk((16, 0, 0), frames[16:32].tobytes(), filter_mask=OURS_LEFT_OUT)
    words = tools.h5repack_filter("--abs", EPSILON)
    tools.h5repack(packed, again, "-f", f"frames:{words}", "-l", "frames:CHUNK=32x64x64")
    assert len(tools.stored_chunks(again)[0]) < frames[:32].nbytes / 10
    assert tools.max_abs_err(values(packed), values(again)) <= EPSILON


def test_raw_bytes_that_claim_to_be_a_stream_are_an_error(frames, packed):
    with h5py.File(packed, "r+") as f:
        f["frames"].id.write_direct_chunk((16, 0, 0), frames[:16].tobytes())
    with h5py.File(packed) as f:
        assert tools.max_abs_err(frames[:16], f["frames"][:16]) <= EPSILON
        with pytest.raises(OSError, match="H5Z-SAE filter: cannot decompress a chunk"):
            f["frames"][16:]
