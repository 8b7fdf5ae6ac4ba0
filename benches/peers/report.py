"""Tables of the comparison in Markdown, and what is said of promises that it checks."""
import codecs_hdf5
import datasets

VOLUMES = (("1 GB", 1e9), ("10 GB", 1e10), ("1 TB", 1e12))
# The bound whose speeds are shown.
SPEED_EPSILON = 1e-3
# What a lossless file of any kind of data may cost beside the best peer.
LEAST_FACTOR = 0.97
# What a chunk may be larger than raw, at most.
MOST_OVERHEAD_BYTES = 64


def title(name):
    return datasets.SPECS[name].title


def is_ours(row):
    return row["codec"].startswith(codecs_hdf5.OURS)


def whole_sets(rows):
    """Rows that were measured on as many frames as any of their set and bound, at each setting's usual effort."""
    most = {}
    for row in rows:
        key = row["set"], row["bound"]
        most[key] = max(most.get(key, 0), row["frames"])
    return [row for row in rows
            if row["frames"] == most[row["set"], row["bound"]] and row["codec"] != codecs_hdf5.BEST_EFFORT]


def single_frames(rows):
    """Rows of one frame a chunk, of those few frames that all codecs were given."""
    fewest = {}
    for row in rows:
        if row["chunking"] == "single":
            key = row["set"], row["bound"]
            fewest[key] = min(fewest.get(key, row["frames"]), row["frames"])
    return [row for row in rows
            if row["chunking"] == "single" and row["frames"] == fewest[row["set"], row["bound"]]]


def best(rows, field="ratio"):
    return max(rows, key=lambda row: row[field], default=None)


def best_pair(rows):
    """The best peer, and ours with the built-in model at the default effort."""
    own = [row for row in rows if row["codec"] == codecs_hdf5.BUILT_IN]
    return best([row for row in rows if not is_ours(row)]), best(own)


def number(value):
    return f"{value:.{0 if value >= 100 else 1 if value >= 3 else 2}f}"


def cell(row, field="ratio"):
    """A ratio, with a dagger if it was reached by an error above the bound."""
    return "" if row is None else number(row[field]) + ("" if row["bound_holds"] else "†")


def factor(own, peer):
    return "" if own is None or peer is None else f"{own['ratio'] / peer['ratio']:.2f}"


def lines_of(heads, body):
    """A Markdown table."""
    return ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|",
            *("| " + " | ".join(map(str, cells)) + " |" for cells in body)]


class Grid:
    """A table with a column for each set and bound, and lines of codecs."""

    def __init__(self, rows):
        self.columns = list(dict.fromkeys((row["set"], row["bound"]) for row in rows))
        self.rows = rows
        self.body = []

    def of(self, column, belongs):
        return [row for row in self.rows if (row["set"], row["bound"]) == column and belongs(row)]

    def add(self, name, belongs, field="ratio"):
        self.body.append([name, *(cell(best(self.of(column, belongs)), field) for column in self.columns)])

    def add_factor(self, name, belongs):
        """Our best over the best peer, column by column."""
        self.body.append([name, *(factor(best(self.of(column, belongs)), self.best_peer(column))
                                  for column in self.columns)])

    def best_peer(self, column):
        return best(self.of(column, lambda row: not is_ours(row)))

    def codecs(self, own):
        return [name for name in dict.fromkeys(row["codec"] for row in self.rows)
                if name.startswith(codecs_hdf5.OURS) == own]

    def lines(self, head):
        return lines_of([head, *(f"{title(name)}, {bound}" for name, bound in self.columns)], self.body)


def simulated_table(rows):
    """Both sets of frames at all bounds: chunks of many frames, then chunks of one."""
    bounded = [row for row in rows if row["group"] == "simulated" and row["epsilon"]]
    if not bounded:
        return ""
    lines = [*stack_lines(bounded), "", *single_lines(bounded), "", *speed_lines(bounded)]
    return "\n".join(lines + footnote(bounded))


def stack_lines(bounded):
    grid = Grid(whole_sets(bounded))
    for name in grid.codecs(own=False):
        grid.add(name, lambda row, name=name: row["codec"] == name)
    grid.add("**best peer**", lambda row: not is_ours(row))
    for name in grid.codecs(own=True):
        belongs = lambda row, name=name: row["codec"] == name  # noqa: E731
        grid.add(name, belongs)
        if any(row["model_bytes"] for row in grid.rows if belongs(row)):
            grid.add(f"{name}, model's bytes counted", belongs, "ratio_with_model")
        grid.add_factor(f"{name}, of the best peer", belongs)
    add_best_effort(grid, bounded)
    return grid.lines("256 a chunk")


def add_best_effort(grid, bounded):
    """What the best effort gains over the default one, both on the same frames."""
    cells = []
    for column in grid.columns:
        members = [row for row in bounded if (row["set"], row["bound"]) == column and row["chunking"] == "stack"]
        thorough = best([row for row in members if row["codec"] == codecs_hdf5.BEST_EFFORT])
        beside = thorough and next(row for row in members if row["codec"] == codecs_hdf5.BUILT_IN
                                   and row["frames"] == thorough["frames"])
        cells.append(f"{100 * (thorough['ratio'] / beside['ratio'] - 1):+.1f} %" if thorough else "")
    if any(cells):
        grid.body.append([f"{codecs_hdf5.BEST_EFFORT}, over the default's", *cells])


