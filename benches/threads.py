#!/usr/bin/env python3
"""How much faster `sae repack -j 2` is than `-j 1`, on broad simulated frames (benches/gen_sas.py, on the first run).

    benches/threads.py                  all efforts, with and without reading back; five minutes of two cores
    benches/threads.py --jobs 1 2 4     other numbers of threads; the first is what the others are compared with
    benches/threads.py --quick          few frames of `sae synth`: a check that everything runs; leaves nothing

Elapsed time of the whole program: starting, reading, coding, writing, syncing, and reading back where it says so. The
numbers of threads take turns, and the best of all rounds counts, so that a slow minute of the machine hits all of them.
The fast effort gets the same frames many times over, or starting would be much of its time.

Writes DATE-threads.csv and .txt into benches/record. Run it on a machine that does nothing else: the .txt says how busy
it was before.
"""
import argparse
import pathlib
import sys
import tempfile
import time

BENCHES = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHES), str(BENCHES / "peers")]

import common  # noqa: E402  before h5py, for the plugin's path

import h5py  # noqa: E402

import datasets  # noqa: E402

EPSILON = 1e-3
# Times that the frames are repeated, by effort.
REPEATS = {"default": 1, "fast": 16}
COLUMNS = ("effort", "read_back", "jobs", "raw_bytes", "rounds", "seconds", "mb_per_s", "speedup")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], help="numbers of threads [1 2]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts [3]")
    parser.add_argument("--quick", action="store_true", help="few frames, one round")
    parser.add_argument("--data", type=pathlib.Path, default=common.ROOT / ".cache", help="where frames are kept")
    parser.add_argument("--record", type=pathlib.Path, default=common.RECORD, help="where the CSV file goes")
    return parser.parse_args()


def write_plain(path, frames, repeats):
    """`/frames` without a filter: HDF5 reads it as fast as it can."""
    with h5py.File(path, "w") as file:
        shape = (repeats * len(frames), *frames.shape[1:])
        data = file.create_dataset("frames", shape, frames.dtype, chunks=(min(64, len(frames)), *frames.shape[1:]))
        for start in range(0, len(data), len(frames)):
            data[start:start + len(frames)] = frames


def seconds_of(plain, packed, effort, jobs, read_back):
    started = time.perf_counter()
    common.run_sae("repack", plain, packed, "--abs", EPSILON, "--effort", effort, "--jobs", jobs,
                   *([] if read_back else ["--no-verify"]))
    taken = time.perf_counter() - started
    packed.unlink()
    return taken


def rows_of(plain, raw_bytes, effort, read_back, options):
    """One row for each number of threads."""
    packed = plain.with_name("packed.h5")
    taken = {jobs: [] for jobs in options.jobs}
    for _ in range(options.rounds):
        for jobs, seconds in taken.items():
            seconds.append(seconds_of(plain, packed, effort, jobs, read_back))
    best = {jobs: min(seconds) for jobs, seconds in taken.items()}
    return [{
        "effort": effort, "read_back": read_back, "jobs": jobs, "raw_bytes": raw_bytes, "rounds": options.rounds,
        "seconds": f"{seconds:.3f}", "mb_per_s": f"{raw_bytes / 1e6 / seconds:.2f}",
        "speedup": f"{best[options.jobs[0]] / seconds:.2f}",
    } for jobs, seconds in best.items()]


def measure(frames, options):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for effort, repeats in REPEATS.items():
            plain = pathlib.Path(folder, f"{effort}.h5")
            write_plain(plain, frames, repeats)
            for read_back in (True, False):
                rows += rows_of(plain, repeats * frames.nbytes, effort, read_back, options)
                for row in rows[-len(options.jobs):]:
                    print("  ".join(f"{name} {row[name]}" for name in COLUMNS), flush=True)
    return rows


def main():
    options = parse_arguments()
    if not common.SAE.exists():
        sys.exit(f"{common.SAE} does not exist: run `make build` first")
    load = common.machine_load()
    with tempfile.TemporaryDirectory() as scratch:
        if options.quick:
            options.data, options.record, options.rounds = pathlib.Path(scratch), pathlib.Path(scratch), 1
        source = datasets.Source(options.data, options.quick)
        rows = measure(source.frames("broad", source.n_frames), options)
        common.write_record(options.record, "threads", COLUMNS, rows, load=load)


if __name__ == "__main__":
    main()
