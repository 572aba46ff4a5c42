"""Associations by UDP: each known by the proxy's endpoint, the relay, and tied to a connection by its end.

The log has no word of the connection that an association belongs to; but the child that writes its `]` writes
its connection's next, with the same sums. It writes a `]` for each family of addresses that the targets had.
"""

import msgspec

from proxywatch.dante.records import Closed, Moved

_NO_END = (b"", -1, -1)
_ANYWHERE = {b"0.0.0.0", b"::"}
_HEADERS = {True: 22, False: 10}  # of SOCKS in a datagram, from an IPv6 address or not


class Association(msgspec.Struct, array_like=True, gc=False):
    """One granted UDP ASSOCIATE.

    Attributes:
        client: From where the client said that it would send, without the port: an address, or a name.
        lost: Whether it was counted closed because its end seemed unable to come.
    """

    client: bytes
    lost: bool = False


class SavedAssociations(msgspec.Struct):
    """Everything that a restart needs."""

    open: dict[bytes, Association]
    ends: dict[bytes, tuple[bytes, int, int]]


class Associations:
    """Associations by their relay.

    Attributes:
        open: Those without an end, the oldest first.
    """

    def __init__(self, capacity: int) -> None:
        """Start empty.

        Args:
            capacity: The most that are held.
        """
        self.open: dict[bytes, Association] = {}
        self._ends: dict[bytes, tuple[bytes, int, int]] = {}
        self._capacity = capacity

    def add(self, relay: bytes, client: bytes) -> Association | None:
        """One was granted, to a client's endpoint; the oldest if there are too many, which is forgotten."""
        oldest = None
        if len(self.open) >= self._capacity:
            oldest = self.open.pop(next(iter(self.open)))
        self.open[relay] = Association(address_of(client))
        return oldest

    def is_repeated(self, pid: bytes, relay: bytes) -> bool:
        """Whether a child has just written another end of the same association."""
        return self._ends.get(pid, _NO_END)[0] == relay

    def ended(self, pid: bytes, relay: bytes, moved: Moved) -> None:
        """Note an end that a child wrote, by which that of its connection will be known."""
        if len(self._ends) >= self._capacity:
            self._ends.clear()
        self._ends[pid] = (relay, moved.sent, moved.received)

    def owns(self, record: Closed) -> bool:
        """Whether the end of a connection is that of the association whose end its child wrote before."""
        _, sent, received = self._ends.pop(record.pid, _NO_END)
        moved = record.moved
        return moved is not None and sent == moved.sent and received == moved.received

    def of(self, client: bytes) -> bytes | None:
        """The relay of a client's association whose own end is not logged.

        One of those that said where they would send from, if there is one.
        """
        address, unsaid = address_of(client), None
        for relay, association in self.open.items():
            if association.lost:
                continue
            if association.client == address:
                return relay
            if unsaid is None and association.client in _ANYWHERE:
                unsaid = relay
        return unsaid

    def save(self) -> SavedAssociations:
        """Everything, for `restore`."""
        return SavedAssociations(self.open, self._ends)

    def restore(self, saved: SavedAssociations) -> None:
        """Go on from what `save` gave."""
        self.open, self._ends = saved.open, saved.ends


def address_of(endpoint: bytes) -> bytes:
    """An endpoint without its port."""
    return endpoint.rpartition(b".")[0]


def payload(moved: Moved, target: bytes) -> int:
    """Bytes to the client, without the headers of SOCKS that it got with them."""
    sent = moved.sent - moved.packets * _HEADERS[b":" in target]
    return sent if 0 <= sent <= moved.returned else moved.returned
