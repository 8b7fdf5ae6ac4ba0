"""What mixers know before their first bit: docs/format.md, "Initial states". Those of linear levels only."""
import functools
import importlib.resources

from .fields import ByteReader

COUNTS = (1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 255)


class Start:
    """States of each table by place, as (p, n), and what is added to the weights of each set."""

    def __init__(self, reader: ByteReader, n_tables: int) -> None:
        self.tables = [states(reader) for _ in range(n_tables)]
        n_sets = reader.varint()
        self.weight_changes = [[64 * reader.svarint() for _ in range(n_tables + 1)] for _ in range(n_sets)]


def states(reader: ByteReader) -> dict[int, tuple[int, int]]:
    """States by place, of those that are known."""
    known, place = {}, 0
    for _ in range(reader.varint()):
        place += reader.varint()
        word = reader.integer(2)
        known[place] = ((word & 0xfff0 | 8) << 6, COUNTS[word & 15])
        place += 1
    return known


@functools.cache
def linear_levels() -> Start:
    """Those of the mixer of linear levels, which follow those of the three mixers of residuals."""
    reader = ByteReader(importlib.resources.files(__package__).joinpath("initial.bin").read_bytes())
    for _ in range(3):
        Start(reader, 7)
    return Start(reader, 5)
