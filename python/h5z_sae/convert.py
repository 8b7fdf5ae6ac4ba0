"""Converts between a five-layer network in safetensors and a `.sae` model.

    python -m h5z_sae.convert net.safetensors net.sae --patch 64x64 --frames frames.h5:/entry/data
    python -m h5z_sae.convert net.sae net.safetensors

The direction follows the names. A network's tensors are those of a torch.nn.Module with `encoder` =
Sequential(Linear(n, m), ReLU(), Linear(m, l), ReLU()) and `decoder` = Sequential(Linear(l, m), ReLU(), Linear(m, n)):
encoder.0.weight, encoder.0.bias, encoder.2.weight, …, decoder.2.bias, as safetensors.torch.save_file(net.state_dict(),
path) writes them. It was trained on patches in raster order, each over its largest magnitude, after the transform.
Frames may be a .npy file or a dataset (needs h5py); they are cut into patches, and say how many bits each layer needs
and what the entropy coder should expect: some hundred of those that the network was trained on will do.
"""
import argparse
import os
import pathlib
import sys
from typing import Any

import numpy as np
import safetensors.numpy

from . import five_layer
from .checks import ModelError
from .model import Model

Array = np.ndarray[Any, Any]


def parse_patch(text: str) -> tuple[int, int]:
    """Rows and columns of "64x64"."""
    rows, _, cols = text.lower().partition("x")
    if not (rows.isdigit() and cols.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: ROWSxCOLS expected, such as 64x64")
    return int(rows), int(cols)


def parse_transform(text: str) -> tuple[str, int]:
    """Name and offset in Q24 of none, sqrt:C or log:C."""
    name, _, offset = text.partition(":")
    if (name == "none") == bool(offset) or name not in ("none", "sqrt", "log"):
        raise argparse.ArgumentTypeError(f"{text!r}: none, sqrt:C or log:C expected")
    try:
        return name, round(float(offset or 0) * (1 << 24))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: {offset!r} is no number") from None


def parser() -> argparse.ArgumentParser:
    """The command line's flags."""
    flags = argparse.ArgumentParser(prog="python -m h5z_sae.convert", description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("source", help="a network (.safetensors) or a model (.sae)")
    flags.add_argument("target", help="a model (.sae) or a network (.safetensors)")
    flags.add_argument("--patch", type=parse_patch, metavar="ROWSxCOLS", help="what the network sees at once")
    flags.add_argument("--frames", metavar="FILE.npy|FILE.h5:/DATASET", help="calibration frames")
    flags.add_argument("--transform", type=parse_transform, default=("none", 0), metavar="T",
                       help="none, sqrt:C or log:C, applied before the network [none]")
    flags.add_argument("--penalty", choices=["z", "grad"], default="z", help="what its L1 term counted [z]")
    flags.add_argument("--lambda", dest="sparsity_lambda", type=float, default=0.0, metavar="X",
                       help="weight of that term, for information [0]")
    flags.add_argument("--active", type=int, default=0, metavar="N",
                       help="latents kept in a patch, the largest; 0 keeps all [0]")
    return flags


def read_frames(source: str, patch: tuple[int, int]) -> Array:
    """Patches of at most CALIBRATION_PATCHES frames, evenly spread: B × rows × columns."""
    path, _, dataset = source.partition(":")
    if dataset:
        try:
            import h5py
        except ImportError:
            raise ModelError(f"{source}: reading HDF5 needs h5py (pip install h5py), or give a .npy file") from None
        with h5py.File(path) as file:
            if dataset not in file:
                raise ModelError(f"{path}: no dataset {dataset}")
            return cut(file[dataset], patch, source)
    return cut(np.load(path, mmap_mode="r"), patch, source)


def cut(frames: Any, patch: tuple[int, int], name: str) -> Array:
    """Whole patches of frames (the last two dimensions)."""
    rows, cols = frames.shape[-2:] if len(frames.shape) > 1 else (1, 1)
    if len(frames.shape) not in (2, 3) or rows < patch[0] or cols < patch[1]:
        raise ModelError(f"{name}: frames of shape {list(frames.shape)}: stacks of frames of at least "
                         f"{patch[0]} x {patch[1]} expected")
    every = max(1, (frames.shape[0] if len(frames.shape) == 3 else 1) // five_layer.CALIBRATION_PATCHES)
    stack = np.asarray(frames[::every] if len(frames.shape) == 3 else frames[...], np.float32).reshape(-1, rows, cols)
    down, across = rows // patch[0], cols // patch[1]
    whole = stack[:, : down * patch[0], : across * patch[1]].reshape(-1, down, patch[0], across, patch[1])
    return whole.swapaxes(2, 3).reshape(-1, *patch)


def to_model(options: argparse.Namespace) -> str:
    """A network to a model; returns what to print."""
    for flag in ("patch", "frames"):
        if getattr(options, flag) is None:
            raise ModelError(f"--{flag} is missing: a network does not say it, and a model needs it")
    try:
        state = safetensors.numpy.load_file(options.source)
    except (safetensors.SafetensorError, KeyError) as error:
        raise ModelError(f"{options.source}: not a safetensors file of float tensors ({error})") from error
    settings = five_layer.Settings(
        options.patch, options.transform[0], options.transform[1], penalty=options.penalty,
        sparsity_lambda=options.sparsity_lambda, active=options.active,
        provenance={"converter": "h5z_sae.convert", "data": os.path.basename(options.frames)},
    )
    model = five_layer.from_state_dict(state, settings, read_frames(options.frames, options.patch))
    model_id = model.write(options.target)
    return (f"{options.target}: id {model_id}, layers {model.n_values}, {model.n_hidden}, {model.n_latents}, "
            f"{model.n_hidden}, {model.n_values}")


def to_network(options: argparse.Namespace) -> str:
    """A model to a network; returns what to print."""
    model = Model.read(options.source)
    target = pathlib.Path(options.target)
    part = target.with_name(target.name + ".part")
    try:
        safetensors.numpy.save_file(five_layer.to_state_dict(model), part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    offset = model.transform_offset_q24 / (1 << 24)
    return (f"{target}: layers {model.n_values}, {model.n_hidden}, {model.n_latents}, {model.n_hidden}, "
            f"{model.n_values}; transform {model.transform}{f':{offset:g}' if offset else ''}, "
            f"penalty {model.penalty}, {model.active or 'all'} latents kept")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 anything else."""
    options = parser().parse_args(arguments)
    try:
        is_model = pathlib.Path(options.source).suffix == ".sae"
        if is_model == (pathlib.Path(options.target).suffix == ".sae"):
            raise ModelError(f"{options.source} to {options.target}: one of the two must end in .sae")
        print(to_network(options) if is_model else to_model(options))
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
