"""Simulated frames: made once, read in blocks."""
import dataclasses
import functools
import sys

import h5py
import numpy as np

import common

BLOCK_FRAMES = 2048


def synthesize(folder, kind, n_frames, seed, pixels=64):
    """Path of `n_frames` square frames of one set, simulated on the first call (a few seconds for 10 000)."""
    path = folder / f"{kind}-{n_frames}x{pixels}x{pixels}-seed{seed}.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"simulating {n_frames} frames: {kind}, seed {seed}", file=sys.stderr, flush=True)
        common.run_sae("synth", path, "--frames", n_frames, "--set", kind, "--seed", seed, "--pixels", pixels)
    return path


def blocks(path, n_frames=None):
    """Slices and frames (B × rows × columns, f32), in order; the first `n_frames` only."""
    with h5py.File(path) as file:
        dataset = file["frames"]
        end = min(n_frames or len(dataset), len(dataset))
        for start in range(0, end, BLOCK_FRAMES):
            block = slice(start, min(end, start + BLOCK_FRAMES))
            yield block, dataset[block]


def first_frames(path, n_frames):
    with h5py.File(path) as file:
        return file["frames"][:n_frames]


@dataclasses.dataclass(frozen=True)
class Norms:
    """Of every frame: the sum of its pixels, ‖x‖₂ and ‖x‖₀. Its maximum is 1."""

    total: np.ndarray
    euclidean: np.ndarray
    nonzero: np.ndarray


def norms_of(frames):
    """Norms of a block of frames, in f64."""
    x = frames.reshape(len(frames), -1)
    squares = np.einsum("ij,ij->i", x, x, dtype=np.float64)
    return Norms(x.sum(axis=1, dtype=np.float64), np.sqrt(squares), np.count_nonzero(x, axis=1))


@functools.cache
def frame_norms(path):
    """Norms of all frames of a file; read once, and only where a net is measured anew."""
    parts = [norms_of(frames) for _, frames in blocks(path)]
    return Norms(*(np.concatenate([getattr(part, field.name) for part in parts])
                   for field in dataclasses.fields(Norms)))
