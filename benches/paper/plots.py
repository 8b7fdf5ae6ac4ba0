"""The pictures, each as PNG and SVG: histograms, ρ(δₖ), what δ and quantising save, two frames."""
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from h5z_sae import Model

import data
import measure

SIZE = (7.2, 3.6)
DPI = 110
# A reader with red-green blindness tells these apart; dashes tell the penalties apart without colour.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def draw_all(results, folder):
    """Writes every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "paper"})
    styles = {result.net.name: style(result, number) for number, result in enumerate(results)}
    draw_histogram(results, styles, "error", "‖x − x̂‖₂ of a frame of maximum 1", folder / "errors")
    draw_compression(results, styles, folder / "compression")
    draw_differences(results, styles, folder / "differences")
    draw_savings(results, styles, folder / "savings")
    draw_rates(results, styles, folder / "rates")
    draw_frames(results, folder / "frames")


def style(result, number):
    return {"color": COLOURS[number % len(COLOURS)], "label": result.net.name,
            "linestyle": "--" if result.net.penalty == "grad" else "-" if result.net.active else ":"}


def save(figure, path):
    figure.tight_layout()
    for suffix, more in ((".png", {"dpi": DPI}), (".svg", {"metadata": {"Date": None}})):
        figure.savefig(path.with_suffix(suffix), **more)
    plt.close(figure)


def histogram_of(result, quantity):
    """Left edges and share of frames in each bin."""
    rows = [row for row in result.histograms if row["quantity"] == quantity]
    numbers = np.array([row["number"] for row in rows], float)
    return np.array([row["from"] for row in rows], float), numbers / numbers.sum()


def steps_of(axes, result, quantity, how):
    edges, shares = histogram_of(result, quantity)
    axes.step(edges, shares, where="post", **how)
    axes.set_xscale("log")


def draw_histogram(results, styles, quantity, label, path):
    figure, axes = plt.subplots(figsize=SIZE)
    for result in results:
        steps_of(axes, result, quantity, styles[result.net.name])
    axes.set_xlabel(label)
    axes.set_ylabel("share of frames")
    axes.legend(fontsize=7)
    save(figure, path)


def draw_compression(results, styles, path):
    figure, both = plt.subplots(1, 2, figsize=SIZE, sharey=True)
    for axes, quantity, label in zip(both, ("count ratio", "coded ratio"),
                                     ("‖x‖₀ / ‖f(z)‖₀", "bits of f32 / bits of δ and w"), strict=True):
        for result in results:
            steps_of(axes, result, quantity, styles[result.net.name])
        axes.set_xlabel(label)
    both[0].set_ylabel("share of frames")
    both[1].legend(fontsize=6)
    save(figure, path)


def draw_differences(results, styles, path):
    """ρ(δₖ): how often each index difference occurs."""
    figure, axes = plt.subplots(figsize=SIZE)
    for result in results:
        values, shares = histogram_of(result, "delta")
        axes.plot(values, shares, linewidth=1, **styles[result.net.name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("δ")
    axes.set_ylabel("ρ(δ)")
    axes.legend(fontsize=7)
    save(figure, path)


def draw_savings(results, styles, path):
    """Shares saved by coding δ instead of i, and by quantising w, against the error that a step makes."""
    figure, both = plt.subplots(1, 2, figsize=SIZE)
    for axes, column, title in zip(both, ("share_saved_by_differences", "share_saved_by_quantising"),
                                   ("δ instead of i", "quantised w instead of f32"), strict=True):
        for result in results:
            axes.plot([row["mean_squared_error"] for row in result.steps],
                      [100 * row[column] for row in result.steps], marker=".", **styles[result.net.name])
        axes.set_xscale("log")
        axes.set_xlabel("mean ‖x − x̂‖₂²")
        axes.set_title(title, fontsize=9)
    both[0].set_ylabel("saved, % of δ and w")
    both[0].legend(fontsize=6)
    save(figure, path)


def draw_rates(results, styles, path):
    """Coded and count ratios against error, every step of every net; the goals as lines."""
    figure, both = plt.subplots(1, 2, figsize=SIZE)
    for axes, column, goal, label in zip(both, ("count_ratio", "ratio_adaptive"), (216, 525),
                                         ("count ratio", "coded ratio"), strict=True):
        for result in results:
            axes.plot([row["mean_squared_error"] for row in result.steps], [row[column] for row in result.steps],
                      marker=".", **styles[result.net.name])
        axes.axhline(goal, color="0.6", linewidth=0.8)
        axes.axvline(2.5e-3, color="0.6", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("mean ‖x − x̂‖₂²")
        axes.set_ylabel(label)
    both[0].legend(fontsize=6)
    save(figure, path)


def draw_frames(results, path):
    """Two test frames with their reconstructions and differences: the best net of each penalty."""
    chosen = {}
    for result in sorted(results, key=lambda result: result.row["mean_squared_error"]):
        chosen.setdefault(result.net.penalty, result)
    figure, grid = plt.subplots(len(chosen), 6, figsize=(9, 1.9 * len(chosen) + 0.4), squeeze=False)
    for axes_row, result in zip(grid, chosen.values(), strict=True):
        model = Model.read(result.model_path)
        frames = data.first_frames(result.test_path, 2)
        levels = model.quantize(model.encode(frames), model.none_step_log2)
        z, _ = measure.latents_and_other(model, levels)
        rebuilt = model.decode(z * np.float32(2.0**-model.none_step_log2))
        for number, (frame, other, code) in enumerate(zip(frames, rebuilt, levels, strict=True)):
            show_frame(axes_row[3 * number:3 * number + 3], frame, other, code, result)
    save(figure, path)


def show_frame(axes, frame, rebuilt, code, result):
    """Frame, reconstruction and difference; fourth root, so that rings show."""
    what = "∇z" if result.net.penalty == "grad" else "z"
    nonzeros = np.count_nonzero(code)
    error = np.sqrt(np.square(frame - rebuilt).sum())
    titles = (result.net.name, f"{nonzeros} nonzero {what}", f"‖x − x̂‖₂ {error:.3f}")
    images = (np.maximum(frame, 0) ** 0.25, np.maximum(rebuilt, 0) ** 0.25, frame - rebuilt)
    for cell, image, title in zip(axes, images, titles, strict=True):
        limit = np.abs(image).max()
        scale = {"cmap": "magma", "vmin": 0, "vmax": 1} if image is not images[2] else \
                {"cmap": "RdBu", "vmin": -limit, "vmax": limit}
        cell.imshow(image, **scale)
        cell.set_title(title, fontsize=7)
        cell.set_axis_off()
