"""The pool's candidates by country, kept in order as nodes come, go and change: no pick has to search.

A `Group` lists usable candidates by id. There is one per country, and one per country and city, tag or
server; each is split into tiers: ready, unseen (exit never seen), trial (was out and has served its time).
"""

from bisect import bisect_left
from collections.abc import Iterator

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.state import USABLE, Kind
from proxywatch.balancer.node import Node

Key = tuple[str, str, str]
EVERYWHERE: Key = ("", "", "")


class Group:
    """Candidates in the order of their ids."""

    __slots__ = ("_heaviest", "candidates", "ids")

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.candidates: list[Candidate] = []
        self._heaviest = 0.0

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, candidate: Candidate) -> None:
        """Add a candidate that is not in it."""
        at = bisect_left(self.ids, candidate.id)
        self.ids.insert(at, candidate.id)
        self.candidates.insert(at, candidate)
        self._heaviest = 0.0

    def remove(self, candidate: Candidate) -> None:
        """Remove a candidate that is in it."""
        at = bisect_left(self.ids, candidate.id)
        del self.ids[at], self.candidates[at]
        self._heaviest = 0.0

    @property
    def heaviest(self) -> float:
        """The greatest weight in it; worked out once per change."""
        if not self._heaviest:
            self._heaviest = max((candidate.weight for candidate in self.candidates), default=1.0)
        return self._heaviest


class Tiers:
    """The usable candidates of a key."""

    __slots__ = ("members", "ready", "trial", "unseen")

    def __init__(self) -> None:
        self.ready, self.unseen, self.trial = Group(), Group(), Group()
        self.members = 0

    def __len__(self) -> int:
        return len(self.ready) + len(self.unseen) + len(self.trial)

    def tier(self, kind: Kind) -> Group:
        """The group of a kind of standing."""
        return self.ready if kind == "ready" else self.unseen if kind == "unseen" else self.trial


NOBODY = Tiers()


class Roster:
    """Candidates by id and by key."""

    def __init__(self) -> None:
        self._by_id: dict[str, Candidate] = {}
        self._tiers: dict[Key, Tiers] = {}
        self._members: dict[str, dict[str, Candidate]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._by_id.values())

    def get(self, node: str) -> Candidate | None:
        """The candidate of a node's id."""
        return self._by_id.get(node)

    def tiers(self, key: Key) -> Tiers:
        """The usable candidates of a key."""
        return self._tiers.get(key, NOBODY)

    def countries(self) -> list[str]:
        """Every country with a node, in the order of the codes."""
        return sorted(self._members)

    def members(self, country: str) -> list[Candidate]:
        """All nodes of a country, usable or not, in the order of their ids."""
        return [candidate for _, candidate in sorted(self._members.get(country, {}).items())]

    def size(self, country: str) -> int:
        """How many nodes a country has."""
        return len(self._members.get(country, ()))

    def add(self, candidate: Candidate) -> None:
        """Add a node; it is in no tier until `place`."""
        self._by_id[candidate.id] = candidate
        self._members.setdefault(candidate.node.country, {})[candidate.id] = candidate
        for key in keys(candidate.node):
            self._tiers.setdefault(key, Tiers()).members += 1

    def remove(self, candidate: Candidate) -> None:
        """Remove a node, from its tiers too."""
        self.displace(candidate, candidate.standing.kind)
        del self._by_id[candidate.id]
        country = candidate.node.country
        del self._members[country][candidate.id]
        if not self._members[country]:
            del self._members[country]
        for key in keys(candidate.node):
            self._tiers[key].members -= 1
            if not self._tiers[key].members:
                del self._tiers[key]

    def place(self, candidate: Candidate, kind: Kind) -> None:
        """Put a node into the tiers of its standing."""
        if kind in USABLE:
            for key in keys(candidate.node):
                self._tiers[key].tier(kind).add(candidate)

    def displace(self, candidate: Candidate, kind: Kind) -> None:
        """Take it out of them."""
        if kind in USABLE:
            for key in keys(candidate.node):
                self._tiers[key].tier(kind).remove(candidate)


def keys(node: Node) -> list[Key]:
    """Under which a node is found."""
    details = [("tag", tag) for tag in sorted(node.tags)]
    if node.city:
        details.append(("city", node.city))
    if node.server:
        details.append(("server", node.server))
    places = [node.country, ""] if node.country else [""]
    return [(place, *detail) for place in places for detail in [("", ""), *details]]