def single_lines(bounded):
    grid = Grid(single_frames(bounded))
    grid.add("**best peer**", lambda row: not is_ours(row))
    for name in grid.codecs(own=True):
        belongs = lambda row, name=name: row["codec"] == name  # noqa: E731
        grid.add(name, belongs)
        grid.add_factor(f"{name}, of the best peer", belongs)
    return grid.lines("1 a chunk")


def speed_lines(bounded):
    """Encoding and decoding under one bound for all: chunks of many frames, where a codec has them."""
    grid = Grid([row for row in bounded if row["epsilon"] == SPEED_EPSILON])
    fields = [(column, way) for column in grid.columns for way in ("encode", "decode")]
    for name in grid.codecs(own=False) + grid.codecs(own=True):
        of_column = {column: largest(grid.of(column, lambda row: row["codec"] == name)) for column in grid.columns}
        grid.body.append([name, *(speed(of_column[column], way) for column, way in fields)])
    heads = [f"{title(kind)}, {bound}, {way}" for (kind, bound), way in fields]
    return lines_of(["MB/s of one core", *heads], grid.body)


def largest(rows):
    """The row of most frames, in chunks of many if there is one."""
    return max(rows, key=lambda row: (row["chunking"] == "stack", row["frames"]), default=None)


def speed(row, way):
    return f"{row[f'{way}_mb_per_s']:.3g}" if row else ""


def footnote(rows):
    """What the daggers mean, with the largest excess; empty where all bounds hold."""
    excesses = [row["max_abs_err"] / row["epsilon"] - 1 for row in rows if row["epsilon"] and not row["bound_holds"]]
    if not excesses:
        return []
    return ["", f"† The largest error is above the bound, by a fraction of at most {max(excesses):.1g}."]


def volumes_table(rows):
    """What the models' bytes mean: ratios at three volumes of raw data, and the volume from which a model saves.

    The built-in model is compared with the fast effort, all others with the built-in one, which every reader has.
    """
    members = [row for row in whole_sets(rows)
               if row["group"] == "simulated" and row["epsilon"] and row["chunking"] == "stack"]
    by_codec = {(row["set"], row["bound"], row["codec"]): row for row in members}
    body = []
    for row in members:
        if row["model_bytes"]:
            is_built_in = row["codec"] == codecs_hdf5.BUILT_IN
            other = codecs_hdf5.FAST_EFFORT if is_built_in else codecs_hdf5.BUILT_IN
            body.append(volume_cells(row, by_codec[row["set"], row["bound"], other]))
    heads = ["256 a chunk", "bound", "chunks alone", *(name for name, _ in VOLUMES), "pays from"]
    return "\n".join(lines_of(heads, body)) if body else ""


def volume_cells(row, without):
    ratios = [volume / (volume / row["ratio"] + row["model_bytes"]) for _, volume in VOLUMES]
    saved = 1 / without["ratio"] - 1 / row["ratio"]
    pays = f"{row['model_bytes'] / saved / 1e9:.2g} GB" if saved > 0 else "never"
    return [f"{row['codec']}: {title(row['set'])}", row["bound"],
            *(f"{ratio:.0f}" for ratio in (row["ratio"], *ratios)), pays]


def others_table(rows):
    """All other data: the best peer, what we make of it without a trained model, and how near that is to the limit."""
    members = whole_sets([row for row in rows if row["group"] != "simulated" or not row["epsilon"]])
    body = []
    for name, bound in dict.fromkeys((row["set"], row["bound"]) for row in members):
        peer, own = best_pair([row for row in members if (row["set"], row["bound"]) == (name, bound)])
        body.append([title(name), bound, peer["codec"] if peer else "", cell(peer), cell(own), factor(own, peer),
                     limit(own)])
    heads = ["data", "bound", "best peer", "its ratio", "H5Z-SAE", "of the best peer", "of the limit"]
    return "\n".join(lines_of(heads, body)) if body else ""


def limit(own):
    if own is None or not own["floor_ratio"]:
        return ""
    return f"{own['ratio'] / own['floor_ratio']:.2f} of {number(own['floor_ratio'])}"


def tables(rows):
    """Every table by the name of its markers; none that would be empty."""
    made = {"table": simulated_table(rows), "volumes": volumes_table(rows), "others": others_table(rows)}
    return {name: table for name, table in made.items() if table}


def broken_bounds(rows):
    return [f"{row['set']}, {row['bound']}, {row['codec']}, {row['chunk']}: a value breaks the bound; the largest error "
            f"is {row['max_abs_err']:g}" for row in rows if is_ours(row) and not row["bound_holds"]]


def shortfalls(rows):
    """Where a lossless file of data that the codec was not made for is larger than it should be."""
    found = []
    others = whole_sets([row for row in rows if row["group"] == "other"])
    for name in dict.fromkeys(row["set"] for row in others):
        peer, own = best_pair([row for row in others if row["set"] == name])
        if peer and own and own["ratio"] < LEAST_FACTOR * peer["ratio"]:
            share = own["ratio"] / peer["ratio"]
            found.append(f"{name}: {own['ratio']:g} is {share:.3f} of {peer['codec']}'s {peer['ratio']:g}; "
                         f"at least {LEAST_FACTOR} was expected")
        if own and own["stored_bytes"] > own["raw_bytes"] + MOST_OVERHEAD_BYTES:
            found.append(f"{name}: {own['stored_bytes'] - own['raw_bytes']} bytes more than raw")
    return found
