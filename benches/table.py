#!/usr/bin/env python3
"""The README's table: compression ratios of this filter beside its peers, at the same bound, through HDF5.

Frames come from `benches/gen_sas.py` (seed 2, 2 000 frames a set, made on the first run). Every dataset is
written, closed, opened and read again; the largest error is measured in f64 over every value, and a broken bound
is marked in the table. A ratio is raw bytes / stored bytes of the dataset; where a model is used, the ratio with
the model's own bytes counted stands beside it.

    benches/table.py                                   everything, with the built-in model
    benches/table.py --narrow-model cylinders.sae      also a model trained on the narrow set
    benches/table.py --narrow-control pca.sae          also its principal components alone (`sae train --control`)
    benches/table.py --peers-only                      without our plugin
    benches/table.py --readme                          also puts the table into README.md
"""
import argparse
import datetime
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import common
from common import RECORD, RELEASE, ROOT, publish_models

import h5py
import numpy as np

import codecs_hdf5

BUILT_IN_MODEL = ROOT / "models" / "builtin.sae"
N_FRAMES = 2000
SEED = 2
BOUNDS = (1e-2, 1e-3, 1e-4)
COLUMNS = (
    "set", "bound", "codec", "frames_per_chunk", "raw_bytes", "stored_bytes", "model_bytes", "ratio",
    "ratio_with_model", "max_abs_err", "bound_holds", "write_mb_per_s", "read_mb_per_s",
)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-only", action="store_true", help="leave our own filter out")
    parser.add_argument("--readme", action="store_true", help="replace the table in README.md")
    parser.add_argument("--narrow-model", type=pathlib.Path, help="model trained on the narrow set, seed 1")
    parser.add_argument("--narrow-control", type=pathlib.Path, help="principal components of the same frames")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / ".cache", help="where the two sets are kept")
    parser.add_argument("--set", choices=["broad", "narrow"], action="append", help="only this set")
    parser.add_argument("--record", type=pathlib.Path, default=RECORD)
    return parser.parse_args()


def load_frames(kind, folder):
    """Frames of one set, simulated on the first call."""
    path = folder / f"{kind}-seed{SEED}-{N_FRAMES}.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generator = ROOT / "benches" / "gen_sas.py"
        subprocess.run(
            [sys.executable, generator, path, "-n", str(N_FRAMES), "--set", kind, "--seed", str(SEED)], check=True
        )
    with h5py.File(path) as f:
        return f["frames"][...]


def codecs_for(kind, options):
    """Rows of one set's table, in order. Lossless codecs are apart: they are run once, not per bound."""
    rows = codecs_hdf5.peers()
    if not options.peers_only:
        sae = str(RELEASE / "sae")
        rows += codecs_hdf5.ours(sae, "H5Z-SAE, fast", "--effort", "fast")
        rows += codecs_hdf5.ours(sae, "H5Z-SAE, built-in model", model_bytes=BUILT_IN_MODEL.stat().st_size)
        for name, path in trained_models(options) if kind == "narrow" else []:
            rows += codecs_hdf5.ours(sae, name, "--model", str(path), model_bytes=path.stat().st_size)
    return rows


def trained_models(options):
    """Models of the narrow set, by the name of their line."""
    named = (("H5Z-SAE, principal components", options.narrow_control),
             ("H5Z-SAE, model trained for it", options.narrow_model))
    return [(name, path) for name, path in named if path]


def lossless_codecs(options):
    own = [] if options.peers_only else [codecs_hdf5.ours_lossless(str(RELEASE / "sae"))]
    return codecs_hdf5.lossless_peers() + own


def measure(kind, frames, codec, bound):
    """Writes and reads `frames` once; one CSV row. `bound` 0 means lossless."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "frames.h5")
        arguments = codec.arguments(bound)
        started = time.perf_counter()
        with h5py.File(path, "w") as f:
            chunks = (codec.frames_per_chunk, *frames.shape[1:])
            f.create_dataset("frames", data=frames, chunks=chunks, **arguments)
        write_s = time.perf_counter() - started
        started = time.perf_counter()
        with h5py.File(path) as f:
            decoded = f["frames"][...]
            stored_bytes = f["frames"].id.get_storage_size()
        read_s = time.perf_counter() - started
    max_abs_err = float(np.abs(frames.astype(np.float64) - decoded.astype(np.float64)).max())
    megabytes = frames.nbytes / 1e6
    return {
        "set": kind, "bound": bound, "codec": codec.name, "frames_per_chunk": codec.frames_per_chunk,
        "raw_bytes": frames.nbytes, "stored_bytes": stored_bytes, "model_bytes": codec.model_bytes,
        "ratio": round(frames.nbytes / stored_bytes, 3),
        "ratio_with_model": round(frames.nbytes / (stored_bytes + codec.model_bytes), 3),
        "max_abs_err": max_abs_err, "bound_holds": max_abs_err <= bound,
        "write_mb_per_s": round(megabytes / write_s, 1), "read_mb_per_s": round(megabytes / read_s, 1),
    }


def run(options):
    """All rows of all sets; progress on stderr."""
    rows = []
    for kind in options.set or ("broad", "narrow"):
        frames = load_frames(kind, options.data)
        runs = [(codec, bound) for bound in BOUNDS for codec in codecs_for(kind, options)]
        runs += [(codec, 0.0) for codec in lossless_codecs(options)]
        for codec, bound in runs:
            row = measure(kind, frames, codec, bound)
            rows.append(row)
            print(
                f"{kind:6} {bound:<7g} {codec.name:30} {codec.frames_per_chunk:3}/chunk {row['ratio']:9.2f}x  "
                f"error {row['max_abs_err']:.3g}{'' if row['bound_holds'] else '  BOUND BROKEN'}",
                file=sys.stderr, flush=True,
            )
    return rows


def label(row):
    """Name of the table's line that a row belongs to. Peers share one line per codec: the better chunking shows."""
    if not row["codec"].startswith("H5Z-SAE"):
        return row["codec"]
    return f"{row['codec']}, {row['frames_per_chunk']} a chunk"


