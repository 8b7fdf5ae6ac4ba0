"""The picture of the comparison, as PNG and SVG: bits a value against the bound, one panel for each simulated set."""
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import codecs_hdf5
import report

DPI = 110
# A reader with red-green blindness tells these apart; peers are thin, ours thick, whatever their colours.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999", "#882255",
           "#44aa99")


def draw_rates(rows, stem):
    """Writes `stem`.png and `stem`.svg; nothing where no simulated set was measured under a bound."""
    rows = [row for row in report.whole_sets(rows) if row["group"] == "simulated" and row["epsilon"]]
    kinds = list(dict.fromkeys(row["set"] for row in rows))
    if not kinds:
        return
    plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "peers"})
    figure, panels = plt.subplots(1, len(kinds), figsize=(4.2 * len(kinds) + 2.4, 4.0), sharey=True, squeeze=False)
    names = list(dict.fromkeys(row["codec"] for row in rows))
    for kind, axes in zip(kinds, panels[0], strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            draw_codec(axes, [row for row in rows if (row["set"], row["codec"]) == (kind, name)], name, colour)
        axes.set(title=report.title(kind), xlabel="bound, of the frames' maximum", xscale="log", yscale="log")
    panels[0][0].set_ylabel("bits a value")
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="center right", fontsize=8)
    figure.tight_layout(rect=(0, 0, 1 - 2.3 / figure.get_figwidth(), 1))
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, more in ((".png", {"dpi": DPI}), (".svg", {"metadata": {"Date": None}})):
        figure.savefig(stem.with_name(stem.name + suffix), **more)
    plt.close(figure)


def draw_codec(axes, rows, name, colour):
    """One line: the better of the measured chunkings at every bound. The data are f32."""
    if not rows:
        return
    epsilons = sorted({row["epsilon"] for row in rows})
    bits = [min(32 / row["ratio"] for row in rows if row["epsilon"] == epsilon) for epsilon in epsilons]
    ours = name.startswith(codecs_hdf5.OURS)
    axes.plot(epsilons, bits, "o-", color=colour, label=name, linewidth=2.2 if ours else 1.0,
              markersize=4 if ours else 3)
