"""Markdown tables of the results, as docs/paper.md shows them."""


# What the paper reports for its nets (1,2,10,z) and (1,2,10,∇z); it does not state the normalisation of frames.
PAPER_ERRORS = (2.48e-3, 8.00e-4)


def all_tables(results, neighbour_rows):
    """Tables by the name of their markers."""
    rows = [result.row for result in results]
    found = {"nets": nets_table(rows), "counts": counts_table(rows), "errors": errors_table(rows),
             "goals": goals_table([row for result in results for row in result.steps]),
             "streams": streams_table(results)}
    return found | ({"neighbours": neighbours_table(neighbour_rows)} if neighbour_rows else {})


def markdown(header, lines):
    """A table; numbers are texts already."""
    body = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join(body + ["| " + " | ".join(map(str, line)) + " |" for line in lines])


def ratio(value):
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def limit(row):
    return row["active"] or "–"


def penalty(row):
    return "∇z" if row["penalty"] == "grad" else "z"


def nets_table(rows):
    return markdown(
        ["net", "penalty", "λ", "limit", "m", "ℓ / n", "latents kept", "passes", "CPU minutes", "model, MB"],
        [[row["net"], penalty(row), f"{row['lambda']:g}", limit(row), row["hidden"],
          f"{row['latents'] / row['n']:g}", row["latents_kept"], f"{row['epochs']:g}",
          f"{row['train_cpu_seconds'] / 60:.1f}", f"{row['model_bytes'] / 1e6:.1f}"] for row in rows])


def counts_table(rows):
    return markdown(
        ["net", "mean ‖x−x̂‖₂²", "its median", "as read", "mean ‖x−x̂‖₂", "‖z‖₀", "‖∇z‖₀", "count ratio",
         "adaptive δ, w", "real bytes"],
        [[row["net"], f"{row['mean_squared_error']:.2e}", f"{row['median_squared_error']:.2e}",
          f"{row['repacked_mean_squared_error']:.2e}", f"{row['mean_error']:.2e}",
          f"{row['nonzeros']:.1f}", f"{row['nonzero_steps']:.1f}",
          ratio(row["count_ratio"]), ratio(row["ratio_adaptive"]), ratio(row["ratio_real"])] for row in rows])


def errors_table(rows):
    names = ("mean_error", "mean_squared_error")
    suffixes = ("", "_sum1", "_norm1")
    return markdown(
        ["net", *(f"{what}, {which}" for which in ("maximum 1", "sum 1", "‖x‖₂ = 1") for what in ("mean", "square"))],
        [[row["net"], *(f"{row[name + suffix]:.2e}" for suffix in suffixes for name in names)] for row in rows])


def goals_table(steps):
    """For each reading of the paper's two errors: the best ratios of all nets and steps that meet it."""
    lines = []
    for which, suffix in (("maximum 1", ""), ("sum 1", "_sum1"), ("‖x‖₂ = 1", "_norm1")):
        for what, name in (("mean ‖x−x̂‖₂", "mean_error"), ("mean ‖x−x̂‖₂²", "mean_squared_error")):
            least = min(row[name + suffix] for row in steps)
            cells = [best(steps, name + suffix, error, ratio_name)
                     for error in PAPER_ERRORS for ratio_name in ("count_ratio", "ratio_adaptive")]
            lines.append([f"{what}, {which}", f"{least:.2e}", *cells])
    return markdown(["error, frames of", "least of all", *(f"{kind} ratio at {error:.2e}" for error in PAPER_ERRORS
                                                           for kind in ("count", "coded"))], lines)


def best(steps, error_name, error, ratio_name):
    """The largest ratio within the error, and whose it is."""
    within = [row for row in steps if row[error_name] <= error]
    if not within:
        return "not reached"
    row = max(within, key=lambda row: row[ratio_name])
    return f"{ratio(row[ratio_name])} ({row['net']}, 1/{2 ** row['step_log2']})"


def streams_table(results):
    """Where a frame's bits go, at each net's own step, and what δ and quantised weights save there."""
    lines = []
    for result in results:
        row = result.row
        at_step = next(step for step in result.steps if step["step_log2"] == row["none_step_log2"])
        lines.append([
            row["net"], f"1/{2 ** row['none_step_log2']}", *(f"{row[name + '_bits']:.1f}" for name in (
                "fixed_positions", "adaptive_positions", "adaptive_differences", "fire_positions", "adaptive_levels")),
            f"{100 * at_step['share_saved_by_differences']:.1f} %",
            f"{100 * at_step['share_saved_by_quantising']:.1f} %",
        ])
    return markdown(["net", "step", "i, fixed", "i, adaptive", "δ, adaptive", "by latent", "w, adaptive",
                     "saved by δ", "saved by quantising w"], lines)


def neighbours_table(rows):
    """A line for each space; accuracies in per cent, vectors as they are / of unit length."""
    lines = []
    for key in dict.fromkeys((row["set"], row["space"], row["net"]) for row in rows):
        members = [row for row in rows if (row["set"], row["space"], row["net"]) == key]
        accuracy = {(row["vectors"], row["neighbours"]): row["accuracy"] for row in members}
        cells = [f"{100 * accuracy['as they are', k]:.1f} / {100 * accuracy['unit length', k]:.1f}"
                 for k in sorted({row["neighbours"] for row in members})]
        name = key[1].replace("grad z", "∇z") + (f", {key[2]}" if key[2] else "")
        lines.append([key[0], name, members[0]["dimensions"], members[0]["nonzeros"], *cells])
    return markdown(["set", "space", "dimensions", "nonzeros", "1 neighbour, %", "5 neighbours, %"], lines)
