"""A histogram's state: counts per bucket and a sum, cheap enough for every line of a busy log."""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import NamedTuple


class Exemplar(NamedTuple):
    """One observation worth following up: its labels (the probe's id), value, and Unix time in seconds."""

    labels: dict[str, str]
    value: float
    timestamp: float


class Distribution:
    """Counts of observations by upper bound; NaN and infinities are refused, as they would poison the sum."""

    __slots__ = ("_exemplars", "bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Start empty.

        Args:
            bounds: Upper bounds, ascending, in base units, without +Inf.
        """
        self.bounds = (*bounds, inf)
        self.counts = [0] * len(self.bounds)
        self.sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, exemplar: Exemplar | None = None) -> None:
        """Count one observation, and keep its exemplar as the last of its bucket."""
        if not -inf < value < inf:
            return
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        if exemplar is not None:
            self._exemplars[bucket] = exemplar

    def observe_all(self, values: Sequence[float]) -> None:
        """Count observations, all finite."""
        counts, bounds = self.counts, self.bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.sum += sum(values)

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int, Exemplar | None]]:
        """(upper bound, observations up to it, last exemplar) per bucket, ending with +Inf."""
        total = 0
        rows = []
        for index, (bound, count) in enumerate(zip(self.bounds, self.counts, strict=True)):
            total += count
            rows.append((bound, total, self._exemplars.get(index)))
        return rows
