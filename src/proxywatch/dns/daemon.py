"""The forwarder, assembled: servers, cache and resolvers, its statistics over HTTP, and how it ends."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import msgspec

from proxywatch import logs
from proxywatch.clock import Clock, SystemClock
from proxywatch.config import Config
from proxywatch.dns.forwarder import Forwarder, read_blocked
from proxywatch.dns.measured import Measured
from proxywatch.dns.settings import Api, Settings, needs_no_balancer
from proxywatch.dns.statistics import Statistics, statistics
from proxywatch.errors import ConfigError
from proxywatch.instrument import MetricsAwareDns
from proxywatch.instrument.prometheus import DnsCollector
from proxywatch.metrics.registry import Registry
from proxywatch.metrics.rendering import TYPES, Rendering, negotiate
from proxywatch.net.limits import Limits
from proxywatch.runtime.reload import Reload, Reloads
from proxywatch.runtime.signals import Signals
from proxywatch.web.message import JSON, HttpRequest, Response, refuse
from proxywatch.web.server import Answer, WebServer

log = logging.getLogger(__name__)

_AT_START_ONLY = ("dns", "api")
_LIMITS = Limits(connections=256, memory=4_000_000)
_GET = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the forwarder listens, as people write it."""

    dns: list[str]
    api: list[str]


class Routes:
    """What is served over HTTP: statistics, metrics, health."""

    def __init__(self, forwarder: Forwarder, metrics: MetricsAwareDns, clock: Clock, *, names: bool) -> None:
        """Prepare.

        Args:
            forwarder: Whose.
            metrics: Counts its queries.
            clock: For ages.
            names: Whether the names that are asked for most are shown.
        """
        registry = Registry({})
        registry.register(DnsCollector(metrics))
        self._rendering = Rendering(registry)
        self._forwarder = forwarder
        self._metrics = metrics
        self._clock = clock
        self._names = names

    def handle(self, request: HttpRequest) -> Answer:
        """Answer a request."""
        if request.method not in _GET:
            return refuse(405, "this is for GET and HEAD", allow="GET, HEAD")
        match request.path:
            case "/api/dns/stats":
                return Response.make(200, msgspec.json.encode(self.statistics()), JSON)
            case "/metrics":
                return self._render(request)
            case "/livez":
                return Response.make(200, "ok\n")
            case "/readyz":
                up = [each.name for each in self.statistics().upstreams if each.up]
                text = f"{'+' if up else '-'} upstream: {', '.join(up) or 'no resolver answers'}\n"
                return Response.make(200 if up else 503, text)
            case _:
                return refuse(404, "nothing here; try /api/dns/stats or /metrics")

    def statistics(self) -> Statistics:
        """All of them."""
        resolver = self._forwarder.resolver
        document = statistics(
            self._metrics, resolver.counts, resolver.cache, self._forwarder.pool, now=self._clock.monotonic()
        )
        return document if self._names else msgspec.structs.replace(document, top_domains=())

    async def _render(self, request: HttpRequest) -> Response:
        shape = negotiate(request.header(b"accept"))
        return Response.make(200, await self._rendering.render(shape, None), TYPES[shape])


async def run(read: Callable[[], Config], announce: Callable[[Ports], None] = lambda _: None) -> int:
    """The forwarder, from its settings to its end by SIGTERM or SIGINT.

    Args:
        read: Reads the settings; raises ConfigError. Called again for each reload, which reads the block list anew.
        announce: Called with the addresses, once it listens on them.

    Returns:
        The exit status.

    Raises:
        ConfigError: The settings have faults at the start, or an address cannot be listened on; it may be
            wrapped in an ExceptionGroup.
    """
    config = read()
    logs.install(config[logs.Settings])
    signals = Signals.install()
    clock = SystemClock()
    settings, api = config[Settings], config[Api]
    needs_no_balancer(settings)
    metrics = MetricsAwareDns(clock=clock.monotonic, time=clock.now)
    forwarder = Forwarder(settings, clock, SystemRandom(), wrap=lambda handler: Measured(handler, metrics))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(forwarder)
        routes = Routes(forwarder, metrics, clock, names=api.shows_names)
        server = await stack.enter_async_context(WebServer("api", routes.handle, _LIMITS, clock))
        await server.listen(api.listen)
        reload = Reload(
            read,
            config,
            lambda config: logs.install(config[logs.Settings]),
            at_start_only=_AT_START_ONLY,
            record=Reloads(),
            clock=clock,
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(_reload(signals, reload, forwarder), name="reload")
        ports = Ports([str(address) for address in settings.listen], server.addresses)
        log.info("listening", extra={"dns": " ".join(ports.dns), "api": " ".join(ports.api)})
        announce(ports)
        await signals.stop.wait()
        log.info("stopping")
        task.cancel()
    return 0


async def _reload(signals: Signals, reload: Reload, forwarder: Forwarder) -> None:
    """At SIGHUP: read settings and block list again; a list that cannot be read changes nothing."""
    while True:
        await signals.reload.wait()
        signals.reload.clear()
        try:
            await reload()
            block = forwarder.settings.block
            if block:
                forwarder.resolver.blocked = await asyncio.to_thread(read_blocked, Path(block))
        except ConfigError as error:
            log.error("reload refused", extra={"faults": str(error)})  # noqa: TRY400 - the faults say it all
