"""Drawing one of several in proportion to weights."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.interface import Dice


def draw(candidates: Sequence[Candidate], weights: Sequence[float], dice: Dice) -> Candidate:
    """One of them, each as likely as its weight is of the total; the last one where rounding leaves none."""
    point = dice.random() * sum(weights)
    passed = 0.0
    for candidate, weight in zip(candidates, weights, strict=True):
        passed += weight
        if passed >= point:
            return candidate
    return candidates[-1]
