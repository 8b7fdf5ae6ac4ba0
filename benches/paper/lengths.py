"""Code lengths of the δ and w streams, in bits: what arithmetic coders of several kinds would need.

A frame's code is a list of entries: nonzero latents, or for penalty grad nonzero steps. Entry k has an index iₖ from 0
and a level wₖ. δ₁ = i₁ + 1, δₖ₊₁ = iₖ₊₁ − iₖ, and 0 ends a frame; for positions coded as they are, ℓ ends it.
"""
import dataclasses
import math

import numpy as np


@dataclasses.dataclass
class Entries:
    """The entries of many frames, frame by frame."""

    n_frames: int
    n_latents: int
    frame: np.ndarray
    index: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, levels):
        """Of a block of levels, B × ℓ."""
        frame, index = np.nonzero(levels)
        return cls(len(levels), levels.shape[1], frame.astype(np.int32), index.astype(np.int32), levels[frame, index])

    @classmethod
    def joined(cls, parts):
        """Of consecutive blocks."""
        starts = np.cumsum([0] + [part.n_frames for part in parts])
        frame = np.concatenate([part.frame + start for part, start in zip(parts, starts[:-1], strict=True)])
        return cls(int(starts[-1]), parts[0].n_latents, frame, np.concatenate([part.index for part in parts]),
                   np.concatenate([part.level for part in parts]))

    @property
    def counts(self):
        """Entries of each frame."""
        return np.bincount(self.frame, minlength=self.n_frames)

    @property
    def differences(self):
        """δ of every entry, from 1."""
        before = np.concatenate([[-1], self.index[:-1]])
        starts = np.concatenate([[True], self.frame[1:] != self.frame[:-1]]) if len(self.frame) else np.array([], bool)
        return self.index - np.where(starts, -1, before[: len(self.index)])


def adaptive_bits(counts):
    """Bits that an adaptive arithmetic coder needs for symbols that occur so often, whatever their order.

    Krichevsky and Trofimov's estimator: it starts from nothing, so that its tables are paid for too.
    """
    counts = np.asarray(counts, np.float64)
    if not counts.sum():
        return 0.0
    half = len(counts) / 2
    log = math.lgamma(counts.sum() + half) - math.lgamma(half)
    log -= sum(math.lgamma(count + 0.5) for count in counts[counts > 0]) - (counts > 0).sum() * math.lgamma(0.5)
    return log / math.log(2)


def costs(counts):
    """−log2 of each symbol's share: its cost under a table that is fitted to the very data."""
    counts = np.asarray(counts, np.float64)
    with np.errstate(divide="ignore"):
        return np.where(counts > 0, -np.log2(counts / max(1.0, counts.sum())), 0.0)


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Bits of all frames together, by stream and kind of coder; and by frame, under fitted tables."""

    fixed_positions: float
    adaptive_positions: float
    adaptive_differences: float
    fire_positions: float
    adaptive_levels: float
    ideal_differences: float
    ideal_levels: float
    by_frame: np.ndarray

    @property
    def adaptive(self):
        return self.adaptive_differences + self.adaptive_levels

    @property
    def ideal(self):
        return self.ideal_differences + self.ideal_levels


def code_lengths(entries):
    """All lengths of these entries."""
    n_latents, n_frames = entries.n_latents, entries.n_frames
    index_counts = np.bincount(entries.index, minlength=n_latents)
    differences = entries.differences
    difference_counts = np.bincount(differences, minlength=n_latents + 1)
    difference_counts[0] = n_frames
    lowest = int(entries.level.min(initial=0))
    level_counts = np.bincount(entries.level - lowest, minlength=1)
    difference_costs, level_costs = costs(difference_counts), costs(level_counts)
    by_entry = difference_costs[differences] + level_costs[entries.level - lowest]
    by_frame = np.bincount(entries.frame, by_entry, n_frames) + difference_costs[0]
    fire = index_counts / n_frames
    return Lengths(
        fixed_positions=len(entries.index) * float(math.ceil(math.log2(n_latents))),
        adaptive_positions=adaptive_bits(np.append(index_counts, n_frames)),
        adaptive_differences=adaptive_bits(difference_counts),
        fire_positions=n_frames * float(binary_entropy(fire).sum()),
        adaptive_levels=adaptive_bits(level_counts),
        ideal_differences=float((difference_counts * difference_costs).sum()),
        ideal_levels=float((level_counts * level_costs).sum()),
        by_frame=by_frame,
    )


def binary_entropy(p):
    """Bits of decisions that are 1 with probability p."""
    inside = p[(p > 0) & (p < 1)]
    return -inside * np.log2(inside) - (1 - inside) * np.log2(1 - inside)
