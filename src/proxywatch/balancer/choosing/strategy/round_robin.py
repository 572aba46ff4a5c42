"""Round robin: one node after the other."""

from bisect import bisect_right
from collections.abc import Sequence
from math import floor

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.interface import Turn

_LONGEST_WALK = 64


class RoundRobin:
    """By id, continuing after the node that served last, also when that one is gone.

    With weights, the heaviest node serves in every round and the others in the share of rounds that their
    weight is of its.
    """

    name = "round_robin"
    description = "Distributes requests evenly across all healthy nodes"
    sample = 0
    ranks = False
    draws = False

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """The next one whose turn it is in this round."""
        at = bisect_right(candidates, turn.last, key=_id)
        this_round = turn.round
        for _ in range(_LONGEST_WALK):
            if at >= len(candidates):
                at, this_round = 0, this_round + 1
            candidate = candidates[at]
            share = candidate.weight / turn.heaviest
            if share >= 1 or floor((this_round + 1) * share) > floor(this_round * share):
                return candidate
            at += 1
        return candidates[at % len(candidates)]


def _id(candidate: Candidate) -> str:
    return candidate.id
