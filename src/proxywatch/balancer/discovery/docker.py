"""Containers over the Engine's API: listed, inspected, and looked at again at each of their events."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from proxywatch.balancer.discovery import containers
from proxywatch.balancer.discovery.containers import Container
from proxywatch.balancer.discovery.http import OK, Http, Server
from proxywatch.balancer.discovery.sighting import MOST_NODES, Sighting
from proxywatch.clock import Clock
from proxywatch.errors import ParseError, SourceError

_NAME = "engine"
_LIMIT = 16 << 20
_LONGEST = 1 << 20
_SETTLE = 0.2  # seconds; an event seldom comes alone
_MOST_HOPS = 4


class _Listed(msgspec.Struct, frozen=True, rename="pascal"):
    id: str


@dataclass(frozen=True, slots=True)
class DockerSource:
    """All containers with a label.

    Attributes:
        socket: Path of the engine's socket.
        label: Which containers: `KEY`, or `KEY=VALUE`.
        network: By which network containers with several are reached.
        host_address: The address of containers on the host's network.
        clock: To wait by.
    """

    socket: str
    label: str
    network: str
    host_address: str
    clock: Clock

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        """See `Source`."""
        async with Http(Server("http://localhost", self.socket), _NAME) as http:
            path = f"/events?filters={_filters(type=['container', 'network'])}"
            async with aclosing(http.batches(path)) as events:
                # The events come first: what changes while the list is read is seen after it.
                async for _ in events:
                    await self.clock.sleep_until(self.clock.monotonic() + _SETTLE)
                    yield await self._look(http)

    async def _look(self, http: Http) -> Sighting:
        path = f"/containers/json?all=true&filters={_filters(label=[self.label])}"
        listed = _decoded(await _get(http, path, _LIMIT), list[_Listed])
        if len(listed) > MOST_NODES:
            raise SourceError(f"{_NAME}: more than {MOST_NODES} containers")
        known: dict[str, Container] = {}
        labelled = []
        for entry in listed:
            container = await _inspect(http, entry.id, known)
            if container is not None:
                labelled.append(container)
        for container in labelled:
            await _follow(http, container, known)
        return containers.sighting(labelled, known, self.network, self.host_address)


async def _inspect(http: Http, name: str, known: dict[str, Container]) -> Container | None:
    """A container by the id or name that others know it by; None when it is gone."""
    content = await _get(http, f"/containers/{quote(name, safe='')}/json", _LONGEST, absent=True)
    if not content:
        return None
    container = containers.read(content)
    known[container.id] = known[name] = container
    return container


async def _follow(http: Http, container: Container, known: dict[str, Container]) -> None:
    """Those whose network it shares."""
    for _ in range(_MOST_HOPS):
        above = containers.owner(container)
        if above is None:
            return
        found = known.get(above) or await _inspect(http, above, known)
        if found is None:
            return
        container = found


async def _get(http: Http, path: str, limit: int, *, absent: bool = False) -> bytes:
    answer = await http.get(path, limit)
    if absent and answer.status == 404:  # noqa: PLR2004 - HTTP's
        return b""
    if answer.status != OK:
        raise SourceError(f"engine: it answered {answer.status}")
    return answer.body


def _filters(**filters: list[str]) -> str:
    return quote(json.dumps(filters), safe="")


def _decoded(content: bytes, kind: Any) -> Any:  # noqa: ANN401 - a type and its value
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ParseError("the engine's answer cannot be read") from None
