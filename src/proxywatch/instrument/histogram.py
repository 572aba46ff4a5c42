"""A histogram of seconds with fixed bounds."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""From an answer out of a cache to a resolver that gives up."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Values up to each bound.

    Args:
        bounds: Upper bounds in seconds, ascending; the last one is infinite.
        counts: Values that are at most as large as each bound.
        sum: Of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """Number of values."""
        return self.counts[-1]


class Histogram:
    """Counts values by bucket."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError("Bounds must ascend.")
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value; one that equals a bound belongs below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def distribution(self) -> Distribution:
        """What was counted so far."""
        return Distribution((*self._bounds, float("inf")), tuple(accumulate(self._counts)), self._sum)
