"""Repeated measurements in a few figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Spread":
        return Spread(self.median * factor, self.low * factor, self.high * factor)


def spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Of the medians; the limits are those of the pairs, each measured in the same round."""
    pairs = [one / other for one, other in zip(above, below, strict=False)]
    whole = median(above) / median(below)
    return Spread(whole, min(whole, *pairs), max(whole, *pairs))
