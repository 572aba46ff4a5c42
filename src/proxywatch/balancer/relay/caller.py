"""A client's connection, whatever it speaks: bytes wait until a state takes them, and it ends in order."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay import outcome
from proxywatch.balancer.relay.leg import Leg
from proxywatch.balancer.relay.observer import Spoken
from proxywatch.balancer.relay.opening import Opening
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.session import Side, reset
from proxywatch.balancer.relay.users import User
from proxywatch.balancer.request import Destination, Wishes
from proxywatch.errors import ParseError
from proxywatch.parse import proxy_protocol
from proxywatch.parse.http_proxy import TooLargeError

if TYPE_CHECKING:
    from proxywatch.balancer.relay.listening import Port
    from proxywatch.balancer.relay.server import Relay

_Taken = int | None
# Takes from the bytes that are there, or None to wait for more. A plain function: bound methods would be made
# anew for each change of state.
State = Callable[[Any, bytes], _Taken]
_HELD = 64 << 10


class Server(Protocol):
    """Who serves a client's request, if not two sides that are joined."""

    def client_writable(self, *, yes: bool) -> None:
        """The client takes no more, or does again."""

    def client_ended(self) -> bool:
        """It has sent its last byte; whether the connection is to stay."""

    def client_left(self) -> None:
        """It is gone."""

    def granted(self, choice: Choice, leg: Leg, now: float) -> None:
        """A node said yes."""

    def refused(self, why: Outcome) -> None:
        """No node serves the request."""


class Caller(Side):
    """One connection of a client.

    Attributes:
        relay: Whose client it is.
        port: Where it came in.
        address: The client's address, without port.
        held: Bytes that came and were not taken yet.
        read: The state: takes from the bytes that are there, or None to wait for more.
        exchange: Who serves its request, if not two sides that are joined.
        spoken: What it speaks.
        user: Who logged in; None where nobody has to.
        name: The user as the client named it, without wishes.
        destination: Where it wants to go.
        wishes: What it wishes of the exit.
    """

    __slots__ = (
        "_failures", "_opening", "_scanned", "_socks4", "address", "destination", "exchange", "held", "name",
        "port", "read", "relay", "spoken", "user", "wishes",
    )  # fmt: skip

    def __init__(self, relay: "Relay", port: "Port") -> None:
        self.count = 0
        self.ended = False
        self.write = None
        self.relay = relay
        self.port = port
        self.address = ""
        self.held = b""
        self.read: State = type(self).first
        self.exchange: Server | None = None
        self._opening: Opening | None = None
        self.spoken: Spoken = "socks5"
        self.user: User | None = None
        self.wishes: Wishes = port.wishes
        self.destination: Destination | None = None
        self.name = ""
        self._scanned = self._failures = 0
        self._socks4 = False

    def first(self, data: bytes) -> _Taken:
        """The first bytes, which tell what it speaks."""
        raise NotImplementedError

    def malformed(self, error: ParseError, status: int) -> None:
        """What it says cannot be read; an HTTP client would be told with this status."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        self.transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.address = peer[0].removeprefix("::ffff:") if peer else "unix"
        if self.relay.trusted and self.relay.trusts(self.address):
            self.read = Caller._behind_balancer
        self.relay.accepted(self)

    def hear(self, data: bytes = b"") -> None:
        """Take what is complete; hold the rest."""
        if self.held:
            data = self.held + data
        self.held = data
        try:
            while data:
                taken = self.read(self, data)
                if taken is None:
                    break
                self._scanned = 0
                self.held = data = data[taken:]
        except TooLargeError as error:
            self.malformed(error, 431)
        except ParseError as error:
            self.malformed(error, 400)

    def wait(self, data: bytes) -> _Taken:
        """Nothing is taken until somebody else is done; what comes is held within a bound."""
        if len(data) > _HELD:
            self.transport.pause_reading()
        return None

    def _behind_balancer(self, data: bytes) -> _Taken:
        read = proxy_protocol.header(data)
        if read is None:
            return None
        source, taken = read
        if source:
            self.address = source.host
        self.read = type(self).first
        return taken

    def close(self) -> None:
        """Close it, once what was written is sent.

        What the client still sends is read and dropped for a moment: closing over unread bytes would reset
        the connection, and the client might lose the reason.
        """
        self.read = discard
        self.held = b""
        self.relay.left(self)
        if self.ended or not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self.transport.write_eof()
        self.transport.resume_reading()
        self.relay.leaving(self)

    def expire(self) -> None:
        """It has not sent a complete request in time."""
        self.relay.refused(self, outcome.HANDSHAKE_TIMEOUT)
        reset(self.transport)

    # What its transport says

    def writable(self, *, yes: bool) -> None:
        """It takes no more, or does again: so does whoever serves its request."""
        if self.exchange is not None:
            self.exchange.client_writable(yes=yes)

    def finished(self) -> bool:
        """The client has sent its last byte; what it asked for is still served."""
        if self.exchange is not None:
            return self.exchange.client_ended()
        return self._opening is not None or self.read is Caller.wait

    def lost(self) -> None:
        """The client is gone."""
        self.relay.left(self)
        self.read = discard
        if self._opening is not None:
            self._opening.abandon()
            self._opening = None
        if self.exchange is not None:
            self.exchange.client_left()
            self.exchange = None


def discard(_: Caller, data: bytes) -> _Taken:
    """The connection is about to close."""
    return len(data)


def due(book: dict[Caller, float], now: float) -> Iterator[Caller]:
    """Take those whose time is up."""
    while book:
        client, deadline = next(iter(book.items()))
        if deadline > now:
            return
        del book[client]
        yield client
