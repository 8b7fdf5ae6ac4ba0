#!/usr/bin/env python3
"""The demo: Debian's h5repack compresses real and simulated scattering frames, two HDF5 libraries read them back.

Real frames are those of the PyPI package sasdata, as they come: BAM_2D.h5 (X-rays) and a LOQ run, 33837rear
(neutrons). Simulated ones come from `sae synth`. Nothing of the files is changed but the filter and the chunks of
the named dataset. Sizes are those that HDF5 reports; the built-in model ships with the plugin and its bytes are
printed beside them.
"""
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = pathlib.Path(os.environ.get("H5ZSAE_PLUGIN_DIR", ROOT / "target" / "release")).resolve()
SAE = RELEASE / "sae"
# HDF5 reads this once, when it is loaded: before h5py is imported, and in every program that is started.
os.environ["HDF5_PLUGIN_PATH"] = str(RELEASE)
os.environ.setdefault("H5Z_SAE_NUM_THREADS", str(os.cpu_count() or 1))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

FILTER_ID = 34222
N_SIMULATED = 512


@dataclasses.dataclass(frozen=True)
class Case:
    """One dataset to compress, at one absolute bound in its own units (0: lossless)."""

    title: str
    source: pathlib.Path
    dataset: str
    chunk: tuple
    epsilon: float
    reason: str

    def flags(self):
        return ["--abs", repr(self.epsilon)] if self.epsilon else ["--lossless"]


def run(*command):
    """Output of a program; its failure ends the demo with what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexits {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def one_digit(value):
    """`value`, rounded down to one significant digit."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(f"{np.floor(value / power) * power:.0e}")


def real_case(title, name, group, unmasked=lambda f: True):
    """A measured frame in one chunk. The bound is half the median error bar that the file itself states."""
    folder = pathlib.Path(importlib.util.find_spec("sasdata").submodule_search_locations[0])
    source = folder / "example_data" / "2d_data" / name
    with h5py.File(source) as f:
        frame, error_bars = f[f"{group}/I"], f[f"{group}/Idev"][...]
        known = np.isfinite(error_bars) & (error_bars > 0) & unmasked(f)
        epsilon = one_digit(np.median(error_bars[known]) / 2)
        return Case(title, source, f"{group}/I", frame.shape, epsilon, "half the median error bar")


def simulated_case(folder, title, epsilon, reason, *synth_flags):
    source = folder / f"{title.replace(' ', '-')}.h5"
    run(SAE, "synth", source, "--frames", N_SIMULATED, "--seed", 2, *synth_flags)
    with h5py.File(source) as f:
        chunk = (256, *f["frames"].shape[1:])
    return Case(title, source, "/frames", chunk, epsilon, reason)


def cases(folder):
    bam_mask = lambda f: ~f["/sasentry01/data/Imask"][...].astype(bool)  # noqa: E731
    return [
        real_case("BAM X-rays", "BAM_2D.h5", "/sasentry01/data", bam_mask),
        real_case("LOQ neutrons", "33837rear_2D_1.75_16.5_NXcanSAS.h5", "/sasentry01/sasdata"),
        simulated_case(folder, "simulated", 1e-3, "a thousandth of the brightest pixel"),
        simulated_case(folder, "simulated counts", 0.0, "lossless", "--counts", 1000),
    ]


def compress(case, packed):
    """h5repack with our filter on one dataset; returns the command as a user would type it."""
    words = run(SAE, "filter-args", *case.flags(), "--format", "h5repack").strip()
    chunk = "x".join(map(str, case.chunk))
    command = ["h5repack", "-f", f"{case.dataset}:{words}", "-l", f"{case.dataset}:CHUNK={chunk}"]
    command += [os.path.relpath(case.source), os.path.relpath(packed)]
    run(*command)
    return " ".join(command)


