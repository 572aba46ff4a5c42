"""A connection that is open: bytes pass between client and node, are counted, and it ends exactly once.

Each end of it is a `Side`, which first speaks its protocol (`hear`), and once it is joined to the other
writes there whatever comes. When one side cannot take more, the other is not read: what waits in memory is
bounded by the write limit and one read. An end of file travels on after the bytes before it, and the other
direction lives on; an error on one side resets both.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay.observer import Connection

if TYPE_CHECKING:
    from proxywatch.balancer.relay.server import Relay
    from proxywatch.balancer.relay.users import User

# What a connection to a node gets once it has lived for a few seconds; most never do. The client's side takes
# the like over from its listener.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
)
_RESET = struct.pack("ii", 1, 0)


class Session:
    """One open connection, from the node's yes to its end.

    Attributes:
        choice: The node, as it was chosen.
        connection: What observers know of it.
        user: Its user's account; None where nobody logs in.
        ended: Whether it has ended.
        quiet_since: When the idle check last saw bytes pass.
        watched: Whether the kernel has been told to watch over it.
        passed: Bytes of both directions that the idle check saw.
        charged_in: Bytes that the user's account has already.
        charged_out: The same of the other direction.
        extra_in: Bytes that passed outside of the two sides.
        extra_out: The same of the other direction.
        carrier: Who passes the bytes on, if not two sides.
    """

    __slots__ = (
        "carrier", "charged_in", "charged_out", "choice", "client", "connection", "ended", "extra_in",
        "extra_out", "node", "passed", "quiet_since", "relay", "user", "watched",
    )  # fmt: skip

    def __init__(self, relay: "Relay", choice: Choice, connection: Connection, user: "User | None") -> None:
        self.relay = relay
        self.choice = choice
        self.connection = connection
        self.user = user
        self.ended = False
        self.quiet_since = connection.at
        self.passed = 0
        self.watched = False
        self.charged_in = self.charged_out = 0
        self.extra_in = self.extra_out = 0
        self.client: Side | None = None
        self.node: Side | None = None
        self.carrier: Carrier | None = None

    @property
    def bytes_in(self) -> int:
        """From the client."""
        return self.extra_in + (self.client.count if self.client else 0)

    @property
    def bytes_out(self) -> int:
        """To the client."""
        return self.extra_out + (self.node.count if self.node else 0)

    def join(self, client: "Side", node: "Side") -> None:
        """Let bytes pass between the two from now on."""
        self.carrier = None
        self.client, self.node = client, node
        client.other, node.other = node, client
        client.session = node.session = self
        if self.user is not None and self.user.entry.bytes_per_second:
            client.write, node.write = client.write_metered, node.write_metered
        else:
            client.write, node.write = node.transport.write, client.transport.write

    def end(self, reason: str) -> None:
        """Account for its end; nothing the second time."""
        if not self.ended:
            self.ended = True
            self.relay.ended(self, reason)

    def keep_alive(self) -> None:
        """It lives: have the kernel watch over the connection to the node."""
        self.watched = True
        if self.node is not None:
            keep_alive(self.node.transport, self.relay.user_timeout)

    def abort(self, reason: str) -> None:
        """End it now, so that neither side takes what it got for all."""
        self.end(reason)
        if self.carrier is not None:
            self.carrier.forced(reason)
        for side in (self.client, self.node):
            if side is not None:
                reset(side.transport)


class Side(asyncio.Protocol):
    """One end of a connection; each kind of end says what it does until it is joined to another.

    Attributes:
        transport: To the client, or to the node.
        count: Bytes that came from there and were passed on.
        ended: Whether its end of file has come.
        write: Takes what comes from here; None while the two are not joined.
    """

    __slots__ = ("count", "ended", "other", "session", "transport", "write")

    transport: asyncio.Transport
    other: "Side"
    session: Session

    def __init__(self) -> None:
        self.count = 0
        self.ended = False
        self.write: Callable[[bytes], object] | None = None

    def hear(self, data: bytes) -> None:
        """Bytes, while it is not joined."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone, and it was not joined."""
        raise NotImplementedError

    def finished(self) -> bool:
        """The end of file, while it is not joined; whether the connection is to stay."""
        raise NotImplementedError

    def writable(self, *, yes: bool) -> None:
        """It takes no more, or does again, while it is not joined."""

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        write = self.write
        if write is None:
            self.hear(data)
            return
        self.count += len(data)
        try:
            write(data)
        except RuntimeError:  # uvloop's word for a transport that has just failed
            self.session.abort("reset")

    def write_metered(self, data: bytes) -> None:
        """Pass it on, and read on when the user has tokens again."""
        session, other = self.session, self.other
        other.transport.write(data)
        if session.user is not None and not session.ended:
            session.user.spend(session.relay.loop, len(data), self.transport, other.transport)

    def pause_writing(self) -> None:
        """This side takes no more: do not read the other."""
        if self.write is None:
            self.writable(yes=False)
        else:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It takes more again."""
        if self.write is None:
            self.writable(yes=True)
        else:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end on; both ended is the end of the session."""
        self.ended = True
        if self.write is None:
            return self.finished()
        other = self.other
        if other.ended:
            self.session.end("done")
            self.transport.close()
            other.transport.close()
        elif other.transport.can_write_eof() and not other.transport.is_closing():
            other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone: after both ends of file, or by an error, or because it was closed."""
        if self.write is None:
            self.lost()
            return
        session = self.session
        if exc is not None or not session.ended:
            if exc is None and self.ended:  # TLS closes after the end of its data
                session.end("done")
                self.other.transport.close()
            else:
                session.abort("reset")
        # Nobody calls it from here on; let go, so that no collector has to find the circle.
        self.write = _gone
        del self.session, self.other


class Carrier(Protocol):
    """Passes the bytes of a session on, if two sides do not."""

    def forced(self, reason: str) -> None:
        """End it now."""


def keep_alive(transport: asyncio.BaseTransport, user_timeout: int) -> None:
    """Have the kernel find out when the other side is gone; milliseconds that data may be unacknowledged."""
    wire = transport.get_extra_info("socket")
    if wire is None or transport.is_closing():
        return
    with suppress(OSError):
        for level, option, value in _KEEP_ALIVE:
            wire.setsockopt(level, option, value)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout)


def reset(transport: asyncio.BaseTransport) -> None:
    """Close with RST rather than FIN, so that what was cut does not look whole."""
    if transport.is_closing():
        cast("asyncio.Transport", transport).abort()
        return
    wire: Any = transport.get_extra_info("socket")
    if wire is not None and wire.family in {socket.AF_INET, socket.AF_INET6}:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    cast("asyncio.Transport", transport).abort()


def _gone(_: bytes) -> None:
    """There is no other side any more."""
