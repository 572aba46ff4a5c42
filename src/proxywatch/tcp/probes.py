"""Which connections to destinations the proxy opened for our own probes.

A probe's connection to the proxy is known by its port. The one that the proxy opens for it is not, but it
moves the same bytes, less the handshake with the proxy, at the same time. So while a probe of ours runs, and
for a moment after, connections to destinations that end are kept back until it is known which was a probe's.
"""

from collections import deque
from typing import NamedTuple

from proxywatch.parse.tcp_info import Counters
from proxywatch.tcp.totals import Figures, Lifetime

_HANDSHAKE = 1024
"""Bytes: the longest that a handshake with the proxy, or its changes to a request's head, come to."""
_ANOTHER = float("inf")
MOMENT = 3.0
"""Seconds: the most between the ends of a probe's two connections."""
_CAPACITY = 512


class Candidate(NamedTuple):
    """A connection to a destination that has ended while a probe ran."""

    at: float
    figures: Figures
    lifetime: Lifetime | None
    end: str
    counters: Counters | None


class _Probe(NamedTuple):
    at: float
    figures: Figures


class Probes:
    """Our probes of the last moments, and the connections that may be theirs.

    Attributes:
        matched: How many connections were taken for a probe's.
        running: Whether one ran when that was last looked at.
    """

    def __init__(self) -> None:
        self.matched = 0
        self.running = False
        self._probes: deque[_Probe] = deque(maxlen=_CAPACITY)
        self._candidates: deque[Candidate] = deque()
        self._active_at = float("-inf")

    def observe(self, now: float, *, running: bool) -> None:
        """Learn whether a probe of ours runs now."""
        self.running = running
        if running:
            self._active_at = now

    def watching(self, now: float) -> bool:
        """Whether a connection that begins or ends now may be a probe's."""
        return now - self._active_at <= MOMENT

    def ended(self, now: float, figures: Figures) -> None:
        """Note a probe's connection to the proxy that has ended."""
        self._active_at = now
        self._probes.append(_Probe(now, figures))

    def add(self, candidate: Candidate) -> None:
        """Keep a connection back."""
        self._candidates.append(candidate)

    def settle(self, now: float) -> list[Candidate]:
        """The connections that are no probe's after all, as far as that is known by now."""
        if not self._candidates:
            return []
        self._match()
        while self._probes and now - self._probes[0].at > MOMENT:
            self._probes.popleft()
        released = []
        while self._candidates and (
            len(self._candidates) > _CAPACITY or now - self._candidates[0].at > MOMENT
        ):
            released.append(self._candidates.popleft())
        return released

    def _match(self) -> None:
        unmatched: deque[_Probe] = deque(maxlen=_CAPACITY)
        for probe in self._probes:
            best = min(self._candidates, key=lambda it: _difference(probe.figures, it.figures), default=None)
            if best is None or _difference(probe.figures, best.figures) == _ANOTHER:
                unmatched.append(probe)
            else:
                self._candidates.remove(best)
                self.matched += 1
        self._probes = unmatched


def _difference(probe: Figures, other: Figures) -> float:
    """By how many bytes the other side's differ from what passed through; infinite for another's."""
    up, down = probe.received - other.sent, probe.sent - other.received
    if not other.sent or abs(up) > _HANDSHAKE or abs(down) > _HANDSHAKE:
        return _ANOTHER
    return abs(up) + abs(down)
