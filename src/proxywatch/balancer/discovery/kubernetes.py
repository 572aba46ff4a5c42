"""Pods over the API server: a list, then a watch that goes on from there; a new list where it cannot.

A watch that ends is taken up again from the version that it had come to. What the server has forgotten (410, or any
error event) is listed anew, and what is not in that list is gone.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from proxywatch.balancer.discovery import pods
from proxywatch.balancer.discovery.http import OK, Http, Server
from proxywatch.balancer.discovery.pods import ExpiredError, Pods
from proxywatch.balancer.discovery.sighting import MOST_NODES, Sighting
from proxywatch.clock import Clock
from proxywatch.errors import SourceError

_LIMIT = 32 << 20
_PAGE = 200  # decoded at one go
_WATCH = 300  # seconds after which the server ends a watch
_SLACK = 30.0
_SHORTEST, _LONGEST = 1.0, 30.0  # seconds from the end of a watch to the next request
_LASTED = 30.0
_GONE = 410


@dataclass(frozen=True, slots=True)
class KubernetesSource:
    """The pods of a namespace, or of all of them.

    Attributes:
        server: The API server.
        namespace: Which; empty for all.
        selector: Labels of the pods, as `kubectl -l` takes them.
        clock: To wait by.
    """

    server: Server
    namespace: str
    selector: str
    clock: Clock

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        """See `Source`."""
        dice = Random()  # noqa: S311 - for jitter
        async with Http(self.server, "API server") as http:
            known: Pods | None = None
            wait = _SHORTEST
            while True:
                if known is None:
                    known = await self._list(http)
                    yield known.sighting()
                start = self.clock.monotonic()
                try:
                    async with aclosing(
                        http.batches(self._watch_path(known), timeout=_WATCH + _SLACK)
                    ) as lines:
                        async for batch in lines:
                            if known.take_all(batch):
                                yield known.sighting()
                except ExpiredError:
                    known = None
                except SourceError as error:
                    if f"answered {_GONE}" not in str(error):
                        raise
                    known = None
                wait = _SHORTEST if self.clock.monotonic() - start > _LASTED else min(_LONGEST, wait * 2)
                await self.clock.sleep_until(self.clock.monotonic() + wait * dice.uniform(0.5, 1))

    async def _list(self, http: Http) -> Pods:
        found: list[pods.Pod] = []
        token = version = ""
        while True:
            page = f"&limit={_PAGE}" + (f"&continue={quote(token, safe='')}" if token else "")
            answer = await http.get(f"{self._path()}{page}", _LIMIT)
            if answer.status != OK:
                raise SourceError(f"API server: it answered {answer.status}{_advice(answer.status)}")
            read = await asyncio.to_thread(pods.read_list, answer.body)
            found += read.items
            version, token = read.metadata.resource_version, read.metadata.continue_
            if len(found) > MOST_NODES:
                raise SourceError(f"API server: more than {MOST_NODES} pods")
            if not token:
                return Pods(version, found)

    def _path(self) -> str:
        within = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace else ""
        return f"/api/v1{within}/pods?labelSelector={quote(self.selector, safe='')}"

    def _watch_path(self, known: Pods) -> str:
        version = quote(known.version, safe="")
        return f"{self._path()}&watch=true&allowWatchBookmarks=true&timeoutSeconds={_WATCH}&resourceVersion={version}"


def _advice(status: int) -> str:
    if status in (401, 403):
        return ": its account needs `list` and `watch` on `pods`"
    return ""
