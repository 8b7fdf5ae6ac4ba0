"""The program `sae` from Python: training, and what files hold.

The program is not part of the wheel, as it needs an HDF5 library of the system. It is taken from $H5Z_SAE_TOOL, else
from PATH, and must be of this package's version. `make install` of the repository puts it there.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from .library import version

VARIABLE = "H5Z_SAE_TOOL"

Path = str | os.PathLike[str]
Setting = bool | int | float | str | os.PathLike[str]
Array = np.ndarray[Any, Any]


class ToolError(RuntimeError):
    """`sae` was not found, is of another version, or failed; then the message is its own sentence."""


def train(frames: Path | Array | Sequence[Path], output: Path, *, verbose: bool = False,
          **settings: Setting | Sequence[Setting]) -> dict[str, Any]:
    """Trains a model on frames and writes it to `output`, a `.sae` file that appears only when it is complete.

    `frames`: "FILE.h5:/DATASET", or several of these, or an array whose last two dimensions are rows and columns.
    `verbose`: lets `sae train` report on stderr meanwhile.
    `settings`: the flags of `sae train`, with underscores: minutes=30, abs=1e-3, basis_rows=512, mirror=True,
    device="cuda". A sequence gives a flag several times. `sae train --help` explains them.

    Returns the report: `id` of the model, `bytes` of its file, `steps`, errors on held-out patches.

    Raises ToolError. KeyboardInterrupt stops the training, which first writes the model so far, and its checkpoint if it
    was given one.
    """
    with _datasets(frames) as datasets:
        words = ["train", *datasets, "--output", os.fspath(output), "--json", *_flags(settings)]
        return _json(_run(words, verbose))


def info(path: Path) -> dict[str, Any]:
    """What a model (.sae) or a compressed HDF5 file holds, as `sae info --json` says it. Raises ToolError."""
    return _json(_run(["info", os.fspath(path), "--json"]))


def find_tool() -> pathlib.Path:
    """The program. Raises ToolError where there is none, or one of another version."""
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or "sae")
    if found is None:
        place = f"{VARIABLE} names {named}, which is no program" if named else "no program `sae` on PATH"
        raise ToolError(f"{place}. Remedy: `make install` in a clone of the repository, or name the program in "
                        f"{VARIABLE}")
    says = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if says != f"sae {version()}":
        raise ToolError(f"{found} says {says!r}, this package needs 'sae {version()}': install both from one commit")
    return pathlib.Path(found)


@contextlib.contextmanager
def _datasets(frames: Path | Array | Sequence[Path]) -> Iterator[list[str]]:
    """Words for `sae train`. An array is written to a file that lives as long as the training."""
    if isinstance(frames, np.ndarray):
        with tempfile.TemporaryDirectory(prefix="h5z-sae-") as folder:
            path = os.path.join(folder, "frames.h5")
            with h5py.File(path, "w") as file:
                file["frames"] = frames
            yield [f"{path}:/frames"]
    elif isinstance(frames, (str, os.PathLike)):
        yield [os.fspath(frames)]
    else:
        yield [os.fspath(place) for place in frames]


def _flags(settings: dict[str, Setting | Sequence[Setting]]) -> list[str]:
    words: list[str] = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        values = [value] if isinstance(value, (bool, int, float, str, os.PathLike)) else value
        for one in values:
            if one is True:
                words.append(flag)
            elif one is not False:
                words += [flag, os.fspath(one) if isinstance(one, os.PathLike) else str(one)]
    return words


def _run(words: list[str], verbose: bool = False) -> str:
    """Standard output of a finished `sae`."""
    errors = None if verbose else subprocess.PIPE
    with subprocess.Popen([find_tool(), *words], stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            out, said = process.communicate()
        except KeyboardInterrupt:
            # subprocess would kill it before the model so far and the checkpoint are written.
            process.send_signal(signal.SIGTERM)
            process.communicate()
            raise
    if process.returncode != 0:
        raise ToolError((said or f"`sae {words[0]}` ended with {process.returncode}: see stderr").strip())
    return out


def _json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found
