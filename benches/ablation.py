#!/usr/bin/env python3
"""What each part of the encoder gives and costs: chunks of 256 frames with all parts, then without one after the other.

    benches/ablation.py                          simulated frames (benches/gen_sas.py, on the first run); five minutes
    benches/ablation.py --narrow-model M.sae     the narrow set too, with a model that was trained for it
    benches/ablation.py --quick                  few frames of `sae synth`: a check that everything runs; leaves nothing

Bytes are of whole streams; speeds are of one core, in turns, the best of two rounds. `gives` is how many bytes more it
takes without the part, `costs` how much longer encoding takes with it. The initial states and the mixing of contexts are
parts of the format and cannot be left out.

Writes DATE-ablation.csv and .txt into benches/record.
"""
import argparse
import csv
import io
import pathlib
import subprocess
import sys
import tempfile

BENCHES = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHES), str(BENCHES / "peers")]

import common  # noqa: E402  before h5py, for the plugin's path

import numpy as np  # noqa: E402

import datasets  # noqa: E402

N_FRAMES = 512
COLUMNS = ("set", "bound", "without", "bytes", "ratio", "gives", "encode_mb_per_s", "costs", "decode_mb_per_s")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--narrow-model", type=pathlib.Path, help="model trained on the narrow set, seed 1")
    parser.add_argument("--quick", action="store_true", help="one chunk of quickly made frames")
    parser.add_argument("--data", type=pathlib.Path, default=common.ROOT / ".cache", help="where frames are kept")
    parser.add_argument("--record", type=pathlib.Path, default=common.RECORD, help="where the CSV file goes")
    return parser.parse_args()


def sets(source, options):
    """Name, frames, bound and model of each set."""
    n_frames = 256 if source.quick else source.n_frames
    chosen = 256 if source.quick else N_FRAMES
    broad = source.frames("broad", n_frames)[:chosen]
    bounds = [1e-2, 1e-3, 1e-4]
    for bound in bounds:
        yield "broad", broad, bound, None
    noise = np.random.default_rng(datasets.SEED).standard_normal(broad.shape)
    yield "broad, noise of one bound", broad + np.float32(1e-2) * noise, 1e-2, None
    if options.narrow_model:
        for bound in bounds:
            narrow = source.frames("narrow", n_frames)[:chosen]
            yield "narrow, model trained for it", narrow, bound, options.narrow_model.resolve()


def measured(frames, bound, model):
    """Rows of the Rust program: part, bytes, seconds."""
    with tempfile.NamedTemporaryFile(suffix=".f32") as raw:
        frames.tofile(raw.name)
        words = ["cargo", "bench", "--quiet", "--locked", "-p", "h5z-sae-kernels", "--bench", "ablation", "--", raw.name,
                 *frames.shape[1:], bound, *([model] if model else [])]
        done = subprocess.run([str(word) for word in words], cwd=common.ROOT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, check=True)
    return list(csv.DictReader(io.StringIO(done.stdout)))


def rows_of(name, frames, bound, model):
    found = measured(frames, bound, model)
    whole = found[0]
    for row in found:
        n_bytes, seconds = int(row["bytes"]), float(row["encode_seconds"])
        yield {
            "set": name, "bound": bound, "without": "—" if row is whole else row["part"], "bytes": n_bytes,
            "ratio": f"{frames.nbytes / n_bytes:.1f}",
            "gives": "" if row is whole else f"{100 * (n_bytes / int(whole['bytes']) - 1):+.1f} %",
            "encode_mb_per_s": f"{frames.nbytes / 1e6 / seconds:.1f}",
            "costs": "" if row is whole else f"{100 * (float(whole['encode_seconds']) / seconds - 1):+.0f} %",
            "decode_mb_per_s": f"{frames.nbytes / 1e6 / float(row['decode_seconds']):.1f}",
        }


def main():
    options = parse_arguments()
    load = common.machine_load()
    with tempfile.TemporaryDirectory() as scratch:
        if options.quick:
            options.data, options.record = pathlib.Path(scratch), pathlib.Path(scratch)
        rows = []
        for name, frames, bound, model in sets(datasets.Source(options.data, options.quick), options):
            for row in rows_of(name, frames.astype("=f4"), bound, model):
                print("  ".join(f"{row[column]}" for column in COLUMNS), flush=True)
                rows.append(row)
        common.write_record(options.record, "ablation", COLUMNS, rows, load=load)


if __name__ == "__main__":
    main()
