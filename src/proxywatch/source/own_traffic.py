"""The connections that our own probes make to the proxy, so that others can tell them from a client's.

A probe notes its endpoint before the first byte leaves and when it has closed, so whoever reads of that
endpoint in a log, however late, finds it here. Ports are used again by clients: the time decides.
"""

from collections import deque

_CAPACITY = 2048  # half a megabyte; seventeen hours of two probes a minute
_SLACK = 2.0
_LATE = 60.0
"""A proxy that hangs accepts a probe long after it was given up; TIME_WAIT keeps its port for a minute."""


class OwnTraffic:
    """Endpoints (address, port) of our own connections with the time that they lived; bounded, oldest out."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._lives: dict[tuple[str, int], list[list[float]]] = {}
        self._order: deque[tuple[str, int]] = deque()

    def opened(self, address: str, port: int, at: float) -> None:
        """Note a connection of ours.

        Args:
            address: Our side's, as inet_ntop writes it.
            port: Our side's.
            at: Unix time in seconds, before the first byte leaves.
        """
        self._lives.setdefault((address, port), []).append([at, float("inf")])
        self._order.append((address, port))
        if len(self._order) > self._capacity:
            oldest = self._order.popleft()
            lives = self._lives[oldest]
            del lives[0]
            if not lives:
                del self._lives[oldest]

    def closed(self, address: str, port: int, at: float) -> None:
        """Note that our last connection from there is closed, at Unix time `at`."""
        lives = self._lives.get((address, port))
        if lives:
            lives[-1][1] = max(at, lives[-1][0])  # the clock may have been set back meanwhile

    def includes(self, address: str, port: int, at: float) -> bool:
        """Whether a connection from there was ours at Unix time `at`, or until a minute before."""
        lives = self._lives.get((address, port), ())
        return any(start - _SLACK <= at <= end + _LATE for start, end in lives)
