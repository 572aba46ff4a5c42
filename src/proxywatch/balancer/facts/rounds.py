"""Something done to each node once per interval, at a moment of its own, so many at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from heapq import heapify, heappop, heappush
from math import isinf
from random import Random

from proxywatch.balancer.node import Node
from proxywatch.clock import Clock

log = logging.getLogger(__name__)

_LONGEST_WAIT = 1.0  # seconds between two looks at who is in the pool
_LONGEST_PAUSE = 60.0  # seconds from one look to the next at whether it is done at all
_PATIENCE = 3.0  # seconds in which the sidecar of a new node may tell first


class Rounds:
    """`run()` is a task of the daemon."""

    def __init__(
        self,
        act: Callable[[Node], Awaitable[None]],
        nodes: Callable[[], Sequence[Node]],
        interval: Callable[[], float],
        *,
        at_once: int,
        clock: Clock,
        dice: Random,
        wanted: Callable[[Node], bool] = lambda _: True,
        spread: float = 0.02,
    ) -> None:
        """Begin without having done anything.

        Args:
            act: Done to a node; whatever it raises is logged.
            nodes: The pool's nodes, asked for once a second.
            interval: Seconds from one time to the next; infinite for never.
            at_once: How many at a time.
            clock: For the moments.
            dice: For moments of their own.
            wanted: Whether it is to be done when the moment has come.
            spread: Seconds over which the first times of new nodes are spread, for each of them.
        """
        self._act = act
        self._nodes = nodes
        self._interval = interval
        self._wanted = wanted
        self._spread = spread
        self._slots = asyncio.Semaphore(at_once)
        self._clock = clock
        self._dice = dice
        self._due: list[tuple[float, str]] = []
        self._known: dict[str, Node] = {}
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Go on for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                now = self._clock.monotonic()
                self._follow_pool(now)
                interval = self._interval()
                while self._due and self._due[0][0] <= now:
                    _, name = heappop(self._due)
                    again = _LONGEST_PAUSE if isinf(interval) else interval
                    heappush(self._due, (now + again * self._dice.uniform(0.9, 1.1), name))
                    node = self._known[name]
                    if not isinf(interval) and name not in self._busy and self._wanted(node):
                        self._busy.add(name)
                        group.create_task(self._do(node), name=f"round of {name}")
                wake = self._due[0][0] if self._due else now + _LONGEST_WAIT
                await self._clock.sleep_until(min(wake, now + _LONGEST_WAIT))

    async def _do(self, node: Node) -> None:
        try:
            async with self._slots:
                if self._known.get(node.id) == node:
                    await self._act(node)
        except Exception:
            log.exception("round failed", extra={"node": node.id})
        finally:
            self._busy.discard(node.id)

    def _follow_pool(self, now: float) -> None:
        nodes = {node.id: node for node in self._nodes()}
        if nodes == self._known:
            return
        fresh = [node for name, node in nodes.items() if self._known.get(name) != node]
        renewed = {node.id for node in fresh}
        spread = min(self._interval(), 1.0 + len(fresh) * self._spread)
        self._due = [entry for entry in self._due if entry[1] in nodes and entry[1] not in renewed]
        self._due += [
            (now + self._dice.uniform(0, spread) + _PATIENCE * bool(it.sidecar), it.id) for it in fresh
        ]
        heapify(self._due)
        self._known = nodes
