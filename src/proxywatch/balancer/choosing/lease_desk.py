"""Gives, moves and ends leases as selections imply, and counts held ones as in flight."""

from collections.abc import Callable
from typing import Any

from proxywatch.balancer.choosing.affinity import Lease, Leases, Owner, anchor
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.counts import Counts
from proxywatch.balancer.choosing.event import Type
from proxywatch.balancer.choosing.pool import Pool
from proxywatch.balancer.choosing.rebalance import moves
from proxywatch.balancer.choosing.selection import Selection

Tell = Callable[[Type, Candidate | None, str, dict[str, Any]], None]


class LeaseDesk:
    """Carries out what becomes of leases."""

    def __init__(self, leases: Leases, pool: Pool, counts: Counts, tell: Tell) -> None:
        self._leases, self._pool, self._counts, self._tell = leases, pool, counts, tell

    def give(
        self, selection: Selection, candidate: Candidate, owner: Owner, decision: str, now: float
    ) -> Lease:
        """The owner's lease on the selected node: a new one, the one it has, or that one moved."""
        lease = selection.lease
        if lease is None:
            ttl = selection.ttl or float(self._leases.settings.timeout)
            lease = Lease(f"lease-{decision}", owner, candidate.id, "", "", "", "", now, now, ttl)
            anchor(lease, candidate)
            for ended in self._leases.give(lease):
                self._let_go(ended, now, "replaced" if ended.owner == owner else "too many leases")
            self._tell("lease", candidate, "given", {"lease": lease.id})
        elif lease.node != candidate.id and not selection.keep_lease:
            if lease.held:
                self._count(lease, now, -1)
            self._leases.move(lease, candidate)
            if lease.held:
                self._count(lease, now, 1)
            self._tell("lease", candidate, "moved", {"lease": lease.id})
        self._leases.use(lease, now, selection.ttl)
        return lease

    def hold(self, lease: Lease, now: float) -> None:
        """A client that dials itself has it: it counts as in flight."""
        if not lease.held:
            lease.held = True
            self._count(lease, now, 1)

    def release(self, lease_id: str, now: float) -> bool:
        """End a lease; False when there is none of this id."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return False
        self._leases.end(lease)
        self._let_go(lease, now, "released")
        return True

    def adopt(self, lease: Lease, now: float) -> None:
        """Take over another balancer's claim, unless ours is newer."""
        known = self._leases.find(lease.owner, now)
        if known is None or known.version < lease.version:
            for ended in self._leases.give(lease):
                self._let_go(ended, now, "another balancer's claim")

    def rebalance(self, country: str, *, dry_run: bool) -> int:
        """Move leases so that each usable node of a country has its share; how many."""
        tiers = self._pool.roster.tiers((country, "", ""))
        usable = (tiers.ready if tiers.ready.candidates else tiers.unseen).candidates
        known = {candidate.id for candidate in usable}
        moving = moves([lease for lease in self._leases if lease.node in known], usable)
        for lease, candidate in [] if dry_run else moving:
            self._leases.move(lease, candidate)
            self._tell("lease", candidate, "rebalanced", {"lease": lease.id})
        return len(moving)

    def tick(self, now: float) -> None:
        """End those whose time is over."""
        for lease in self._leases.expired(now):
            self._let_go(lease, now, "idle or too old")

    def _count(self, lease: Lease, now: float, change: int) -> None:
        candidate = self._pool.roster.get(lease.node)
        if candidate is not None:
            self._pool.load(candidate, now, change)

    def _let_go(self, lease: Lease, now: float, reason: str) -> None:
        self._counts.leases_ended += 1
        if lease.held:
            lease.held = False
            self._count(lease, now, -1)
        self._tell("lease", self._pool.roster.get(lease.node), f"ended: {reason}", {"lease": lease.id})
