"""The wheel of python/: built from these sources, installed into an environment of its own, and used there.

The environment sees the packages of the one that runs the tests, so that nothing is downloaded, and no source tree.
What users do stands in tests/installed, one process for each file.
"""
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import tools

SOURCES = tools.ROOT / "python"
BUILD_TIMEOUT_S = 1200


def pip(*arguments, check=True):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    # The library is built beside the plugin under test, and only once.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(tools.PLUGIN_DIR.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, env=environment,
                          check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def build_wheel(sources, folder, check=True):
    return pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, sources, check=check)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build_wheel(SOURCES, folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed_python(wheel, tmp_path_factory):
    """Python of a fresh environment that holds the wheel."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "tests-environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    return python


def run_installed(python, *arguments, cwd):
    """Runs the environment's Python without what this process set for the plugin in the build folder."""
    clean = {name: value for name, value in os.environ.items() if name not in ("HDF5_PLUGIN_PATH", "PYTHONPATH")}
    added = {"H5Z_SAE_TOOL": str(tools.SAE), "H5ZSAE_HEADER": str(tools.ROOT / "include" / "h5zsae.h"),
             "H5ZSAE_ROOT": str(tools.ROOT)}
    return subprocess.run([python, *arguments], capture_output=True, text=True, timeout=tools.TIMEOUT_S, cwd=cwd,
                          env={**clean, **added}, check=False)


def test_the_wheel_serves_every_python_3_of_this_platform(wheel):
    version = tomllib.loads((tools.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name == f"h5z_sae-{version}-py3-none-{platform}.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"h5z_sae-{version}.dist-info/")}
        assert f"h5z_sae-{version}.dist-info/licenses/LICENSE" in archive.namelist()
    modules = {f"h5z_sae/{path.name}" for path in (SOURCES / "h5z_sae").glob("*.py")}
    assert names == modules | {f"h5z_sae/{name}" for name in ("py.typed", "initial.bin", "libh5zsae.so")}


def test_no_path_of_this_machine_is_in_the_wheel(wheel):
    paths = {str(tools.ROOT), str(tools.PLUGIN_DIR.parent), str(Path.home()), os.environ.get("CARGO_HOME", "")} - {""}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not [path for path in paths if (path + "/").encode() in content], name


def test_the_library_in_the_wheel_needs_neither_python_nor_hdf5(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("h5z_sae/libh5zsae.so", tmp_path)
    said = tools.run("sh", tools.ROOT / "tests" / "check_symbols.sh", library).text
    assert "needs" in said and "python" not in said


def test_says_where_to_build_without_the_library_sources(tmp_path):
    alone = tmp_path / "python"
    alone.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md"):
        (alone / name).write_bytes((SOURCES / name).read_bytes())
    done = build_wheel(alone, tmp_path, check=False)
    assert done.returncode != 0 and "build the package in a clone of the whole repository" in done.stdout + done.stderr


def test_types_are_strict():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=SOURCES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["arrays", "hdf5", "header", "pages", "tool", "zarrs"])
def test_the_installed_package(installed_python, name, tmp_path):
    tests = tools.ROOT / "tests" / "installed" / f"{name}.py"
    done = run_installed(installed_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests.parent,
                         "--basetemp", tmp_path / "files", tests, cwd=tmp_path)
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0 and " passed in" in last and "skipped" not in last, done.stdout + done.stderr
