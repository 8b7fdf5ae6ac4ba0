"""Runs codecs on a set and measures: bytes, largest error, processor time. Runs are interleaved."""
import dataclasses
import os
import sys
import tempfile
import time

import h5py
import numpy as np

import bounds
import codecs_hdf5

COLUMNS = (
    "set", "group", "bound", "epsilon", "codec", "chunking", "chunk", "frames", "raw_bytes", "stored_bytes",
    "model_bytes", "ratio", "ratio_with_model", "floor_ratio", "max_abs_err", "bound_holds", "encode_mb_per_s",
    "decode_mb_per_s",
)
# What took longer in a round is not run in the next one.
LONG_RUN_S = 0.5


@dataclasses.dataclass(frozen=True)
class Run:
    """One codec on a part of a set, under one bound and chunking."""

    codec: object
    bound: bounds.Bound
    chunking: str
    n_frames: int


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Frames for what is slow: one frame a chunk, and the best effort."""

    single: int
    thorough: int
    rounds: int


def runs_of(data, bound, codecs, sizes):
    """What is measured of one set under one bound.

    Peers get both chunkings of all frames. One frame a chunk is measured of fewer frames, by all codecs alike; so is
    the best effort, with the default effort beside it. Lossless coding, slow with most, gets no more frames than that.
    """
    n_single, n_thorough = min(sizes.single, data.n_frames), min(sizes.thorough, data.n_frames)
    n_all = n_thorough if bound == bounds.LOSSLESS else data.n_frames
    wanted = []
    for codec in codecs:
        if not codec.takes(data.values):
            continue
        if codec.thorough:
            wanted.append((codec, "stack", n_thorough))
            continue
        if not codec.one_frame_only:
            wanted.append((codec, "stack", n_all))
        if not codec.is_ours and not codec.prefers_stacks:
            wanted.append((codec, "single", n_all))
        if data.single != data.stack:
            wanted.append((codec, "single", n_single))
        if codec.name == codecs_hdf5.BUILT_IN and any(other.thorough for other in codecs):
            wanted.append((codec, "stack", n_thorough))
    return [Run(codec, bound, chunking, n_frames) for codec, chunking, n_frames in unique(data, wanted)]


def unique(data, wanted):
    """Without those that would repeat a measurement: a set of one frame has one chunking."""
    by_work = {}
    for codec, chunking, n_frames in wanted:
        by_work.setdefault((codec.name, getattr(data, chunking), n_frames), (codec, chunking, n_frames))
    return by_work.values()


def measure_set(spec, data, codecs_of, sizes):
    """Rows of one set. `codecs_of(bound)` lists what keeps a bound."""
    runs = [run for bound in data.bounds for run in runs_of(data, bound, codecs_of(bound), sizes)]
    rows, fast = {}, set(runs)
    for _ in range(sizes.rounds):
        for run in [run for run in runs if run in fast]:
            started = time.perf_counter()
            row = measure(spec, data, run)
            if time.perf_counter() - started > LONG_RUN_S:
                fast.discard(run)
            if run not in rows:
                tell(row)
            rows[run] = faster(rows.get(run), row)
    return list(rows.values())


def faster(known, row):
    """The row with the better speeds of two rounds. All else is the same in each."""
    if known is None:
        return row
    if known["stored_bytes"] != row["stored_bytes"]:
        raise SystemExit(f"{row['set']}, {row['codec']}: {known['stored_bytes']} bytes in one round, "
                         f"{row['stored_bytes']} in another")
    return row | {speed: max(known[speed], row[speed]) for speed in ("encode_mb_per_s", "decode_mb_per_s")}


def measure(spec, data, run):
    """Writes, closes, opens and reads once; one CSV row."""
    codec, bound = run.codec, run.bound
    values = data.part(run.n_frames)
    chunks = tuple(map(min, getattr(data, run.chunking), values.shape))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "values.h5")
        started = time.process_time()
        with h5py.File(path, "w") as file:
            codec.store(file, values, chunks, bound)
        encode_s = time.process_time() - started
        started = time.process_time()
        with h5py.File(path) as file:
            decoded = codec.load(file, bound)
        decode_s = time.process_time() - started
        with h5py.File(path) as file:
            stored_bytes = codec.stored_bytes(file)
    max_abs_err, holds = compare(values, decoded, bound, codec.is_ours)
    floor_ratio = data.floor_ratio(bound, run.n_frames)
    megabytes = values.nbytes / 1e6
    return {
        "set": spec.name, "group": spec.group, "bound": bound.name, "epsilon": bound.value, "codec": codec.name,
        "chunking": run.chunking, "chunk": "x".join(map(str, chunks)), "frames": run.n_frames,
        "raw_bytes": values.nbytes, "stored_bytes": stored_bytes, "model_bytes": codec.model_bytes,
        "ratio": round(values.nbytes / stored_bytes, 3),
        "ratio_with_model": round(values.nbytes / (stored_bytes + codec.model_bytes), 3),
        "floor_ratio": round(floor_ratio, 3) if floor_ratio else "",
        "max_abs_err": max_abs_err, "bound_holds": holds,
        "encode_mb_per_s": round(megabytes / encode_s, 2), "decode_mb_per_s": round(megabytes / decode_s, 2),
    }


def compare(values, decoded, bound, exact_specials):
    """Largest error in f64, and whether all values keep the bound; NaN in its place counts where it is promised."""
    finite = np.isfinite(values)
    errors = np.abs(values.astype(np.float64) - decoded.astype(np.float64), where=finite, out=np.zeros(values.shape))
    allowed = np.broadcast_to(bound.allowed(values), values.shape)
    holds = bool((errors <= allowed)[finite].all())
    if not exact_specials:
        return float(errors.max()), holds
    as_bits = f"u{values.itemsize}"
    same = values.view(as_bits) == decoded.view(as_bits)
    exact = same.all() if bound == bounds.LOSSLESS else same[~finite].all()
    return float(errors.max()), holds and bool(exact)


def tell(row):
    print(f"{row['set']:13} {row['bound']:20} {row['codec']:36} {row['chunk']:13} {row['ratio']:9.2f}x  "
          f"{row['encode_mb_per_s']:7.1f} {row['decode_mb_per_s']:7.1f} MB/s"
          f"{'' if row['bound_holds'] else '  above the bound'}", file=sys.stderr, flush=True)
