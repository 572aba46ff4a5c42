"""A connection that is open: bytes pass between client and node, are counted, and it ends exactly once.

Each side's transport gets a `Pipe` that writes to the other. When a side cannot take more, the other is not
read: what waits in memory is bounded by the write limit and one read. An end of file travels on after the bytes
before it, and the other direction lives on; an error on one side resets both.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay.observer import Connection

if TYPE_CHECKING:
    from proxywatch.balancer.relay.server import Relay
    from proxywatch.balancer.relay.users import User

_RESET = struct.pack("ii", 1, 0)


class Session:
    """One open connection, from the node's yes to its end.

    Attributes:
        choice: The node, as it was chosen.
        connection: What observers know of it.
        user: Its user's account; None where nobody logs in.
        ended: Whether it has ended.
        quiet_since: When the idle check last saw bytes pass.
        passed: Bytes of both directions that the idle check saw.
        charged_in: Bytes that the user's account has already.
        charged_out: The same of the other direction.
        extra_in: Bytes that passed outside of the two pipes.
        extra_out: The same of the other direction.
        carrier: Who passes the bytes on, if not two pipes.
    """

    __slots__ = (
        "carrier", "charged_in", "charged_out", "choice", "connection", "down", "ended", "extra_in", "extra_out", "passed",
        "quiet_since", "relay", "up", "user",
    )  # fmt: skip

    def __init__(self, relay: "Relay", choice: Choice, connection: Connection, user: "User | None") -> None:
        self.relay = relay
        self.choice = choice
        self.connection = connection
        self.user = user
        self.ended = False
        self.quiet_since = connection.at
        self.passed = 0
        self.charged_in = self.charged_out = 0
        self.extra_in = self.extra_out = 0
        self.up: Pipe | None = None
        self.down: Pipe | None = None
        self.carrier: Carrier | None = None

    @property
    def bytes_in(self) -> int:
        """From the client."""
        return self.extra_in + (self.up.count if self.up else 0)

    @property
    def bytes_out(self) -> int:
        """To the client."""
        return self.extra_out + (self.down.count if self.down else 0)

    def join(self, client: asyncio.Transport, node: asyncio.Transport) -> "tuple[Pipe, Pipe]":
        """Let bytes pass between the two from now on; both directions, the client's first."""
        self.carrier = None
        kind = MeteredPipe if self.user is not None and self.user.entry.bytes_per_second else Pipe
        self.up = up = kind(self, client, node)
        self.down = down = kind(self, node, client)
        up.other, down.other = down, up
        client.set_protocol(up)
        node.set_protocol(down)
        return up, down

    def end(self, reason: str) -> None:
        """Account for its end; nothing the second time."""
        if not self.ended:
            self.ended = True
            self.relay.ended(self, reason)

    def abort(self, reason: str) -> None:
        """End it now, so that neither side takes what it got for all."""
        self.end(reason)
        if self.carrier is not None:
            self.carrier.forced(reason)
        for pipe in (self.up, self.down):
            if pipe:
                reset(pipe.source)


class Carrier(Protocol):
    """Passes the bytes of a session on, if two pipes do not."""

    def forced(self, reason: str) -> None:
        """End it now."""


class Pipe(asyncio.Protocol):
    """One direction: what its source says is written to the other side.

    Attributes:
        count: Bytes so far.
    """

    __slots__ = ("count", "ended", "other", "session", "sink", "source", "write")

    other: "Pipe"

    def __init__(self, session: Session, source: asyncio.Transport, sink: asyncio.Transport) -> None:
        self.session = session
        self.source = source
        self.sink = sink
        self.write = sink.write
        self.count = 0
        self.ended = False

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self.count += len(data)
        try:
            self.write(data)
        except RuntimeError:  # uvloop's word for a transport that has just failed
            self.session.abort("reset")

    def pause_writing(self) -> None:
        """This side takes no more: do not read the other."""
        self.sink.pause_reading()

    def resume_writing(self) -> None:
        """It takes more again."""
        self.sink.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end on; both ended is the end of the session."""
        self.ended = True
        if self.other.ended:
            self.session.end("done")
            self.source.close()
            self.sink.close()
        elif self.sink.can_write_eof() and not self.sink.is_closing():
            self.sink.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The source is gone: after both ends of file, or by an error, or because it was closed."""
        session = self.session
        if exc is not None or not session.ended:
            if exc is None and self.ended:  # TLS closes after the end of its data
                session.end("done")
                self.sink.close()
            else:
                session.abort("reset")


class MeteredPipe(Pipe):
    """One direction of a user who has a limit of bytes per second."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Pass it on, and read on when there are tokens again."""
        super().data_received(data)
        session = self.session
        if session.user is not None and not session.ended:
            session.user.spend(session.relay.loop, len(data), self.source, self.sink)


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
