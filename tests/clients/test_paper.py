"""benches/paper runs from end to end on a few frames, and its code lengths are what they say."""
import csv
import math
import sys

import numpy as np
import pytest

import tools

sys.path[:0] = [str(tools.ROOT / "benches" / "paper"), str(tools.ROOT / "benches")]
import lengths  # noqa: E402

SOME_LEVELS = np.array([[0, 2, 0, -1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 3]])


def read(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def test_quick_run_measures_every_net(tmp_path):
    done = tools.run(sys.executable, tools.ROOT / "benches" / "paper", "--quick", "--work", tmp_path / "work",
                     "--record", tmp_path / "record", "--plots", tmp_path / "plots", OPENBLAS_NUM_THREADS="1",
                     H5ZSAE_PLUGIN_DIR=str(tools.PLUGIN_DIR))
    assert "count ratio" in done.stdout
    stem = next((tmp_path / "record").glob("*-paper.csv"))
    rows = read(stem)
    assert [row["net"] for row in rows] == ["z-8", "z-free", "grad"]
    for row in rows:
        entries = float(row["nonzero_steps" if row["penalty"] == "grad" else "nonzeros"])
        assert float(row["count_ratio"]) == pytest.approx(1024 / entries, rel=1e-2)
        # The file is coded by latents' own priors, and has headers; it is no worlds apart from an adaptive coder.
        # A file of penalty z holds refined codes: after three passes far better ones, of more latents.
        if row["penalty"] == "grad":
            assert 0.3 < float(row["ratio_real"]) / float(row["ratio_adaptive"]) < 3
            assert float(row["repacked_mean_squared_error"]) == pytest.approx(float(row["mean_squared_error"]), rel=0.5)
        else:
            assert float(row["repacked_mean_squared_error"]) < float(row["mean_squared_error"])
        assert float(row["mean_error_sum1"]) < float(row["mean_error_norm1"]) < float(row["mean_error"])
    steps = read(stem.with_name(stem.name.replace(".csv", "-steps.csv")))
    for net in ("z-8", "z-free", "grad"):
        mine = [row for row in steps if row["net"] == net]
        assert float(mine[-1]["mean_squared_error"]) <= float(mine[0]["mean_squared_error"])
        assert float(mine[-1]["adaptive_levels_bits"]) > float(mine[0]["adaptive_levels_bits"])


def test_differences_and_entries_of_a_block():
    entries = lengths.Entries.of(SOME_LEVELS)
    assert entries.counts.tolist() == [2, 0, 2]
    assert entries.differences.tolist() == [2, 2, 1, 4]
    both = lengths.Entries.joined([entries, entries])
    assert both.counts.tolist() == [2, 0, 2] * 2
    assert both.differences.tolist() == [2, 2, 1, 4] * 2


def test_adaptive_length_is_that_of_the_estimator():
    """Symbol by symbol with (count + ½) / (seen + symbols / 2)."""
    symbols, seen, bits = [0, 0, 1, 0, 2, 0], np.zeros(4), 0.0
    for symbol in symbols:
        bits -= math.log2((seen[symbol] + 0.5) / (seen.sum() + 2))
        seen[symbol] += 1
    assert lengths.adaptive_bits(seen) == pytest.approx(bits)


def test_adaptive_lengths_exceed_fitted_ones_by_little():
    rng = np.random.default_rng(4)
    levels = np.where(rng.random((2000, 64)) < 0.1, rng.integers(1, 9, (2000, 64)), 0)
    code = lengths.code_lengths(lengths.Entries.of(levels))
    assert code.ideal < code.adaptive < 1.01 * code.ideal
    assert code.by_frame.sum() == pytest.approx(code.ideal)
    # Positions are independent decisions of probability 0.1: their entropy, and nothing beats it.
    entropy = 2000 * 64 * -(0.1 * math.log2(0.1) + 0.9 * math.log2(0.9))
    assert code.fire_positions == pytest.approx(entropy, rel=0.01)
    assert code.adaptive_differences > 0.99 * entropy


def test_neighbours_vote_and_the_nearest_breaks_ties():
    import neighbours

    training = np.array([[0.0], [1.0], [1.1], [5.0], [5.2], [5.3], [9.0]])
    classes = np.array([0, 1, 1, 2, 2, 2, 0])
    test, expected = np.array([[0.1], [5.1], [1.2]]), np.array([0, 2, 1])
    # Of 0.1's five neighbours two are of class 1 and two of class 2, none of which is the nearest.
    assert neighbours.classify(training, test, classes, expected) == {1: 1.0, 5: pytest.approx(2 / 3)}
    assert neighbours.classify(training[:5], test[1:], classes[:5], expected[1:])[5] == 1.0
