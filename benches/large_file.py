#!/usr/bin/env python3
"""`sae repack` on a file far larger than it may keep in memory: peak memory, progress, and what interruptions leave.

    benches/large_file.py                       10 GB of frames, in some minutes; takes about 1 GB of disk
    benches/large_file.py --gigabytes 0.5       a smaller one
    benches/large_file.py --json --record ''    prints the row, writes no record

The file takes little disk, as its frames repeat (`sae synth`, rounded to the bound) under gzip, and a quarter of its
chunks was never written. It is repacked once to the end, with a terminal to draw the progress on, and three times until
a signal comes: SIGINT, SIGTERM and SIGKILL. Then the file that had the output's name before has to be unchanged, and
but for SIGKILL, which no program outlives, the unfinished one has to be gone.

Memory is VmHWM, the most that was resident, asked for all the time. Writes DATE-large-file.csv and .txt into
benches/record; exits 1 where the memory is above what is allowed or an interruption left something.
"""
import argparse
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import common  # before h5py, for the plugin's path

import h5py
import numpy as np

EPSILON = 1e-3
N_FRAMES, PIXELS, FRAMES_PER_CHUNK = 256, 64, 64
CHUNK = (FRAMES_PER_CHUNK, PIXELS, PIXELS)
CHUNK_BYTES = FRAMES_PER_CHUNK * PIXELS * PIXELS * 4
WRITTEN = 3 / 4
# Whatever the size of the file: program, model and HDF5's caches, and what each thread works on.
ALLOWED_BYTES, ALLOWED_BYTES_PER_THREAD = 128_000_000, 64_000_000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
POLL_S = 0.01
COLUMNS = ("raw_bytes", "source_bytes", "stored_bytes", "effort", "jobs", "seconds", "mb_per_s", "max_abs_err",
           "peak_bytes", "allowed_bytes", "drawings", *(one.name.lower() for one in SIGNALS))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=10, help="bytes of all frames [10]")
    parser.add_argument("--effort", default="fast", help="effort of the codec [fast]")
    parser.add_argument("--jobs", type=int, default=2, help="threads [2]")
    parser.add_argument("--json", action="store_true", help="print the row as JSON")
    parser.add_argument("--record", default=common.RECORD, help="where the CSV file goes; '' for nowhere")
    return parser.parse_args()


def write_source(path, n_bytes):
    """`/frames`: few different chunks of frames, over and over, as HDF5 stores them. Returns the raw bytes."""
    n_chunks = max(round(n_bytes / CHUNK_BYTES), 1)
    simulated = path.with_name("simulated.h5")
    common.run_sae("synth", simulated, "-n", N_FRAMES, "--pixels", PIXELS, "--seed", 3)
    with h5py.File(simulated) as file:
        frames = np.float32(EPSILON) * np.round(file["frames"][...] / np.float32(EPSILON))
    with h5py.File(path, "w") as file:
        filters = dict(chunks=CHUNK, compression="gzip", compression_opts=1, shuffle=True)
        few = file.create_dataset("few", data=frames, **filters).id
        stored = [few.read_direct_chunk((start, 0, 0))[1] for start in range(0, N_FRAMES, FRAMES_PER_CHUNK)]
        del file["few"]
        data = file.create_dataset("frames", (n_chunks * FRAMES_PER_CHUNK, *CHUNK[1:]), np.float32, **filters)
        for index in range(round(WRITTEN * n_chunks)):
            data.id.write_direct_chunk((index * FRAMES_PER_CHUNK, 0, 0), stored[index % len(stored)])
    return n_chunks * CHUNK_BYTES


def command(source, packed, options):
    words = (common.SAE, "repack", source, packed, "--abs", EPSILON, "--effort", options.effort, "--jobs", options.jobs)
    return [*(str(word) for word in words), "--json"]


def peak_bytes(pid):
    """VmHWM of a process; 0 where it has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def read_terminal(master, drawn):
    """Takes in what is drawn until nobody has the terminal open any more."""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            return
        if not part:
            return
        drawn.append(part)


def run_to_the_end(words):
    """Report, seconds, peak memory and everything that was drawn on the terminal."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    drawn, peak, started = [], 0, time.perf_counter()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, text=True,
                               env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    reader = threading.Thread(target=read_terminal, args=(master, drawn))
    reader.start()
    while process.poll() is None:
        peak = max(peak, peak_bytes(process.pid))
        time.sleep(POLL_S)
    seconds = time.perf_counter() - started
    reader.join()
    os.close(master)
    text = b"".join(drawn).decode(errors="replace")
    report = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(words)} exits {process.returncode}:\n{text}")
    return json.loads(report), seconds, peak, text


def interrupt(words, packed, which, enough_bytes):
    """Stops the program in the midst of writing; in words what is wrong then, or `nothing left`."""
    before = b"what had this name before"
    packed.write_bytes(before)
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = packed.with_name(f".{packed.name}.{process.pid}.part")
    while process.poll() is None and not (part.exists() and part.stat().st_size > enough_bytes):
        time.sleep(POLL_S)
    process.send_signal(which)
    code, is_left = process.wait(), part.exists()
    part.unlink(missing_ok=True)
    expected = -which if which == signal.SIGKILL else 130
    if code != expected:
        return f"exit code {code}, expected {expected}"
    if packed.read_bytes() != before:
        return "another file under the final name"
    return "unfinished file left" if is_left and which != signal.SIGKILL else "nothing left"


def measure(folder, options):
    source, packed = folder / "source.h5", folder / "packed.h5"
    raw_bytes = write_source(source, options.gigabytes * 1e9)
    words = command(source, packed, options)
    report, seconds, peak, drawn = run_to_the_end(words)
    stored_bytes = packed.stat().st_size
    left = {one.name.lower(): interrupt(words, packed, one, stored_bytes / 10) for one in SIGNALS}
    return {
        "raw_bytes": raw_bytes, "source_bytes": source.stat().st_size, "stored_bytes": stored_bytes,
        "effort": options.effort, "jobs": options.jobs, "seconds": f"{seconds:.1f}",
        "mb_per_s": f"{raw_bytes / 1e6 / seconds:.1f}", "max_abs_err": report["max_abs_err"], "peak_bytes": peak,
        "allowed_bytes": ALLOWED_BYTES + options.jobs * ALLOWED_BYTES_PER_THREAD,
        "drawings": len(re.findall("compressing|reading back", drawn)), **left,
    }


def main():
    options = parse_arguments()
    if not common.SAE.exists():
        sys.exit(f"{common.SAE} does not exist: run `make build` first")
    load = common.machine_load()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="large-file-"))
    try:
        row = measure(folder, options)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(row) if options.json else "\n".join(f"{name:14} {row[name]}" for name in COLUMNS))
    if options.record:
        common.write_record(options.record, "large-file", COLUMNS, [row], load=load)
    is_kept = row["peak_bytes"] <= row["allowed_bytes"] and row["max_abs_err"] <= EPSILON
    return 0 if is_kept and all(row[one.name.lower()] == "nothing left" for one in SIGNALS) else 1


if __name__ == "__main__":
    sys.exit(main())
