"""MetricsAwareProxy: events and statistics for a proxy that knows nothing of them."""

import asyncio
import time as wall
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Literal, NamedTuple, overload

from proxywatch.instrument.connection import Connection
from proxywatch.instrument.event import ConnectionClosed, ConnectionOpened
from proxywatch.instrument.hub import GRACE, QUEUE, Channel, Hub, Subscription
from proxywatch.instrument.ledger import TYPES, Account, Ledger
from proxywatch.instrument.protocol import wrapped_factory
from proxywatch.instrument.samples import Window
from proxywatch.instrument.stream import CoroutineHandler, Handler, P, wrapped_handler

Name = str | Callable[[asyncio.BaseTransport], str]
"""A route or node: a name, or a function that names it when a connection arrives, given its transport."""


class Throughput(NamedTuple):
    """Bytes per second.

    Args:
        bytes_in: Received from clients.
        bytes_out: Sent to clients.
    """

    bytes_in: float
    bytes_out: float


class MetricsAwareProxy(Hub):
    """Events and statistics of a proxy's connections.

    There are three ways to tell it of connections: wrap an asyncio stream handler (`wrap_handler`), wrap a
    protocol factory (`wrap_factory`), or call `open` and the methods of the connection that it returns.

    Args:
        types: Protocols that are told apart; connections of another one are counted under `other`.
        capacity: Most combinations of type, route and node that are counted apart.
        grace: Seconds that listeners have on leaving `async with` for events that still wait.
        clock: Seconds that never go back.
        time: Unix time in seconds, for events.
        ids: First part of connection ids; random by default, so that ids stay unique across restarts.
    """

    def __init__(
        self,
        *,
        types: tuple[str, ...] = TYPES,
        capacity: int = 4096,
        grace: float = GRACE,
        clock: Callable[[], float] = wall.monotonic,
        time: Callable[[], float] = wall.time,
        ids: str | None = None,
    ) -> None:
        self._opened = Channel[ConnectionOpened]()
        self.closed = Channel[ConnectionClosed]()
        super().__init__((self._opened, self.closed), grace)
        self.clock = clock
        self._time = time
        self._ids = token_hex(4) if ids is None else ids
        self._number = 0
        self.ledger = Ledger(clock(), types, capacity)

    def open(
        self,
        *,
        type: str = "tcp",  # noqa: A002
        route: str = "default",
        node: str = "",
        client: str = "",
    ) -> Connection:
        """A connection was opened; the caller reports its bytes and its end to what is returned."""
        ledger, place, now = self.ledger, (type, route, node), self.clock()
        with ledger.lock:
            if now >= ledger.samples.turn:
                ledger.samples.advance(now)
            self._number += 1
            account = ledger.known.get(place) or ledger.account(place)
            account.opened += 1
            account.active += 1
            account.requests += 1
            connection = Connection(self, account, place, client, self._number, now)
        if self._opened.listeners:
            self._opened.tell(ConnectionOpened(self._id(connection), type, route, node, client, self._time()))
        return connection

    def wrap_handler(
        self,
        handler: Handler[P],
        *,
        type: str = "tcp",  # noqa: A002
        route: Name = "default",
        node: Name = "",
    ) -> CoroutineHandler[P]:
        """Count the connections of a handler for `asyncio.start_server`. It stays as `__wrapped__`.

        A connection is open from the handler's first step to its end, or until the connection is closed when
        the handler returns before that. Wrapping again is without effect.
        """
        return wrapped_handler(handler, self, lambda transport: self._accept(transport, type, route, node))

    def wrap_factory(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        type: str = "tcp",  # noqa: A002
        route: Name = "default",
        node: Name = "",
    ) -> Callable[[], asyncio.BaseProtocol]:
        """Count the connections of a protocol factory for `loop.create_server`. It stays as `__wrapped__`.

        A connection is open from `connection_made` to `connection_lost`. Wrapping again is without effect.
        """
        return wrapped_factory(factory, self, lambda transport: self._accept(transport, type, route, node))

    @overload
    def on(
        self,
        event: Literal["connection-open"],
        listener: Callable[[ConnectionOpened], object],
        *,
        size: int = QUEUE,
        inline: bool = False,
    ) -> Subscription[ConnectionOpened]: ...

    @overload
    def on(
        self,
        event: Literal["connection-close"],
        listener: Callable[[ConnectionClosed], object],
        *,
        size: int = QUEUE,
        inline: bool = False,
    ) -> Subscription[ConnectionClosed]: ...

    def on(
        self, event: str, listener: Callable[[Any], object], *, size: int = QUEUE, inline: bool = False
    ) -> Subscription[Any]:
        """Have a function called with each event of a kind.

        A plain function is called in a thread of its own, a coroutine function in a task that runs while this
        object is entered by `async with`. Neither can hold up the proxy: at most `size` events wait, further
        ones are lost and counted. With `inline`, a plain function is called at once instead, before the proxy
        goes on.
        """
        match event:
            case "connection-open":
                return self._subscribe(self._opened, listener, size, inline=inline)
            case "connection-close":
                return self._subscribe(self.closed, listener, size, inline=inline)
            case _:
                raise ValueError(f"There is no event {event!r}.")

    def tell_closed(self, connection: Connection, now: float) -> None:
        """Tell listeners of the end of a connection; for the connection itself."""
        it = connection
        self.closed.tell(
            ConnectionClosed(
                self._id(it), *it.place, it.client, self._time(), now - it.started,
                it.bytes_in, it.bytes_out, it.reason,
            )
        )  # fmt: skip

    def get_active_connections(self) -> int:
        """Connections that are open."""
        return self.ledger.total().active

    def get_connections_by_route(self) -> dict[str, int]:
        """Open connections by route."""
        return self.ledger.by(lambda account: account.route)

    def get_connections_by_node(self) -> dict[str, int]:
        """Open connections by node."""
        return self.ledger.by(lambda account: account.node)

    def get_connections_by_type(self) -> dict[str, int]:
        """Open connections by type."""
        return self.ledger.by(lambda account: account.type)

    def get_total_connections(self) -> int:
        """Connections opened so far."""
        return self.ledger.total().opened

    def get_total_bytes(self) -> tuple[int, int]:
        """Bytes received from clients, and sent to them, so far."""
        total = self.ledger.total()
        return total.bytes_in, total.bytes_out

    def get_requests_per_second(self, seconds: Window = 10) -> float:
        """Requests per second, over the last whole seconds."""
        return self.ledger.rates(self.clock(), seconds)[0]

    def get_throughput(self, seconds: Window = 10) -> Throughput:
        """Bytes per second, over the last whole seconds."""
        return Throughput(*self.ledger.rates(self.clock(), seconds)[1:])

    def get_totals(self) -> Account:
        """All counts so far, over all types, routes and nodes, at one moment."""
        return self.ledger.total()

    def _accept(self, transport: asyncio.BaseTransport, kind: str, route: Name, node: Name) -> Connection:
        return self.open(
            type=kind, route=_named(route, transport), node=_named(node, transport), client=_client(transport)
        )

    def _id(self, connection: Connection) -> str:
        return f"{self._ids}-{connection.number}"


def _named(place: Name, transport: asyncio.BaseTransport) -> str:
    if isinstance(place, str):
        return place
    try:
        return place(transport)
    except Exception:  # noqa: BLE001 - a fault in naming must not cost the client its connection
        return "unknown"


def _client(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
