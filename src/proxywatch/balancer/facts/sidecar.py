"""Facts from the nodes' sidecars: each /metrics is fetched once per interval, at a moment of its own.

The moments of the nodes are spread over the interval, so that a thousand of them are a steady trickle. A sidecar that
does not answer makes its facts old, not its node bad: that is for the connections to show.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from random import Random
from typing import Protocol

from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.facts.exposition import Cpu, facts_of, read_exposition
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock
from proxywatch.errors import ParseError, SourceError

log = logging.getLogger(__name__)

_AT_ONCE = 64
_LONGEST_WAIT = 1.0  # seconds between two looks at who is in the pool


class Fetch(Protocol):
    """Fetches a sidecar's metrics."""

    async def __call__(self, node: Node) -> str:
        """The exposition of the node's sidecar.

        Raises:
            SourceError: It does not answer, or not with an exposition.
        """


@dataclass(frozen=True, slots=True)
class SidecarState:
    """How the last fetch of a sidecar went.

    Attributes:
        at: Unix time of the last one that succeeded; None before the first.
        fault: Why the last one failed; empty when it did not.
        fetches: How many were made.
        failures: How many failed.
    """

    at: float | None = None
    fault: str = ""
    fetches: int = 0
    failures: int = 0


class Sidecars:
    """Fetches them all; `run()` is a task of the daemon.

    Attributes:
        states: By node id.
    """

    def __init__(
        self,
        nodes: Callable[[], Sequence[Node]],
        learn: Callable[[str, Mapping[str, Fact]], object],
        fetch: Fetch,
        *,
        interval: Callable[[], float],
        clock: Clock,
        dice: Random,
    ) -> None:
        """Begin without having fetched anything.

        Args:
            nodes: The pool's nodes, asked about once a second.
            learn: Takes the facts of a node.
            fetch: Fetches a sidecar's metrics.
            interval: Seconds from one fetch of a sidecar to the next.
            clock: Both clocks.
            dice: For moments of their own.
        """
        self.states: dict[str, SidecarState] = {}
        self._nodes = nodes
        self._learn = learn
        self._fetch = fetch
        self._interval = interval
        self._clock = clock
        self._dice = dice
        self._cpu = Cpu()
        self._due: list[tuple[float, str]] = []
        self._known: dict[str, Node] = {}
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Fetch for ever."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                now = self._clock.monotonic()
                self._follow_pool(now)
                while self._due and self._due[0][0] <= now:
                    _, name = heappop(self._due)
                    node = self._known.get(name)
                    if node is None:
                        continue
                    heappush(self._due, (now + self._jittered(), name))
                    if name not in self._busy:
                        self._busy.add(name)
                        group.create_task(self._fetch_within(slots, node), name=f"facts of {name}")
                wake = self._due[0][0] if self._due else now + _LONGEST_WAIT
                await self._clock.sleep_until(min(wake, now + _LONGEST_WAIT))

    async def fetch_once(self, node: Node) -> None:
        """Fetch one sidecar now, and learn from it; never raises."""
        before = self.states.get(node.id, SidecarState())
        fault, at = "", before.at
        try:
            reading = await asyncio.to_thread(read_exposition, await self._fetch(node))
            now, time = self._clock.monotonic(), self._clock.now()
            facts = facts_of(reading, now, time)
            percent = self._cpu.percent(node.id, reading.cpu_seconds, now)
            if percent is not None:
                facts["cpu_percent"] = Fact(percent, now, "sidecar")
            self._learn(node.id, facts)
            at = time
        except (SourceError, ParseError) as error:
            fault = str(error)
        except Exception as error:
            log.exception("sidecar's facts failed", extra={"node": node.id})
            fault = f"internal error: {type(error).__name__}"
        if node.id not in self._known:
            return
        self.states[node.id] = SidecarState(at, fault, before.fetches + 1, before.failures + bool(fault))
        if fault != before.fault:
            if fault:
                log.warning("sidecar gives no facts", extra={"node": node.id, "reason": fault})
            else:
                log.info("sidecar gives facts again", extra={"node": node.id})

    async def _fetch_within(self, slots: asyncio.Semaphore, node: Node) -> None:
        try:
            async with slots:
                await self.fetch_once(node)
        finally:
            self._busy.discard(node.id)

    def _follow_pool(self, now: float) -> None:
        """Forget who left; put who joined, or whose sidecar moved, at a random moment of the first interval."""
        nodes = {node.id: node for node in self._nodes() if node.sidecar}
        if nodes == self._known:
            return
        for name in self._known.keys() - nodes.keys():
            self.states.pop(name, None)
            self._cpu.forget(name)
        spread = min(self._interval(), 1.0 + len(nodes) / 50)
        fresh = [name for name, node in nodes.items() if name not in self._known]
        self._due = [entry for entry in self._due if entry[1] in nodes]
        self._due += [
            (now + self._dice.uniform(0, spread) if len(fresh) > 1 else now, name) for name in fresh
        ]
        heapify(self._due)
        self._known = nodes

    def _jittered(self) -> float:
        return self._interval() * self._dice.uniform(0.9, 1.1)
