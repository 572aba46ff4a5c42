"""Who is in the pool: nodes that the sources name, and those that are on their way out. Does no I/O.

A node that its source names no more, or calls not ready, is drained: it gets no new requests, its leases stay until
the deadline. One that is gone leaves the pool when nothing is left on it, or at the deadline; one that is only not
ready stays, and serves again when it is.

Thousands of new nodes join fifty at a time, so that open connections do not wait for them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxywatch.balancer.discovery.sighting import Leaving, Sighting, merge
from proxywatch.balancer.node import Node

_GONE = Leaving("its source names it no more")
_REMOVED = Leaving("it is no longer in the settings")


_AT_ONCE = 50  # new nodes; some 10 ms


class Pool(Protocol):
    """What is needed of the brain."""

    def set_nodes(self, nodes: Iterable[Node]) -> None:
        """Make these the pool's nodes."""

    def drain(self, node: str, seconds: float, reason: str = ..., /) -> bool:
        """Send a node no new requests."""

    def ready(self, node: str) -> bool:
        """Call a drain off."""

    def drains(self, node: str) -> bool:
        """Whether a node drains."""

    def idle(self, node: str) -> bool:
        """Whether a node has neither connections nor leases."""


@dataclass(slots=True)
class _Exit:
    """A node on its way out."""

    until: float
    gone: bool
    ours: bool  # whether the drain is our own, to be called off again


class Membership:
    """Keeps the pool as settings and sources have it.

    Attributes:
        nodes: In the pool.
        faults: Nodes that could not be taken in.
    """

    def __init__(self, pool: Pool, drain: float) -> None:
        """Begin with an empty pool.

        Args:
            pool: The brain.
            drain: Seconds for which leases stay on a node that goes.
        """
        self.drain = drain
        self.nodes: list[Node] = []
        self.faults: tuple[str, ...] = ()
        self._pool = pool
        self._static: Sequence[Node] = ()
        self._sightings: Mapping[str, Sighting] = {}
        self._exits: dict[str, _Exit] = {}
        self._more = False

    def set_static(self, nodes: Sequence[Node], now: float) -> None:
        """The nodes of the settings."""
        removed = {node.id for node in self._static} - {node.id for node in nodes}
        self._static = list(nodes)
        self._apply(now, dict.fromkeys(removed, _REMOVED))

    def saw(self, sightings: Mapping[str, Sighting], now: float) -> None:
        """What the sources see."""
        self._sightings = dict(sightings)
        self._apply(now, {})

    def tick(self, now: float) -> None:
        """Let go whoever is gone and has nothing left, let in whoever waits; once a second will do."""
        if self._more:
            self._apply(now, {})
        self._let_go(now)

    def _let_go(self, now: float) -> None:
        over = {
            node
            for node, exit_ in self._exits.items()
            if exit_.gone and (now >= exit_.until or self._pool.idle(node))
        }
        if over:
            for node in over:
                del self._exits[node]
            self.nodes = [node for node in self.nodes if node.id not in over]
            self._pool.set_nodes(self.nodes)

    def _apply(self, now: float, removed: Mapping[str, Leaving]) -> None:
        wanted = merge(self._static, self._sightings)
        self.faults = wanted.faults
        back = [node for node in self._exits if node in wanted.nodes]
        out = [node for node in self.nodes if node.id not in wanted.nodes]
        known = {node.id for node in (*self.nodes, *self._static)}
        fresh = [name for name in wanted.nodes if name not in known]
        later = frozenset(fresh[_AT_ONCE:])
        self._more = bool(later)
        self.nodes = [*(node for name, node in wanted.nodes.items() if name not in later), *out]
        self._pool.set_nodes(self.nodes)
        for name in back:
            if self._exits.pop(name).ours:
                self._pool.ready(name)
        for node in out:
            why = wanted.leaving.get(node.id)
            self._leave(node.id, why or removed.get(node.id, _GONE), now, gone=why is None)
        self._let_go(now)

    def _leave(self, node: str, why: Leaving, now: float, *, gone: bool) -> None:
        known = self._exits.get(node)
        seconds = 0.0 if why.at_once else self.drain
        if known is None:
            known = self._exits[node] = _Exit(now + seconds, gone, ours=not self._pool.drains(node))
            if known.ours:
                self._pool.drain(node, seconds, why.reason)
        elif why.at_once and known.until > now:
            known.until = now
            self._pool.drain(node, 0.0, why.reason)
        known.gone = gone
