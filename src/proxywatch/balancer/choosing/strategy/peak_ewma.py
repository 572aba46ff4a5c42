"""Peak EWMA: the node that answers soonest for its load."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.interface import Turn


class PeakEwma:
    """The least time to a connection x (1 + in flight).

    The time is that of our own traffic: it follows a rise at once and a fall over ten seconds, a failure
    counts as a time-out, and a node not yet tried counts as a second away.
    """

    name = "peak_ewma"
    description = "Routes to the node with the lowest recent time to connect for its load"
    sample = 2
    ranks = False
    draws = False

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """The cheapest."""
        now, bias = turn.now, turn.bias
        return min(
            candidates,
            key=lambda c: (
                c.peak_ms(now) * (1 + c.in_flight) ** bias / (c.weight * c.slow_start(now)),
                c.in_flight,
                c.id,
            ),
        )
