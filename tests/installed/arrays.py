"""Arrays to streams and back, the checks of what is asked, memory, threads."""
import gc
import pathlib
import resource
import threading
import time

import numpy as np
import pytest

import h5z_sae

# What one hundred leaked arrays would take is a hundred times that of one; this is a few of them.
ALLOWED_GROWTH_BYTES = 30e6


def test_a_bound_holds_for_every_value_and_type(frames):
    for dtype in ("<f4", ">f4", "<f8", "<f2"):
        values = frames[:4].astype(dtype)
        decoded = h5z_sae.decode(h5z_sae.encode(values, absolute=1e-2, effort="fast"))
        assert decoded.dtype == values.dtype and decoded.shape == values.shape
        assert np.abs(decoded.astype("f8") - values.astype("f8")).max() <= 1e-2
    for dtype in ("u1", "<i2", ">u4", "<i8"):
        values = np.rint(frames[:4] * 100).astype(dtype)
        decoded = h5z_sae.decode(h5z_sae.encode(values, absolute=3, effort="fast"))
        assert decoded.dtype == values.dtype and np.abs(decoded.astype("i8") - values.astype("i8")).max() <= 3


def test_lossless_keeps_every_bit_of_strided_views(frames):
    views = (frames[::2, ::-1], frames.T, np.asfortranarray(frames[:3]), frames[0], frames[0, 0])
    for view in views:
        assert np.array_equal(h5z_sae.decode(h5z_sae.encode(view, lossless=True, effort="fast")), view)


def test_other_bounds_and_efforts_hold(frames):
    relative = h5z_sae.decode(h5z_sae.encode(frames * 50, relative=1e-3, effort="fast"))
    assert np.abs(relative - frames * 50).max() <= 1e-3 * np.ptp(frames * 50)
    counts = np.rint(frames[:4] * 1000).astype(np.uint32)
    noisy = h5z_sae.decode(h5z_sae.encode(counts, noise=1.0, unbiased=True)).astype("f8")
    assert (np.abs(noisy - counts) <= np.sqrt(np.maximum(counts, 1))).all()


def test_the_network_is_used_by_default_and_not_for_effort_fast(frames):
    frames = frames[:8]
    default, fast = h5z_sae.encode(frames, absolute=1e-2), h5z_sae.encode(frames, absolute=1e-2, effort="fast")
    assert h5z_sae.stream_info(default).model is not None
    assert h5z_sae.stream_info(fast).model is None
    assert len(default) < len(fast)


def test_a_stream_says_what_it_is(frames):
    info = h5z_sae.stream_info(h5z_sae.encode(frames[:2].astype(">f8"), absolute=0.5))
    assert (info.dtype, info.shape, info.bound_kind, info.bound) == (np.dtype(">f8"), (2, 64, 64), "absolute", 0.5)
    assert 0 < info.max_abs_err <= 0.5
    assert h5z_sae.stream_info(h5z_sae.encode(frames[:2], lossless=True)).bound_kind == "lossless"


def test_mask_and_fill_values_come_back_exactly(frames):
    values = frames.copy()
    values[:, 5, 5], values[:, 6, 6] = -1, 7
    decoded = h5z_sae.decode(h5z_sae.encode(values, absolute=0.1, mask_value=-1, fill_value=7))
    assert (decoded[:, 5, 5] == -1).all() and (decoded[:, 6, 6] == 7).all()


@pytest.mark.parametrize("asked, sentence", [
    ({}, "exactly one of absolute=, relative=, noise=, lossless=True, none=True"),
    ({"absolute": 1, "lossless": True}, "given: absolute=1 and lossless=True"),
    ({"absolute": -1.0}, "absolute bound of -1"),
    ({"absolute": float("nan")}, "absolute bound of NaN"),
    ({"relative": 2}, "relative bound of 2"),
    ({"lossless": True, "effort": "most"}, "effort='most': expected is one of 'fast', 'default', 'best'"),
    ({"none": True, "unbiased": True}, "unbiased"),
    ({"absolute": 1, "mask_value": 1e300}, "mask_value=1e+300: not a number that elements of type float32 hold"),
])
def test_refuses_what_cannot_be_asked(frames, asked, sentence):
    with pytest.raises(h5z_sae.ArgumentError) as caught:
        h5z_sae.encode(frames, **asked)
    assert isinstance(caught.value, ValueError) and sentence in str(caught.value)


