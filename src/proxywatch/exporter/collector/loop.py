"""How late the event loop runs what is due: every five seconds, by how much a sleep of those was too long."""

from collections.abc import Iterator, Sequence

import msgspec

from proxywatch.clock import Clock
from proxywatch.distribution import Distribution
from proxywatch.finding import Finding
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Metric

LAG = family.histogram(
    "proxywatch_event_loop_lag_seconds",
    "How late the exporter's event loop woke up, sampled every five seconds.",
)
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_PERIOD = 5.0


class Status(msgspec.Struct, frozen=True):
    """The last sample and the worst one since the start, in seconds."""

    lag_seconds: float
    worst_seconds: float


class LoopCollector:
    """A watching collector."""

    name = "loop"
    timeout = 1.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lag = 0.0
        self._worst = 0.0
        self._lags = Distribution(BUCKETS)

    def describe(self) -> Sequence[Family]:
        """One histogram."""
        return (LAG,)

    async def due(self) -> None:
        """Sleep for a while, and see how long it was."""
        expected = self._clock.monotonic() + _PERIOD
        await self._clock.sleep_until(expected)
        self._lag = max(0.0, self._clock.monotonic() - expected)

    async def update(self) -> None:
        """Count the sample."""
        self._lags.observe(self._lag)
        self._worst = max(self._worst, self._lag)

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        yield LAG.distribution(self._lags)

    async def examine(self) -> Sequence[Finding]:
        """Nothing to look for."""
        return []

    def status(self) -> Status:
        """The last and the worst sample."""
        return Status(self._lag, self._worst)
