"""Rebalancing: which leases move so that each node of a country has its share; open connections stay."""

from collections.abc import Sequence
from math import ceil

from proxywatch.balancer.choosing.affinity import Lease
from proxywatch.balancer.choosing.candidate import Candidate


def moves(leases: Sequence[Lease], candidates: Sequence[Candidate]) -> list[tuple[Lease, Candidate]]:
    """Leases to move, and where to.

    Args:
        leases: Those that are on the candidates, the longest idle first.
        candidates: The usable nodes of a country.

    Returns:
        The longest idle ones of nodes that have more than their share by weight, each with the node that then
        lacks most; those that a client holds stay.
    """
    total = sum(candidate.weight for candidate in candidates)
    if not total:
        return []
    share = {it.id: len(leases) * it.weight / total for it in candidates}
    count = dict.fromkeys(share, 0)
    for lease in leases:
        count[lease.node] += 1
    moving = []
    for lease in leases:
        if lease.held or count[lease.node] <= ceil(share[lease.node]):
            continue
        to = max(candidates, key=lambda it: (share[it.id] - count[it.id], it.id))
        if share[to.id] - count[to.id] <= 0:
            break
        count[lease.node] -= 1
        count[to.id] += 1
        moving.append((lease, to))
    return moving
