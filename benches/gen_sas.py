#!/usr/bin/env python3
"""Simulates 2-D small-angle-scattering frames with SasView's own models (PyPI: sasmodels, numpy, h5py).

The sets of the README's table: `sae synth` makes frames without Python, these make the numbers comparable with
anyone else who has SasView's models. Writes one HDF5 file with

    /frames   (N, P, P) float32   scattered intensity, each frame scaled to a maximum of 1
    /family   (N,)      uint8     index into the attribute `families`
    /qmax     (N,)      float32   1/angstrom at the frame's edge

With --counts C the frames are Poisson counts (uint32) whose mean at the brightest pixel is C. With --move-centre N the
beam hits up to half a pixel off the middle, in both directions, at another place every N frames; the particles are
those of the same seed without it.

    gen_sas.py OUT.h5 -n 2000 --set broad  --seed 2    eight particle families; random shape, orientation, q range
    gen_sas.py OUT.h5 -n 2000 --set narrow --seed 2    one instrument, one family: cylinders at a fixed q range
"""
import argparse
import os
import warnings

import h5py
import numpy as np

BROAD_FAMILIES = [
    "cylinder", "ellipsoid", "parallelepiped", "core_shell_cylinder",
    "hollow_cylinder", "triaxial_ellipsoid", "elliptical_cylinder", "core_shell_ellipsoid",
]
NARROW_FAMILIES = ["cylinder"]
NARROW_QMAX = 0.15  # 1/angstrom

# Polydispersity would average away the rings; the sets are of equal particles.
POLYDISPERSITY_SUFFIXES = ("_pd", "_pd_n", "_pd_nsigma", "_pd_type")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("-n", type=int, default=10_000, help="frames")
    parser.add_argument("--set", choices=["broad", "narrow"], default="broad")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--counts", type=float, help="Poisson counts with this mean at the brightest pixel")
    parser.add_argument("--move-centre", type=int, metavar="N", help="move the beam's centre every N frames")
    parser.add_argument("--families", nargs="*", help="replace the families of the broad set")
    return parser.parse_args()


def draw_narrow(rng):
    """Edge of the q range and parameters of one cylinder of the narrow set. The order of draws is the seed's meaning."""
    return NARROW_QMAX, dict(
        radius=rng.uniform(20, 100), length=rng.uniform(50, 400),
        theta=rng.uniform(0, 180), phi=rng.uniform(0, 360), scale=1.0, background=0.0,
    )


def draw_broad(rng, info):
    """Edge of the q range and parameters of one particle of the broad set, over SasView's own ranges."""
    from sasmodels.compare import constrain_pars, get_pars, randomize_pars

    qmax = 10 ** rng.uniform(-1.6, -0.4)
    parameters = randomize_pars(info, get_pars(info))
    constrain_pars(info, parameters)
    parameters = {name: v for name, v in parameters.items() if not name.endswith(POLYDISPERSITY_SUFFIXES)}
    parameters["background"] = 0.0
    for angle in ("theta", "phi", "psi"):
        if angle in parameters:
            parameters[angle] = rng.uniform(0, 360)
    return qmax, parameters


def beam_centres(options):
    """Where the beam hits, columns and rows right of and below the middle, in pixels; one pair for every frame."""
    if not options.move_centre:
        return np.zeros((options.n, 2))
    rng = np.random.default_rng([options.seed, 1])  # its own, so that the particles stay the same
    n_places = -(-options.n // options.move_centre)
    return np.repeat(rng.uniform(-0.5, 0.5, (n_places, 2)), options.move_centre, axis=0)[: options.n]


def intensity(model, q, qmax, parameters):
    """Intensity at the pixels `q` (two flat arrays, in units of `qmax`)."""
    from sasmodels.direct_model import call_kernel

    kernel = model.make_kernel([axis * qmax for axis in q])
    image = np.asarray(call_kernel(kernel, parameters), np.float64)
    kernel.release()
    return image


def simulate(options):
    """Frames, family indices and q edges. Particles that scatter nothing, or overflow, are drawn again."""
    from sasmodels.core import build_model, load_model_info

    families = NARROW_FAMILIES if options.set == "narrow" else (options.families or BROAD_FAMILIES)
    rng = np.random.default_rng(options.seed)
    np.random.seed(options.seed)  # sasmodels draws from the global generator
    infos = [load_model_info(name) for name in families]
    models = [build_model(info, platform="dll") for info in infos]
    line = np.linspace(-1, 1, options.pixels)
    q = np.stack([grid.ravel() for grid in np.meshgrid(line, line)])
    centres = beam_centres(options) * (line[1] - line[0])

    frames = np.empty((options.n, options.pixels, options.pixels), np.uint32 if options.counts else np.float32)
    family = np.empty(options.n, np.uint8)
    qmax = np.empty(options.n, np.float32)
    i = 0
    while i < options.n:
        k = int(rng.integers(len(families)))
        edge, parameters = draw_narrow(rng) if options.set == "narrow" else draw_broad(rng, infos[k])
        image = intensity(models[k], q - centres[i][:, None], edge, parameters)
        peak = image.max()
        if not np.isfinite(peak) or peak <= 0:
            continue
        image = (image / peak).reshape(options.pixels, options.pixels)
        frames[i] = rng.poisson(image * options.counts) if options.counts else image
        family[i], qmax[i] = k, edge
        i += 1
    return families, frames, family, qmax


def main():
    options = parse_arguments()
    warnings.filterwarnings("ignore")
    families, frames, family, qmax = simulate(options)
    part = options.out + ".part"
    with h5py.File(part, "w") as f:
        chunks = (min(options.n, 64), options.pixels, options.pixels)
        f.create_dataset("frames", data=frames, chunks=chunks).attrs["seed"] = options.seed
        f.create_dataset("family", data=family).attrs["families"] = families
        f.create_dataset("qmax", data=qmax).attrs["units"] = "1/angstrom"
    os.replace(part, options.out)


if __name__ == "__main__":
    main()
