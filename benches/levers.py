#!/usr/bin/env python3
"""What each lever of a training gives: one change at a time, the same steps, coded bytes of frames of another seed.

    benches/levers.py                 all levers (about 40 minutes on one core)
    benches/levers.py --steps 500     the same, sooner and less telling

The start is the paper's objective with a limit on nonzero latents. Every line is a command, `sae train` with the flags
it shows; sizes are those of `sae repack` on 512 frames of the narrow set (seed 2), in chunks of 256, without the
model's bytes, which stand beside. Writes benches/record/DATE-levers.csv and .txt.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import common
from common import RECORD, ROOT, run_sae

BOUNDS = ("1e-2", "1e-3", "1e-4")
N_TEST = 512
START = "--components 256 --hidden 512 --latent 1024 --active 8 --lambda 1e-6 --held-out 0.01 --threads 1"
# Name, flags that replace or follow those of the start, what the name means.
LEVERS = (
    ("start", ""),
    ("no limit, L1 alone", "--active 0 --lambda 1e-2"),
    ("16 active latents", "--active 16"),
    ("limit falls from 8 times", "--active-start 8"),
    ("dead latents revived", "--revive 32"),
    ("twice the hidden units", "--hidden 1024"),
    ("mirror images", "--mirror"),
    ("512 basis rows", "--basis-rows 512"),
    ("the same in 16 bits", "--basis-rows 512 --wide-rows 512"),
    ("rate as loss", "--rate-scale 1e-3"),
    ("refined codes", "--refine 0.4"),
    ("codes of various lengths", "--active 24 --active-least 6"),
    ("principal components", "--control"),
    ("principal components, 512", "--control --components 512"),
    ("together", "--mirror --basis-rows 512 --active-start 4 --rate-scale 1e-3 --refine 0.4"),
)
COLUMNS = ("lever", "flags", "steps", "model_bytes", "held_out_squared_error",
           *(f"{kind}_{bound}" for bound in BOUNDS for kind in ("bytes", "ratio")))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000, help="steps of each training")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / ".cache", help="where frames are kept")
    parser.add_argument("--record", type=pathlib.Path, default=RECORD)
    return parser.parse_args()


def frames(folder, seed, n):
    """A file of the narrow set, simulated on the first call."""
    path = folder / f"narrow-seed{seed}-{n}.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generator = ROOT / "benches" / "gen_sas.py"
        subprocess.run([sys.executable, generator, path, "-n", str(n), "--set", "narrow", "--seed", str(seed)],
                       check=True)
    return path


def merged(start, change):
    """Flags of the start with those of the change in their place."""
    flags = {}
    for text in (start, change):
        for word in text.split():
            if word.startswith("--"):
                name, flags[word] = word, []
            else:
                flags[name].append(word)
    return [word for name, values in flags.items() for word in (name, *values)]


def measure(name, change, options, folder):
    """One row: trains, then codes the other frames at every bound."""
    training, test = frames(options.data, 1, 50000), frames(options.data, 2, N_TEST)
    model = folder / "lever.sae"
    flags = merged(START, change)
    report = json.loads(run_sae("train", f"{training}:/frames", "-o", model, *flags, "--steps", options.steps, "--json"))
    row = {
        "lever": name, "flags": " ".join(flags), "steps": report["steps"], "model_bytes": report["bytes"],
        "held_out_squared_error": f"{report['held_out']['squared_error']:.6f}",
    }
    for bound in BOUNDS:
        packed = json.loads(run_sae("repack", test, folder / "packed.h5", "--dataset", "/frames", "--model", model,
                                    "--abs", bound, "--json", "--no-verify"))
        stored = packed["datasets"][0]["stored_bytes"]
        row[f"bytes_{bound}"] = stored
        row[f"ratio_{bound}"] = f"{packed['datasets'][0]['raw_bytes'] / stored:.1f}"
    return row


def main():
    options = parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, change in LEVERS:
            rows.append(measure(name, change, options, pathlib.Path(folder)))
            # After every line: whoever ends this early keeps what there is.
            common.write_record(options.record, "levers", COLUMNS, rows)
            print("  ".join(f"{rows[-1][c]}" for c in COLUMNS if c != "flags"), flush=True)


if __name__ == "__main__":
    main()
