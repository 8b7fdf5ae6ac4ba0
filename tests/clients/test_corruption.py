"""A changed byte in a stored chunk: every client fails, with our sentence, and none returns a wrong value."""
import shutil

import h5py
import numpy as np
import pytest

import tools

SENTENCE = "changed after they were written"


@pytest.fixture
def packed(frames, write):
    return write("packed.h5", frames[:32], "--abs", "1e-3", chunks=(16, 64, 64))


def corrupt(path, target, chunk, place):
    """Copies a file and flips one bit of a stored chunk; `place` is a fraction of the chunk's stored bytes."""
    shutil.copy(path, target)
    with h5py.File(path) as f:
        info = f["frames"].id.get_chunk_info(chunk)
    with open(target, "r+b") as f:
        f.seek(info.byte_offset + int(place * (info.size - 1)))
        byte = f.read(1)[0]
        f.seek(-1, 1)
        f.write(bytes([byte ^ 0x10]))
    return target


@pytest.mark.parametrize("place", [0.3, 0.5, 0.999, 1.0])
def test_every_client_fails_with_our_sentence(packed, tmp_path, place):
    broken = corrupt(packed, tmp_path / "broken.h5", 1, place)
    with h5py.File(broken) as f:
        f["frames"][:16]
        with pytest.raises(OSError) as raised:
            f["frames"][16:]
    assert SENTENCE in str(raised.value), str(raised.value)
    for command in (
        ["h5dump", "--enable-error-stack", "-d", "/frames", broken],
        ["h5repack", "--enable-error-stack", "-f", "NONE", broken, tmp_path / "out.h5"],
    ):
        done = tools.run(*command, check=False)
        assert done.returncode != 0, command[0]
        assert SENTENCE in done.text, f"{command[0]}: {done.text[-2000:]}"


def test_any_flipped_byte_is_an_error(packed, tmp_path):
    """Header included: 60 places spread over the chunk."""
    for place in np.linspace(0, 1, 60):
        broken = corrupt(packed, tmp_path / "broken.h5", 0, place)
        with h5py.File(broken) as f, pytest.raises(OSError):
            f["frames"][:16]


@pytest.mark.parametrize("kept", [0, 3, 20, 0.5, -1])
def test_truncated_chunks_are_errors(packed, kept):
    """Written as a raw chunk, shorter than it was: HDF5 itself sees nothing wrong."""
    with h5py.File(packed, "r+") as f:
        d = f["frames"].id
        _, stream = d.read_direct_chunk((0, 0, 0))
        end = int(kept * len(stream)) if isinstance(kept, float) else kept
        d.write_direct_chunk((0, 0, 0), stream[:end] if end else b"\0")
    with h5py.File(packed) as f, pytest.raises(OSError):
        f["frames"][:16]


def test_streams_swapped_between_datasets_are_errors(frames, packed, write):
    """A valid stream of another shape: the checksum holds, the chunk does not fit."""
    other = write("other.h5", frames[:32], "--abs", "1e-3", chunks=(8, 64, 64))
    foreign = tools.stored_chunks(other)[0]
    with h5py.File(packed, "r+") as f:
        f["frames"].id.write_direct_chunk((0, 0, 0), foreign)
    with h5py.File(packed) as f, pytest.raises(OSError):
        f["frames"][:16]


def test_verify_reports_a_corrupted_chunk(frames, packed, write, tmp_path):
    plain = write("plain.h5", frames[:32])
    broken = corrupt(packed, tmp_path / "broken.h5", 1, 0.5)
    done = tools.sae("verify", plain, broken, check=False)
    assert done.returncode != 0
    assert "/frames" in done.text, done.text
