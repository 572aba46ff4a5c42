"""What the balancer measures by itself: probes, exits and speed tests through nodes, and the history of it all."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Self

from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.event import Event
from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.facts.exits import Exits
from proxywatch.balancer.facts.loopback import INTERVAL as DAILY
from proxywatch.balancer.facts.loopback import Loopback
from proxywatch.balancer.facts.pressure import Pressure
from proxywatch.balancer.facts.probe import Probes
from proxywatch.balancer.facts.rounds import Rounds
from proxywatch.balancer.facts.speed import Speed, SpeedResult, figure
from proxywatch.balancer.facts.through import Through
from proxywatch.balancer.history.history import History
from proxywatch.balancer.node import Node, Upstream
from proxywatch.clock import Clock

_PROBES_AT_ONCE = 16
_EXITS_AT_ONCE = 8
_OUT_OF_SERVICE = frozenset({"draining", "drained"})
_SAMPLE = 30.0  # seconds between two looks for the history
_SPEED_SPREAD = 60.0  # seconds of the first round for each node
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Settings:
    """The sections that say what is measured."""

    probe: probe.Settings
    speed: speed.Settings
    exit: Exit


class Measuring:
    """Measures; to be used as a context, with the tasks of `loops`.

    Attributes:
        probes: Through nodes.
        exits: Of nodes.
        loopback: Whether nodes connect to their own.
        pressure: On nodes.
        speed: Of nodes.
        history: Of all that is known.
    """

    def __init__(
        self,
        brain: PoolBrain,
        nodes: Callable[[], Sequence[Node]],
        settings: Callable[[], Settings],
        upstream_of: Callable[[str], Upstream | None],
        *,
        clock: Clock,
        dice: Random,
        tell: Callable[[Event], None] = lambda _: None,
    ) -> None:
        """Begin without having measured anything.

        Args:
            brain: Learns of it.
            nodes: The pool's nodes.
            settings: Those in force.
            upstream_of: How to reach a node through which others are reached.
            clock: Both clocks.
            dice: For moments of their own.
            tell: Is told of pressure on a node.
        """
        self._brain = brain
        self._nodes = nodes
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._through = through = Through(upstream_of)
        self.history = History()
        self.probes = Probes(through, brain, lambda: settings().probe, clock, self._serving)
        self.exits = Exits(through, brain, lambda: settings().exit, clock)
        self.loopback = Loopback(through)
        self.pressure = Pressure()
        self._tell = tell
        self.speed = Speed(
            through, brain, lambda: settings().speed, clock, nodes=lambda: len(nodes()), heard=self._tested
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._through.aclose()

    def loops(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Its tasks by name; they never end."""
        return {
            "probes": self._rounds(
                self.probes.probe, self._probe_interval, self._quiet, at_once=_PROBES_AT_ONCE
            ).run(),
            "exits": self._rounds(
                self.exits.look, self._exit_interval, self._unseen, at_once=_EXITS_AT_ONCE
            ).run(),
            "speed": self._rounds(
                self.speed.test, self.speed.interval, self._untested, at_once=1, spread=_SPEED_SPREAD
            ).run(),
            "loopback": self._rounds(
                self.loopback.look, lambda: DAILY, lambda node: self._candidate(node) is not None, at_once=4
            ).run(),
            "asked": self.speed.serve(),
            "guard": self._guard(),
            "history": self._remember(),
        }

    def heard(self, event: Event) -> None:
        """Note an event of the pool for the reports."""
        if event.country and event.type in {"ejected", "exit_drift"}:
            self.history.add_event(event.at, event.country, event.type)

    def sample(self) -> None:
        """Take what is known of every node now into the history."""
        now, at = self._clock.monotonic(), self._clock.now()
        load: dict[str, float] = {}
        for candidate in self._brain.pool.roster:
            connections = candidate.connections()
            country = candidate.node.country
            load[country] = load.get(country, 0.0) + connections
            self.history.add(candidate.id, "connections", at, connections)
            for name, fact in (
                ("latency_ms", candidate.assessment.latency_source),
                ("speed_mbps", "speed_mbps"),
            ):
                value = self._fresh(candidate, fact, now)
                if value is not None:
                    self.history.add(candidate.id, name, at, value)  # type: ignore[arg-type]
            self._press(candidate, now, at)
            success = self._fresh(candidate, "success_rate_percent", now)
            if success is not None:
                self.history.add(candidate.id, "success_percent", at, success)
        for country, connections in load.items():
            self.history.add_load(country, at, connections)

    def _press(self, candidate: Candidate, now: float, at: float) -> None:
        cpu, memory = (self._fresh(candidate, name, now) for name in ("cpu_percent", "memory_mb"))
        for change in self.pressure.look(candidate.id, cpu, memory, now):
            kind: Literal["pressure", "relieved"] = "pressure" if change.began else "relieved"
            detail = {"kind": change.kind}
            self._tell(Event(kind, at, candidate.id, candidate.node.country, change.reason, detail))

    def _rounds(
        self,
        act: Callable[[Node], Coroutine[Any, Any, None]],
        interval: Callable[[], float],
        wanted: Callable[[Node], bool],
        *,
        at_once: int,
        spread: float = 0.02,
    ) -> Rounds:
        return Rounds(
            act,
            self._nodes,
            interval,
            at_once=at_once,
            clock=self._clock,
            dice=self._dice,
            wanted=wanted,
            spread=spread,
        )

    def _probe_interval(self) -> float:
        settings = self._settings().probe
        return settings.interval if settings.enabled else _NEVER

    def _exit_interval(self) -> float:
        settings = self._settings().exit
        return settings.interval if settings.urls and settings.verify != "off" else _NEVER

    # Who needs it

    def _quiet(self, node: Node) -> bool:
        """Whether neither real traffic nor a sidecar tells how a node does."""
        candidate = self._candidate(node)
        if candidate is None:
            return False
        now = self._clock.monotonic()
        if self._told_by_sidecar(candidate, "proxy_latency_ms", now, self._brain.settings.collect.keep):
            return False
        return candidate.state.health.ejected or candidate.pace.traffic(now) is None

    def _unseen(self, node: Node) -> bool:
        """Whether no sidecar tells where a node's exit is."""
        candidate = self._candidate(node)
        now, keep = self._clock.monotonic(), 2 * self._settings().exit.interval
        return candidate is not None and not self._told_by_sidecar(candidate, "exit_country", now, keep)

    def _untested(self, node: Node) -> bool:
        """Whether no sidecar tells how fast a node is."""
        candidate = self._candidate(node)
        if candidate is None or candidate.standing.kind in {"down", "wrong_exit", "ejected"}:
            return False
        now, keep = self._clock.monotonic(), self._brain.settings.collect.keep
        return not self._told_by_sidecar(candidate, "speed_mbps", now, keep)

    def _serving(self, but: str) -> Node | None:
        """Another node than that one, through which a connection was opened lately."""
        now = self._clock.monotonic()
        for candidate in self._brain.pool.roster:
            if (
                candidate.id != but
                and candidate.standing.kind == "ready"
                and candidate.pace.traffic(now) is not None
            ):
                return candidate.node
        return None

    def _candidate(self, node: Node) -> Candidate | None:
        candidate = self._brain.pool.roster.get(node.id)
        return None if candidate is None or candidate.standing.kind in _OUT_OF_SERVICE else candidate

    def _told_by_sidecar(self, candidate: Candidate, name: str, now: float, keep: float) -> bool:
        fact = candidate.state.facts.collected.get(name)
        return fact is not None and fact.source == "sidecar" and now - fact.at < keep

    def _fresh(self, candidate: Candidate, name: str, now: float) -> float | None:
        keep = self._brain.settings.collect.keep
        fact = candidate.state.facts.get(name, now, keep)
        if fact is None or now - fact.at >= keep or fact.source == "speed":
            return None
        return float(fact.value)

    # Loops

    async def _guard(self) -> None:
        """Look at our own uplink, where that is wanted."""
        looked = -_NEVER
        while True:
            settings, now = self._settings(), self._clock.monotonic()
            if settings.probe.enabled and settings.probe.guard:
                await self.probes.look_at_uplink()
                if now - looked >= settings.exit.interval and settings.exit.urls:
                    looked = now
                    await self.exits.look_at_uplink()
            else:
                self.probes.uplink, self.exits.uplinks = None, frozenset()
            self._brain.pool.uplinks = self.exits.uplinks
            await self._clock.sleep_until(self._clock.monotonic() + settings.probe.interval)

    async def _remember(self) -> None:
        """Take samples, and forget the nodes that have left."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + _SAMPLE)
            nodes = self._nodes()
            self.sample()
            self.history.forget(node.id for node in nodes)
            self.pressure.forget(frozenset(node.id for node in nodes))
            for part in (self.probes, self.exits, self.speed, self.loopback):
                part.forget(nodes)

    def _tested(self, result: SpeedResult) -> None:
        value = figure(result)
        if value is not None:
            self.history.add(result.node, "speed_mbps", result.at, value)
