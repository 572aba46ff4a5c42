"""A server: connections within limits, and the clock that ends what takes too long."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Self

from proxywatch.clock import Clock
from proxywatch.net.limits import Books, Limits
from proxywatch.net.listener import Listener
from proxywatch.net.tls import Channel
from proxywatch.quantity import Address
from proxywatch.web.connection import Connection
from proxywatch.web.message import Request, Response, refuse

log = logging.getLogger(__name__)

Answer = Response | Awaitable[Response]
_TICK = 0.5
_GRACE = 2.0
_READ = 4 << 10
_FAILED = refuse(500, "an error of this server; its log says more")


class Server:
    """Serves a handler on any number of sockets; an asynchronous context.

    Attributes:
        limits: What clients may cost.
        books: Who waits for what.
        headers: What every response carries, as bytes.
        tls: The context for new connections, and the names that clients' certificates may carry.
        before_tick: Called twice a second.
        own_headers: What every response carries by the operator's wish.
        buffer: Where every connection's bytes arrive.
    """

    def __init__(self, name: str, handler: Callable[[Request], Answer], limits: Limits, clock: Clock) -> None:
        """Be handed what to serve.

        Args:
            name: The section of the settings.
            handler: Answers at once with what is ready, or with something to await.
            limits: Bounds of this server.
            clock: For the deadlines.
        """
        self.limits = limits
        self.books: Books[Connection] = Books(limits)
        self.headers = b""
        self.now = clock.monotonic
        self.tls: tuple[ssl.SSLContext, frozenset[str]] | None = None
        self.own_headers = b""
        self.buffer = memoryview(bytearray(_READ))
        self._handler = handler
        self._clock = clock
        self._connections: set[Connection] = set()
        self._listener = Listener(name, lambda: Connection(self), limits.write_time)
        self._group = asyncio.TaskGroup()
        self.before_tick: Callable[[], None] = lambda: None

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self._listener.addresses

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._ticker = self._group.create_task(self._tick(), name="web deadlines")
        self._stamp()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self._ticker.cancel()
        for connection in list(self._connections):
            connection.finish()
        try:
            async with asyncio.timeout(_GRACE):
                # Not told of the error: it would come back wrapped in a group.
                await self._group.__aexit__(None, None, None)
        except TimeoutError:
            log.warning("requests were cut short by the end of the server")
        finally:
            for connection in list(self._connections):
                connection.drop()

    async def listen(self, addresses: Sequence[Address]) -> None:
        """Open the doors.

        Raises:
            ConfigError: An address that cannot be bound.
        """
        await self._listener.open(addresses)

    # What a connection asks of its server.

    def channel(self) -> Channel | None:
        """TLS for a new connection."""
        return None if self.tls is None else Channel(*self.tls)

    def opened(self, connection: Connection) -> None:
        """One more; when there are too many, the one that is missed least goes."""
        self._connections.add(connection)
        if len(self._connections) > self.limits.connections:
            victim = self.books.least()
            (victim or connection).drop()

    def closed(self, connection: Connection) -> None:
        """One less."""
        self._connections.discard(connection)

    def answer(self, request: Request) -> Answer:
        """What the handler says; its failure is not the connection's."""
        try:
            return self._handler(request)
        except Exception:
            log.exception("request failed", extra={"path": request.path})
            return _FAILED

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with a request that has to wait for something."""
        self._group.create_task(work)

    def later(self, turn: Callable[[], None]) -> None:
        """Give the others a turn first."""
        asyncio.get_running_loop().call_soon(turn)

    # The clock.

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + _TICK)
            self.before_tick()
            self._stamp()
            for connection in self.books.late(self.now()):
                connection.expire()

    def _stamp(self) -> None:
        date = time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(self._clock.now()))
        self.headers = date.encode() + self.own_headers