def test_refuses_wrong_types(frames):
    for asked in ({"absolute": "1e-3"}, {"absolute": True}, {"lossless": 1}, {"abs": 1e-3}):
        with pytest.raises(TypeError):
            h5z_sae.encode(frames, **asked)
    for values in (frames > 0.5, frames.astype(complex), np.array(["a"]), frames.astype(np.longdouble)):
        with pytest.raises(h5z_sae.ArgumentError):
            h5z_sae.encode(values, lossless=True)
    with pytest.raises(h5z_sae.ArgumentError, match="mask_value=-1: not a number that elements of type uint8 hold"):
        h5z_sae.encode(np.zeros(9, np.uint8), lossless=True, mask_value=-1)
    with pytest.raises(h5z_sae.ArgumentError, match="rank is 0"):
        h5z_sae.encode(np.float32(1), lossless=True)


def test_damaged_streams_are_errors(frames):
    stream = bytearray(h5z_sae.encode(frames[:2], absolute=1e-2))
    stream[-1] ^= 1
    with pytest.raises(h5z_sae.LibraryError, match="checksum") as caught:
        h5z_sae.decode(stream)
    assert caught.value.status == h5z_sae.Status.CORRUPT
    for length in (0, 5):
        with pytest.raises(h5z_sae.LibraryError) as caught:
            h5z_sae.decode(stream[:length])
        assert caught.value.status == h5z_sae.Status.TRUNCATED
    with pytest.raises(h5z_sae.LibraryError) as caught:
        h5z_sae.decode(h5z_sae.encode(frames, lossless=True, effort="fast"), max_bytes=1000)
    assert caught.value.status == h5z_sae.Status.LIMIT_EXCEEDED


def test_models_are_named_by_path_id_or_object(frames, tmp_path):
    stream = h5z_sae.encode(frames[:4], absolute=1e-2)
    assert h5z_sae.encode(frames[:4], h5z_sae.stream_info(stream).model, absolute=1e-2) == stream
    with pytest.raises(h5z_sae.MissingModelError, match="model 0123456789abcdef was not found"):
        h5z_sae.encode(frames, "0123456789abcdef", absolute=1e-2)
    with pytest.raises(h5z_sae.LibraryError, match="no-such.sae"):
        h5z_sae.register_model(tmp_path / "no-such.sae")


def test_memory_is_freed(frames):
    stream = h5z_sae.encode(frames, absolute=1e-2, effort="fast")
    values = h5z_sae.decode(stream)
    values += 1
    assert values.flags.writeable
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for _ in range(400):
        h5z_sae.decode(stream)
        h5z_sae.encode(frames[0], lossless=True, effort="fast")
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < ALLOWED_GROWTH_BYTES


def test_other_threads_run_meanwhile(frames):
    """Ticks of a thread that fall into a call: none could, if the call kept the GIL."""
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    h5z_sae.encode(frames[:16], absolute=1e-3)
    end = time.monotonic()
    done.set()
    thread.join()
    margin = (end - begin) / 10
    assert any(begin + margin < moment < end - margin for moment in ticks)


def test_two_threads_keep_their_errors_apart(frames):
    found = {}

    def fail(name):
        for _ in range(50):
            with pytest.raises(h5z_sae.LibraryError) as caught:
                h5z_sae.register_model(pathlib.Path(f"{name}.sae"))
            found.setdefault(name, set()).add(f"{name}.sae" in str(caught.value))

    threads = [threading.Thread(target=fail, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"one": {True}, "other": {True}}
