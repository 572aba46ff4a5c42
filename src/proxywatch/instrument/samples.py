"""Rates over the last seconds, from samples of running totals taken once a second."""

from collections import deque
from collections.abc import Callable
from typing import Literal

Window = Literal[1, 10, 60]
"""Seconds that a rate is taken over."""

LONGEST = 60


class Samples:
    """Running totals at the end of each of the last 60 seconds.

    No timer is needed: whoever is about to add to a total calls `advance` first when `turn` has come. All
    seconds that have passed since the last call had no traffic but what was counted before them, so they are
    filled in exactly.

    Attributes:
        turn: Clock time at which the present second ends.
    """

    __slots__ = ("_ends", "_totals", "turn")

    def __init__(self, now: float, totals: Callable[[], tuple[int, ...]]) -> None:
        self._totals = totals
        self._ends = deque([totals()], maxlen=LONGEST + 1)
        self.turn = now + 1.0

    def advance(self, now: float) -> None:
        """Sample the totals for each second that is over."""
        if now >= self.turn:
            ended = int(now - self.turn) + 1
            self._ends.extend([self._totals()] * min(ended, LONGEST + 1))
            self.turn += ended

    def rates(self, now: float, seconds: Window) -> tuple[float, ...]:
        """Each total's mean increase per second over that many whole seconds, the present one left out.

        Over the seconds that there have been, while these are fewer; 0 before the first is over.
        """
        self.advance(now)
        span = min(seconds, len(self._ends) - 1)
        if not span:
            return (0.0,) * len(self._ends[-1])
        before, after = self._ends[-1 - span], self._ends[-1]
        return tuple((end - start) / span for start, end in zip(before, after, strict=True))
