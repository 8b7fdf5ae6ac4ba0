"""Mixed probabilities: docs/format.md, "Logistic tables" and "Mixing"."""

from .entropy import BodyReader
from .initial import Start

MAX_LOGIT = 3072
# ⌊2^62 · e^(−1/256)⌋
DECAY = 4593706758521714574
LARGEST_WEIGHT = 1 << 20


def squash_table() -> list[int]:
    """SQUASH."""
    table, decayed = [], 1 << 62
    for _ in range(MAX_LOGIT + 1):
        table.append(min(65535, (65536 << 62) // ((1 << 62) + decayed)))
        decayed = decayed * DECAY >> 62
    return table


def stretch_table(squashed: list[int]) -> list[int]:
    """STRETCH."""
    table, logit = [], 0
    for index in range(2048):
        while logit + 1 <= MAX_LOGIT and squashed[logit + 1] <= 32768 + 16 * index + 8:
            logit += 1
        table.append(logit)
    return table


SQUASH = squash_table()
STRETCH = stretch_table(SQUASH)


def squash(logit: int) -> int:
    """Probability, in 1/65536, of a logit in 1/256 nat."""
    logit = min(max(logit, -MAX_LOGIT), MAX_LOGIT)
    return SQUASH[logit] if logit >= 0 else 65536 - SQUASH[-logit]


def stretch(p1: int) -> int:
    """Logit of a probability."""
    index = p1 >> 4
    return STRETCH[index - 2048] if index >= 2048 else -STRETCH[2047 - index]


class Mixer:
    """Tables of adaptive bits, which come into being as they are used, and sets of weights."""

    def __init__(self, start: Start, n_sets: int, first_weight: int, learning_shift: int) -> None:
        self.tables = [{place: list(state) for place, state in table.items()} for table in start.tables]
        self.weights = [[first_weight] * len(self.tables) + [0] for _ in range(n_sets)]
        for weights, changes in zip(self.weights, start.weight_changes):
            weights[:] = [weight + change for weight, change in zip(weights, changes, strict=True)]
        self.learning_shift = learning_shift

    def decide(self, body: BodyReader, entries: list[int], weight_set: int, prior: tuple[int, int]) -> int:
        """One decision; `entries` names one of each table, `prior` how those begin of which nothing is known."""
        states = [table.setdefault(entry, [prior[0] << 6, prior[1]]) for table, entry in zip(self.tables, entries)]
        weights = self.weights[weight_set]
        logits = [stretch(max(1, p >> 6)) for p, _ in states] + [256]
        p1 = squash(sum(w * t for w, t in zip(weights, logits)) >> 16)
        bit = body.decide(p1)
        rounding = 1 << (self.learning_shift - 1)
        for index, logit in enumerate(logits):
            step = (logit * ((bit << 16) - p1) + rounding) >> self.learning_shift
            weights[index] = min(max(weights[index] + step, -LARGEST_WEIGHT), LARGEST_WEIGHT)
        for state in states:
            body.learn(state, bit)
        return bit
