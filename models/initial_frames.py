"""Frames for models/initial_states.sh: `initial_frames.py FOLDER BROAD.h5 NARROW.h5` writes files of 64 x 64 f32.

Simulated scattering as it is, with noise, as counts; smooth random fields. Everything is seeded.
"""
import sys
from pathlib import Path

import h5py
import numpy as np

N_FRAMES = 2048
SEED = 7


def smooth_fields(rng, n, roughness):
    """Gaussian random fields whose spectrum falls with the given power, of a range of 1."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((n, 64, 64))) * frequency ** -roughness
    fields = np.fft.ifft2(spectrum).real
    low, high = fields.min(axis=(1, 2), keepdims=True), fields.max(axis=(1, 2), keepdims=True)
    return (fields - low) / (high - low)


def main(folder, broad_path, narrow_path):
    rng = np.random.default_rng(SEED)
    broad = h5py.File(broad_path)["frames"][-N_FRAMES:]
    narrow = h5py.File(narrow_path)["frames"][-N_FRAMES:]
    few, few_narrow = broad[:512], narrow[:512]
    sets = {
        "broad": broad,
        "few-broad": few,
        "narrow": few_narrow,
        "noisy": few + rng.normal(0, 1e-3, few.shape),
        "counts": rng.poisson(few * 300),
        "smooth": smooth_fields(rng, 256, 3.0),
        "rough": smooth_fields(rng, 256, 1.5),
    }
    for name, frames in sets.items():
        frames.astype("<f4").tofile(Path(folder) / f"{name}.f32")


if __name__ == "__main__":
    main(*sys.argv[1:])
