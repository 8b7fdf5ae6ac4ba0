#!/usr/bin/env python3
"""What unbiased errors are and cost: mean errors of frames and of blocks, with `--unbiased` and without.

    benches/unbiased.py            two bounds; two minutes
    benches/unbiased.py --docs     also puts the table into docs/cd-values.md
    benches/unbiased.py --quick    one measured frame, one bound; leaves nothing

Measured frames (PyPI's sasdata) are cut at the 99.99th percentile and scaled to a range of 1; simulated ones are the
first 256 of benches/gen_sas.py's broad set, seed 2. Errors are in units of the bound; rms of the mean errors of blocks
of 8 × 8 and of 16 × 16 pixels, counted from each frame's corner.

Writes DATE-unbiased.csv and .txt into benches/record.
"""
import argparse
import pathlib
import sys
import tempfile

BENCHES = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHES), str(BENCHES / "peers")]

import common  # noqa: E402  before h5py, for the plugin's path

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import datasets  # noqa: E402
import report  # noqa: E402

MEASURED = ("bam", "33837rear", "14250")
N_SIMULATED = 256
EPSILONS = (1e-2, 1e-3)
ERRORS = ("ratio", "mean", "rms_8", "rms_16")
COLUMNS = ("set", "epsilon", *ERRORS, *(f"unbiased_{name}" for name in ERRORS))
HEADS = ("ratio", "mean of all", "rms of 8 × 8", "of 16 × 16")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="put the table into docs/cd-values.md")
    parser.add_argument("--quick", action="store_true", help="one frame and one bound")
    parser.add_argument("--data", type=pathlib.Path, default=common.ROOT / ".cache", help="where frames are kept")
    parser.add_argument("--record", type=pathlib.Path, default=common.RECORD, help="where the CSV file goes")
    return parser.parse_args()


def scaled(frames):
    """Cut at the 99.99th percentile, from 0 to 1, in f32."""
    least, most = frames.min(), np.quantile(frames, 0.9999)
    return ((np.minimum(frames, most) - least) / (most - least)).astype(np.float32)


def sets(source, quick):
    """Title and frames of each set, which are one chunk."""
    for name in MEASURED[-1:] if quick else MEASURED:
        yield datasets.SPECS[name].title, scaled(datasets.SPECS[name].make(source).values)
    if not quick:
        yield "simulated, broad", source.frames("broad", source.n_frames)[:N_SIMULATED]


def rms_of_blocks(errors, edge):
    """Of the mean errors of whole blocks."""
    n_frames, rows, cols = errors.shape
    whole = errors[:, : rows // edge * edge, : cols // edge * edge]
    means = whole.reshape(n_frames, rows // edge, edge, cols // edge, edge).mean(axis=(2, 4))
    return float(np.sqrt((means**2).mean()))


def measured(frames, epsilon, flags):
    with tempfile.TemporaryDirectory() as folder:
        raw, stored = (pathlib.Path(folder) / name for name in ("raw.h5", "stored.h5"))
        with h5py.File(raw, "w") as file:
            file["frames"] = frames
        common.run_sae("repack", raw, stored, "--dataset", "/frames", "--abs", epsilon, "--chunk",
                       ",".join(map(str, frames.shape)), *flags)
        with h5py.File(stored) as file:
            decoded, n_bytes = file["frames"][...], file["frames"].id.get_storage_size()
    errors = (decoded.astype(np.float64) - frames) / epsilon
    return frames.nbytes / n_bytes, float(errors.mean()), rms_of_blocks(errors, 8), rms_of_blocks(errors, 16)


def table(rows):
    """Markdown."""
    heads = ["", "ε", *HEADS, f"unbiased: {HEADS[0]}", *HEADS[1:]]
    cell = lambda row, name: report.number(row[name]) if name.endswith("ratio") else f"{row[name]:.3f}"  # noqa: E731
    body = [[row["set"], f"{row['epsilon']:g}", *(cell(row, name) for name in COLUMNS[2:])] for row in rows]
    return "\n".join(report.lines_of(heads, body))


def main():
    options = parse_arguments()
    source = datasets.Source(options.data, options.quick)
    rows = []
    for epsilon in EPSILONS[:1] if options.quick else EPSILONS:
        for title, frames in sets(source, options.quick):
            found = [measured(frames, epsilon, flags) for flags in ((), ("--unbiased",))]
            rows.append(dict(zip(COLUMNS, (title, epsilon, *found[0], *found[1]))))
    print(table(rows))
    if options.quick:
        return
    common.write_record(options.record, "unbiased", COLUMNS, rows)
    if options.docs:
        common.replace_between(common.ROOT / "docs" / "cd-values.md", "unbiased", table(rows))


if __name__ == "__main__":
    main()
