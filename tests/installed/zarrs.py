"""The codec of Zarr 3 and the one of numcodecs, found by their entry points in a process that names only zarr."""
import json
import subprocess
import sys

import numcodecs
import numpy as np
import pytest
import zarr

import h5z_sae
import h5z_sae.numcodecs
import h5z_sae.zarr

READER = """
import sys, numpy as np, zarr
assert "h5z_sae" not in sys.modules
np.save(sys.argv[2], zarr.open_array(sys.argv[1], mode="r")[...])
assert "h5z_sae" in sys.modules
"""


def read_elsewhere(store, tmp_path):
    """The array as a process sees it that has not imported this package."""
    subprocess.run([sys.executable, "-c", READER, store, tmp_path / "read.npy"], check=True)
    return np.load(tmp_path / "read.npy")


def test_zarr_3_keeps_the_bound_and_its_configuration(frames, tmp_path):
    store = tmp_path / "v3.zarr"
    array = zarr.create_array(store, shape=frames.shape, dtype=frames.dtype, chunks=(20, 64, 64), compressors=None,
                              serializer=h5z_sae.zarr.SAE(absolute=1e-3, effort="fast"), fill_value=0)
    array[...] = frames
    codecs = json.loads((store / "zarr.json").read_text())["codecs"]
    assert codecs == [{"name": "h5z-sae", "configuration": {"absolute": 1e-3, "effort": "fast"}}]
    assert np.abs(read_elsewhere(store, tmp_path) - frames).max() <= 1e-3
    stream = (store / "c" / "0" / "0" / "0").read_bytes()
    assert np.array_equal(h5z_sae.decode(stream), array[:20]) and len(stream) < frames[:20].nbytes / 10


def test_zarr_3_keeps_fill_and_mask_values(frames, tmp_path):
    values = frames[:4].copy()
    values[:, 3, 3], values[:, 4, 4] = -2, -1
    array = zarr.create_array(tmp_path / "fill.zarr", shape=values.shape, dtype=values.dtype, chunks=(3, 64, 64),
                              serializer=h5z_sae.zarr.SAE(relative=1e-2, mask_value=-2), fill_value=-1)
    array[...] = values
    read = array[...]
    assert (read[:, 3, 3] == -2).all() and (read[:, 4, 4] == -1).all()
    # Of the values without mask and padding.
    assert np.abs(read - values).max() <= 1e-2 * np.ptp(frames[:4])


def test_zarr_3_holds_other_types_and_ranks(tmp_path):
    for dtype, shape in (("u2", (70,)), ("i4", (9, 10)), ("f8", (2, 3, 8, 8)), ("f2", (5, 16))):
        values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        chunks = tuple(1 + n // 2 for n in shape)
        array = zarr.create_array(tmp_path / f"{dtype}.zarr", shape=shape, dtype=dtype, chunks=chunks,
                                  serializer=h5z_sae.zarr.SAE(lossless=True))
        array[...] = values
        assert np.array_equal(array[...], values)


def test_zarr_3_holds_shards(frames, tmp_path):
    array = zarr.create_array(tmp_path / "shards.zarr", shape=frames.shape, dtype=frames.dtype, chunks=(8, 64, 64),
                              shards=(16, 64, 64), serializer=h5z_sae.zarr.SAE(absolute=1e-3, effort="fast"))
    array[...] = frames
    assert np.abs(zarr.open_array(tmp_path / "shards.zarr")[...] - frames).max() <= 1e-3


def test_zarr_3_refuses_chunks_of_another_array(frames, tmp_path):
    stores = []
    for dtype, side in (("f4", 64), ("f8", 64), ("f4", 32)):
        store = tmp_path / f"{dtype}-{side}.zarr"
        array = zarr.create_array(store, shape=(4, side, side), dtype=dtype, chunks=(4, side, side),
                                  serializer=h5z_sae.zarr.SAE(lossless=True, effort="fast"))
        array[...] = frames[:4, :side, :side]
        stores.append(store)
    taken, larger, smaller = (store / "c" / "0" / "0" / "0" for store in stores)
    for other, sentence in ((larger, "bytes"), (smaller, r"declare \(4, 64, 64\) of type float32")):
        taken.write_bytes(other.read_bytes())
        with pytest.raises(h5z_sae.LibraryError, match=sentence):
            zarr.open_array(stores[0])[...]


def test_zarr_3_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(h5z_sae.ArgumentError, match="dtype bool"):
        zarr.create_array(tmp_path / "bool.zarr", shape=(8,), dtype=bool, serializer=h5z_sae.zarr.SAE(lossless=True))
    with pytest.raises(h5z_sae.ArgumentError, match="a finite number expected"):
        h5z_sae.zarr.SAE(absolute=1, mask_value=np.nan)
    with pytest.raises(h5z_sae.ArgumentError, match="exactly one of"):
        h5z_sae.zarr.SAE()


@pytest.mark.parametrize("order", "CF")
def test_zarr_2_keeps_the_bound_in_both_orders(frames, tmp_path, order):
    store = tmp_path / "v2.zarr"
    codec = h5z_sae.numcodecs.SAE(absolute=1e-3, effort="fast")
    array = zarr.create_array(store, shape=frames.shape, dtype=frames.dtype, chunks=(20, 64, 64), zarr_format=2,
                              order=order, compressors=codec, filters=None)
    array[...] = frames
    metadata = json.loads((store / ".zarray").read_text())
    assert metadata["compressor"] == {"id": "h5z-sae", "absolute": 1e-3, "effort": "fast"}
    assert np.abs(read_elsewhere(store, tmp_path) - frames).max() <= 1e-3


def test_numcodecs_finds_the_codec_by_its_id(frames):
    codec = numcodecs.get_codec({"id": "h5z-sae", "absolute": 1e-2, "mask_value": -1})
    assert codec == h5z_sae.numcodecs.SAE(absolute=1e-2, mask_value=np.float32(-1))
    stream, out = codec.encode(frames[:2]), np.empty_like(frames[:2])
    assert np.array_equal(codec.decode(stream, out), codec.decode(stream)) and np.abs(out - frames[:2]).max() <= 1e-2
    with pytest.raises(h5z_sae.ArgumentError, match="bytes given: an array expected"):
        codec.encode(b"1234")
