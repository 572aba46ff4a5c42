"""HTTP on :9090: the metrics, the status page, the same as JSON, reload."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import ConfigError, Fault
from proxywatch.exporter.page.assets import Assets
from proxywatch.exporter.runner import Scrape
from proxywatch.exporter.status import schema
from proxywatch.metrics.registry import Registry
from proxywatch.metrics.rendering import TYPES, Format, Rendering, accepts_gzip, compress, negotiate
from proxywatch.net.addresses import Addresses
from proxywatch.net.bucket import Bucket
from proxywatch.net.limits import Limits
from proxywatch.quantity import Duration, Size
from proxywatch.web.message import JSON, HttpRequest, Response, refuse
from proxywatch.web.server import Answer, WebServer

if TYPE_CHECKING:
    from proxywatch.web.guard import Guard

_MARGIN = 0.5
_GET = ("GET", "HEAD")
_NO_STORE = "no-store"
_MOST_BODIES = 32
_RELOAD_INTERVAL, _RELOAD_BURST = 1.0, 10
_TOO_MANY_RELOADS = refuse(429, "reloads are limited to one a second", retry_after="1")

Reload = Callable[[], Awaitable[Sequence[Fault] | ConfigError | None]]
Variant = tuple[Format, frozenset[str] | None, bool]  # format, collectors, whether gzip


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The exposition's server.

    Attributes:
        listen: Where: an address, a unix socket, or several of them with commas between.
        web_config: A file with TLS and users, in the format of Prometheus's exporters; empty for none.
        max_connections: Connections that may be open at once; the idlest makes room. The limit of open files
            lowers it.
        max_memory: The most that all connections together may hold; the costliest is closed beyond it.
        max_request: The largest request that is read.
        request_timeout: The longest that a request may take to arrive.
        idle_timeout: How long a connection may stay open between requests.
        write_timeout: The longest that a client may take to read its response.
    """

    listen: Addresses = Addresses.parse(":9090")
    web_config: str = ""
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 12_000
    max_memory: Size = Size(28_000_000)
    max_request: Size = Size(16 << 10)
    request_timeout: Duration = Duration(10)
    idle_timeout: Duration = Duration(300)
    write_timeout: Duration = Duration(30)

    @property
    def limits(self) -> Limits:
        """The same as the server takes them."""
        return Limits(
            connections=self.max_connections,
            memory=int(self.max_memory),
            request_size=int(self.max_request),
            request_time=self.request_timeout,
            idle_time=self.idle_timeout,
            write_time=self.write_timeout,
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """What the exposition tells of.

    Attributes:
        registry: The series.
        scrape: Asked for fresh readings before anything is told.
        status: The status page's content.
        history: The recent probes; anything that msgspec can encode.
        settings: The settings in force, secrets hidden; anything that msgspec can encode.
        pages: By path, the reference as Markdown.
        reload: Reads the settings again; returns or raises what is wrong with them.
    """

    registry: Registry
    scrape: Scrape
    status: Callable[[], Any]
    history: Callable[[], Any]
    settings: Callable[[], Any]
    pages: Mapping[str, Callable[[], str]]
    reload: Reload


class Exposition:
    """The routes, and the server that they are served by; an asynchronous context."""

    def __init__(self, settings: Settings, sources: Sources, clock: Clock) -> None:
        self._settings = settings
        self._sources = sources
        self._clock = clock
        self._rendering = Rendering(sources.registry)
        self._generation = -1
        self._bodies: dict[Variant, Response] = {}
        self._one = asyncio.Lock()
        self._checked = float("-inf")
        self._documents: dict[tuple[str, bool], tuple[float, Response]] = {}
        self._assets = Assets.load()
        self._one = asyncio.Lock()  # however many ask, one response is made in a turn of the loop
        self._reloads = Bucket(_RELOAD_INTERVAL, _RELOAD_BURST, clock.monotonic)
        self._guard = _guard(settings.web_config, clock) if settings.web_config else None
        self.server = WebServer("http", self._admit if self._guard else self._handle, settings.limits, clock)
        self._enforce()
        self.server.before_tick = self._enforce
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[HttpRequest], Answer]]] = {
            "/metrics": (_GET, self._metrics),
            "/api/v1/status": (_GET, lambda request: self._document(request, sources.status)),
            "/api/v1/status/schema": (_GET, lambda request: self._document(request, schema)),
            "/api/v1/history": (_GET, lambda request: self._document(request, sources.history)),
            "/api/v1/settings": (_GET, lambda request: self._document(request, sources.settings)),
            "/-/healthy": (_GET, lambda _: Response.make(200, "proxywatch is up\n")),
            "/-/reload": (("POST", "PUT"), self._reload),
        }
        for path, page in sources.pages.items():
            self._routes[path] = (_GET, lambda _, page=page: Response.make(200, page()))  # type: ignore[misc]

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self.server.addresses

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        try:
            await self.server.listen(self._settings.listen)
        except ConfigError:
            await self.server.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.__aexit__()

    def _enforce(self) -> None:
        """Take over the web configuration file when it has changed."""
        if self._guard is None:
            return
        self._guard.refresh()
        terms = self._guard.terms
        self.server.tls = (terms.context, terms.names) if terms.context else None
        self.server.own_headers = terms.headers

    def _admit(self, request: HttpRequest) -> Answer:
        return self._guard.admit(request, self._handle) if self._guard else self._handle(request)

    def _handle(self, request: HttpRequest) -> Answer:
        methods, serve = self._routes.get(request.path) or (_GET, self._assets.get)
        if not self._known(request.path):
            return refuse(404, "nothing here; try / or /metrics")
        if request.method == "OPTIONS":
            return Response.make(200, b"", allow=_allow(methods))
        if request.method not in methods:
            return refuse(405, f"this is for {' and '.join(methods)}", allow=_allow(methods))
        return serve(request)

    def _known(self, path: str) -> bool:
        return path in self._routes or path in self._assets or path == "*"  # which OPTIONS alone can have

    # Metrics.

    def _metrics(self, request: HttpRequest) -> Answer:
        try:
            names = self._filter(request)
        except ValueError as error:
            return refuse(400, str(error))
        gzip = accepts_gzip(request.header(b"accept-encoding"))
        variant = negotiate(request.header(b"accept")), names, gzip
        if self._fresh and (ready := self._bodies.get(variant)):
            return ready
        return self._rendered(request, variant)

    async def _rendered(self, request: HttpRequest, variant: Variant) -> Response:
        await self._refresh(request)
        shape, names, gzip = variant
        bodies = self._bodies  # those of this generation, whatever happens meanwhile
        if variant in bodies:
            return bodies[variant]
        async with self._one:  # whoever waited meanwhile finds the body
            if variant not in bodies:
                body = await self._rendering.render(shape, names)
                headers = {"vary": "accept, accept-encoding"}
                if gzip:
                    body = compress(body)
                    headers["content_encoding"] = "gzip"
                if len(bodies) >= _MOST_BODIES:
                    bodies.clear()
                bodies[variant] = Response.make(200, body, TYPES[shape], **headers)
        return bodies[variant]

    def _filter(self, request: HttpRequest) -> frozenset[str] | None:
        wanted = frozenset(request.values("collect[]"))
        if not wanted:
            return None
        known = self._sources.registry.names
        if unknown := sorted(wanted.difference(known)):
            names = ", ".join(name or "without a name" for name in unknown)
            raise ValueError(f"no collector {names}; there are {', '.join(known)}")
        return wanted

    # Freshness, which metrics and documents share.

    @property
    def _fresh(self) -> bool:
        return self._clock.monotonic() - self._checked < self._sources.scrape.settings.max_age

    async def _refresh(self, request: HttpRequest) -> None:
        if not self._fresh:
            await self._sources.scrape.refresh(_patience(request))
            now, refreshed = self._clock.monotonic(), self._sources.scrape.refreshed
            self._checked = refreshed if now - refreshed < self._sources.scrape.settings.max_age else now
        if self._generation != self._sources.scrape.generation:
            self._generation = self._sources.scrape.generation
            self._bodies = {}

    # Documents.

    def _document(self, request: HttpRequest, content: Callable[[], Any]) -> Answer:
        gzip = accepts_gzip(request.header(b"accept-encoding"))
        kept = self._kept(request.path, gzip=gzip)
        return kept if kept is not None and self._fresh else self._written(request, content, gzip=gzip)

    def _kept(self, path: str, *, gzip: bool) -> Response | None:
        stamp, response = self._documents.get((path, gzip), (None, None))
        return response if stamp == self._checked else None

    async def _written(self, request: HttpRequest, content: Callable[[], Any], *, gzip: bool) -> Response:
        await self._refresh(request)
        async with self._one:
            if (kept := self._kept(request.path, gzip=gzip)) is not None:
                return kept
            body = msgspec.json.encode(content())
            headers = {"cache-control": _NO_STORE, "vary": "accept-encoding"}
            if gzip:
                headers["content-encoding"] = "gzip"
                body = compress(body)
            response = Response.make(200, body, JSON, **headers)
            self._documents[request.path, gzip] = self._checked, response
            return response

    # Reload.

    def _reload(self, request: HttpRequest) -> Answer:
        # Only browsers say where a request comes from, and our page makes none: it is another's, or rebound.
        if b"origin" in request.headers or b"sec-fetch-site" in request.headers:
            return refuse(403, "no page in a browser may do this")
        return self._reloaded() if self._reloads.take() else _TOO_MANY_RELOADS

    async def _reloaded(self) -> Response:
        try:
            faults = await self._sources.reload()
        except ConfigError as error:
            faults = error
        if faults:
            return refuse(
                400, str(faults) if isinstance(faults, ConfigError) else "\n".join(map(str, faults))
            )
        return Response.make(200, "reloaded\n")


def _allow(methods: Sequence[str]) -> str:
    return ", ".join((*methods, "OPTIONS"))


def _patience(request: HttpRequest) -> float | None:
    """The seconds that the scraper leaves us, less a margin for the way."""
    try:
        timeout = float(request.header(b"x-prometheus-scrape-timeout-seconds"))
    except ValueError:
        return None
    if not isfinite(timeout):
        return None
    return max(timeout - _MARGIN, timeout / 2, 0.0)


def _guard(path: str, clock: Clock) -> "Guard":
    from proxywatch.web.guard import Guard  # noqa: PLC0415 - half a megabyte that only those with the file pay

    return Guard(path, clock.monotonic)
