"""What mixers know before their first bit: docs/format.md, "Initial states". Those of linear levels only."""
import functools
import importlib.resources

COUNTS = (1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 255)


class Start:
    """States of each table by place, as (p, n), and what is added to the weights of each set."""

    def __init__(self, reader: "Reader", n_tables: int) -> None:
        self.tables = [reader.states() for _ in range(n_tables)]
        n_sets = reader.varint()
        self.weight_changes = [[64 * reader.svarint() for _ in range(n_tables + 1)] for _ in range(n_sets)]


class Reader:
    """Fields of the file, from its start."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def svarint(self) -> int:
        value = self.varint()
        return value >> 1 if value % 2 == 0 else -(value + 1) // 2

    def states(self) -> dict[int, tuple[int, int]]:
        states, place = {}, 0
        for _ in range(self.varint()):
            place += self.varint()
            word = int.from_bytes(self.data[self.at:self.at + 2], "little")
            self.at += 2
            states[place] = ((word & 0xfff0 | 8) << 6, COUNTS[word & 15])
            place += 1
        return states


@functools.cache
def linear_levels() -> Start:
    """Those of the mixer of linear levels, which follow those of the three mixers of residuals."""
    reader = Reader(importlib.resources.files(__package__).joinpath("initial.bin").read_bytes())
    for _ in range(3):
        Start(reader, 7)
    return Start(reader, 5)
