"""The exporter, assembled: which collectors run, what they share, who shows their numbers, how it ends."""

import logging
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from proxywatch import logs
from proxywatch.config import Config, load
from proxywatch.errors import ConfigError, Fault
from proxywatch.exporter import kind, runner, server
from proxywatch.exporter.collector.wireguard import WireguardCollector
from proxywatch.exporter.readiness import TunnelState, allowance, readiness, tunnel_check
from proxywatch.exporter.runner import Scrape
from proxywatch.exporter.server import Exposition
from proxywatch.exporter.settings import SCHEMA
from proxywatch.exporter.status import Board
from proxywatch.exporter.table import COLLECTORS, Context, Entry
from proxywatch.health import settings as health
from proxywatch.health.checks import Check, Checks
from proxywatch.health.server import HealthServer
from proxywatch.metrics.registry import Collector, Publisher, Registry, Watching
from proxywatch.probe.proxy import Proxy
from proxywatch.runtime.reload import Reload
from proxywatch.runtime.signals import Signals
from proxywatch.runtime.supervisor import Plan, Supervisor
from proxywatch.runtime.watchdog import Watchdog

log = logging.getLogger(__name__)

_OF_DANTE = ("sessions", "children")
_AT_START_ONLY = ("scrape", "http", "health")
_STOP_WITHIN = 1.7  # seconds; the process is to be gone within two


@dataclass(frozen=True, slots=True)
class Faces:
    """Where the exporter listens, as people write it."""

    http: list[str]
    health: list[str]


async def run(read: Callable[[], Config], announce: Callable[[Faces], None] = lambda _: None) -> int:
    """The exporter, from its settings to its end by SIGTERM or SIGINT.

    Args:
        read: Reads the settings; raises ConfigError. Called again for each reload.
        announce: Called with the addresses, once it listens on them.

    Returns:
        The exit status: 0, or 1 when it ended by itself, for a reason that it has logged.

    Raises:
        ConfigError: The settings have faults at the start, or an address cannot be listened on; it may be
            wrapped in an ExceptionGroup.
    """
    read = kind.reading(read)
    config = read()
    logs.install(config[logs.Settings])
    signals = Signals.install()
    context = replace(new_context(config), fail=signals.fail)
    registry = Registry(labels(config))
    scrape = Scrape(registry, config[runner.Settings], context.clock)
    registry.register(scrape)
    board = Board(registry, scrape, context.clock, context.history.snapshot)
    async with AsyncExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(_STOP_WITHIN))
        await stack.enter_async_context(aclosing(context.transfers))
        supervisor = await stack.enter_async_context(supervise(registry, scrape))

        def apply(config: Config) -> None:
            supervisor.apply(plans(config, context.among(registry.collectors), scrape))
            registry.labels = labels(config)
            logs.install(config[logs.Settings])

        apply(config)
        reload = Reload(
            read, config, apply, at_start_only=_AT_START_ONLY, record=context.reloads, clock=context.clock
        )
        supervisor.start(
            refresh=scrape.serve(),
            heartbeat=scrape.heartbeat(),
            sample=board.sample(),
            reload=reload.on(signals.reload),
        )
        sources = server.Sources(registry, scrape, board.status, context.history.snapshot, reload)
        http = await stack.enter_async_context(Exposition(config[server.Settings], sources, context.clock))
        checks = health_checks(lambda: reload.config, registry, scrape, context)
        probed = await stack.enter_async_context(HealthServer(config[health.Settings], checks, context.clock))
        faces = Faces(http.addresses, probed.addresses)
        log.info("listening", extra={"http": " ".join(faces.http), "health": " ".join(faces.health)})
        announce(faces)
        await signals.stop.wait()
        log.info("stopping", extra={"reason": signals.failure} if signals.failure else {})
        watchdog.start()
    return 1 if signals.failure else 0


