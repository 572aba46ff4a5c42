"""A measurement over time, in a bounded space: the mean of each slot of so many seconds. Pure.

Slots are placed by time, not by number of samples: where nothing was measured there is nothing.
"""

from array import array
from math import isnan, nan


class Series:
    """The last `slots` slots.

    Attributes:
        step: Seconds of a slot.
    """

    __slots__ = ("_count", "_means", "_newest", "_sum", "step")

    def __init__(self, step: float, slots: int) -> None:
        """Begin empty."""
        self.step = step
        self._means = array("f", [nan]) * slots
        self._newest: int | None = None
        self._sum = 0.0
        self._count = 0

    def add(self, at: float, value: float) -> None:
        """Add a sample of Unix time `at`; one that is older than the newest slot counts into that, as clocks step."""
        slot = int(at // self.step)
        if self._newest is None or slot > self._newest:
            self._advance(slot)
        self._sum += value
        self._count += 1
        assert self._newest is not None  # noqa: S101 - there is a sample
        self._means[self._newest % len(self._means)] = self._sum / self._count

    def points(self, now: float, seconds: float) -> list[tuple[float, float]]:
        """Begin and mean of each slot of the last seconds that has any, the oldest first."""
        if self._newest is None:
            return []
        last = min(self._newest, int(now // self.step))
        first = max(self._newest - len(self._means) + 1, int((now - seconds) // self.step) + 1)
        found = ((slot * self.step, self._means[slot % len(self._means)]) for slot in range(first, last + 1))
        return [(at, mean) for at, mean in found if not isnan(mean)]

    def _advance(self, slot: int) -> None:
        slots = len(self._means)
        passed = slots if self._newest is None else min(slots, slot - self._newest)
        for empty in range(slot - passed + 1, slot + 1):
            self._means[empty % slots] = nan
        self._newest, self._sum, self._count = slot, 0.0, 0


def mean(points: list[tuple[float, float]]) -> float | None:
    """Of the values; None without any."""
    return sum(value for _, value in points) / len(points) if points else None
