"""What a person wants to know at a glance: a model that the page, the API and the terminal show."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from proxywatch import __version__
from proxywatch.clock import Clock, Moment
from proxywatch.exporter.collector import latency, sessions, tcp, wireguard
from proxywatch.exporter.runner import Outcome, Scrape
from proxywatch.exporter.status import parts
from proxywatch.exporter.status.figures import KINDS, Samples, figure, missing, samples, value
from proxywatch.exporter.status.model import CollectorState, Points, State, Status
from proxywatch.exporter.status.trend import Trend
from proxywatch.exporter.status.verdict import conclude
from proxywatch.metrics.registry import Registry
from proxywatch.probe.history import History
from proxywatch.runtime.reload import Reloads

_SeenT = TypeVar("_SeenT", bound=msgspec.Struct)
_SAMPLING = 5.0
_SAMPLED = {
    name: {kind.metric for kind in KINDS if kind.collector == name}
    for name in {kind.collector for kind in KINDS}
}
_TRENDS = {kind.key: kind.metric for kind in KINDS if kind.key != "transferred"}


class Board:
    """Puts the status together from what the registry and the runner hold.

    Attributes:
        health: Where the health port listens.
    """

    def __init__(
        self, registry: Registry, scrape: Scrape, clock: Clock, history: History, reloads: Reloads
    ) -> None:
        """Build a board on what others keep.

        Args:
            registry: The series and the collectors.
            scrape: How the collectors' updates went.
            clock: Both clocks.
            history: The recent probes and failures.
            reloads: Whether the settings that were read last are in force.
        """
        self._registry = registry
        self._scrape = scrape
        self._clock = clock
        self._history = history
        self._reloads = reloads
        self.health: list[str] = []
        self._started = Moment.of(clock)
        self._trends = {key: Trend() for key in (*_TRENDS, "traffic")}
        self._bytes: tuple[float, float] | None = None

    async def sample(self) -> None:
        """Note the figures every few seconds for the trends; a task of the daemon."""
        while True:
            self.note(samples(self._registry.found(_SAMPLED)))
            # The middle of the trends' next step: however late the loop is, none is left out or taken twice.
            steps = self._clock.monotonic() // _SAMPLING
            await self._clock.sleep_until((steps + 1.5) * _SAMPLING)

    def note(self, found: Samples) -> None:
        """Take the figures into the trends."""
        now = self._clock.monotonic()
        for key, metric in _TRENDS.items():
            self._trends[key].add(now, value(found, metric))
        self._trends["traffic"].add(now, self._traffic(now, value(found, "proxy_bytes_transferred_total")))

    def _traffic(self, now: float, transferred: float | None) -> float | None:
        """Bytes per second since the last note."""
        before, self._bytes = self._bytes, None if transferred is None else (now, transferred)
        if before is None or transferred is None or now <= before[0]:
            return None
        return max(transferred - before[1], 0.0) / (now - before[0])

    def status(self) -> Status:
        """Everything, as it is now."""
        found = samples(self._registry.collect())
        outcomes = self._scrape.outcomes
        collectors = self._registry.collectors
        seen = {name: collector.status() for name, collector in collectors.items()}
        figures = [figure(kind, found, outcomes, collectors) for kind in KINDS]
        vpn = parts.vpn(
            found, _of(seen.values(), wireguard.Status), missing("wireguard", outcomes, collectors)
        )
        exit_ = parts.exit_of(found)
        last_round = _of(seen.values(), latency.Status)
        log = _of(seen.values(), sessions.Status)
        report = log.report if log else None
        return Status(
            name=self._registry.labels["proxy_name"],
            version=__version__,
            time=self._clock.now(),
            started=self._started.shown(self._clock),
            verdict=conclude(vpn, exit_, figures, outcomes, last_round),
            vpn=vpn,
            exit=exit_,
            figures=figures,
            phases=parts.phases(last_round),
            collectors=[self._state(name, outcomes.get(name), what) for name, what in seen.items()],
            failures=parts.failures(self._history.snapshot(), report),
            requests=parts.requests(report),
            trends={key: Points(trend.step, _rounded(trend.values)) for key, trend in self._trends.items()},
            settings_fault=self._reloads.fault,
            health=self.health,
            ways=parts.ways(_of(seen.values(), tcp.Status)),
        )

    def _state(self, name: str, outcome: Outcome | None, seen: msgspec.Struct | None) -> CollectorState:
        if outcome is None:
            return CollectorState(name, "waiting", "has not run yet", None, None, 0, seen)
        state: State = "ok" if outcome.success else "nothing" if outcome.reason == "no_data" else "failing"
        last = outcome.last_success.shown(self._clock) if outcome.last_success else None
        return CollectorState(name, state, outcome.message, outcome.duration, last, outcome.failures, seen)


def schema() -> dict[str, Any]:
    """The JSON schema of the status."""
    return msgspec.json.schema(Status)


def _of(seen: Iterable[msgspec.Struct | None], kind: type[_SeenT]) -> _SeenT | None:
    """What the collector with that status saw; None where there is no such collector, or nothing yet."""
    return next((each for each in seen if isinstance(each, kind)), None)


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if number is None else float(f"{number:.4g}") for number in values]
