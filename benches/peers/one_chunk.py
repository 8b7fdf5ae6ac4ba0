#!/usr/bin/env python3
"""Writes or reads one chunk and prints by how many bytes the resident memory grew meanwhile, at its peak.

    one_chunk.py encode VALUES.npy OUT.h5 CREATE      CREATE: keywords of h5py's create_dataset, as JSON
    one_chunk.py decode VALUES.npy IN.h5              VALUES: only its shape and type count

A process of its own for each: memory that an earlier chunk left with the allocator would hide what this one takes.
"""
import json
import sys

import h5py
import numpy as np


def write(path, values, create):
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, chunks=values.shape, **create)


def read(path, values):
    with h5py.File(path) as file:
        file["values"].read_direct(values)


def resident_bytes(field):
    """VmRSS, what is resident now, or VmHWM, the most that was."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(field))


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def main():
    direction, values_path, path, *create = sys.argv[1:]
    values = np.load(values_path)
    arguments = json.loads(create[0]) if create else {}
    if "compression_opts" in arguments:
        arguments["compression_opts"] = tuple(arguments["compression_opts"])
    with h5py.File(path + ".none", "w") as file:
        file.create_dataset("values", data=values[:1], chunks=values[:1].shape)
    read(path + ".none", values[:1])
    forget_peak()
    before = resident_bytes("VmRSS")
    write(path, values, arguments) if direction == "encode" else read(path, values)
    print(resident_bytes("VmHWM") - before)


if __name__ == "__main__":
    main()
