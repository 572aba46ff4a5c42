"""The books of a proxy: connections opened, open and closed, by type, route and node."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from proxywatch.instrument.samples import Samples, Window

Place = tuple[str, str, str]
"""Type, route and node of a connection."""

OTHER = "other"
TYPES = ("tcp", "socks4", "socks5", "http", "https", "connect", "websocket", "udp")
_MOST_REASONS = 32
_REST: Place = (OTHER, OTHER, OTHER)


@dataclass(slots=True)
class Account:
    """Connections of one type, on one route, through one node.

    `opened = closed + active` at any moment.

    Args:
        type: Protocol of the client.
        route: Route.
        node: Upstream.
        opened: Connections opened so far.
        active: Connections that are open.
        closed: Connections that have ended.
        requests: Requests served: one per connection, and those that followed on kept connections.
        bytes_in: Bytes received from clients.
        bytes_out: Bytes sent to clients.
        seconds: Durations of all connections that have ended, added up.
    """

    type: str
    route: str
    node: str
    opened: int = 0
    active: int = 0
    closed: int = 0
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0

    def copy(self) -> "Account":
        """As it is now."""
        return Account(
            self.type, self.route, self.node, self.opened, self.active, self.closed, self.requests,
            self.bytes_in, self.bytes_out, self.seconds,
        )  # fmt: skip

    def add(self, other: "Account") -> None:
        """Add another account's numbers."""
        self.opened += other.opened
        self.active += other.active
        self.closed += other.closed
        self.requests += other.requests
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.seconds += other.seconds


class Ledger:
    """All accounts of a proxy, at most `capacity` of them, and one for the rest.

    When one more is needed, that of an idle node which has been kept longest is given up: its numbers stay in
    the totals. When none is idle, the connection is booked under `other`.
    """

    __slots__ = ("_past", "_types", "capacity", "known", "lock", "reasons", "samples")

    def __init__(self, now: float, types: tuple[str, ...] = TYPES, capacity: int = 4096) -> None:
        if capacity < 1:
            raise ValueError("A ledger needs at least one account.")
        self.capacity = capacity
        self.lock = threading.Lock()
        self.reasons: dict[str, int] = {}
        self._types = frozenset(types)
        self.known: dict[Place, Account] = {}
        self._past = Account(OTHER, OTHER, OTHER)
        self.samples = Samples(now, self._sampled)

    def account(self, place: Place) -> Account:
        """The account for a new connection. The caller holds the lock."""
        found = self.known.get(place)
        return found if found is not None else self._opened(*place)

    def new_reason(self, reason: str) -> None:
        """Book a reason for which no connection has ended so far. The caller holds the lock."""
        if len(self.reasons) >= _MOST_REASONS:
            reason = OTHER
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def books(self) -> tuple[tuple[Account, ...], dict[str, int]]:
        """A copy of all accounts, and closed connections by reason, at one moment."""
        with self.lock:
            return tuple(account.copy() for account in self.known.values()), dict(self.reasons)

    def total(self) -> Account:
        """All accounts added up, with those given up."""
        with self.lock:
            return self._total()

    def rates(self, now: float, seconds: Window) -> tuple[float, ...]:
        """Requests, bytes in and bytes out per second."""
        with self.lock:
            return self.samples.rates(now, seconds)

    def by(self, key: Callable[[Account], str]) -> dict[str, int]:
        """Open connections by whatever `key` says of an account."""
        found: dict[str, int] = {}
        with self.lock:
            for account in self.known.values():
                found[key(account)] = found.get(key(account), 0) + account.active
        return found

    def _total(self) -> Account:
        total = self._past.copy()
        for account in self.known.values():
            total.add(account)
        return total

    def _sampled(self) -> tuple[int, ...]:
        total = self._total()
        return total.requests, total.bytes_in, total.bytes_out

    def _opened(self, kind: str, route: str, node: str) -> Account:
        if kind not in self._types and kind != OTHER:
            return self.account((OTHER, route, node))
        if len(self.known) - (_REST in self.known) >= self.capacity and not self._give_one_up():
            kind = route = node = OTHER
        return self.known.setdefault((kind, route, node), Account(kind, route, node))

    def _give_one_up(self) -> bool:
        idle = next((key for key, it in self.known.items() if not it.active and key != _REST), None)
        if idle is None:
            return False
        self._past.add(self.known.pop(idle))
        return True
