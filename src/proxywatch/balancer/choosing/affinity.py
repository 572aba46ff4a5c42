"""Leases: which node a session, a user or a client stays on.

A lease slides: each use renews its idle time; `max_age` bounds its life. It is anchored on its node, and when
that is unfit on what the client would notice least: another node with the same exit address, then the same
server, city, country. Leases are bounded in number; the one that was idle longest ends first.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush

import msgspec

from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.settings import Affinity
from proxywatch.balancer.request import Request

Owner = tuple[str, str, str, str]
_NEVER = float("inf")


class Lease(msgspec.Struct):
    """A claim on a node; times are monotonic seconds.

    Attributes:
        id: Unique.
        owner: Kind of key (`session`, `user`, `client`, `lease`), user, name, and the country that was asked
            for.
        node: Node that it is on.
        country: Country of that node.
        exit_ip: Its exit address, or empty.
        server: VPN server behind it, or empty.
        city: Its city, or empty.
        created: When it was given.
        used: Its last use.
        ttl: Idle seconds after which it ends.
        held: Whether a client that dials itself holds it: it counts as in flight.
        version: Raised with each move, so that two balancers can tell the newer claim.
        confirmed: Whether the shared store has it; True without one.
    """

    id: str
    owner: Owner
    node: str
    country: str
    exit_ip: str
    server: str
    city: str
    created: float
    used: float
    ttl: float
    held: bool = False
    version: int = 1
    confirmed: bool = True


def owner(request: Request, country: str, settings: Affinity) -> Owner | None:
    """To whom a lease for this request belongs; None when it has no affinity."""
    wishes = request.wishes
    if wishes.session:
        return "session", request.user, wishes.session, country
    if settings.key == "session":
        return None
    if settings.key == "user" and request.user:
        return "user", request.user, "", country
    return "client", request.user, request.client, country


class Leases:
    """All leases, the longest idle first."""

    def __init__(self, settings: Affinity) -> None:
        self.settings = settings
        self._by_owner: OrderedDict[Owner, Lease] = OrderedDict()
        self._by_id: dict[str, Lease] = {}
        self._on: Counter[str] = Counter()
        self._ends: list[tuple[float, str]] = []  # when to look at a lease; not later than its end

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._by_owner.values())

    def on(self, node: str) -> int:
        """How many leases are on a node."""
        return self._on[node]

    def get(self, lease: str) -> Lease | None:
        """The lease of an id."""
        return self._by_id.get(lease)

    def find(self, whose: Owner, now: float) -> Lease | None:
        """The owner's lease, unless its time is over."""
        lease = self._by_owner.get(whose)
        return lease if lease is not None and now < self.ends(lease) else None

    def ends(self, lease: Lease) -> float:
        """When it ends if it is not used."""
        age = lease.created + self.settings.max_age if self.settings.max_age else _NEVER
        return min(lease.used + lease.ttl, age)

    def give(self, lease: Lease) -> list[Lease]:
        """Add a lease, in place of the owner's former one.

        Returns:
            Leases that ended for it.
        """
        ended = [self._by_owner[lease.owner]] if lease.owner in self._by_owner else []
        while len(self._by_owner) - len(ended) >= self.settings.max_leases:
            oldest = next((idle for idle in self if not idle.held and idle not in ended), None)
            if oldest is None:
                oldest = next(idle for idle in self if idle not in ended)
            ended.append(oldest)
            self.end(oldest)
        for former in ended:
            self.end(former)
        self._by_owner[lease.owner] = self._by_id[lease.id] = lease
        self._on[lease.node] += 1
        heappush(self._ends, (self.ends(lease), lease.id))
        return ended

    def use(self, lease: Lease, now: float, ttl: float) -> None:
        """Renew its idle time, or change it when the client asks for another."""
        lease.used = now
        if ttl and ttl != lease.ttl:
            lease.ttl = ttl
            heappush(self._ends, (self.ends(lease), lease.id))
        self._by_owner.move_to_end(lease.owner)

    def move(self, lease: Lease, candidate: Candidate) -> None:
        """Put it on another node."""
        self._count(lease.node, -1)
        anchor(lease, candidate)
        lease.version += 1
        self._count(lease.node, 1)

    def end(self, lease: Lease) -> None:
        """Forget it."""
        if self._by_id.pop(lease.id, None) is not None:
            del self._by_owner[lease.owner]
            self._count(lease.node, -1)

    def expired(self, now: float) -> list[Lease]:
        """End those whose time is over."""
        over = []
        while self._ends and self._ends[0][0] <= now:
            _, lease_id = heappop(self._ends)
            lease = self._by_id.get(lease_id)
            if lease is None:
                continue
            if now >= self.ends(lease):
                self.end(lease)
                over.append(lease)
            else:
                heappush(self._ends, (self.ends(lease), lease_id))
        return over

    def _count(self, node: str, change: int) -> None:
        self._on[node] += change
        if not self._on[node]:
            del self._on[node]


def anchor(lease: Lease, candidate: Candidate) -> None:
    """Note where the lease is."""
    fact = candidate.state.facts.collected.get("exit_ip")
    lease.node, lease.country = candidate.id, candidate.node.country
    lease.exit_ip = str(fact.value) if fact is not None else ""
    lease.server, lease.city = candidate.node.server, candidate.node.city


def nearest(lease: Lease, candidates: list[Candidate]) -> tuple[list[Candidate], str]:
    """Of the candidates those whose exit is most like the lease's, and what they share with it."""
    for what, value in (("exit address", lease.exit_ip), ("server", lease.server), ("city", lease.city)):
        if value:
            alike = [it for it in candidates if _trait(it, what) == value]
            if alike:
                return alike, what
    return candidates, "country"


def _trait(candidate: Candidate, what: str) -> str:
    if what == "exit address":
        fact = candidate.state.facts.collected.get("exit_ip")
        return str(fact.value) if fact is not None else ""
    return candidate.node.server if what == "server" else candidate.node.city
