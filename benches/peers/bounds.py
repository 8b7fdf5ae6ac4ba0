"""What a codec is asked to keep: an absolute bound, nothing lost, or a bound that grows with a count's noise."""
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Bound:
    """`name` is what tables call it. `value` is ε in the data's units, 0 for lossless, k if `noise_scaled`."""

    name: str
    value: float
    noise_scaled: bool = False

    def flags(self):
        """The words that `sae` takes for it."""
        if self.noise_scaled:
            return ("--noise", repr(self.value))
        return ("--abs", repr(self.value)) if self.value else ("--lossless",)

    def allowed(self, values):
        """Largest error of each value: a number, or an array of the values' shape."""
        if self.noise_scaled:
            return self.value * np.sqrt(np.maximum(values.astype(np.float64), 1.0))
        return self.value


LOSSLESS = Bound("lossless", 0.0)
NOISE_SCALED = Bound("one deviation of its noise", 1.0, noise_scaled=True)


def absolute(*values):
    return tuple(Bound(f"{value:g}", value) for value in values)


def half_noise(bound):
    """On square roots of counts, what a bound of so many deviations of their noise is on them."""
    return absolute(bound.value / 2)[0]


def of_range(extent, *fractions):
    """Absolute bounds that are fractions of the data's range."""
    return tuple(Bound(f"{fraction:g} of the range", fraction * extent) for fraction in fractions)