def cell(rows, field="ratio"):
    """Best ratio among `rows`, with a dagger if it was reached by an error above the bound."""
    if not rows:
        return ""
    best = max(rows, key=lambda row: row[field])
    digits = 0 if best[field] >= 100 else 1
    return f"{best[field]:.{digits}f}" + ("" if best["bound_holds"] else "†")


def footnote(rows):
    """What the daggers mean, with the largest excess; empty where all bounds hold."""
    excesses = [row["max_abs_err"] / row["bound"] - 1 for row in rows if row["bound"] and not row["bound_holds"]]
    if not excesses:
        return []
    return ["", f"† The largest error is above the bound, by a fraction of at most {max(excesses):.1g}."]


def markdown(rows):
    """One table of both sets, a line per codec, a column per set and bound; then one of the lossless codecs."""
    kinds = list(dict.fromkeys(row["set"] for row in rows))
    columns = [(kind, bound) for kind in kinds for bound in BOUNDS]
    lines = ["| | " + " | ".join(f"{kind}, {bound:g}" for kind, bound in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")

    def add(name, members, field="ratio"):
        cells = [cell([r for r in members if (r["set"], r["bound"]) == column], field) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    bounded = [row for row in rows if row["bound"] > 0]
    for name in dict.fromkeys(label(row) for row in bounded):
        members = [row for row in bounded if label(row) == name]
        add(name, members)
        if any(row["model_bytes"] for row in members):
            add(f"{name}, model's bytes counted", members, "ratio_with_model")
    lines += ["", "| lossless | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    exact = [row for row in rows if row["bound"] == 0]
    for name in dict.fromkeys(row["codec"] for row in exact):
        cells = [cell([r for r in exact if r["codec"] == name and r["set"] == kind]) for kind in kinds]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines + footnote(rows))


def write_record(rows, options):
    """The rows as CSV and, beside it, what they were measured with. Returns the CSV's path."""
    name = "peers" if options.peers_only else "ratios"
    path = options.record / f"{datetime.date.today().isoformat()}-{name}.csv"
    common.write_csv(path, COLUMNS, rows)
    common.write_versions(path.with_suffix(".txt"), ["hdf5plugin", "numpy"])
    return path


VOLUMES = (("1 GB", 1e9), ("10 GB", 1e10), ("1 TB", 1e12))


def volumes(rows):
    """What the models' bytes mean: ratios at three volumes of raw data, and the volume from which a model saves."""
    lines = ["| 256 a chunk | bound | chunks alone | " + " | ".join(name for name, _ in VOLUMES) + " | pays from |"]
    lines.append("|---" * (len(VOLUMES) + 4) + "|")
    with_models = [row for row in rows if row["model_bytes"] and row["frames_per_chunk"] == codecs_hdf5.STACK_CHUNK_LEN]
    for row in with_models:
        without = next(other for other in rows if other["codec"] == "H5Z-SAE, fast" and all(
            other[field] == row[field] for field in ("set", "bound", "frames_per_chunk")))
        ratios = [volume / (volume / row["ratio"] + row["model_bytes"]) for _, volume in VOLUMES]
        saved = 1 / without["ratio"] - 1 / row["ratio"]
        pays = f"{row['model_bytes'] / saved / 1e9:.2g} GB" if saved > 0 else "never"
        cells = [f"{ratio:.0f}" for ratio in (row["ratio"], *ratios)]
        lines.append(f"| {row['codec']}: {row['set']} | {row['bound']:g} | " + " | ".join(cells) + f" | {pays} |")
    return "\n".join(lines)


def main():
    options = parse_arguments()
    if not options.peers_only and not (RELEASE / "sae").exists():
        sys.exit(f"{RELEASE / 'sae'} does not exist: run `make build` first")
    publish_models(*(path for _, path in trained_models(options)))
    rows = run(options)
    for name, table in (("table", markdown(rows)), ("volumes", volumes(rows))):
        print(table + "\n")
        if options.readme:
            common.replace_between(ROOT / "README.md", name, table)
    print(f"\n{len(rows)} measurements in {write_record(rows, options)}", file=sys.stderr)
    own_broken = [row for row in rows if row["codec"].startswith("H5Z-SAE") and not row["bound_holds"]]
    return 1 if own_broken else 0


if __name__ == "__main__":
    sys.exit(main())
