"""How many client connections Dante is serving, from the best source at hand, and whether the sources agree.

It measures nothing itself: it takes the counts of other collectors, and reads them when the metrics are
rendered, so that the number is as fresh as theirs. Every ten seconds it compares them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from proxywatch.clock import Clock
from proxywatch.dante.disagreement import Disagreement
from proxywatch.errors import NoData
from proxywatch.finding import Finding
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Metric

ACTIVE = family.gauge(
    "proxy_active_connections",
    "Client connections that Dante is serving now, probes of ours included, counted from the source that the "
    "setting children.active names. Absent while that cannot be read.",
)
SOURCES = family.gauge(
    "proxy_active_connections_by_source",
    "What each source that can be read counts: sockets and log are exact; slots, used in the titles of all "
    "Dante's children, lags while it dials; io, those of the io children; processes, negotiate and request "
    "children.",
    ["source"],
)
DISAGREEMENT = family.gauge(
    "proxy_active_connections_disagreement",
    "1 when the source has for longer than a minute been off by more than 2 and more than a part (log 5 %, "
    "slots 25 %) from the most trusted one that can be read (sockets, then log). Absent with nothing to "
    "compare.",
    ["source"],
)

Count = Callable[[], int | None]

AUTO = ("sockets", "io", "log")
_TOLERANCES = {"sockets": 0.0, "log": 0.05, "slots": 0.25}
_PATIENCE = 60.0
_INTERVAL = 15.0


class Status(msgspec.Struct, frozen=True):
    """The number and where it is from; counts by source, None where it cannot be read."""

    connections: int | None
    source: str
    counts: dict[str, int | None]
    disagreeing: list[str]


class ActiveCollector:
    """A watching collector: agreement shows only over time."""

    name = "active"
    timeout = 5.0

    def __init__(self, choice: str, counts: Mapping[str, Count], clock: Clock) -> None:
        """Take the counts.

        Args:
            choice: A key of `counts`, or `auto`.
            counts: By source: sockets, slots, io, log, processes.
            clock: For the minute.
        """
        self._choices = AUTO if choice == "auto" else (choice,)
        self._sources = dict(counts)
        self._clock = clock
        self._due = clock.monotonic() + 1
        self._disagreement = Disagreement(_TOLERANCES, _PATIENCE)

    def describe(self) -> Sequence[Family]:
        """The number, what each source says, and whether they agree."""
        return (ACTIVE, SOURCES, DISAGREEMENT)

    async def due(self) -> None:
        """Every fifteen seconds, the first time when the others have had a second to read."""
        await self._clock.sleep_until(self._due)
        self._due = self._clock.monotonic() + _INTERVAL

    async def update(self) -> None:
        """Compare the sources.

        Raises:
            NoData: No source can be read.
        """
        counts = self._counts()
        self._disagreement.observe(self._clock.monotonic(), counts)
        if not self._source(counts):
            raise NoData(f"none of {', '.join(self._choices)} can be counted")

    def _counts(self) -> dict[str, int | None]:
        return {name: count() for name, count in self._sources.items()}

    def _source(self, counts: Mapping[str, int | None]) -> str:
        return next((name for name in self._choices if counts.get(name) is not None), "")

    def collect(self) -> Iterator[Metric]:
        """What the others know at this moment."""
        counts = self._counts()
        yield ACTIVE.value(counts.get(self._source(counts)))
        yield SOURCES.values({name: count for name, count in counts.items() if count is not None})
        yield DISAGREEMENT.values({name: float(off) for name, off in self._disagreement.verdicts.items()})

    async def examine(self) -> Sequence[Finding]:
        """Which source is used, and what do the others say? They look meanwhile: they get a second."""
        await self._clock.sleep_until(self._clock.monotonic() + 1)
        status = self.status()
        if status.connections is None:
            text = f"active connections cannot be counted from {', '.join(self._choices)}"
            fix = "Fix what `sockets`, `children` or `sessions` lack, or choose another `children.active`."
            return [Finding.fault(text, fix)]
        others = [
            f"{name} {count}"
            for name, count in status.counts.items()
            if count is not None and name != status.source
        ]
        beside = f" ({', '.join(others)})" if others else ""
        return [Finding.ok(f"{status.connections} active connections, from {status.source}{beside}")]

    def status(self) -> Status:
        """The number, its source, and all counts."""
        counts = self._counts()
        source = self._source(counts)
        disagreeing = [name for name, off in self._disagreement.verdicts.items() if off]
        return Status(counts.get(source), source, counts, disagreeing)


def build(choice: str, counts: Mapping[str, Count], clock: Clock) -> ActiveCollector:
    """The collector on these counts."""
    return ActiveCollector(choice, counts, clock)
