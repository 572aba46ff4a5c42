"""Random: any node, by weight."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.drawing import draw
from proxywatch.balancer.choosing.strategy.interface import FEW, Turn


class Random:
    """Each node as often as its weight is of the total."""

    name = "random"
    description = "Randomly selects from available healthy nodes"
    sample = FEW
    ranks = False
    draws = True

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """A draw by weight and slow start."""
        now = turn.now
        return draw(candidates, [c.weight * c.slow_start(now) for c in candidates], turn.dice)
