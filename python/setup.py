"""Builds libh5zsae.so with cargo and puts it into the package.

The library is found by ctypes and called by HDF5; nothing of Python is linked, so one wheel serves every Python 3 of a
platform. The rest of the package's description stands in pyproject.toml.
"""
import json
import os
import pathlib
import shutil
import subprocess
import tomllib
from typing import Any

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
LIBRARY = "libh5zsae.so"


def workspace() -> dict[str, Any]:
    """The Rust workspace's manifest, from which the version is taken."""
    manifest = ROOT / "Cargo.toml"
    if not manifest.exists():
        raise SystemExit(f"{manifest} not found: build the package in a clone of the whole repository, as the "
                         "library's sources are there (pip install ./python)")
    found: dict[str, Any] = tomllib.loads(manifest.read_text(encoding="utf-8"))["workspace"]
    return found


def build_library() -> pathlib.Path:
    """The plugin, built for release. Panics name source files: paths of this machine are cut off their names."""
    if shutil.which("cargo") is None:
        raise SystemExit("cargo not found: install Rust 1.88 or newer, see https://rustup.rs")
    # A folder of its own: other flags than those of `make build`, whose library would be replaced.
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "python"
    flags = "\x1f".join(rust_flags())
    environment = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": flags, "CARGO_PROFILE_RELEASE_DEBUG": "0"}
    command = ["cargo", "build", "--release", "--locked", "--package", "h5zsae", "--target-dir", str(target),
               "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(command)}` failed: see its messages above")
    artifacts = (json.loads(line) for line in done.stdout.splitlines())
    return next(pathlib.Path(file) for artifact in artifacts for file in artifact.get("filenames", ())
                if pathlib.Path(file).name == LIBRARY)


def rust_flags() -> list[str]:
    """The caller's flags and ours."""
    encoded, plain = os.environ.get("CARGO_ENCODED_RUSTFLAGS"), os.environ.get("RUSTFLAGS", "")
    given = encoded.split("\x1f") if encoded else plain.split()
    cargo_home = os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")
    return [*given, f"--remap-path-prefix={cargo_home}=cargo", f"--remap-path-prefix={ROOT}=h5z-sae"]


class BuildWithLibrary(build_py):
    """Copies the library beside the modules: of the wheel, or of the source tree for `pip install --editable`."""

    def run(self) -> None:
        # What an earlier build left there would become part of the wheel.
        shutil.rmtree(pathlib.Path(self.build_lib, "h5z_sae"), ignore_errors=True)
        super().run()
        folder = HERE if self.editable_mode else pathlib.Path(self.build_lib)
        self.copy_file(str(build_library()), str(folder / "h5z_sae" / LIBRARY))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), str(pathlib.Path(self.build_lib, "h5z_sae", LIBRARY))]


class WheelForEveryPython(bdist_wheel):
    """Of this platform, but of no Python in particular."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class PlatformDistribution(Distribution):
    """Holds machine code, though no extension module."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    version=workspace()["package"]["version"],
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": WheelForEveryPython},
)
