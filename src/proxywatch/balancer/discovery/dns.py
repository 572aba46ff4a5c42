"""Nodes by name: A, AAAA and SRV records, asked for again when their time to live is over.

That there is no such name, or no record, is believed when it is said twice in a row: a resolver that comes up, or whose
zone is being loaded, says it too, and it would empty the pool.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from proxywatch.balancer.discovery.names import NameSettings, Place, nodes_of
from proxywatch.balancer.discovery.sighting import Sighting, gather
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock
from proxywatch.errors import ParseError, SourceError
from proxywatch.parse.host import canonical

_SHORTEST, _LONGEST = 5.0, 300.0  # seconds between two questions, whatever the time to live
_FAILED = 10.0
_PATIENCE = 5.0


@dataclass(slots=True)
class _Known:
    """What was answered for a name."""

    nodes: tuple[Node, ...] = ()
    due: float = 0.0
    empty: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class DnsSource:
    """All names of the settings.

    Attributes:
        names: The names.
        resolvers: Addresses to ask; empty for those of the system.
        port: On which these are asked.
        clock: To wait by.
    """

    names: tuple[NameSettings, ...]
    resolvers: tuple[str, ...]
    port: int
    clock: Clock

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        """See `Source`."""
        resolver = _resolver(self.resolvers, self.port)
        known = [_Known() for _ in self.names]
        while True:
            for settings, entry in zip(self.names, known, strict=True):
                if self.clock.monotonic() >= entry.due:
                    await self._ask(resolver, settings, entry)
            faults = [entry.fault for entry in known if entry.fault]
            yield gather([node for entry in known for node in entry.nodes], faults)
            await self.clock.sleep_until(min(entry.due for entry in known))

    async def _ask(self, resolver: Any, settings: NameSettings, entry: _Known) -> None:  # noqa: ANN401 - dnspython's
        try:
            places, ttl = await _resolve(resolver, settings)
            entry.empty = 0 if places else entry.empty + 1
            if places or entry.empty > 1:
                entry.nodes = tuple(nodes_of(settings, places))
            entry.fault = "" if places else f"{settings.name}: no {settings.type} record"
            wait = min(_LONGEST, max(_SHORTEST, ttl))
        except (SourceError, ParseError) as error:
            entry.fault, wait = f"{settings.name}: {error}", _FAILED
        entry.due = self.clock.monotonic() + wait


def _resolver(addresses: tuple[str, ...], port: int) -> Any:  # noqa: ANN401 - imported only where it is used
    import dns.asyncresolver  # noqa: PLC0415 - 7 MB that only those who discover by DNS pay for
    import dns.exception  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    try:
        resolver = dns.asyncresolver.Resolver(configure=not addresses)
        if addresses:
            resolver.nameservers, resolver.port = list(addresses), port
    except (dns.exception.DNSException, ValueError, OSError) as error:
        raise SourceError(f"no resolver: {error}") from None
    resolver.lifetime = _PATIENCE
    return resolver


async def _resolve(resolver: Any, settings: NameSettings) -> tuple[list[Place], float]:  # noqa: ANN401
    """Host and port of each record, and how long they are good; none, when the name has none.

    Raises:
        SourceError: Nobody can say.
        ParseError: A target is no host.
    """
    import dns.exception  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415

    try:
        answer = await resolver.resolve(settings.name, settings.type, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return [], 0.0
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise SourceError(_words(error)) from None
    if settings.type == "SRV":
        places = [(canonical(record.target.to_text()), int(record.port)) for record in answer if record.port]
    else:
        places = [(canonical(record.address), 0) for record in answer]
    return places, float(answer.rrset.ttl if answer.rrset is not None else 0)


def _words(error: Exception) -> str:
    """The kind of failure; the library's own text names servers and grows with them."""
    kinds = {"LifetimeTimeout": "no answer in time", "NoNameservers": "no resolver gives an answer"}
    return kinds.get(type(error).__name__, type(error).__name__)
