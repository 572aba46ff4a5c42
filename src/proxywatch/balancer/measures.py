"""What people and programs may ask of measurements: speed tests, what is known now, forecasts and reports."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.geography import country_code
from proxywatch.balancer.control import UnknownError
from proxywatch.balancer.facts.exits import ExitState
from proxywatch.balancer.facts.probe import ProbeState
from proxywatch.balancer.facts.speed import BudgetState, SpeedResult
from proxywatch.balancer.history.report import Report
from proxywatch.balancer.history.report_page import page
from proxywatch.balancer.measuring import Measuring
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock

_HOUR = 3600.0


class Queued(msgspec.Struct, frozen=True):
    """Tests that were asked for.

    Attributes:
        status: In a word.
        nodes: Those that will be tested, one after the other; nodes that were waiting already are not among them.
        waiting: How many wait now.
        budget: What they may cost.
    """

    status: str
    nodes: list[str]
    waiting: int
    budget: BudgetState


class SpeedSummary(msgspec.Struct, frozen=True):
    """All speed tests.

    Attributes:
        total_tests: Made since the start.
        failed_tests: Among them.
        skipped_tests: That the budget did not allow.
        nodes_tested: Nodes with a result that still counts.
        avg_speed_mbps: Over these; None without any.
        fastest: The node with the greatest figure; empty without any.
        slowest: The node with the least; empty without any.
        running: The node that is being tested; empty for none.
        waiting: Nodes whose test was asked for.
        budget: What tests may cost.
        latest: The last result of each node that still counts.
    """

    total_tests: int
    failed_tests: int
    skipped_tests: int
    nodes_tested: int
    avg_speed_mbps: float | None
    fastest: str
    slowest: str
    running: str
    waiting: list[str]
    budget: BudgetState
    latest: dict[str, SpeedResult]


class NodeSpeeds(msgspec.Struct, frozen=True):
    """The results of a node.

    Attributes:
        node: Its id.
        latest: The last one, while it counts.
        history: Of the last 24 hours, the newest first.
    """

    node: str
    latest: SpeedResult | None
    history: list[SpeedResult]


class NodeNow(msgspec.Struct, frozen=True):
    """A node's measurements now; None for what is not known.

    Attributes:
        country: Its country.
        state: Whether it is usable.
        health_score: 0 to 100.
        connections: Through it.
        latency_ms: As measured last.
        latency_age_seconds: How long ago.
        success_rate_percent: Of the last minutes.
        speed_mbps: As measured last.
        speed_age_seconds: How long ago.
        cpu_percent: Of its pod or container.
        memory_mb: The same.
        exit_country: Where its exit was seen.
        exit_ip: Under which address.
        exit_age_seconds: How long ago.
        probe: How our own probes went; None where none were made.
        exit: How our own look at its exit went; None where none was taken.
    """

    country: str
    state: str
    health_score: float
    connections: int
    latency_ms: float | None
    latency_age_seconds: float | None
    success_rate_percent: float | None
    speed_mbps: float | None
    speed_age_seconds: float | None
    cpu_percent: float | None
    memory_mb: float | None
    exit_country: str | None
    exit_ip: str | None
    exit_age_seconds: float | None
    probe: ProbeState | None
    exit: ExitState | None


class MetricsNow(msgspec.Struct, frozen=True):
    """All measurements now.

    Attributes:
        timestamp: In UTC.
        total_connections: Through all nodes.
        uplink_up: Whether our own uplink works; None unless `probe.guard` is set.
        nodes: By id.
    """

    timestamp: str
    total_connections: int
    uplink_up: bool | None
    nodes: dict[str, NodeNow]


class PredictedHour(msgspec.Struct, frozen=True):
    """Connections in an hour to come.

    Attributes:
        at: Begin of the hour in UTC.
        p10: Nine times of ten there will be more.
        p50: As likely more as less.
        p90: Nine times of ten there will be less.
    """

    at: str
    p10: float
    p50: float
    p90: float


class Prediction(msgspec.Struct, frozen=True):
    """The load of a country.

    Attributes:
        country: As asked.
        status: `ok`, or `insufficient_data` of less than 24 hours.
        samples: Hours that it was made from.
        hours: Those to come; at most as many as samples.
        mean_absolute_error: Of the same method on the hours past; None where there are too few.
        tested_hours: On how many it was tried.
    """

    country: str
    status: str
    samples: int
    hours: list[PredictedHour]
    mean_absolute_error: float | None
    tested_hours: int


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured, for whoever asks.

    Attributes:
        brain: Its pool.
        measuring: Measures.
        clock: For times and ages.
    """

    brain: PoolBrain
    measuring: Measuring
    clock: Clock

    # Speed tests

    def test_all(self) -> Queued:
        """Have every node tested.

        Raises:
            SpentError: The budget allows none.
        """
        return self._queue([candidate.node for candidate in self.brain.pool.roster])

    def test(self, node: str) -> Queued:
        """Have a node tested.

        Raises:
            UnknownError: There is none of this id.
            SpentError: The budget allows none.
        """
        return self._queue([self._candidate(node).node])

    def summary(self) -> SpeedSummary:
        """All tests."""
        speed = self.measuring.speed
        known = {
            it.id: result for it in self.brain.pool.roster if (result := speed.latest(it.id)) is not None
        }
        figures = {
            it: result.goodput_mbps or result.download_mbps or 0.0
            for it, result in known.items()
            if result.ok
        }
        return SpeedSummary(
            speed.tests,
            speed.failures,
            speed.skipped,
            len(known),
            sum(figures.values()) / len(figures) if figures else None,
            max(figures, key=figures.__getitem__, default=""),
            min(figures, key=figures.__getitem__, default=""),
            speed.running,
            speed.queued,
            speed.budget_state(),
            known,
        )

    def results(self) -> list[SpeedResult]:
        """Every result of the last 24 hours, the newest first."""
        found = [result for it in self.brain.pool.roster for result in self.measuring.speed.history(it.id)]
        return sorted(found, key=lambda result: result.id, reverse=True)

    def results_of(self, node: str) -> NodeSpeeds:
        """The results of a node.

        Raises:
            UnknownError: There is none of this id.
        """
        name = self._candidate(node).id
        speed = self.measuring.speed
        return NodeSpeeds(name, speed.latest(name), speed.history(name))

    # What is known

    def current(self) -> MetricsNow:
        """All measurements now."""
        nodes = {it.id: self._now(it) for it in sorted(self.brain.pool.roster, key=lambda it: it.id)}
        total = sum(node.connections for node in nodes.values())
        return MetricsNow(self._time(self.clock.now()), total, self.measuring.probes.uplink, nodes)

    async def prediction(self, country: str, hours: int) -> Prediction:
        """The connections of a country in the hours to come.

        Raises:
            UnknownError: It has no nodes.
        """
        code = country_code(country)
        if code not in self.brain.pool.roster.countries():
            raise UnknownError(f"no nodes in {country}")
        now = self.clock.now()
        # In a thread: it tries itself on three days of the past.
        found = await asyncio.to_thread(self.measuring.history.forecast, code, now, hours)
        ahead = [PredictedHour(self._time(it.hour * _HOUR), *map(_rounded, it[1:])) for it in found.hours]
        error = None if found.error is None else _rounded(found.error)
        return Prediction(country, found.status, found.samples, ahead, error, found.tested)

    async def report(self, hours: int) -> Report:
        """The report of the last hours."""
        nodes = [(it.id, it.node.country, int(it.connections())) for it in self.brain.pool.roster]
        return await asyncio.to_thread(self.measuring.history.report, nodes, self.clock.now(), hours)

    async def report_page(self, hours: int) -> str:
        """The same as a page of HTML with plots."""
        document = await self.report(hours)
        history, now, seconds = self.measuring.history, self.clock.now(), hours * _HOUR

        def draw() -> str:
            plots = {
                node: (
                    history.points(node, "speed_mbps", now, seconds),
                    history.points(node, "latency_ms", now, seconds),
                )
                for node in document.performance_trends
            }
            return page(document, plots)

        return await asyncio.to_thread(draw)

    def _queue(self, nodes: Sequence[Node]) -> Queued:
        speed = self.measuring.speed
        fresh = speed.ask(nodes)
        return Queued("queued", fresh, len(speed.queued), speed.budget_state())

    def _candidate(self, node: str) -> Candidate:
        candidate = self.brain.pool.roster.get(node)
        if candidate is None:
            raise UnknownError(f"no node {node}")
        return candidate

    def _now(self, candidate: Candidate) -> NodeNow:
        now, keep, facts = self.clock.monotonic(), self.brain.settings.collect.keep, candidate.state.facts

        def value(name: str) -> float | None:
            return facts.number(name, now, keep)

        def age(name: str) -> float | None:
            fact = facts.get(name, now, keep)
            return None if fact is None else round(max(0.0, now - fact.at), 1)

        def text(name: str) -> str | None:
            fact = facts.get(name, now, keep)
            return None if fact is None else str(fact.value)

        latency = candidate.assessment.latency_source
        return NodeNow(
            country=candidate.node.country,
            state=candidate.standing.kind,
            health_score=round(candidate.score, 1),
            connections=int(candidate.connections()),
            latency_ms=value(latency),
            latency_age_seconds=age(latency),
            success_rate_percent=value("success_rate_percent"),
            speed_mbps=value("speed_mbps"),
            speed_age_seconds=age("speed_mbps"),
            cpu_percent=value("cpu_percent"),
            memory_mb=value("memory_mb"),
            exit_country=text("exit_country"),
            exit_ip=text("exit_ip"),
            exit_age_seconds=age("exit_country"),
            probe=self.measuring.probes.states.get(candidate.id),
            exit=self.measuring.exits.states.get(candidate.id),
        )

    @staticmethod
    def _time(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _rounded(value: float) -> float:
    return round(value, 2)
