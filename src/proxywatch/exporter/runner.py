"""The runner: updates collectors when they are due or asked for, times them, judges them.

Reading collectors are refreshed together when somebody wants to know: at most once per `max_age`, in one
flight that all who ask share. When nobody asks, those that conclude from a course of readings are read every
`interval`, the others every fourth time. Watching collectors have a task each.
Whatever an update does, it ends within its timeout and touches nothing but its own outcome. An update that
hung or broke is left alone for a while that doubles each time; one that said in good order that there is
nothing to read is cheap, and is asked again as before.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from proxywatch.clock import Clock, Moment
from proxywatch.errors import NoData, ParseError, ProxywatchError, SourceError
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Labels, Metric
from proxywatch.metrics.registry import Collector, Registry, Watching
from proxywatch.quantity import Duration

log = logging.getLogger(__name__)

DURATION = family.gauge(
    "proxywatch_collector_duration_seconds", "How long the collector's last update took.", ["collector"]
)
SUCCESS = family.gauge(
    "proxywatch_collector_success", "1 when the collector's last update obtained its facts.", ["collector"]
)
FAILURES = family.counter(
    "proxywatch_collector_failures_total",
    "Updates that did not obtain their facts: no_data, nothing was there to measure; source, unreadable; "
    "parse, not the known format; timeout; error, a fault of ours. source is there from the start "
    "at 0, the others once they happen.",
    ["collector", "reason"],
)
REASONS = ("no_data", "source", "parse", "timeout", "error")
_FIRST_BACK_OFF = 2.0
_LONGEST_BACK_OFF = 300.0
RARELY = 4  # intervals between two readings of what is not steady, when nobody asks


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How readings are refreshed.

    Attributes:
        timeout: The longest that a scrape waits for fresh readings before it is answered with what there is.
        max_age: Readings younger than this are served again.
        interval: The tunnel and its device are read at least this often, also when nobody asks; everything
            else every fourth time.
    """

    timeout: Duration = Duration(5)
    max_age: Duration = Duration(1)
    interval: Annotated[Duration, msgspec.Meta(ge=1)] = Duration(5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a collector's last update went.

    Attributes:
        reason: Empty after a success, else one of REASONS.
        message: Empty after a success, else a sentence for people.
        duration: Seconds.
        last_success: When the last one succeeded; None before the first.
        failures: Failures in a row.
    """

    reason: str
    message: str
    duration: float
    last_success: Moment | None
    failures: int

    @property
    def success(self) -> bool:
        """Whether the facts were obtained."""
        return not self.reason


class Scrape:
    """Runs the collectors of a registry; publishes how they fare.

    Attributes:
        outcomes: By collector, once it has run.
        generation: Grows with every update, so that who renders knows of a change.
        refreshed: When the readings were last refreshed together, by the monotonic clock.
    """

    name = "scrape"

    def __init__(
        self, registry: Registry, settings: Settings, clock: Clock, steady: Collection[str] = ()
    ) -> None:
        """Nothing has run yet.

        Args:
            registry: Whose collectors it runs.
            settings: How often.
            clock: Both clocks.
            steady: The collectors that need every reading, also when nobody asks.
        """
        self.settings = settings
        self._steady = frozenset(steady)
        self._one = asyncio.Lock()
        self.outcomes: dict[str, Outcome] = {}
        self.generation = 0
        self._registry = registry
        self._clock = clock
        self.refreshed = float("-inf")
        self._asked = asyncio.Event()
        self._flight: asyncio.Future[None] | None = None
        self._not_before: dict[str, float] = {}
        self._failures: dict[tuple[str, str], int] = {}

    async def refresh(self, patience: float | None = None) -> None:
        """Return when the readings are at most `max_age` old, or after `patience` seconds as they are."""
        if self._clock.monotonic() - self.refreshed < self.settings.max_age:
            return
        if self._flight is None:
            self._flight = asyncio.get_running_loop().create_future()
            self._asked.set()
        limit = self.settings.timeout if patience is None else min(patience, self.settings.timeout)
        await asyncio.wait({self._flight}, timeout=limit)

    async def serve(self) -> None:
        """Refresh the reading collectors whenever asked; a task of the daemon."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._read(self._registry.collectors)
            self.refreshed = self._clock.monotonic()
            flight, self._flight = self._flight, None
            if flight is not None and not flight.done():
                flight.set_result(None)

    async def heartbeat(self) -> None:
        """Read what is steady every `interval`, and all of it from time to time; a task of the daemon."""
        interval = self.settings.interval
        while True:
            if self._clock.monotonic() - self.refreshed > (RARELY - 0.5) * interval:
                await self.refresh()
            else:
                await self._read(self._steady)
            # At the moments at which trends are sampled: a wake-up that two share costs little more than one.
            await self._clock.sleep_until((self._clock.monotonic() // interval + 1.5) * interval)

    async def _read(self, names: Collection[str]) -> None:
        """Update those of the reading collectors at once; never two updates of one collector."""
        async with self._one, asyncio.TaskGroup() as group:
            for name, collector in self._registry.collectors.items():
                if name in names and not isinstance(collector, Watching):
                    group.create_task(self.update(collector), name=f"update {name}")

    async def watch(self, collector: Watching) -> None:
        """Update a watching collector whenever it is due; its task."""
        while True:
            await self._clock.sleep_until(self._not_before.get(collector.name, 0.0))
            try:
                await collector.due()
            except Exception as error:  # noqa: BLE001 - a broken collector must not end the daemon
                self._judge(collector, self._clock.monotonic(), error)
                await self._clock.sleep_until(self._clock.monotonic() + _FIRST_BACK_OFF)
                continue
            await self.update(collector)

    async def update(self, collector: Collector) -> None:
        """Run one update within its timeout, and judge it; never raises."""
        start = self._clock.monotonic()
        if start < self._not_before.get(collector.name, 0.0):
            return
        try:
            async with asyncio.timeout(collector.timeout):
                await collector.update()
        except Exception as error:  # noqa: BLE001 - a broken collector must not spoil the others
            self._judge(collector, start, error)
        else:
            self._judge(collector, start, None)

    def forget(self, name: str) -> None:
        """A collector is gone: so are its outcome and its back-off; its counts stay."""
        self.outcomes.pop(name, None)
        self._not_before.pop(name, None)

    def _judge(self, collector: Collector, start: float, error: Exception | None) -> None:
        name = collector.name
        now = self._clock.monotonic()
        before = self.outcomes.get(name)
        reason = _reason(error)
        failures = (before.failures if before else 0) + 1 if error else 0
        last_success = Moment.of(self._clock) if error is None else before.last_success if before else None
        message = _message(error, collector.timeout)
        self.outcomes[name] = Outcome(reason, message, now - start, last_success, failures)
        self.generation += 1
        if error is None:
            self._not_before.pop(name, None)
        else:
            self._failures[name, reason] = self._failures.get((name, reason), 0) + 1
            if reason in ("timeout", "error"):
                self._not_before[name] = now + min(_FIRST_BACK_OFF * 2 ** (failures - 1), _LONGEST_BACK_OFF)
        _report(name, before, self.outcomes[name], error)

    def describe(self) -> Sequence[Family]:
        """How the collectors fare."""
        return (DURATION, SUCCESS, FAILURES)

    def collect(self) -> Iterator[Metric]:
        """One sample per collector that has run."""
        outcomes = self.outcomes
        yield DURATION.values({name: outcome.duration for name, outcome in outcomes.items()})
        yield SUCCESS.values({name: float(outcome.success) for name, outcome in outcomes.items()})
        counts: dict[Labels, float] = {(name, "source"): 0 for name in outcomes}
        counts |= {pair: count for pair, count in self._failures.items() if pair[0] in outcomes}
        yield FAILURES.values(counts)


def _reason(error: Exception | None) -> str:
    match error:
        case None:
            return ""
        case NoData():
            return "no_data"
        case SourceError():
            return "source"
        case ParseError():
            return "parse"
        case TimeoutError():
            return "timeout"
        case _:
            return "error"


def _message(error: Exception | None, timeout: float) -> str:
    match error:
        case None:
            return ""
        case ProxywatchError():
            return str(error)
        case TimeoutError():
            return f"no answer within {timeout:g} s"
        case _:
            return f"internal error: {type(error).__name__}: {error}"


def _report(name: str, before: Outcome | None, after: Outcome, error: Exception | None) -> None:
    """One line per change of state: quiet while all stays well, or stays broken in the same way."""
    previous = before.reason if before else ""
    if after.reason == previous:
        return
    fields = {"collector": name}
    if after.success:
        log.info("collector works again", extra=fields)
    elif after.reason == "error":
        log.error("collector failed", extra=fields | {"reason": after.message}, exc_info=error)
    else:
        log.warning("collector sees nothing", extra=fields | {"reason": after.message})
