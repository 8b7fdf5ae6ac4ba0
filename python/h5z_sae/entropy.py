"""The range decoder and the codes of numbers: docs/format.md, "Range coder" and "Entropy coding"."""

# An adaptive bit is [p, n]: 22 bits of probability, and how many bits were seen.
RATE = [131072 // (2 * n + 3) for n in range(256)]
TOP = (1 << 22) - 1


def adaptive_bits(count: int) -> list[list[int]]:
    """Even adaptive bits."""
    return [[1 << 21, 0] for _ in range(count)]


def signed(zigzag: int) -> int:
    """0, −1, 1, −2, … for 0, 1, 2, 3, …"""
    return -(zigzag + 1) // 2 if zigzag & 1 else zigzag // 2


class BodyReader:
    """Decisions of one body, in order."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 8
        self.range = (1 << 64) - 1
        self.value = int.from_bytes(body[:8].ljust(8, b"\0"), "big")

    @property
    def is_overrun(self) -> bool:
        """More was consumed than an encoder may leave away."""
        return self.at > len(self.body) + 16

    def decide(self, p1: int) -> int:
        """One decision that is 1 with probability p1 / 65536."""
        split = (self.range >> 16) * p1
        bit = int(self.value < split)
        if bit:
            self.range = split
        else:
            self.value -= split
            self.range -= split
        if self.range < 1 << 32:
            following = self.body[self.at:self.at + 4].ljust(4, b"\0")
            self.value = self.value << 32 | int.from_bytes(following, "big")
            self.range <<= 32
            self.at += 4
        return bit

    def adaptive(self, state: list[int]) -> int:
        """One decision under an adaptive bit, which learns."""
        bit = self.decide(max(1, state[0] >> 6))
        self.learn(state, bit)
        return bit

    @staticmethod
    def learn(state: list[int], bit: int) -> None:
        """Moves an adaptive bit towards what was decoded."""
        p, n = state
        state[0] = p + (((TOP if bit else 0) - p) * RATE[n] >> 16)
        state[1] = min(n + 1, 255)

    def bits(self, count: int) -> int:
        """An unsigned number of `count` bits, highest first."""
        value = 0
        for _ in range(count):
            value = value << 1 | self.decide(32768)
        return value

    def symbol(self, nodes: list[list[int]], count: int) -> int:
        """A number below 2^count, as a path through a tree."""
        node = 1
        for _ in range(count):
            node = 2 * node + self.adaptive(nodes[node])
        return node - (1 << count)

    def exp_golomb(self, decisions: list[list[int]]) -> int:
        """A number from 0."""
        size = 0
        while size < 63 and self.adaptive(decisions[min(size, len(decisions) - 1)]):
            size += 1
        return (1 << size) + self.bits(size) - 1
