"""UDP ASSOCIATE: datagrams between a client and a node, through two sockets of ours.

The association lives exactly as long as the client's TCP connection and the node's: the end of either closes
the other and both sockets. The client's datagrams come from the address of its TCP connection, and from the
port that it used first; each names its destination, which is judged as any other.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay import outcome
from proxywatch.balancer.relay.leg import Leg
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.session import Session, reset
from proxywatch.errors import ParseError
from proxywatch.parse import socks

if TYPE_CHECKING:
    from proxywatch.balancer.relay.client import Client

_WAITING = 256 << 10  # bytes that a socket of ours may hold back before datagrams are dropped


class Association(asyncio.Protocol):
    """One association; the protocol of the TCP connection to the node."""

    __slots__ = ("_client", "_ends", "_node", "_session", "_source")

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._session: Session | None = None
        self._node: asyncio.Transport | None = None
        self._ends: list[asyncio.DatagramTransport] = []
        self._source: tuple[str, int] | None = None

    def start(self) -> None:
        """Ask the pool. Where the client says that it will send from is mostly zeroes, and not looked at."""
        self._client.open("0.0.0.0", 0, command=socks.UDP_ASSOCIATE)

    def granted(self, choice: Choice, leg: Leg, now: float) -> None:
        """A node said yes: open our own two sockets."""
        self._node = leg.transport
        self._node.set_protocol(self)
        self._session = self._client.relay.opened(self._client, choice, now)
        self._session.carrier = self
        self._client.relay.spawn(self._join(leg))

    async def _join(self, leg: Leg) -> None:
        """Open both sockets, then tell the client where to send to."""
        node, bound, client = self._node, leg.bound, self._client
        if node is None or bound is None:
            return
        there = node.get_extra_info("peername")[0]
        if bound.host and not ipaddress.ip_address(bound.host).is_unspecified:
            there = bound.host
        here = client.transport.get_extra_info("sockname")[0].removeprefix("::ffff:")
        loop = client.relay.loop
        try:
            inner, _ = await loop.create_datagram_endpoint(
                lambda: _End(self._from_node), remote_addr=(there, bound.port)
            )
            self._ends.append(inner)
            outer, _ = await loop.create_datagram_endpoint(
                lambda: _End(self._from_client), local_addr=(here, 0)
            )
            self._ends.append(outer)
        except OSError as error:
            self._fail(outcome.of_error(error))
            return
        if self._session is None:  # one of the two left meanwhile
            self._close_ends()
            return
        address, port = outer.get_extra_info("sockname")[:2]
        client.transport.write(socks.reply(socks.GRANTED, address.removeprefix("::ffff:"), port))

    def _from_client(self, data: bytes, source: tuple[str, int]) -> None:
        """To the node, if it is the client's and allowed."""
        if source[0].removeprefix("::ffff:") != self._client.address:
            return
        if self._source is None:
            self._source = source
        if source != self._source or self._session is None:
            return
        try:
            header = socks.datagram(data)
        except ParseError:
            return
        if header.port == 0 or self._client.relay.forbids(header.host):
            return
        inner = self._ends[0]
        if _room(inner):
            payload = data[header.start :]
            self._session.extra_in += len(payload)
            inner.sendto(socks.datagram_header(header.host, header.port) + payload)

    def _from_node(self, data: bytes, _: tuple[str, int]) -> None:
        """To the client, with the header that the node gave it."""
        if self._source is None or self._session is None or len(self._ends) < 2:  # noqa: PLR2004 - both
            return
        outer = self._ends[1]
        if _room(outer):
            self._session.extra_out += len(data)
            outer.sendto(data, self._source)

    def _fail(self, why: Outcome) -> None:
        client = self._client
        self._end(why.reason)
        client.exchange = None
        client.refuse(why)

    # The client's TCP connection

    def client_writable(self, *, yes: bool) -> None:
        """Nothing is written there."""

    def client_ended(self) -> bool:
        """The end of its TCP connection is the end of the association."""
        self._end("done")
        return False

    def client_left(self) -> None:
        """The same."""
        self._end("done")

    def refused(self, why: Outcome) -> None:
        """No node grants it."""
        self._client.exchange = None
        self._client.refuse(why)

    def forced(self, reason: str) -> None:
        """The relay ends it."""
        self._end(reason)
        reset(self._client.transport)

    # The node's TCP connection

    def eof_received(self) -> bool:
        """Its end is the end of the association."""
        self._node_left()
        return False

    def connection_lost(self, _: Exception | None) -> None:
        """The same."""
        self._node_left()

    def _node_left(self) -> None:
        if self._session is not None:
            self._end("node_left")
            self._client.close()

    def _end(self, reason: str) -> None:
        session, node = self._session, self._node
        self._session = self._node = None
        self._close_ends()
        if session is not None:
            session.end(reason)
        if node is not None:
            node.close()

    def _close_ends(self) -> None:
        for end in self._ends:
            end.close()


def _room(end: Any) -> bool:  # noqa: ANN401 - both loops have the method, the interface has not
    """Whether a socket takes one more datagram; else it is dropped, as a full router drops it."""
    return bool(end.get_write_buffer_size() < _WAITING)


class _End(asyncio.DatagramProtocol):
    """A socket for datagrams."""

    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand it on."""
        self._take(data, addr[:2])

    def error_received(self, exc: Exception) -> None:
        """A datagram was not delivered; that is what datagrams are like."""
