"""What a net makes of the test frames: errors under each normalisation, counts, code lengths, real bytes.

Latents are computed by the float encoder of `h5z_sae.model`, quantised as the filter does for the bound *none* (its
step, its dead zone of 0.6), and decoded in floats: d(e(x)) of the paper. What a reader gets of a file is in
`repacked_mean_squared_error`; it is less, since the codec refines codes and keeps values within the range of their
chunk: a network's small negative ones so become 0.
"""
import dataclasses
import json
import tempfile

import h5py
import numpy as np
from h5z_sae import Model

import common
import data
import lengths

RAW_BITS = 32
BINS_PER_DECADE = 20


@dataclasses.dataclass
class Result:
    """Of one net: its line in the CSV, its sweep of steps, its histograms, and the model for pictures."""

    net: object
    row: dict
    steps: list
    histograms: list
    model_path: object
    test_path: object


def measure(net, trained, test, sizes):
    """Everything about one net; kept beside the model, and taken from there where model and frames are the same.
    `trained`: path of the model and the report of its training."""
    path, report = trained
    kept, key = path.with_suffix(".measured.json"), [report["id"], test.name, *dataclasses.astuple(sizes)]
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if found.get("key") != key:
        found = {"key": key, **measure_anew(net, path, report, test, sizes)}
        common.replace_text(kept, json.dumps(found))
    return Result(net, found["row"], found["steps"], found["histograms"], path, test)


def measure_anew(net, path, report, test, sizes):
    """Row, steps and histograms of one net."""
    model, norms = Model.read(path), data.frame_norms(test)
    errors, entries, other_counts = encode_all(model, test, model.none_step_log2)
    code = lengths.code_lengths(entries)
    row = {
        **describe(net, model, report),
        **count_columns(net, entries.counts, other_counts, norms),
        **error_columns(errors, norms),
        **length_columns(code, entries.n_frames, model.n_values),
        **repack(path, test, sizes.n_repack),
    }
    histograms = all_histograms(net, errors, entries.counts, norms, RAW_BITS * model.n_values / code.by_frame)
    return {"row": row, "steps": sweep_steps(net, model, data.first_frames(test, sizes.n_steps)),
            "histograms": histograms + difference_histogram(net, entries.differences)}


def encode_all(model, test, step_log2):
    """‖x − x̂‖₂ of every frame, the entries of all frames, and by frame the count of what the penalty does not act on:
    ‖∇z‖₀ for penalty z, ‖z‖₀ for grad."""
    errors, parts, other_counts = [], [], []
    for _, frames in data.blocks(test):
        levels = model.quantize(model.encode(frames), step_log2)
        latents, other = latents_and_other(model, levels)
        rebuilt = model.decode(latents.astype(np.float32) * np.float32(2.0**-step_log2))
        errors.append(frame_errors(frames, rebuilt))
        parts.append(lengths.Entries.of(levels))
        other_counts.append(np.count_nonzero(other, axis=1))
    return np.concatenate(errors), lengths.Entries.joined(parts), np.concatenate(other_counts)


def latents_and_other(model, levels):
    """z in steps, and the other of z and ∇z than the levels are."""
    if model.penalty == "grad":
        latents = np.cumsum(levels, axis=1, dtype=np.int32)
        return latents, latents
    return levels, np.diff(levels, axis=1, prepend=0)


def frame_errors(frames, rebuilt):
    """‖x − x̂‖₂ of each frame."""
    difference = (frames - rebuilt).reshape(len(frames), -1)
    return np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.float64))


def describe(net, model, report):
    """What the net is."""
    return {
        "net": net.name, "penalty": net.penalty, "lambda": net.sparsity_lambda, "active": net.active,
        "n": model.n_values, "hidden": model.n_hidden, "latents": net.latents, "latents_kept": model.n_latents,
        "overcomplete": net.latents >= 2 * model.n_values, "components": model.n_coefs, "epochs": net.epochs,
        "flags": " ".join(net.flags()), "steps": report["steps"], "train_seconds": round(report["seconds"], 1),
        "train_cpu_seconds": round(report["cpu_seconds"], 1), "model_bytes": report["bytes"],
        "none_step_log2": model.none_step_log2,
        "held_out_squared_error_float": report["float_squared_error"],
    }


def count_columns(net, counts, other_counts, norms):
    """Means of ‖z‖₀ and ‖∇z‖₀ after the dead zone, and the paper's count ratios, of means."""
    of_z, of_steps = (other_counts, counts) if net.penalty == "grad" else (counts, other_counts)
    pixels = norms.nonzero.mean()
    return {
        "frames": len(counts), "nonzero_pixels": round(float(pixels), 2),
        "nonzeros": round(float(of_z.mean()), 3), "nonzero_steps": round(float(of_steps.mean()), 3),
        "count_ratio_z": round(float(pixels / max(of_z.mean(), 1e-9)), 2),
        "count_ratio_grad": round(float(pixels / max(of_steps.mean(), 1e-9)), 2),
        "count_ratio": round(float(pixels / max(counts.mean(), 1e-9)), 2),
    }


