"""What a person wants to know at a glance: a model that the page, the API and the terminal show."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from proxywatch import __version__
from proxywatch.clock import Clock
from proxywatch.exporter.runner import Outcome, Scrape
from proxywatch.exporter.status import facts
from proxywatch.exporter.status.figures import KINDS, Samples, figure, missing, samples, value
from proxywatch.exporter.status.model import CollectorState, Points, State, Status
from proxywatch.exporter.status.trend import Trend
from proxywatch.exporter.status.verdict import conclude
from proxywatch.metrics.registry import Registry

_SAMPLING = 5.0
_SAMPLED = frozenset(kind.collector for kind in KINDS)
_TRENDS = {kind.key: kind.metric for kind in KINDS if kind.key != "transferred"}


class Board:
    """Puts the status together from what the registry and the runner hold."""

    def __init__(
        self, registry: Registry, scrape: Scrape, clock: Clock, history: Callable[[], Any] = tuple
    ) -> None:
        """Be handed what to tell of.

        Args:
            registry: The series and the collectors.
            scrape: How the collectors fare.
            clock: Both clocks.
            history: The recent probes and failures, as /api/v1/history shows them.
        """
        self._registry = registry
        self._scrape = scrape
        self._clock = clock
        self._history = history
        self._started = clock.now()
        self._trends = {key: Trend() for key in (*_TRENDS, "traffic")}
        self._bytes: tuple[float, float] | None = None

    async def sample(self) -> None:
        """Note the figures every few seconds for the trends; a task of the daemon."""
        while True:
            self.note(samples(self._registry.published(_SAMPLED)))
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
        seen = {name: msgspec.to_builtins(collector.status()) for name, collector in collectors.items()}
        figures = [figure(kind, found, outcomes, collectors) for kind in KINDS]
        vpn = facts.vpn(found, seen, missing("wireguard", outcomes, collectors))
        leaves = facts.leaves(found)
        return Status(
            name=self._registry.labels["proxy_name"],
            version=__version__,
            time=self._clock.now(),
            started=self._started,
            verdict=conclude(vpn, leaves, figures, outcomes),
            vpn=vpn,
            exit=leaves,
            figures=figures,
            phases=facts.phases(seen),
            collectors=[_state(name, outcomes.get(name), what) for name, what in seen.items()],
            failures=facts.failures(self._history(), seen),
            requests=facts.requests(seen),
            trends={key: Points(trend.step, _rounded(trend.values)) for key, trend in self._trends.items()},
            ways=facts.ways(seen),
        )


def schema() -> dict[str, Any]:
    """The JSON schema of the status."""
    return msgspec.json.schema(Status)


def _state(name: str, outcome: Outcome | None, seen: Any) -> CollectorState:  # noqa: ANN401 - of any shape
    if outcome is None:
        return CollectorState(name, "waiting", "has not run yet", None, None, 0, seen)
    state: State = "ok" if outcome.success else "nothing" if outcome.reason == "no_data" else "failing"
    return CollectorState(
        name, state, outcome.message, outcome.duration, outcome.last_success, outcome.failures, seen
    )


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if number is None else float(f"{number:.4g}") for number in values]
