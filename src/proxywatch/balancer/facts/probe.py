"""Latency probes through nodes of which real traffic says nothing lately, and that no sidecar measures.

A round asks every target through the node. Its latency is the median of the answers, and failures are a rate of their
own: what fails is never left out of both. A node fails when all targets fail through it, while some were reached
through another node since its last round, or directly (`probe.guard`); where nobody reaches them the targets or our own
uplink are to blame.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Annotated, Protocol

import msgspec

from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock
from proxywatch.probe.request import Request
from proxywatch.quantity import Duration, Url

_LIMIT = 64 << 10
_WINDOW = 300.0  # seconds over which the success rate is taken
_MOST_KEPT = 200

Positive = Annotated[Duration, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Probes through nodes.

    Attributes:
        enabled: Whether to make them.
        interval: From one round through a node to the next.
        timeout: The longest that one probe may take.
        targets: URLs, http or https, that answer a GET with a status of 200 to 299 and at most 64 KiB; two or more, so
            that the outage of one is not taken for that of the pool.
        guard: Whether to ask the targets and `exit.urls` directly as well, which tells an outage of our own uplink from
            one of the nodes, and our own address from an exit's. These questions show our own address to the services.
    """

    enabled: bool = True
    interval: Positive = Duration(30)
    timeout: Positive = Duration(10)
    targets: tuple[Url, ...] = (
        Url("http://cp.cloudflare.com/generate_204"),
        Url("http://detectportal.firefox.com/success.txt"),
        Url("https://www.gstatic.com/generate_204"),
    )
    guard: bool = False

    def __post_init__(self) -> None:
        """Refuse what could blame a node for a target."""
        if len(set(self.targets)) != len(self.targets) or len(self.targets) < 2:  # noqa: PLR2004
            raise ValueError("targets: expected two or more, each once")


class Asks(Protocol):
    """Asks through nodes; see `Through`."""

    async def ask(self, node: Node, request: Request) -> Reply:
        """Make one transfer through a node."""

    async def ask_directly(self, request: Request) -> Reply:
        """Make one without."""


class Pool(Protocol):
    """What is needed of the brain."""

    def learn(self, node: str, facts: Mapping[str, Fact]) -> bool:
        """Take facts about a node."""

    def probed(self, node: str, reason: str = ...) -> None:
        """An active check of a node was good, or failed."""


class ProbeState(msgspec.Struct, frozen=True):
    """How the probes of a node went.

    Attributes:
        at: Unix time of the last round.
        latency_ms: Median of the targets that answered in it; None when none did.
        success_percent: Of the probes of the last five minutes.
        fault: Why the last round failed; empty when it did not.
        blamed: Whether that was counted against the node.
        rounds: How many were made.
        failures: How many failed.
    """

    at: float
    latency_ms: float | None
    success_percent: float | None
    fault: str = ""
    blamed: bool = False
    rounds: int = 0
    failures: int = 0


class Probes:
    """Makes rounds of probes.

    Attributes:
        states: By node.
        uplink: Whether our own uplink reaches a target; None where nobody looks.
    """

    def __init__(
        self,
        asks: Asks,
        pool: Pool,
        settings: Callable[[], Settings],
        clock: Clock,
        witness: Callable[[str], Node | None] = lambda _: None,
    ) -> None:
        """Begin without having probed anything.

        Args:
            asks: Asks through nodes.
            pool: Learns of it.
            settings: Those in force.
            clock: For the times.
            witness: Another node that serves, through which targets are asked for when one fails and no other was
                probed; None without one.
        """
        self.states: dict[str, ProbeState] = {}
        self.uplink: bool | None = None
        self._asks = asks
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._witness = witness
        self._last: dict[str, float] = {}
        self._outcomes: dict[str, deque[tuple[float, bool]]] = {}
        self._reached: list[
            tuple[float, str]
        ] = []  # the last time of the two nodes that reached a target last

    async def probe(self, node: Node) -> None:
        """Make one round through a node, and tell the pool."""
        settings = self._settings()
        before = self._last.get(node.id, self._clock.monotonic() - settings.interval)
        self._last[node.id] = self._clock.monotonic()
        replies = await self._round(node, settings)
        now = self._clock.monotonic()
        good = [reply for reply in replies if reply.ok]
        if good:
            self._note_reached(now, node.id)
        rate = self._rate(node.id, [reply for reply in replies if reply.ok or not reply.ours], now)
        latency = 1000 * median(reply.seconds for reply in good) if good else None
        facts = {"proxy_latency_ms": latency, "success_rate_percent": rate}
        self._pool.learn(
            node.id, {it: Fact(value, now, "probe") for it, value in facts.items() if value is not None}
        )
        blamed = not good and await self._is_to_blame(node.id, replies, before, settings)
        reason = "" if good else replies[0].reason
        if good or blamed:
            self._pool.probed(node.id, reason)
        state = self.states.get(node.id)
        rounds, failures = (state.rounds, state.failures) if state else (0, 0)
        self.states[node.id] = ProbeState(
            self._clock.now(), latency, rate, reason, blamed, rounds + 1, failures + (not good)
        )

    async def look_at_uplink(self) -> None:
        """Ask the targets directly."""
        settings = self._settings()
        replies = await asyncio.gather(
            *(
                self._asks.ask_directly(Request("guard", url, settings.timeout, _LIMIT))
                for url in settings.targets
            )
        )
        self.uplink = any(reply.ok for reply in replies)

    def forget(self, nodes: Sequence[Node]) -> None:
        """Forget all but these."""
        kept = {node.id for node in nodes}
        for name in self.states.keys() - kept:
            del self.states[name]
            self._outcomes.pop(name, None)
            self._last.pop(name, None)

    async def _round(self, node: Node, settings: Settings) -> list[Reply]:
        requests = [Request("latency", url, settings.timeout, _LIMIT) for url in settings.targets]
        return await asyncio.gather(*(self._asks.ask(node, request) for request in requests))

    async def _is_to_blame(
        self, node: str, replies: Sequence[Reply], since: float, settings: Settings
    ) -> bool:
        """Whether the targets can be reached, only not through this node."""
        if all(reply.ours for reply in replies) or self.uplink is False:
            return False
        if self.uplink or self._reached_by_others(node, since):
            return True
        witness = self._witness(node)
        if witness is not None and any(reply.ok for reply in await self._round(witness, settings)):
            self._note_reached(self._clock.monotonic(), witness.id)
        return self._reached_by_others(node, since)

    def _reached_by_others(self, node: str, since: float) -> bool:
        return any(at > since and other != node for at, other in self._reached)

    def _note_reached(self, now: float, node: str) -> None:
        others = [entry for entry in self._reached if entry[1] != node]
        self._reached = [(now, node), *others[:1]]

    def _rate(self, node: str, replies: Sequence[Reply], now: float) -> float | None:
        """Percent of the last minutes' probes that were answered; None without any."""
        kept = self._outcomes.setdefault(node, deque(maxlen=_MOST_KEPT))
        kept.extend((now, reply.ok) for reply in replies)
        while kept and now - kept[0][0] > _WINDOW:
            kept.popleft()
        return 100 * sum(ok for _, ok in kept) / len(kept) if kept else None
