"""Our filter beside its peers, at the same bounds, through the same HDF5 calls, in one process.

    python benches/peers                              everything, with the built-in model; under half an hour
    python benches/peers --quick                      the same path with few frames, a minute; leaves nothing
    python benches/peers --narrow-model M.sae         also a model trained on the narrow set
    python benches/peers --narrow-control PCA.sae     also its principal components alone (`sae train --control`)
    python benches/peers --set bam --peer SZ          only these (both may be repeated)
    python benches/peers --readme                     also puts the tables into README.md

Simulated frames come from `benches/gen_sas.py` (seed 2, made on the first run), measured ones from PyPI's sasdata;
`datasets.py` lists them all. Everything is written, closed, opened and read again; the largest error is measured in
f64 over every value. A ratio is raw bytes / stored bytes of the dataset. Speeds are of processor time, the best of
several interleaved rounds where a round is short.

Writes DATE-peers.csv, with .txt and -memory.csv beside it, and the picture docs/peers/rates. Exits 1 where a bound of
ours is broken, memory above what is allowed, or data of other kinds coded worse than they should be. What several
threads gain is measured by benches/threads.py.
"""
import argparse
import atexit
import datetime
import os
import pathlib
import shutil
import sys
import tempfile
import time

# Before numpy and the plugins are loaded: speeds are those of one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLOSC_NTHREADS", "H5Z_SAE_NUM_THREADS"):
    os.environ[variable] = "1"
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

import common

import codecs_hdf5
import datasets
import measure
import report
import resources

PLOTS = common.ROOT / "docs" / "peers"
PACKAGES = ("hdf5plugin", "imagecodecs", "matplotlib", "numpy", "sasdata", "sasmodels")
FULL_SIZES = measure.Sizes(single=200, thorough=256, rounds=2)
QUICK_SIZES = measure.Sizes(single=8, thorough=16, rounds=1)
EPSILON = 1e-3


def parse_arguments():
    parser = argparse.ArgumentParser(prog="benches/peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few frames: a check that everything runs")
    parser.add_argument("--set", action="append", choices=datasets.SPECS, help="only this set (may be repeated)")
    parser.add_argument("--peer", action="append", help="only this peer, as tables name it; none for no peer")
    parser.add_argument("--narrow-model", type=pathlib.Path, help="model trained on the narrow set, seed 1")
    parser.add_argument("--narrow-control", type=pathlib.Path, help="principal components of the same frames")
    parser.add_argument("--skip-resources", action="store_true", help="without memory")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md")
    parser.add_argument("--data", type=pathlib.Path, help="where simulated frames are kept [.cache]")
    parser.add_argument("--record", type=pathlib.Path, help="where CSV files go [benches/record]")
    parser.add_argument("--plots", type=pathlib.Path, help="where the picture goes [docs/peers]")
    options = parser.parse_args()
    check_peers(parser, options.peer or [])
    places = {"data": common.ROOT / ".cache", "record": common.RECORD, "plots": PLOTS}
    if options.quick:
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="peers-"))
        atexit.register(shutil.rmtree, scratch)
        places = {name: scratch / name for name in places}
    for name, place in places.items():
        setattr(options, name, getattr(options, name) or place)
    return options


def check_peers(parser, names):
    known = [codec.name for codec in codecs_hdf5.bounded_peers() + codecs_hdf5.lossless_peers()] + ["none"]
    for name in names:
        if name not in known:
            parser.error(f"--peer: no peer is called {name!r}; known are {', '.join(known)}")


def trained_models(options):
    """Models of the narrow set, by the name of their line."""
    named = (("principal components", options.narrow_control), ("model trained for it", options.narrow_model))
    return [(name, path) for name, path in named if path]


def codecs_for(bound, spec, options):
    """What is run on a set under a bound, in the order of the tables."""
    if bound.noise_scaled and not codecs_hdf5.knows_noise_bounds():
        return []
    chosen = [codec for codec in codecs_hdf5.peers(bound) if not options.peer or codec.name in options.peer]
    trained = trained_models(options) if spec.name == "narrow" else []
    return chosen + codecs_hdf5.ours(trained, thorough=spec.group in ("simulated", "real"))


def measure_sets(options, source, sizes):
    rows = []
    for name in options.set or datasets.SPECS:
        spec = datasets.SPECS[name]
        data = spec.make(source)
        rows += measure.measure_set(spec, data, lambda bound: codecs_for(bound, spec, options), sizes)
    return rows


def measure_resources(options, source):
    """Rows on memory, from broad frames."""
    if options.skip_resources:
        return []
    return resources.memory_rows(source.frames("broad", source.n_frames)[:1024], EPSILON)


def write_record(options, rows, memory, notes):
    """All CSV files, and what they were made with. Returns the first one's path."""
    stem = options.record / f"{datetime.date.today().isoformat()}-peers"
    for suffix, columns, table in (("", measure.COLUMNS, rows), ("-memory", resources.MEMORY_COLUMNS, memory)):
        if table:
            common.write_csv(stem.with_name(f"{stem.name}{suffix}.csv"), columns, table)
    packages = [name for name in PACKAGES if common.has_version(name)]
    common.write_versions(stem.with_suffix(".txt"), packages, **notes)
    return stem.with_suffix(".csv")


def findings(rows, memory):
    """What is not as promised, one line each."""
    above = [f"memory, {row['direction']}, {row['setting']}, {row['chunk']}: {row['growth_bytes']} bytes, allowed are "
             f"{row['allowed_bytes']}" for row in memory if not row["holds"]]
    return report.broken_bounds(rows) + report.shortfalls(rows) + above


def main():
    options = parse_arguments()
    if not common.SAE.exists():
        sys.exit(f"{common.SAE} does not exist: run `make build` first")
    has_plots = common.installed("matplotlib", options.quick)
    common.installed("imagecodecs", options.quick)
    common.publish_models(*(path for _, path in trained_models(options)))
    source = datasets.Source(options.data, options.quick)
    sizes = QUICK_SIZES if options.quick else FULL_SIZES
    started = time.perf_counter()
    rows = measure_sets(options, source, sizes)
    memory = measure_resources(options, source)
    found = findings(rows, memory)
    notes = {
        "command": common.command_line("peers"), "seconds": f"{time.perf_counter() - started:.0f}",
        "noise": "measured" if codecs_hdf5.knows_noise_bounds() else "left out: `sae filter-args` knows no --noise",
        "found": "; ".join(found) or "every bound kept, no memory above the limit, no kind of data fell short",
    }
    if has_plots:
        import pictures
        pictures.draw_rates(rows, options.plots / "rates")
    record = write_record(options, rows, memory, notes)
    for name, table in report.tables(rows).items():
        print(f"{name}\n\n{table}\n")
        if options.readme:
            common.replace_between(common.ROOT / "README.md", name, table)
    print("\n".join([*found, f"{len(rows)} measurements in {record}"]), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
