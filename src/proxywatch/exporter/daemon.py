"""The exporter, assembled: which collectors run, what they share, who shows their numbers, how it ends."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from proxywatch import logs
from proxywatch.config import Config, load
from proxywatch.config.writing import document
from proxywatch.errors import ConfigError, Fault
from proxywatch.exporter import kind, runner, server
from proxywatch.exporter.library import STOP_WITHIN, Exporter, installed, new_context, wanted
from proxywatch.exporter.readiness import TunnelState, allowance, readiness, tunnel_check
from proxywatch.exporter.runner import Scrape
from proxywatch.exporter.server import Exposition
from proxywatch.exporter.settings import SCHEMA
from proxywatch.exporter.status import Board
from proxywatch.exporter.table import COLLECTORS, Context, Peers
from proxywatch.health import settings as health
from proxywatch.health.checks import Check, Checks
from proxywatch.health.server import HealthServer
from proxywatch.metrics.registry import Publisher, Registry
from proxywatch.net import files
from proxywatch.runtime.reload import Reload
from proxywatch.runtime.signals import Signals
from proxywatch.runtime.watch import Watch
from proxywatch.runtime.watchdog import Watchdog

log = logging.getLogger(__name__)

_AT_START_ONLY = ("scrape", "http", "health")


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where the exporter listens, as people write it."""

    http: list[str]
    health: list[str]


async def run(
    read: Callable[[], Config],
    announce: Callable[[Listeners], None] = lambda _: None,
    watched: str | None = None,
) -> int:
    """The exporter, from its settings to its end by SIGTERM or SIGINT.

    Args:
        read: Reads the settings; raises ConfigError. Called again for each reload.
        announce: Called with the addresses, once it listens on them.
        watched: A file whose change makes it reload; None for signals and requests alone.

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
    exporter = Exporter(config, replace(new_context(config), fail=signals.fail))
    for name, collector in installed().items():
        exporter.register(collector, name)
    context, registry, scrape = exporter.context, exporter.registry, exporter.scrape
    board = Board(registry, scrape, context.clock, context.history, context.reloads)
    async with AsyncExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(STOP_WITHIN))
        await stack.enter_async_context(exporter)

        def apply(config: Config) -> None:
            exporter.apply(config)
            logs.install(config[logs.Settings])

        reload = Reload(
            read, config, apply, at_start_only=_AT_START_ONLY, record=context.reloads, clock=context.clock
        )
        exporter.supervisor.start(sample=board.sample(), reload=reload.on(signals.reload))
        sources = server.Sources(
            registry=registry,
            scrape=scrape,
            status=board.status,
            history=context.history.snapshot,
            settings=lambda: in_force(reload.config),
            pages=pages(registry),
            reload=reload,
        )
        if watched is not None:
            exporter.supervisor.start(watch=Watch(watched, signals.reload.set, context.clock).run())
        http_settings, health_settings = within_open_files(config)
        http = await stack.enter_async_context(Exposition(http_settings, sources, context.clock))
        checks = health_checks(lambda: reload.config, registry, scrape, context)
        probed = await stack.enter_async_context(HealthServer(health_settings, checks, context.clock))
        board.health = probed.addresses
        listeners = Listeners(http.addresses, probed.addresses)
        log.info("listening", extra={"http": " ".join(listeners.http), "health": " ".join(listeners.health)})
        announce(listeners)
        await signals.stop.wait()
        log.info("stopping", extra={"reason": signals.failure} if signals.failure else {})
        watchdog.start()
    return 1 if signals.failure else 0


def within_open_files(config: Config) -> tuple[server.Settings, health.Settings]:
    """The settings of both ports, with as many connections as the limit of open files allows; raises that."""
    http, probed = config[server.Settings], config[health.Settings]
    limit = files.raise_limit()
    shares = files.share(limit, http.max_connections, probed.max_connections)
    if shares != (http.max_connections, probed.max_connections):
        text = "fewer connections than the settings allow"
        log.info(text, extra={"http": shares[0], "health": shares[1], "open_files": limit})
    replaced = msgspec.structs.replace
    return replaced(http, max_connections=shares[0]), replaced(probed, max_connections=shares[1])


def in_force(config: Config) -> dict[str, Any]:
    """The settings in force and the defaults, as documents."""
    defaults = {name: document(section()) for name, section in SCHEMA.sections.items()}
    return {
        "in_force": {name: document(value) for name, value in config.sections.items()},
        "defaults": defaults,
    }


def pages(registry: Registry) -> dict[str, Callable[[], str]]:
    """The reference of what runs, by path."""

    def metrics() -> str:
        from proxywatch import reference  # noqa: PLC0415 - only who reads it pays

        return reference.metrics(each for each in registry.registered if isinstance(each, Publisher))

    def settings() -> str:
        from proxywatch import reference  # noqa: PLC0415

        return reference.settings(SCHEMA)

    return {"/docs/metrics": metrics, "/docs/settings": settings}


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


def required(config: Config) -> dict[str, float]:
    """The collectors that readiness asks for, with the age that their last success may have, in seconds."""
    ages = {}
    for name, (entry, settings) in wanted(config).items():
        if name in config[health.Settings].require:
            reading = config[runner.Settings].interval * (1 if entry.steady else runner.RARELY)
            interval = getattr(settings, "interval", reading)
            ages[name] = allowance(interval, getattr(settings, "timeout", 0.0))
    return ages


def health_checks(
    config: Callable[[], Config], registry: Registry, scrape: Scrape, context: Context
) -> dict[str, Checks]:
    """What the health port answers, by path."""

    def ready() -> list[Check]:
        return readiness(required(config()), scrape.outcomes, tunnel(registry), context.clock)

    return {"/readyz": ready, "/vpnz": lambda: [tunnel_check(tunnel(registry))], "/healthz": ready}


def tunnel(registry: Registry) -> TunnelState | None:
    """The tunnel's state; None when nobody watches it, or it cannot be read.

    What cannot be read is no reason to have the VPN's container restarted.
    """
    snapshot = Peers(registry.collectors).tunnel()
    return TunnelState(snapshot.state.value, snapshot.sentence, snapshot.up) if snapshot else None


def every_publisher() -> list[Publisher]:
    """All collectors of the table and the runner, those that are off by default too; for the reference."""
    config = load("tcp: {enabled: true}", {}, SCHEMA)
    context = new_context(config)
    built: list[Publisher] = [entry.build(settings, context) for entry, settings in wanted(config).values()]
    return [*built, Scrape(Registry({}), config[runner.Settings], context.clock)]
