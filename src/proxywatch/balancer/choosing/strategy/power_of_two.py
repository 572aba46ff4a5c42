"""Power of two choices: the better of two drawn at random."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.health_score import best
from proxywatch.balancer.choosing.strategy.interface import Turn


class PowerOfTwo:
    """Draws two nodes and compares them as health_score does, also in small pools.

    Several balancers that do not know of each other's connections spread better this way than by comparing
    all.
    """

    name = "power_of_two"
    description = "Draws two nodes at random and routes to the one with the better score for its load"
    sample = 2
    ranks = True
    draws = True

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """The better of two."""
        many = len(candidates)
        if many <= 2:  # noqa: PLR2004 - all of them
            return best(candidates, turn.now, turn.bias)
        one = int(turn.dice.random() * many)
        other = int(turn.dice.random() * (many - 1))
        other += other >= one
        return best((candidates[one], candidates[other]), turn.now, turn.bias)
