"""The Python of docs/python.md, block by block in one folder, as a reader would run it; and that of the README."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(os.environ["H5ZSAE_ROOT"])

# What the README's reader has: frames in an array, of the size of the chunks.
FRAMES = "import numpy as np\nframes = np.zeros((64, 512, 512), np.float32)\n"


def python_blocks(path):
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.M | re.S)


PAGE = python_blocks(ROOT / "docs" / "python.md")


def run(block, folder):
    tool = pathlib.Path(os.environ["H5Z_SAE_TOOL"]).parent
    environment = {**os.environ, "PATH": f"{tool}{os.pathsep}{os.environ['PATH']}"}
    del environment["H5Z_SAE_TOOL"]
    return subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, env=environment,
                          check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reader")


@pytest.mark.parametrize("block", [pytest.param(block, id=f"block {index}") for index, block in enumerate(PAGE)])
def test_every_block_of_the_page_runs(block, folder):
    done = run(block, folder)
    assert done.returncode == 0, done.stderr
    # A comment behind a print says what it prints.
    promised = re.findall(r"print\(.*\)  # (.*)", block)
    assert done.stdout.splitlines() == promised


def test_the_page_has_its_blocks():
    assert len(PAGE) >= 8


def test_the_readmes_block_for_h5py_runs(folder):
    (block,) = [block for block in python_blocks(ROOT / "README.md") if "h5py" in block]
    done = run(FRAMES + block, folder)
    assert done.returncode == 0, done.stderr
