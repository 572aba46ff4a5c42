"""Figures that more than one collector knows: where each is from, and whether those who know it agree.

It measures nothing itself: it is handed the figures of other collectors, and asks for them when the metrics
are rendered. Bytes are the VPN device's where there is one, else the kernel's account of connections. How
long connections last is the log's where it tells, else the kernel's.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import NoData
from proxywatch.finding import Finding
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Metric
from proxywatch.tcp.comparison import Comparison, Ended

TRANSFERRED = family.counter(
    "proxy_bytes_transferred_total",
    "Bytes received plus transmitted by the VPN device since the exporter started, over re-creations of it. "
    "Without such a device: payload to and from destinations, else of clients, by the kernel's count.",
)
AVERAGE = family.gauge(
    "proxy_avg_connection_duration_seconds",
    "Mean of the last 100 closed sessions, from accept to accept, as the log has it; where it does not tell, "
    "of the last 100 connections of clients that the kernel reported. Absent before the first.",
)
DIFFERS = family.gauge(
    "proxy_traffic_disagreement",
    "1 when what the log counts of connections that ended has differed from what the kernel counts for two "
    "minutes: connections, by more than 5 and 5 %; bytes, by more than 5 % beside handshakes. Absent with "
    "nothing to compare.",
    ["figure"],
)

_INTERVAL = 10.0
_HINT = (
    "See `proxy_tcp_missed_total` and `dante_log_gaps_total`, whether all rules log `disconnect error`, and "
    "whether `tcp.port` and `sessions.log` belong to the same proxy."
)


class Status(msgspec.Struct, frozen=True):
    """Each figure with its source, empty where there is none; and the figures whose sources differ."""

    transferred_bytes: int | None
    transferred_from: str
    mean_duration_seconds: float | None
    mean_duration_from: str
    differing: list[str]


class Asked(msgspec.Struct, frozen=True):
    """The figures of other collectors; each returns None where it is not known.

    Attributes:
        device: Bytes that the VPN device has moved.
        has_device: Whether there has been one.
        payload: Bytes to and from destinations, by the kernel.
        log_mean, kernel_mean: Mean duration in seconds.
        log_ended, kernel_ended: Connections that ended, and what they moved.
    """

    device: Callable[[], int | None]
    has_device: Callable[[], bool | None]
    payload: Callable[[], int | None]
    log_mean: Callable[[], float | None]
    kernel_mean: Callable[[], float | None]
    log_ended: Callable[[], tuple[int, int | None] | None]
    kernel_ended: Callable[[], Ended | None]


class _Sum:
    """A count that goes on from where it was when its source changes."""

    def __init__(self) -> None:
        self._source = ""
        self._base = self._total = 0

    def read(self, source: str, count: int) -> int:
        if self._source and source != self._source:
            self._base = self._total - count
        self._source = source
        self._total = max(self._total, self._base + count)
        return self._total


class TrafficCollector:
    """A watching collector: a difference shows only over time."""

    name = "traffic"
    timeout = 5.0

    def __init__(self, asked: Asked, clock: Clock) -> None:
        """Take whom to ask."""
        self._asked = asked
        self._clock = clock
        self._due = clock.monotonic() + 1
        self._sum = _Sum()
        self._comparison = Comparison()

    def describe(self) -> Sequence[Family]:
        """Bytes, duration, agreement."""
        return (TRANSFERRED, AVERAGE, DIFFERS)

    async def due(self) -> None:
        """Every ten seconds, the first time when the others have had a second to read."""
        await self._clock.sleep_until(self._due)
        self._due = self._clock.monotonic() + _INTERVAL

    async def update(self) -> None:
        """Compare the log with the kernel.

        Raises:
            NoData: Neither figure is known yet.
        """
        log = self._asked.log_ended()
        kernel = self._asked.kernel_ended()
        self._comparison.observe(self._clock.monotonic(), kernel, Ended(*log) if log else None)
        status = self.status()
        if not status.transferred_from and not status.mean_duration_from:
            raise NoData("neither the VPN's device nor the log nor the kernel tells of traffic")

    def _transferred(self) -> tuple[int | None, str]:
        device, payload = self._asked.device(), self._asked.payload()
        if device is not None and (payload is None or self._asked.has_device()):
            return self._sum.read("device", device), "device"
        return (None, "") if payload is None else (self._sum.read("kernel", payload), "kernel")

    def _mean(self) -> tuple[float | None, str]:
        log, kernel = self._asked.log_mean(), self._asked.kernel_mean()
        if log is not None:
            return log, "log"
        return kernel, "kernel" if kernel is not None else ""

    def collect(self) -> Iterator[Metric]:
        """What the others know at this moment."""
        yield TRANSFERRED.value(self._transferred()[0])
        yield AVERAGE.value(self._mean()[0])
        yield DIFFERS.values({figure: float(it) for figure, it in self._comparison.differing.items()})

    async def examine(self) -> Sequence[Finding]:
        """Where is each figure from?"""
        status = self.status()
        sources = {"device": "the VPN's device", "kernel": "the kernel's account of connections"}
        transferred = sources.get(status.transferred_from, "nowhere")
        duration = {"log": "the log", **sources}.get(
            status.mean_duration_from, "the log or the kernel, later"
        )
        found = [Finding.ok(f"bytes transferred are from {transferred}, the mean duration from {duration}")]
        if status.differing:
            found.append(Finding.hint(f"log and kernel differ in {' and '.join(status.differing)}", _HINT))
        return found

    def status(self) -> Status:
        """Both figures, and who differs."""
        differing = [figure for figure, it in self._comparison.differing.items() if it]
        return Status(*self._transferred(), *self._mean(), differing)


def build(asked: Asked, clock: Clock) -> TrafficCollector:
    """The collector on the figures that it is handed."""
    return TrafficCollector(asked, clock)
