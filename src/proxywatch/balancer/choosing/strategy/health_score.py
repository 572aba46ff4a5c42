"""Health score: the healthiest node that has room."""

from collections.abc import Sequence

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.interface import Turn


class HealthScore:
    """The greatest score / (1 + in flight)^bias.

    Facts are up to half a minute old, connections in flight are known at once: dividing by them keeps the
    requests of that half minute from all going to the node that looked best at its beginning. With bias 0 it
    is the plain maximum of the scores; in an idle pool both agree. Ties go to the fewer in flight, the
    nearer, the first by id.
    """

    name = "health_score"
    description = "Routes to node with best overall health score (CPU, memory, latency, connections)"
    sample = 2
    ranks = True
    draws = False

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """The best one."""
        if len(candidates) == 2 and turn.bias == 1:  # noqa: PLR2004 - the usual case in a large pool
            one, other = candidates
            now = turn.now
            mine = one.worth if now >= one.ramp_end else one.merit(now)
            its = other.worth if now >= other.ramp_end else other.merit(now)
            mine /= 1 + one.in_flight
            its /= 1 + other.in_flight
            if mine != its:
                return one if mine > its else other
        return best(candidates, turn.now, turn.bias)


def best(candidates: Sequence[Candidate], now: float, bias: float) -> Candidate:
    """The greatest merit / (1 + in flight)^bias; ties as documented."""
    chosen, most = candidates[0], -1.0
    for candidate in candidates:
        load = 1 + candidate.in_flight
        worth = candidate.worth if now >= candidate.ramp_end else candidate.merit(now)
        value = worth / (load if bias == 1 else load**bias)
        if value > most or (value == most and _before(candidate, chosen, now)):
            chosen, most = candidate, value
    return chosen


def _before(one: Candidate, other: Candidate, now: float) -> bool:
    if one.in_flight != other.in_flight:
        return one.in_flight < other.in_flight
    return (one.latency_ms(now), one.id) < (other.latency_ms(now), other.id)
