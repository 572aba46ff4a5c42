"""A server: connections within limits, and the clock that ends what takes too long."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Self

from proxywatch.clock import Clock
from proxywatch.net.budget import Budget
from proxywatch.net.limits import Limits, Waiting
from proxywatch.net.listener import Listener
from proxywatch.net.tls import Channel
from proxywatch.net.turns import Turns
from proxywatch.quantity import Address
from proxywatch.web.connection import RULES, HttpConnection, State
from proxywatch.web.message import HttpRequest, Response, refuse

log = logging.getLogger(__name__)

Answer = Response | Awaitable[Response]
_TICK = 0.5
_IDLE_TICK = 5.0
_GRACE = 2.0
_READ = 16 << 10
_AT_ONCE = 50  # connections that end before the loop turns
_FAILED = refuse(500, "an error of this server; its log has details")


class WebServer:
    """Serves a handler on any number of sockets; an asynchronous context.

    Attributes:
        limits: What clients may cost.
        budget: What they hold.
        turns: When they are worked for.
        waiting: The connections in each state that has a time limit, in the order of the table of states.
        headers: What every response carries, as bytes.
        tls: The context for new connections, and the names that clients' certificates may carry.
        before_tick: Called twice a second while somebody asks, and before the first answer after a while.
        own_headers: What every response carries by the operator's wish.
        buffer: Where every connection's bytes arrive.
    """

    def __init__(
        self, name: str, handler: Callable[[HttpRequest], Answer], limits: Limits, clock: Clock
    ) -> None:
        """Prepare to serve.

        Args:
            name: The section of the settings.
            handler: Answers at once with what is ready, or with something to await.
            limits: Bounds of this server.
            clock: For the deadlines.
        """
        self.limits = limits
        self.budget = Budget(limits.memory)
        self.turns = Turns(clock.monotonic)
        self.waiting: dict[State, Waiting[HttpConnection]] = {
            state: Waiting(getattr(limits, rule.time)) for state, rule in RULES.items() if rule.time
        }
        self.headers = b""
        self.tls: tuple[ssl.SSLContext, frozenset[str]] | None = None
        self.own_headers = b""
        self.buffer = memoryview(bytearray(_READ))
        self._handler = handler
        self._clock = clock
        self._connections: set[HttpConnection] = set()
        self._listener = Listener(name, lambda: HttpConnection(self), limits.write_time)
        self._group = asyncio.TaskGroup()
        self._busy = asyncio.Event()
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
        self._tickers = [
            self._group.create_task(self._tick(), name="web deadlines"),
            self._group.create_task(self._tick_idle(), name="idle connections"),
        ]
        self._stamp()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for ticker in self._tickers:
            ticker.cancel()
        for connection in list(self._connections):
            connection.finish()
        try:
            async with asyncio.timeout(_GRACE):
                # Without the error: it would come back wrapped in a group.
                await self._group.__aexit__(None, None, None)
        except TimeoutError:
            log.warning("requests were cut short by the end of the server")
        finally:
            for connection in list(self._connections):
                connection.drop()

    async def listen(self, addresses: Sequence[Address]) -> None:
        """Accept connections.

        Raises:
            ConfigError: An address that cannot be bound.
        """
        await self._listener.open(addresses)

    # What a connection asks of its server.

    def channel(self) -> Channel | None:
        """Return TLS for a new connection."""
        return None if self.tls is None else Channel(*self.tls)

    def opened(self, connection: HttpConnection) -> None:
        """Count a connection; when there are too many, the one that is missed least is closed."""
        self._wake()
        self._connections.add(connection)
        if len(self._connections) > self.limits.connections:
            (self._least() or connection).drop()

    def moved(self, connection: HttpConnection, before: State, after: State) -> None:
        """Keep the time of a connection that has changed its state."""
        if (old := self.waiting.get(before)) is not None:
            old.discard(connection)
        if (new := self.waiting.get(after)) is not None:
            if after is not State.IDLE:
                self._wake()
            new.add(connection, self._clock.monotonic())

    def closed(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self.budget.release(connection)

    def answer(self, request: HttpRequest) -> Answer:
        """Return what the handler answers; its failure is not the connection's."""
        self._wake()
        try:
            return self._handler(request)
        except Exception:
            log.exception("request failed", extra={"path": request.path})
            return _FAILED

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with a request that has to wait for something."""
        self._group.create_task(work)

    def _least(self) -> HttpConnection | None:
        for waiting in self.waiting.values():
            if (connection := waiting.first()) is not None:
                return connection
        return None

    # The clock.

    def _wake(self) -> None:
        """Begin to tick, unless we do; while all connections are idle, nothing is due soon."""
        if not self._busy.is_set():
            self._busy.set()
            self.before_tick()
            self._stamp()

    async def _tick(self) -> None:
        while True:
            await self._busy.wait()
            await self._clock.sleep_until(self._clock.monotonic() + _TICK)
            self.before_tick()
            self._stamp()
            soon = [waiting for state, waiting in self.waiting.items() if state is not State.IDLE]
            await self._expire(soon)
            if not any(map(len, soon)):
                self._busy.clear()

    async def _tick_idle(self) -> None:
        period = min(_IDLE_TICK, max(_TICK, self.limits.idle_time / 60))
        while True:
            await self._clock.sleep_until((self._clock.monotonic() // period + 1.5) * period)
            await self._expire([self.waiting[State.IDLE]])

    async def _expire(self, books: Iterable[Waiting[HttpConnection]]) -> None:
        """End what is late, and let the loop turn now and then, as thousands may be late at once."""
        for waiting in books:
            for number, connection in enumerate(waiting.late(self._clock.monotonic())):
                try:
                    connection.expire()
                except Exception:
                    log.exception("a connection could not be ended in order")
                    connection.drop()
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)

    def _stamp(self) -> None:
        date = time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(self._clock.now()))
        self.headers = date.encode() + self.own_headers
