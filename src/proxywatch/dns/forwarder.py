"""The forwarder, assembled out of its parts."""

import asyncio
import logging
import socket
import ssl
from asyncio import TaskGroup
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from random import Random
from typing import Self

from proxywatch.clock import Clock
from proxywatch.dns import names
from proxywatch.dns.access import Access
from proxywatch.dns.answer import Handler
from proxywatch.dns.cache import Cache, Terms
from proxywatch.dns.names import Blocked
from proxywatch.dns.observer import Observer
from proxywatch.dns.rate import InFlight, Rate
from proxywatch.dns.resolver import Bounds, Resolver
from proxywatch.dns.server import sockets
from proxywatch.dns.server.http import DohServer
from proxywatch.dns.server.tcp import Limits, TcpServer
from proxywatch.dns.server.udp import UdpServer
from proxywatch.dns.settings import Settings
from proxywatch.dns.upstream import assemble
from proxywatch.dns.upstream.dialer import Dialer
from proxywatch.errors import ConfigError, Fault

log = logging.getLogger(__name__)

_BLOCKED_BYTES = 64 << 20
_BLOCKED_NAMES = 1_000_000


class Forwarder:
    """Listens, answers, and asks upstreams; an asynchronous context.

    Attributes:
        settings: As they were given.
        udp: Clients by UDP.
        tcp: Clients by TCP.
        doh: Clients by HTTP.
        pool: The resolvers.
        resolver: The handler, without whatever wraps it.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        dice: Random,
        *,
        through: Dialer | None = None,
        wrap: Callable[[Handler], Handler] = lambda handler: handler,
        observer: Observer | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Put it together; nothing is opened yet.

        Args:
            settings: All settings.
            clock: For lives, pauses and times.
            dice: For ids, ports and spellings; must not be predictable (`random.SystemRandom`).
            through: The way through a node or country of a balancer.
            wrap: Puts something around the handler that all servers use.
            observer: Is told of each answer.
            tls: How to secure DNS over HTTP; None for not at all.
        """
        self.settings = settings
        self._group = TaskGroup()
        self._clock = clock
        self.pool = assemble.pool(settings, self._group, clock, dice, through)
        self.resolver = Resolver(
            self.pool.ask,
            Cache(_terms(settings)),
            _bounds(settings),
            self._group,
            clock,
            stale_after=settings.stale_after,
            observer=observer,
        )
        handler = wrap(self.resolver)
        limits = Limits(connections=settings.connections, per_client=max(10, settings.connections // 5))
        self.udp = UdpServer(handler, self._group)
        self.tcp = TcpServer(handler, self._group, limits)
        self.doh = DohServer(handler, self._group, tls)

    async def __aenter__(self) -> Self:
        """Read the block list and open the doors.

        Raises:
            ConfigError: An address cannot be bound, or the block list not read.
        """
        if self.settings.block:
            self.resolver.blocked = await asyncio.to_thread(read_blocked, Path(self.settings.block))
        await self._group.__aenter__()
        try:
            await self._listen()
        except BaseException:
            self._close()
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the doors, then the connections to the resolvers; queries that still wait are given up."""
        self._close()
        await self.pool.close()
        await self._end()

    async def _listen(self) -> None:
        for place in chain.from_iterable(map(sockets.places, self.settings.listen)):
            udp, tcp = sockets.pair(place, "dns.listen")
            self.udp.listen(udp)
            await self.tcp.listen(tcp)
        for place in chain.from_iterable(map(sockets.places, self.settings.doh)):
            await self.doh.listen(sockets.bind(socket.SOCK_STREAM, place, "dns.doh"))

    async def _end(self) -> None:
        """Cancel what still runs, as the failure of a block under the group would."""
        try:
            await self._group.__aexit__(_Ended, _Ended(), None)
        except* _Ended:
            pass

    def _close(self) -> None:
        self.udp.close()
        self.tcp.close()
        self.doh.close()


class _Ended(Exception):  # noqa: N818 - no error
    """The forwarder ends."""


def _terms(settings: Settings) -> Terms:
    return Terms(
        size=settings.cache_bytes,
        most=settings.max_ttl,
        least=settings.min_ttl,
        negative=settings.negative_ttl,
        failure=settings.failure_ttl,
        stale=settings.stale,
    )


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        access=Access([each.network for each in settings.allow]),
        rate=Rate(settings.per_client),
        in_flight=InFlight(settings.in_flight_per_client, settings.in_flight),
        flights=settings.in_flight,
    )


def read_blocked(file: Path) -> Blocked:
    """The names of a block list.

    Raises:
        ConfigError: The file cannot be read, or is too large.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_BLOCKED_BYTES + 1)
    except OSError as error:
        raise ConfigError(Fault("dns.block", f"{file} cannot be read: {error.strerror}")) from None
    if len(data) > _BLOCKED_BYTES:
        raise ConfigError(Fault("dns.block", f"{file} is larger than {_BLOCKED_BYTES >> 20} MiB"))
    blocked, bad = names.read_blocked(data.decode("ascii", "replace").splitlines(), _BLOCKED_NAMES)
    log.info("block list read", extra={"file": str(file), "names": len(blocked), "unreadable": bad})
    return blocked
