"""What the benches share: where the built programs are, how records are written, and with what they were made.

Import it before h5py: HDF5 reads its plugin path once, when h5py loads it.
"""
import atexit
import csv
import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("H5ZSAE_PLUGIN_DIR", ROOT / "target" / "release"))
RECORD = ROOT / "benches" / "record"
SAE = RELEASE / "sae"
os.environ["HDF5_PLUGIN_PATH"] = str(RELEASE)


def publish_models(*paths):
    """Puts models where the filter looks for them by id, for as long as this process runs.

    The filter looks at the path once: call this before it is first used.
    """
    folder = tempfile.mkdtemp(prefix="models-")
    atexit.register(shutil.rmtree, folder)
    for path in paths:
        report = json.loads(run_sae("info", "--json", path))
        shutil.copy(path, os.path.join(folder, f"{report['model']}.sae"))
    os.environ["H5Z_SAE_MODEL_PATH"] = folder


def first_line(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return (done.stdout.splitlines() or ["unknown"])[0]


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def machine_load():
    """How busy others keep the machine, for records of elapsed time: ask before the first measurement."""
    return f"{os.getloadavg()[0]:.1f} programs wanted a core in the minute before, of {os.cpu_count()}"


def installed(module, is_quick):
    """Whether a module is there. A full run needs all of them; a quick one says what it leaves out."""
    if importlib.util.find_spec(module):
        return True
    if not is_quick:
        sys.exit(f"{module} is not installed: `scripts/setup.sh --bench` installs benches/requirements.txt")
    print(f"left out: {module} is not installed", file=sys.stderr)
    return False


def has_version(package):
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def replace_text(path, text):
    """Writes a text file that appears only when it is complete."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def write_csv(path, columns, rows):
    """Rows (dicts) as CSV; the file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with open(part, "w", newline="") as f:
        writer = csv.DictWriter(f, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)


def write_versions(path, packages, **more):
    """What a record was made with, one line each: commit, CPU, compiler, `packages`, and what `more` says."""
    import h5py

    entries = {
        "commit": first_line(["git", "rev-parse", "--short", "HEAD"]),
        "cpu": f"{cpu_name()}, {os.cpu_count()} in use",
        "rustc": first_line(["rustc", "--version"]),
        "h5py": f"{h5py.__version__}, HDF5 {h5py.version.hdf5_version}",
        **{name: importlib.metadata.version(name) for name in packages},
        **more,
    }
    width = max(map(len, entries)) + 1
    replace_text(path, "".join(f"{name:{width}} {value}\n" for name, value in entries.items()))


def command_line(program):
    """What was called, with files by their names alone: a record names no folder of a machine."""
    words = (pathlib.PurePath(word).name if "/" in word else word for word in sys.argv[1:])
    return " ".join([f"benches/{program}", *words])


def write_record(folder, name, columns, rows, **more):
    """A bench's rows as DATE-NAME.csv, with what they were made with beside it."""
    path = pathlib.Path(folder) / f"{datetime.date.today().isoformat()}-{name}.csv"
    write_csv(path, columns, rows)
    command = command_line(pathlib.Path(sys.argv[0]).name)
    write_versions(path.with_suffix(".txt"), ("numpy",), **more, command=command)


def replace_between(path, name, text):
    """Replaces what stands between a Markdown file's two markers of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = path.read_text().split(begin)
    replace_text(path, f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


def run_sae(*words):
    """Runs the tool; its message is ours where it fails. Returns what it printed."""
    done = subprocess.run([str(word) for word in (SAE, *words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"sae {' '.join(map(str, words))} exits {done.returncode}:\n{done.stderr}")
    return done.stdout


def read_frames(path):
    """`/frames` of a file, read in a process of its own: the filter looks at H5Z_SAE_MODEL_PATH once."""
    import numpy as np

    script = "import sys, h5py, numpy as np\nwith h5py.File(sys.argv[1]) as f: np.save(sys.argv[2], f['frames'][...])"
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "frames.npy")
        subprocess.run([sys.executable, "-c", script, path, out], check=True, stdin=subprocess.DEVNULL)
        return np.load(out)
