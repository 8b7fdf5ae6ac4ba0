"""A mistake at creation stops h5py and the C library with our sentence. Debian's h5repack 1.10.8 instead writes the
dataset unfiltered, prints nothing and exits 0: `sae verify` is what finds that."""
import h5py
import numpy as np
import pytest

import tools

UNKNOWN_MODEL = 0x0123456789ABCDEF
UNKNOWN_MODEL_HEX = "0123456789abcdef"


def changed(word, value):
    values = tools.filter_values("--abs", "1e-3")
    values[word] = value
    return values


WRONG_VALUES = {
    "layout version": changed(tools.WORD_VERSION, 99),
    "bound kind": changed(tools.WORD_BOUND_KIND, 9),
    "unbiased without a bound": [*changed(tools.WORD_BOUND_KIND, 4)[:2], 0, 0, 0, 0, 4],
    "lossless with a bound": changed(tools.WORD_BOUND_KIND, 0),
    "options": changed(tools.WORD_OPTIONS, 0x80),
    "negative bound": changed(3, 0xBF50624D),
    "NaN bound": changed(3, 0x7FF80000),
    "count": tools.filter_values("--abs", "1e-3") + [0],
}
EXPECTED_WORDS = {
    "layout version": ["layout version", "99"],
    "bound kind": ["bound kind", "9"],
    "unbiased without a bound": ["options", "unbiased"],
    "lossless with a bound": ["bound"],
    "options": ["options", "0x80"],
    "negative bound": ["bound", "-0.00"],
    "NaN bound": ["bound", "NaN"],
    "count": ["8 cd_values"],
}


def create(path, values, data, **keywords):
    with h5py.File(path, "w") as f:
        f.create_dataset("frames", data=data, chunks=(4, 64, 64), compression=tools.FILTER_ID,
                         compression_opts=tuple(values), **keywords)


def unfiltered_by_h5repack(tmp_path, write, frames, values):
    """Plain file and what h5repack makes of it with `values`: exit 0, and nothing was compressed."""
    plain, packed = write("plain.h5", frames[:16]), tmp_path / "packed.h5"
    words = ",".join(str(v) for v in values)
    tools.h5repack(plain, packed, "-f", f"frames:UD={tools.FILTER_ID},0,{len(values)},{words}")
    assert tools.stored_filters(packed) == []
    return plain, packed


@pytest.mark.parametrize("mistake", WRONG_VALUES)
def test_h5py_refuses_wrong_values_and_names_the_field(frames, tmp_path, mistake):
    with pytest.raises(Exception) as raised:
        create(tmp_path / "wrong.h5", WRONG_VALUES[mistake], frames[:16])
    for word in EXPECTED_WORDS[mistake]:
        assert word in str(raised.value), str(raised.value)


def test_h5repack_writes_wrong_values_unfiltered_and_verify_finds_it(frames, write, tmp_path):
    plain, packed = unfiltered_by_h5repack(tmp_path, write, frames, WRONG_VALUES["bound kind"])
    done = tools.sae("verify", plain, packed, "--dataset", "/frames", check=False)
    assert done.returncode == 1
    assert "/frames" in done.text and "not compressed" in done.text and "h5repack" in done.text, done.text


def test_h5py_refuses_an_unknown_model_and_names_its_id(frames, tmp_path):
    values = changed(tools.WORD_MODEL_LOW, UNKNOWN_MODEL & 0xFFFFFFFF)
    values[tools.WORD_MODEL_HIGH] = UNKNOWN_MODEL >> 32
    with pytest.raises(Exception) as raised:
        create(tmp_path / "model.h5", values, frames[:16])
    message = str(raised.value)
    assert UNKNOWN_MODEL_HEX in message and "H5Z_SAE_MODEL_PATH" in message, message


def test_h5repack_writes_an_unknown_model_unfiltered_and_verify_finds_it(frames, write, tmp_path):
    values = changed(tools.WORD_MODEL_LOW, UNKNOWN_MODEL & 0xFFFFFFFF)
    values[tools.WORD_MODEL_HIGH] = UNKNOWN_MODEL >> 32
    plain, packed = unfiltered_by_h5repack(tmp_path, write, frames, values)
    done = tools.sae("verify", plain, packed, check=False)
    assert done.returncode == 1
    assert f"no dataset is compressed by filter {tools.FILTER_ID}" in done.text, done.text


def pipeline(path, data, *filters):
    """Creates a dataset through h5py's low level, with filters in exactly this order."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4, 64, 64))
    for filter_id, values in filters:
        plist.set_filter(filter_id, h5py.h5z.FLAG_OPTIONAL, tuple(values))
    with h5py.File(path, "w") as f:
        space = h5py.h5s.create_simple(data.shape)
        d = h5py.h5d.create(f.id, b"frames", h5py.h5t.IEEE_F32LE, space, dcpl=plist)
        d.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(data))


OTHER_FILTERS = {
    "shuffle": (h5py.h5z.FILTER_SHUFFLE, []),
    "deflate": (h5py.h5z.FILTER_DEFLATE, [6]),
    "fletcher32": (h5py.h5z.FILTER_FLETCHER32, []),
}


@pytest.mark.parametrize("name", OTHER_FILTERS)
def test_filters_before_ours_are_refused_by_name(frames, tmp_path, name):
    ours = (tools.FILTER_ID, tools.filter_values("--abs", "1e-3"))
    with pytest.raises(Exception) as raised:
        pipeline(tmp_path / "before.h5", frames[:16], OTHER_FILTERS[name], ours)
    assert name in str(raised.value).lower(), str(raised.value)


@pytest.mark.parametrize("name", OTHER_FILTERS)
def test_filters_after_ours_work(frames, tmp_path, name):
    path = tmp_path / "after.h5"
    ours = (tools.FILTER_ID, tools.filter_values("--abs", "1e-3"))
    pipeline(path, frames[:16], ours, OTHER_FILTERS[name])
    assert tools.stored_filters(path) == [tools.FILTER_ID, OTHER_FILTERS[name][0]]
    with h5py.File(path) as f:
        decoded = f["frames"][...]
    assert tools.max_abs_err(frames[:16], decoded) <= 1e-3
    dumped = tools.h5dump_array(path, "/frames", "f4", decoded.shape, tmp_path)
    assert np.array_equal(dumped, decoded)


def test_shuffle_asked_of_h5py_is_refused_by_name(frames, tmp_path):
    """The keyword that people add to every compressed dataset out of habit."""
    with pytest.raises(Exception) as raised:
        create(tmp_path / "shuffle.h5", tools.filter_values("--abs", "1e-3"), frames[:16], shuffle=True)
    assert "shuffle" in str(raised.value).lower(), str(raised.value)


@pytest.mark.parametrize("dtype, name", [
    (np.dtype([("x", "f4"), ("y", "f4")]), "compound"),
    (np.dtype("S8"), "string"),
    (np.dtype("c8"), "compound"),
])
def test_types_that_are_not_numbers_are_refused(tmp_path, dtype, name):
    with pytest.raises(Exception) as raised, h5py.File(tmp_path / "type.h5", "w") as f:
        f.create_dataset("frames", (64, 64), dtype, chunks=(64, 64), **tools.h5py_arguments("--lossless"))
    assert name in str(raised.value), str(raised.value)
