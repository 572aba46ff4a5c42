"""The pool as a whole, for people and programs: each country's preferred node, and the statistics."""

from collections.abc import Callable
from typing import Any

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.choose import Chooser
from proxywatch.balancer.choosing.pool import Pool
from proxywatch.balancer.choosing.preference import Preferred, best_of, prefer
from proxywatch.balancer.choosing.score import band
from proxywatch.balancer.choosing.selection import Ask, Scope

Switched = Callable[[str, Candidate, str], None]
_EVERY = 5.0
_ASKED_EVERY = 1.0
_LOOKED_AT_UNASKED = 2000


class Overview:
    """Preferred nodes and statistics of a pool."""

    def __init__(self, pool: Pool, chooser: Chooser, switched: Switched) -> None:
        """Begin without preferences.

        Args:
            pool: The nodes.
            chooser: Knows strategies.
            switched: Is told country, new node and reason when a preference changes.
        """
        self._pool, self._chooser, self._switched = pool, chooser, switched
        self._preferred: dict[str, Preferred] = {}
        self._looked: dict[str, float] = {}

    def tick(self, now: float) -> None:
        """Follow the preference of every country of moderate size; larger ones are followed when asked."""
        for country in self._pool.roster.countries():
            moderate = self._pool.roster.size(country) <= _LOOKED_AT_UNASKED
            if moderate and now - self._looked.get(country, float("-inf")) >= _EVERY:
                self.preferred(country, now)
        for country in [it for it in self._looked if not self._pool.roster.size(it)]:
            del self._looked[country]
            self._preferred.pop(country, None)

    def preferred(self, country: str, now: float) -> Candidate | None:
        """The country's preferred node, with a margin for the incumbent."""
        current = self._preferred.get(country)
        incumbent = self._pool.roster.get(current.node) if current else None
        if incumbent is not None and incumbent.standing.kind not in {"ready", "unseen"}:
            incumbent = None
        if incumbent is not None and now - self._looked.get(country, float("-inf")) < _ASKED_EVERY:
            return incumbent
        best = best_of(self._usable(country), now)
        if best is None:
            return None
        self._looked[country] = now
        balancing = self._pool.settings.balancing
        new = prefer(current, incumbent, best, now=now, margin=balancing.margin, hold=balancing.hold)
        self._preferred[country] = new
        if current is not None and new.node != current.node:
            self._switched(country, best, new.reason)
        return self._pool.roster.get(new.node)

    def best(self, country: str, now: float, *, strict: bool) -> tuple[Candidate, str, int] | None:
        """The node that best-node answers with, the strategy, and the round of round robin.

        Args:
            country: Its code.
            now: Monotonic seconds.
            strict: The plain maximum of the scores, whatever strategy and incumbent.
        """
        usable = self._usable(country)
        if not usable:
            return None
        name = self._chooser.strategy_of(country)
        strategy = self._chooser.strategies[name]
        if strict:
            best = best_of(usable, now)
            return (best, name, 0) if best else None
        if strategy.ranks:
            preferred = self.preferred(country, now)
            return (preferred, name, 0) if preferred else None
        tiers = self._pool.roster.tiers((country, "", ""))
        selection = self._chooser.picker.pick(tiers, None, Ask(Scope(country), strategy, (), now))
        if selection is None or selection.candidate is None:
            return None
        return selection.candidate, name, selection.attempt.round

    def _usable(self, country: str) -> list[Candidate]:
        tiers = self._pool.roster.tiers((country, "", ""))
        return (tiers.ready if len(tiers.ready) else tiers.unseen).candidates

    def statistics(self, counters: dict[str, int]) -> dict[str, Any]:
        """The documented statistics, of all nodes, with their state."""
        roster = self._pool.roster
        return {
            "strategies": list(self._chooser.strategies),
            "round_robin_counters": dict(counters),
            "countries": {country: self._country(roster.members(country)) for country in roster.countries()},
        }

    def _country(self, members: list[Candidate]) -> dict[str, Any]:
        usable = [it for it in members if it.standing.kind in {"ready", "unseen", "full"}]
        total = sum(it.connections() for it in usable)
        return {
            "node_count": len(usable),
            "total_connections": int(total),
            "avg_connections_per_node": total / len(usable) if usable else 0,
            "nodes": [node_document(it) for it in members],
        }


def node_document(candidate: Candidate) -> dict[str, Any]:
    """A node as the statistics list it."""
    node, score = candidate.node, candidate.score
    return {
        "id": node.id,
        "server": node.server or "unknown",
        "connections": int(candidate.connections()),
        "tailscale_ip": node.upstream.host,
        "cpu_percent": candidate.assessment.cpu_percent,
        "health_score": round(score, 1),
        "state": candidate.standing.kind,
        "reason": candidate.standing.reason,
        "band": band(score),
        "in_flight": candidate.in_flight,
        "confidence": candidate.assessment.confidence,
        "verified": candidate.standing.verified,
    }


def best_document(candidate: Candidate, strategy: str, country: str) -> dict[str, Any]:
    """The documented answer of best-node."""
    node = candidate.node
    return {
        "selected_node": {
            "id": node.id,
            "country": node.country,
            "server": node.server or "unknown",
            "tailscale_ip": node.upstream.host,
            "health_score": round(candidate.score, 1),
        },
        "strategy": strategy,
        "country": country,
    }
