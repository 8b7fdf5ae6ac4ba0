"""The measurements of arXiv 2405.14270 on simulated frames of our own: errors, counts, coded sizes, neighbours.

    python benches/paper             about an hour on one core; frames and models are kept in .cache/paper, so that
                                     a run that was stopped goes on where it was
    python benches/paper --quick     the same path with few frames and steps, under a minute; leaves nothing
    python benches/paper --docs      also puts the tables into docs/paper.md

50 000 frames to train on and 150 000 others, cylinders on one instrument (`sae synth --set narrow`, seeds 1 and 2),
f32 with a maximum of 1. Nets: `nets.py`. Definitions: docs/paper.md.
"""
import argparse
import atexit
import datetime
import pathlib
import shutil
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1])]

import common

sys.path.insert(0, str(common.ROOT / "python"))

import data
import measure
import neighbours
import nets
import tables

PLOTS = common.ROOT / "docs" / "paper"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="benches/paper", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few frames and steps: a check that everything runs")
    parser.add_argument("--work", type=pathlib.Path, help="where frames and models are kept [.cache/paper]")
    parser.add_argument("--record", type=pathlib.Path, help="where CSV files go [benches/record]")
    parser.add_argument("--plots", type=pathlib.Path, help="where pictures go [docs/paper]")
    parser.add_argument("--threads", type=int, default=1, help="threads of a training [1]")
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/paper.md")
    parser.add_argument("--net", action="append", help="only this net (may be repeated)")
    parser.add_argument("--skip-neighbours", action="store_true", help="without the nearest-neighbour part")
    options = parser.parse_args()
    if options.quick:
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="paper-"))
        atexit.register(shutil.rmtree, scratch)
        options.work, options.record, options.plots = (
            given or scratch / name for given, name in
            ((options.work, "work"), (options.record, "record"), (options.plots, "plots")))
    else:
        options.work = options.work or common.ROOT / ".cache" / "paper"
        options.record, options.plots = options.record or common.RECORD, options.plots or PLOTS
    return options


def measure_nets(options, sizes, chosen):
    """Trains and measures; a list of measure.Result in the order of the sweep."""
    training = data.synthesize(options.work, "narrow", sizes.n_training, nets.TRAINING_SEED, sizes.pixels)
    test = data.synthesize(options.work, "narrow", sizes.n_test, nets.TEST_SEED, sizes.pixels)
    results = []
    for net in chosen:
        started = time.perf_counter()
        trained = nets.train(net, training, options.work, options.threads)
        result = measure.measure(net, trained, test, sizes)
        results.append(result)
        report(result.row, time.perf_counter() - started)
    return results


def report(row, seconds):
    """One line on what a net reached."""
    print(f"{row['net']:16} error {row['mean_error']:.3e}, squared {row['mean_squared_error']:.3e}, ||z|| "
          f"{row['nonzeros']:.1f}, ||grad z|| {row['nonzero_steps']:.1f}, count ratio {row['count_ratio']:.0f}, "
          f"coded {row['ratio_adaptive']:.0f}, real {row['ratio_real']:.0f}; {seconds:.0f} s",
          file=sys.stderr, flush=True)


def write_record(options, results, neighbour_rows, seconds):
    """All CSV files and what they were made with."""
    stem = options.record / f"{datetime.date.today().isoformat()}-paper"

    def named(suffix):
        return stem.with_name(stem.name + suffix)

    common.write_csv(named(".csv"), list(results[0].row), [result.row for result in results])
    for suffix, rows in (("-steps.csv", [row for result in results for row in result.steps]),
                         ("-histograms.csv", [row for result in results for row in result.histograms]),
                         ("-neighbours.csv", neighbour_rows)):
        if rows:
            common.write_csv(named(suffix), list(rows[0]), rows)
    packages = [name for name in ("numpy", "matplotlib", "scikit-learn") if common.has_version(name)]
    common.write_versions(named(".txt"), packages, command=" ".join(["benches/paper", *sys.argv[1:]]),
                          seconds=f"{seconds:.0f}, models that were there already not counted")
    return named(".csv")


def main():
    options = parse_arguments()
    if not common.SAE.exists():
        sys.exit(f"{common.SAE} does not exist: run `make build` first")
    sizes = nets.QUICK_SIZES if options.quick else nets.FULL_SIZES
    sweep = nets.QUICK if options.quick else nets.FULL
    chosen = [net for net in sweep if not options.net or net.name in options.net]
    has_plots, has_digits = (common.installed(module, options.quick) for module in ("matplotlib", "sklearn"))
    started = time.perf_counter()
    results = measure_nets(options, sizes, chosen)
    neighbour_rows = [] if options.skip_neighbours else neighbours.measure(options.work, options.threads,
                                                                           options.quick, has_digits)
    if has_plots:
        import plots
        plots.draw_all(results, options.plots)
    record = write_record(options, results, neighbour_rows, time.perf_counter() - started)
    for name, table in tables.all_tables(results, neighbour_rows).items():
        print(f"\n{name}\n\n{table}")
        if options.docs:
            common.replace_between(common.ROOT / "docs" / "paper.md", name, table)
    print(f"\n{len(results)} nets in {record}", file=sys.stderr)


if __name__ == "__main__":
    main()
