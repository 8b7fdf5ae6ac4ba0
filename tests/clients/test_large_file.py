"""`sae repack` on a file that does not fit into what it may take of memory: benches/large_file.py on one gigabyte."""
import json
import sys

import pytest

import tools

SIZE_BYTES = 1_000_000_000
# A quarter of the file: what grows with the file's size would be above it. A run takes about 120 MB.
MOST_RESIDENT_BYTES = SIZE_BYTES // 4


@pytest.fixture(scope="module")
def measured():
    done = tools.run(sys.executable, tools.ROOT / "benches/large_file.py", "--gigabytes", SIZE_BYTES / 1e9, "--json",
                     "--record", "", H5ZSAE_PLUGIN_DIR=str(tools.PLUGIN_DIR), check=False)
    assert done.stdout, done.text
    return json.loads(done.stdout)


def test_memory_does_not_grow_with_the_file(measured):
    assert measured["raw_bytes"] == pytest.approx(SIZE_BYTES, rel=0.01)
    assert 0 < measured["peak_bytes"] < MOST_RESIDENT_BYTES
    assert measured["max_abs_err"] <= 1e-3
    assert measured["raw_bytes"] > 50 * measured["stored_bytes"], "the frames are not in the file"


def test_progress_is_drawn_on_a_terminal(measured):
    # Compressing and reading back are each quiet for a second; then there is more than one drawing for each second.
    assert measured["drawings"] > float(measured["seconds"]) - 3


@pytest.mark.parametrize("signal", ["sigint", "sigterm", "sigkill"])
def test_interruption_leaves_what_was_there_before(measured, signal):
    assert measured[signal] == "nothing left"
