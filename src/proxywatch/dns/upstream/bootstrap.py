"""The addresses of resolvers that are given by name, from resolvers that are given by address.

The system's own resolver is never asked: it may well be this forwarder.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from proxywatch.clock import Clock
from proxywatch.dns.message import AAAA, IN, A, Question, addresses
from proxywatch.dns.names import to_wire
from proxywatch.dns.settings import is_address
from proxywatch.dns.upstream.base import Upstream, UpstreamError
from proxywatch.errors import ParseError

_LEAST, _MOST = 30.0, 3600.0
_AGAIN = 5.0
_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class _Known:
    addresses: list[str]
    until: float


class Bootstrap:
    """Resolves names of upstreams; the last good addresses are kept while nobody answers."""

    def __init__(self, resolvers: Sequence[Upstream], clock: Clock) -> None:
        self._resolvers = resolvers
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def resolve(self, host: str) -> list[str]:
        """The addresses of a host, IPv4 first; an address is its own.

        Raises:
            UpstreamError: There are none, and never were.
        """
        if is_address(host):
            return [host]
        async with self._asking.setdefault(host, asyncio.Lock()):
            known = self._known.get(host)
            now = self._clock.monotonic()
            if known is None or now >= known.until:
                known = self._known[host] = await self._ask(host, known)
            return known.addresses

    async def _ask(self, host: str, before: _Known | None) -> _Known:
        try:
            name = to_wire(host)
        except ParseError as error:
            raise UpstreamError("name", str(error)) from None
        for resolver in self._resolvers:
            found, ttl = await self._look_up(resolver, name)
            if found:
                return _Known(found, self._clock.monotonic() + min(max(ttl, _LEAST), _MOST))
        if before is None:
            raise UpstreamError("name", f"no bootstrap resolver knows an address of {host}")
        return _Known(before.addresses, self._clock.monotonic() + _AGAIN)

    async def _look_up(self, resolver: Upstream, name: bytes) -> tuple[list[str], float]:
        found: list[str] = []
        ttl = _MOST
        for kind in (A, AAAA):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    response = await resolver.ask(Question(name, kind, IN))
            except (TimeoutError, UpstreamError):
                continue
            found += addresses(response)
            ttl = min([ttl, *(record.ttl for record in response.records)])
        return found, ttl
