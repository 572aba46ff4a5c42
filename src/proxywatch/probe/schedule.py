"""When the next round of a periodic measurement is due: fixed deadlines, jitter, nothing piled up.

The first round comes within `first` seconds of the start, at random, so that the proxies of a pool that is
rolled out at once do not fire in step. Deadlines after it stand `interval` apart, whatever a round takes. A
round that is still running at a deadline makes that deadline pass: it is skipped and counted.
"""

from collections.abc import Iterable
from random import Random
from typing import Annotated

import msgspec

from proxywatch.quantity import Duration, Url

Interval = Annotated[Duration, msgspec.Meta(ge=1)]
_LEAST_PUBLIC = Duration(5)


def refuse_haste(interval: Duration, urls: Iterable[Url]) -> None:
    """Refuse to ask somebody else's server more often than every five seconds.

    Raises:
        ValueError: One of the URLs is on the public network, and the interval is shorter.
    """
    if interval < _LEAST_PUBLIC and any(url.public for url in urls):
        raise ValueError(f"interval: expected at least {_LEAST_PUBLIC} for servers on the public network")


class Schedule:
    """Deadlines on a monotonic clock, in seconds."""

    def __init__(self, interval: float, first: float, dice: Random) -> None:
        self.interval = interval
        self.skipped = 0
        self._first = first
        self._dice = dice
        self._deadline: float | None = None

    def next(self, now: float) -> float:
        """The next deadline at or after `now`, each given out once."""
        if self._deadline is None:
            self._deadline = now + self._dice.uniform(0, self._first)
            return self._deadline
        self._deadline += self.interval
        missed = int((now - self._deadline) // self.interval) + 1 if now > self._deadline else 0
        self.skipped += missed
        self._deadline += missed * self.interval
        return self._deadline
