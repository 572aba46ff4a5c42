"""Mullvad's relay list from a file that is watched, or from a URL that is asked whether it has changed."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxywatch.balancer.discovery import mullvad
from proxywatch.balancer.discovery.http import NOT_MODIFIED, OK, Http, Server
from proxywatch.balancer.discovery.mullvad import Wanted
from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.balancer.node import Upstream
from proxywatch.clock import Clock
from proxywatch.errors import SourceError
from proxywatch.source import file

_LIMIT = 8 << 20


@dataclass(frozen=True, slots=True)
class RelayListFile:
    """The list in a file.

    Attributes:
        path: The file.
        wanted: Which relays to take.
        via: Through what they are reached.
        interval: Seconds between two looks.
        clock: To wait by.
    """

    path: str
    wanted: Wanted
    via: Upstream | str
    interval: float
    clock: Clock

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        """See `Source`."""
        before = None
        while True:
            content = await asyncio.to_thread(file.read, self.path, _LIMIT)
            if content != before:
                yield await asyncio.to_thread(mullvad.read, content, self.wanted, self.via)
                before = content
            await self.clock.sleep_until(self.clock.monotonic() + self.interval)


@dataclass(frozen=True, slots=True)
class RelayListUrl:
    """The list at a URL.

    Attributes:
        url: Where; http or https.
        wanted: Which relays to take.
        via: Through what they are reached.
        interval: Seconds between two questions.
        clock: To wait by.
    """

    url: str
    wanted: Wanted
    via: Upstream | str
    interval: float
    clock: Clock

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        """See `Source`."""
        parts = urlsplit(self.url)
        base = f"{parts.scheme}://{parts.netloc}"
        path = self.url.removeprefix(base)
        tag = ""
        async with Http(Server(base), "relay list") as http:
            while True:
                answer = await http.get(path, _LIMIT, {"if-none-match": tag} if tag else None)
                if answer.status == OK:
                    yield await asyncio.to_thread(mullvad.read, answer.body, self.wanted, self.via)
                    tag = answer.headers.get("etag", "")
                elif answer.status != NOT_MODIFIED or not tag:
                    raise SourceError(f"relay list: it answered {answer.status}")
                await self.clock.sleep_until(self.clock.monotonic() + self.interval)
