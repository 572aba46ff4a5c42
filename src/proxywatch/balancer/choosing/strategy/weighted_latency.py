"""Weighted latency: a draw that favours the near."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.drawing import draw
from proxywatch.balancer.choosing.strategy.interface import FEW, Turn

_FAR = 199.0


class WeightedLatency:
    """A node weighs 200 less its latency in milliseconds, 1 at the least; 150 at 50 ms, 50 at 150 ms.

    Where all are 199 ms or farther these weights would be equal; there a node weighs 200 x fastest / own.
    """

    name = "weighted_latency"
    description = "Routes based on server latency with weighted randomization"
    sample = FEW
    ranks = False
    draws = True

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """A draw by weight of latency times configured weight and slow start."""
        now = turn.now
        weights = weigh([candidate.latency_ms(now) for candidate in candidates])
        shares = [w * c.weight * c.slow_start(now) for w, c in zip(weights, candidates, strict=True)]
        return draw(candidates, shares, turn.dice)


def weigh(latencies: Sequence[float]) -> list[float]:
    """The weight of each latency in milliseconds."""
    fastest = min(latencies)
    if fastest >= _FAR:
        return [200 * fastest / latency for latency in latencies]
    return [max(1.0, 200 - latency) for latency in latencies]
