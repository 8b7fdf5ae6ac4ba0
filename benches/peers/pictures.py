"""The picture of the comparison, as PNG and SVG: bits a value against the bound, one panel for each simulated set."""
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import codecs_hdf5
import report

DPI = 110
# A reader with red-green blindness tells these apart. Ours are black and thick, their settings told by dashes.
PEER_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#882255", "#117733",
                "#aa4499")
OWN_DASHES = ("-", "--", ":", "-.")


def draw_rates(rows, stem):
    """Writes `stem`.png and `stem`.svg; nothing where no simulated set was measured under a bound."""
    rows = [row for row in report.whole_sets(rows) if row["group"] == "simulated" and row["epsilon"]]
    kinds = list(dict.fromkeys(row["set"] for row in rows))
    if not kinds:
        return
    plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "peers"})
    figure, panels = plt.subplots(1, len(kinds), figsize=(4.2 * len(kinds) + 2.4, 4.0), sharey=True, squeeze=False)
    styles = styles_of(dict.fromkeys(row["codec"] for row in rows))
    for kind, axes in zip(kinds, panels[0], strict=True):
        for name, style in styles.items():
            draw_codec(axes, [row for row in rows if (row["set"], row["codec"]) == (kind, name)], style)
        axes.set(title=report.title(kind), xlabel="bound, of the frames' maximum", xscale="log", yscale="log")
    panels[0][0].set_ylabel("bits a value")
    handles = {label: handle for axes in panels[0] for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="center right", fontsize=8)
    figure.tight_layout(rect=(0, 0, 1 - 2.3 / figure.get_figwidth(), 1))
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, more in ((".png", {"dpi": DPI}), (".svg", {"metadata": {"Date": None}})):
        figure.savefig(stem.with_name(stem.name + suffix), **more)
    plt.close(figure)


def styles_of(names):
    """How the line of each codec looks."""
    own = [name for name in names if name.startswith(codecs_hdf5.OURS)]
    styles = {}
    for number, name in enumerate(name for name in names if name not in own):
        styles[name] = {"color": PEER_COLOURS[number % len(PEER_COLOURS)], "linewidth": 1.0, "markersize": 3}
    for number, name in enumerate(own):
        dashes = OWN_DASHES[number % len(OWN_DASHES)]
        styles[name] = {"color": "black", "linestyle": dashes, "linewidth": 1.8, "markersize": 4}
    return {name: style | {"label": name, "marker": "o"} for name, style in styles.items()}


def draw_codec(axes, rows, style):
    """One line: the better of the measured chunkings at every bound. The data are f32."""
    if not rows:
        return
    epsilons = sorted({row["epsilon"] for row in rows})
    axes.plot(epsilons, [min(32 / row["ratio"] for row in rows if row["epsilon"] == epsilon) for epsilon in epsilons],
              **style)