def error_columns(errors, norms):
    """Mean of ‖x − x̂‖₂ and of its square: for frames of maximum 1, of sum 1, of ‖x‖₂ = 1."""
    columns = {}
    for suffix, divisor in (("", 1.0), ("_sum1", norms.total), ("_norm1", norms.euclidean)):
        scaled = errors / divisor
        columns[f"mean_error{suffix}"] = float(f"{scaled.mean():.5g}")
        columns[f"mean_squared_error{suffix}"] = float(f"{np.square(scaled).mean():.5g}")
    columns["median_squared_error"] = float(f"{np.median(np.square(errors)):.5g}")
    return columns


def length_columns(code, n_frames, n_values):
    """Coded sizes of a frame in bits, and ratios of raw f32 bits to them."""
    raw_bits = RAW_BITS * n_frames * n_values
    columns = {f"{name}_bits": round(getattr(code, name) / n_frames, 3) for name in (
        "fixed_positions", "adaptive_positions", "adaptive_differences", "fire_positions", "adaptive_levels",
        "ideal_differences", "ideal_levels")}
    return columns | {
        "ratio_adaptive": round(raw_bits / code.adaptive, 2), "ratio_ideal": round(raw_bits / code.ideal, 2),
        "ratio_fire": round(raw_bits / (code.fire_positions + code.adaptive_levels), 2),
    }


def repack(model, test, n_frames):
    """Real bytes of the first frames by `sae repack --none`, and the error of what a reader gets."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = f"{folder}/plain.h5", f"{folder}/packed.h5"
        frames = data.first_frames(test, n_frames)
        with h5py.File(plain, "w") as file:
            file.create_dataset("frames", data=frames)
        common.run_sae("repack", plain, packed, "--none", "--model", model, "--jobs", 1)
        common.publish_models(model)
        with h5py.File(packed) as file:
            stored_bytes = file["frames"].id.get_storage_size()
        decoded = common.read_frames(packed)
    squared = np.square(frame_errors(frames, decoded))
    return {
        "repacked_frames": len(frames), "repacked_bytes": stored_bytes,
        "ratio_real": round(frames.nbytes / stored_bytes, 2),
        "repacked_mean_squared_error": float(f"{squared.mean():.5g}"),
    }


def sweep_steps(net, model, frames):
    """What coarser and finer latent steps cost and save: one row for each."""
    latents = model.encode(frames)
    norms = data.norms_of(frames)
    steps = [*range(11), model.decoder.latent_frac_bits]
    return [step_row(net, model, frames, norms, latents, step_log2) for step_log2 in steps]


def step_row(net, model, frames, norms, latents, step_log2):
    """Error, counts and code lengths at one step; lengths in bits a frame."""
    levels = model.quantize(latents, step_log2)
    z, _ = latents_and_other(model, levels)
    errors = frame_errors(frames, model.decode(z * np.float32(2.0**-step_log2)))
    code = lengths.code_lengths(lengths.Entries.of(levels))
    entries = np.count_nonzero(levels)
    float_levels = float(RAW_BITS * entries)
    bits = {name: getattr(code, name) for name in (
        "fixed_positions", "adaptive_positions", "adaptive_differences", "adaptive_levels")}
    return {
        "net": net.name, "frames": len(frames), "step_log2": step_log2, **error_columns(errors, norms),
        "entries": round(entries / len(frames), 3), "count_ratio": round(np.count_nonzero(frames) / max(entries, 1), 2),
        **{f"{name}_bits": round(length / len(frames), 3) for name, length in bits.items()},
        "float_levels_bits": round(float_levels / len(frames), 3),
        "ratio_adaptive": round(RAW_BITS * frames.size / max(code.adaptive, 1.0), 2),
        "share_saved_by_differences": share_saved(code.adaptive, code.adaptive_positions + code.adaptive_levels),
        "share_saved_by_quantising": share_saved(code.adaptive, code.adaptive_differences + float_levels),
    }


def share_saved(with_it, without):
    return round(1 - with_it / without, 5) if without else 0.0


def all_histograms(net, errors, counts, norms, coded_ratios):
    """Rows of (net, quantity, left edge of a bin, frames), for quantities of frames; bins are equal in logarithm."""
    rows = []
    for quantity, values in (("error", errors), ("count ratio", norms.nonzero / np.maximum(counts, 1)),
                             ("coded ratio", coded_ratios)):
        bins = np.floor(np.log10(np.maximum(values, 1e-12)) * BINS_PER_DECADE).astype(int)
        for number, n_frames in enumerate(np.bincount(bins - bins.min()), bins.min()):
            edge = float(f"{10.0 ** (number / BINS_PER_DECADE):.4g}")
            rows.append({"net": net.name, "quantity": quantity, "from": edge, "number": int(n_frames)})
    return rows


def difference_histogram(net, differences):
    """Rows of the same shape: how many entries have each δ."""
    return [{"net": net.name, "quantity": "delta", "from": int(difference), "number": int(number)}
            for difference, number in zip(*np.unique(differences, return_counts=True), strict=True)]
