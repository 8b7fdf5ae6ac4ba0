"""benches/peers runs from end to end on a few frames, and what it counts is what it says."""
import csv
import math
import sys

import numpy as np
import pytest

import tools

sys.path[:0] = [str(tools.ROOT / "benches" / "peers"), str(tools.ROOT / "benches")]
import bounds  # noqa: E402
import codecs_hdf5  # noqa: E402
import datasets  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import resources  # noqa: E402


def read(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """What a quick run of few sets and peers prints and records."""
    folder = tmp_path_factory.mktemp("peers")
    flags = [word for name in ("broad", "broad-masked", "counts-10", "noise") for word in ("--set", name)]
    flags += [word for name in ("SZ3", "bitshuffle zstd") for word in ("--peer", name)]
    done = tools.run(sys.executable, tools.ROOT / "benches" / "peers", "--quick", "--skip-resources", *flags,
                     "--record", folder, H5ZSAE_PLUGIN_DIR=str(tools.PLUGIN_DIR))
    return done, next(folder.glob("*-peers.csv"))


def test_quick_run_records_every_column_of_every_set(quick_run):
    done, record = quick_run
    rows = read(record)
    assert tuple(rows[0]) == measure.COLUMNS
    assert list(dict.fromkeys(row["set"] for row in rows)) == ["broad", "broad-masked", "counts-10", "noise"]
    assert {row["codec"] for row in rows} == {"SZ3", "bitshuffle zstd", "H5Z-SAE, fast effort",
                                              "H5Z-SAE, built-in model", "H5Z-SAE, best effort"}
    for name in ("| 256 a chunk |", "| 1 a chunk |", "| data | bound |"):
        assert name in done.stdout
    assert "every bound kept" in record.with_suffix(".txt").read_text()


def test_quick_run_finds_every_bound_of_ours_kept(quick_run):
    own = [row for row in read(quick_run[1]) if row["codec"].startswith("H5Z-SAE")]
    assert {row["bound"] for row in own} >= {"0.01", "0.001", "0.0001", "lossless"}
    for row in own:
        assert row["bound_holds"] == "True", row
        if row["bound"] != bounds.NOISE_SCALED.name:
            assert float(row["max_abs_err"]) <= float(row["epsilon"]), row
        assert float(row["ratio"]) == pytest.approx(int(row["raw_bytes"]) / int(row["stored_bytes"]), rel=1e-3)


def test_reading_a_chunk_takes_no_more_memory_than_is_allowed(frames):
    for codec in codecs_hdf5.ours([]):
        row = resources.memory_row("decode", codec, np.tile(frames, (4, 1, 1)), bounds.absolute(1e-3)[0])
        assert row["holds"] and row["growth_bytes"] > 0, row


def test_nothing_lossless_is_below_its_entropy(quick_run):
    counts = [row for row in read(quick_run[1]) if row["set"] == "counts-10" and row["bound"] == "lossless"]
    assert counts
    for row in counts:
        # What is drawn of few frames may be a little more likely than the average.
        assert float(row["ratio"]) < 1.05 * float(row["floor_ratio"]), row


def test_entropy_of_counts_is_that_of_the_distribution():
    # One count of mean 1: Σ e⁻¹/k! · (1 + log k!).
    nats = sum(math.exp(-1) / math.factorial(k) * (1 + math.log(math.factorial(k))) for k in range(30))
    assert datasets.poisson_entropy(1.0) == pytest.approx(nats / math.log(2))
    # Large means are Gaussian; the table's interpolation keeps what the exact values say.
    assert datasets.poisson_entropy(1000.0) == pytest.approx(0.5 * math.log2(2 * math.pi * math.e * 1000), rel=1e-3)
    means = np.array([[0.0, 0.01], [0.7, 12.3], [999.0, 2.0]])
    exact = [np.mean([datasets.poisson_entropy(mean) for mean in frame]) for frame in means]
    assert datasets.poisson_bits(means) == pytest.approx(exact, rel=1e-3)


def test_a_part_of_a_set_is_spread_evenly_over_it():
    data = datasets.frames_set(np.arange(20).reshape(10, 1, 2), (), {"lossless": np.arange(1, 11)})
    assert data.part(10).shape == (10, 1, 2)
    assert data.part(3)[:, 0, 0].tolist() == [0, 6, 12]
    assert data.part(7)[:, 0, 0].tolist() == [0, 2, 4, 6, 8, 10, 12]
    # 8-byte integers, and the mean of 1, 4 and 7 bits.
    assert data.floor_ratio(bounds.LOSSLESS, 3) == 16.0


def test_a_wrong_nan_or_a_lost_bit_breaks_a_bound():
    values = np.array([[[1.0, np.nan], [-0.0, 2.0]]], np.float32)
    (bound,) = bounds.absolute(0.5)
    assert measure.compare(values, values + np.float32(0.25), bound, exact_specials=True) == (0.25, True)
    without_nan = np.nan_to_num(values)
    assert measure.compare(values, without_nan, bound, exact_specials=False) == (0.0, True)
    assert measure.compare(values, without_nan, bound, exact_specials=True) == (0.0, False)
    assert measure.compare(values, values + np.float32(0.75), bound, exact_specials=False) == (0.75, False)
    assert measure.compare(values, values + np.float32(0.0), bounds.LOSSLESS, exact_specials=True) == (0.0, False)


def test_a_noise_scaled_bound_is_by_value_and_by_one_below_one():
    values = np.array([[0, 4, 100]], np.uint32)
    assert bounds.NOISE_SCALED.allowed(values).tolist() == [[1.0, 2.0, 10.0]]
    assert measure.compare(values, values + np.uint32(1), bounds.NOISE_SCALED, exact_specials=True) == (1.0, True)
    assert not measure.compare(values, values + np.uint32(2), bounds.NOISE_SCALED, exact_specials=True)[1]


def test_a_file_larger_than_the_best_peers_is_reported():
    row = dict(set="text", group="other", bound="lossless", chunking="stack", frames=1, raw_bytes=1000)
    peer = row | dict(codec="bzip2", ratio=4.0, stored_bytes=250)
    own = row | dict(codec="H5Z-SAE, built-in model", ratio=2.0, stored_bytes=500)
    assert report.shortfalls([peer, own]) == ["text: 2 is 0.500 of bzip2's 4; at least 0.97 was expected"]
    assert report.shortfalls([peer, own | dict(ratio=3.9)]) == []
    assert report.shortfalls([own | dict(ratio=0.94, stored_bytes=1064)]) == []
    assert report.shortfalls([own | dict(ratio=0.93, stored_bytes=1065)]) == ["text: 65 bytes more than raw"]


def test_peers_that_nobody_knows_are_refused():
    done = tools.run(sys.executable, tools.ROOT / "benches" / "peers", "--peer", "SZ4", check=False,
                     H5ZSAE_PLUGIN_DIR=str(tools.PLUGIN_DIR))
    assert done.returncode == 2
    assert "no peer is called 'SZ4'" in done.text


def test_steps_take_the_smallest_integers_that_hold_them():
    for values, dtype in (([0, 255], "u1"), ([0, 256], "u2"), ([-128, 127], "i1"), ([-1, 128], "i2"),
                          ([-5, 32767], "i2"), ([-5, 32768], "i4"), ([-32769, 0], "i4")):
        narrowed = codecs_hdf5.narrowed(np.array(values))
        assert narrowed.dtype == np.dtype(dtype) and narrowed.tolist() == values