def labels(config: Config) -> dict[str, str]:
    """The constant labels: the proxy's name, which is the host's unless one was given."""
    return {"proxy_name": config[Proxy].name or socket.gethostname()}


def new_context(config: Config) -> Context:
    """What the collectors share."""
    return Context(proxy=config[Proxy])


def check(config: Config) -> None:
    """Look at what no section can know alone.

    Raises:
        ConfigError: A required collector that there is not.
    """
    known = [entry.name for entry in COLLECTORS]
    unknown = [name for name in config[health.Settings].require if name not in known]
    if unknown:
        text = f"no collector {', '.join(unknown)}; there are {', '.join(known)}"
        raise ConfigError(Fault("health.require", text))


def wanted(config: Config) -> dict[str, tuple[Entry, msgspec.Struct | None]]:
    """The lines of the table that the settings ask for, with their sections."""
    lines = {}
    generic = config[Proxy].kind == "generic"
    for entry in COLLECTORS:
        if generic and entry.name in _OF_DANTE:
            continue
        settings = config.sections[entry.section or entry.name] if entry.settings else None
        if entry.derived or getattr(settings, "enabled", True):
            lines[entry.name] = (entry, settings)
    return lines


def required(config: Config) -> dict[str, float]:
    """The collectors that readiness asks for, with the age that their last success may have, in seconds."""
    ages = {}
    for name, (_, settings) in wanted(config).items():
        if name in config[health.Settings].require:
            interval = getattr(settings, "interval", config[runner.Settings].interval)
            ages[name] = allowance(interval, getattr(settings, "timeout", 0.0))
    return ages


def health_checks(
    config: Callable[[], Config], registry: Registry, scrape: Scrape, context: Context
) -> dict[str, Checks]:
    """What the health port answers, by path."""

    def ready() -> list[Check]:
        return readiness(required(config()), scrape.outcomes, tunnel(registry), context.clock.now())

    return {"/readyz": ready, "/vpnz": lambda: [tunnel_check(tunnel(registry))], "/healthz": ready}


def tunnel(registry: Registry) -> TunnelState | None:
    """The tunnel's state; None when nobody watches it, or it cannot be read.

    What cannot be read is no reason to have the VPN's container restarted.
    """
    collector = registry.collectors.get("wireguard")
    if not isinstance(collector, WireguardCollector):
        return None
    snapshot = collector.tunnel()
    return TunnelState(snapshot.state.value, snapshot.sentence, snapshot.up) if snapshot else None


def every_publisher() -> list[Publisher]:
    """All collectors of the table and the runner, as they are without settings; for the reference."""
    config = load("", {}, SCHEMA)
    context = new_context(config)
    registry = Registry({})
    for entry, settings in wanted(config).values():
        registry.register(entry.build(settings, context))
    registry.register(Scrape(registry, config[runner.Settings], context.clock))
    return [each for each in registry.registered if isinstance(each, Publisher)]


def supervise(registry: Registry, scrape: Scrape) -> Supervisor[Collector]:
    """Runs collectors; those that run are in the registry."""

    def removed(name: str, collector: Collector) -> None:
        registry.unregister(collector)
        scrape.forget(name)

    return Supervisor(_STOP_WITHIN / 3, lambda _, collector: registry.register(collector), removed)


def plans(config: Config, context: Context, scrape: Scrape) -> dict[str, Plan[Collector]]:
    """How the collectors that the settings ask for are built.

    A collector whose settings did not change, nor the proxy's, goes on with all that it has counted.
    """
    context = replace(context, proxy=msgspec.structs.replace(config[Proxy], kind="auto"))

    def watch(collector: Collector) -> Coroutine[Any, Any, None] | None:
        return scrape.watch(collector) if isinstance(collector, Watching) else None

    return {
        name: Plan((settings, context.proxy), partial(entry.build, settings, context), watch)
        for name, (entry, settings) in wanted(config).items()
    }