def read_back(case, packed):
    """The dataset as h5py reads it, after h5dump was seen to read the same bits."""
    with h5py.File(packed) as f:
        dataset = f[case.dataset]
        filters = dataset.id.get_create_plist()
        if [filters.get_filter(i)[0] for i in range(filters.get_nfilters())] != [FILTER_ID]:
            sys.exit(f"{packed}: {case.dataset} was written without the filter")
        values, stored_bytes = dataset[...], dataset.id.get_storage_size()
    dumped = packed.with_suffix(".bin")
    run("h5dump", "-d", case.dataset, "-b", "FILE", "-o", dumped, packed)
    if dumped.read_bytes() != values.tobytes():
        sys.exit(f"{packed}: h5dump and h5py read different values")
    dumped.unlink()
    return values, stored_bytes


def largest_error(original, decoded):
    """Largest |difference|, in f64, over the finite values."""
    finite = np.isfinite(original.astype(np.float64))
    return float(np.abs(original[finite].astype(np.float64) - decoded[finite].astype(np.float64)).max())


def verify(case, packed, picture):
    """What `sae verify` finds by its own reading: one dataset's report. A broken bound ends the demo."""
    report = json.loads(
        run(SAE, "verify", case.source, packed, "--dataset", case.dataset, "--json", "--picture", picture)
    )
    return {**report["datasets"][0], "model_bytes": report["model_bytes"] or 0}


def describe_methods(counts):
    """Shares of the patches that each method took."""
    methods = ["constant", "context_grid", "context_aligned", "network", "lossless"]
    n_patches = sum(counts[method] for method in methods)
    taken = [f"{method.replace('_', ' ')} {counts[method] / n_patches:.0%}" for method in methods if counts[method]]
    return ", ".join(taken)


def show(case, folder):
    """Runs one case and prints its lines; whether the bound was kept."""
    stem = case.title.lower().replace(" ", "-")
    packed, picture = folder / f"{stem}.sae.h5", folder / f"{stem}.png"
    started = time.perf_counter()
    command = compress(case, packed)
    compress_s = time.perf_counter() - started
    decoded, stored_bytes = read_back(case, packed)
    with h5py.File(case.source) as f:
        original, before_bytes = f[case.dataset][...], f[case.dataset].id.get_storage_size()
    error = largest_error(original, decoded)
    verified = verify(case, packed, picture)
    model_bytes = verified["model_bytes"]

    raw_bytes = original.nbytes
    shape = "x".join(map(str, original.shape))
    counted = f" ({raw_bytes / (stored_bytes + model_bytes):.1f} with the built-in model's {model_bytes:,} B counted)"
    print(f"\n{case.title}: {case.dataset} of {case.source.name}, {original.dtype} {shape}")
    print(f"  $ {command}")
    print(f"  dataset   raw {raw_bytes:,} B, as it came {before_bytes:,} B, now {stored_bytes:,} B:"
          f" ratio {raw_bytes / stored_bytes:.1f}{counted if model_bytes else ''}")
    print(f"  patches   {describe_methods(verified['patches_by_method'])}")
    print(f"  file      {case.source.stat().st_size:,} B -> {packed.stat().st_size:,} B"
          f" (its other datasets are as they were)")
    print(f"  error     largest {error:.4g}, bound {case.epsilon:.4g} ({case.reason}):"
          f" {'kept' if error <= case.epsilon else 'BROKEN'}; sae verify found {verified['max_abs_err']:.4g}")
    print(f"  speed     h5repack wrote {raw_bytes / 1e6 / compress_s:.1f} MB/s; h5dump (HDF5 1.10.8) and h5py"
          f" (HDF5 {h5py.version.hdf5_version}) read the same bits")
    print(f"  picture   {os.path.relpath(picture)}")
    return error <= case.epsilon


def main():
    started = time.perf_counter()
    os.chdir(ROOT)
    folder = RELEASE.parent / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{run('h5repack', '--version').strip()}, plugin {os.path.relpath(RELEASE / 'libh5zsae.so')}")
    kept = [show(case, folder) for case in cases(folder)]
    print(f"\n{sum(kept)} of {len(kept)} bounds kept, in {time.perf_counter() - started:.0f} s."
          f" Compressed files and pictures are in {os.path.relpath(folder)}")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
