"""The examples of the clients' pages, typed and compared: docs/hdf5-tools.md, netcdf.md, octave.md and r.md."""
import pytest

import documents


@pytest.mark.parametrize("name", ["hdf5-tools.md", "netcdf.md", "octave.md", "r.md"])
def test_every_example_prints_what_the_page_says(tmp_path, name):
    documents.Page(name).run(tmp_path)


@pytest.mark.parametrize("expected, printed, same", [
    (["a … c", "…", "d"], "a b c\nx\ny\nd\n", True),
    (["a"], "a\nb\n", False),
    (["…", "b"], "b\n", True),
    (["a … c"], "a b\nc\n", False),
    ([], "", True),
    ([], "a warning\n", False),
])
def test_only_what_is_left_out_may_differ(expected, printed, same):
    assert documents.Step(1, "", expected).matches(printed) == same
