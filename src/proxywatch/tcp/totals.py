"""What is counted of the connections on one side of a proxy."""

from bisect import bisect_left
from collections import deque
from typing import Final, NamedTuple, Self

from proxywatch.distribution import Distribution
from proxywatch.parse.tcp_info import NO_ROUND_TRIP, Counters

CLIENT: Final = "client"
UPSTREAM: Final = "upstream"
SIDES = (CLIENT, UPSTREAM)
ENDS = ("fin", "reset", "failed", "unknown")
_ROUND_TRIPS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_DURATIONS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_RATES = (1e4, 1e5, 2.5e5, 5e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7, 1e8)
_ENOUGH = 100_000  # bytes sent, below which a delivery rate is that of the first window
_MICRO = 1e-6
_LAST = 100


class Figures(NamedTuple):
    """What one connection has moved so far, payload without SYN; a FIN may count as one byte received."""

    sent: int
    received: int
    segments: int
    retransmitted: int
    segments_received: int
    out_of_order: int

    @classmethod
    def of(cls, counters: Counters, *, dialled: bool) -> Self:
        """From the kernel's counters.

        Args:
            counters: The connection's.
            dialled: Whether it was opened from here, so that our SYN counts among what was acknowledged.
        """
        sent = max(counters.acked - dialled, 0)
        if counters.sent is not None and counters.sent < sent:
            sent = counters.sent  # else the FIN would count
        return cls(
            sent,
            counters.received,
            counters.segments,
            counters.retransmitted,
            counters.segments_received,
            counters.out_of_order,
        )


NOTHING = Figures(0, 0, 0, 0, 0, 0)


class Lifetime(NamedTuple):
    """How long a connection lived, as far as looks at the living can tell.

    Attributes:
        likely: Seconds; between the least and the most that are possible.
        sampled: Seconds between the looks that saw it; 0 when none did. It may be far off for one connection,
            and its mean over many is right, however short they are.
    """

    likely: float
    sampled: float


class Totals:
    """One side's counters; they are only ever added to.

    Attributes:
        opened: Connections that began, dials that failed included.
        closed: Connections that ended, by ENDS.
        sent, received, segments, retransmitted, segments_received, out_of_order: Sums of Figures.
        ended_bytes: Payload of the connections that ended, both ways.
        durations: Of the connections whose begin was seen.
        round_trips, minimum_round_trips: Smoothed, and the least, of each connection at its end; seconds.
        rates: Bytes a second that the proxy's larger transfers came to.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.closed = dict.fromkeys(ENDS, 0)
        self.sent = self.received = self.segments = self.retransmitted = 0
        self.segments_received = self.out_of_order = self.ended_bytes = 0
        self.durations = Distribution(_DURATIONS)
        self.round_trips = Distribution(_ROUND_TRIPS)
        self.minimum_round_trips = Distribution(_ROUND_TRIPS)
        self.rates = Distribution(_RATES)
        self._last: deque[float] = deque(maxlen=_LAST)
        self._last_round_trips: deque[float] = deque(maxlen=_LAST)

    def moved(self, now: Figures, before: Figures = NOTHING) -> Figures:
        """Add what a connection has moved since it was last looked at; return what it has moved by now.

        Counters that fell add nothing.
        """
        if before is not NOTHING:
            now = Figures(*map(max, now, before))
        self.sent += now.sent - before.sent
        self.received += now.received - before.received
        self.segments += now.segments - before.segments
        self.retransmitted += now.retransmitted - before.retransmitted
        self.segments_received += now.segments_received - before.segments_received
        self.out_of_order += now.out_of_order - before.out_of_order
        return now

    def ended(self, end: str, lifetime: Lifetime | None, counters: Counters | None, moved: int) -> None:
        """Count an end.

        Args:
            end: One of ENDS.
            lifetime: None when its begin was not seen.
            counters: The last ones; None when they are not known.
            moved: Bytes of payload that the connection has moved in all.
        """
        self.closed[end] += 1
        self.ended_bytes += moved
        if lifetime is not None and end != "failed":
            self._lived(lifetime)
        if counters is None:
            return
        if counters.round_trip:
            self.round_trips.observe(counters.round_trip * _MICRO)
        if 0 < counters.minimum < NO_ROUND_TRIP:
            self.minimum_round_trips.observe(counters.minimum * _MICRO)
            self._last_round_trips.append(counters.minimum * _MICRO)
        if counters.rate and counters.acked > _ENOUGH:
            self.rates.observe(counters.rate)

    def _lived(self, lifetime: Lifetime) -> None:
        """The likely duration finds the bucket; the sampled one is summed, so that the mean is right."""
        self.durations.counts[bisect_left(self.durations.bounds, lifetime.likely)] += 1
        self.durations.sum += lifetime.sampled
        self._last.append(lifetime.sampled)

    def last_round_trips(self) -> tuple[float, float] | None:
        """Of the least round trips of the last 100 connections: the median, and the least; in seconds."""
        trips = sorted(self._last_round_trips)
        return (trips[len(trips) // 2], trips[0]) if trips else None

    def mean_duration(self) -> float | None:
        """Mean of the last 100 connections that ended, in seconds; None before the first."""
        return sum(self._last) / len(self._last) if self._last else None


def end_of(counters: Counters, *, dialled: bool) -> str:
    """How a connection ended, by what was acknowledged: one of ENDS."""
    if dialled and not counters.answered:
        return "failed"
    if counters.sent is None:
        return "unknown"
    return "fin" if counters.acked - counters.sent > dialled else "reset"
