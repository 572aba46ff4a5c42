"""Least connections: the node with the fewest in flight."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.interface import Turn


class LeastConnections:
    """Fewest in flight, ours and those that other balancers publish; ties are served in turn."""

    name = "least_connections"
    description = "Routes to the node with fewest active connections"
    sample = 2
    ranks = False
    draws = False

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """The least loaded; of equals the next one after the node that served last."""
        last = turn.last
        return min(candidates, key=lambda c: (c.in_flight / c.weight, c.id <= last, c.id))
