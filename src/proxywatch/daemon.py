"""The exporter, assembled: which collectors run, what they share, who tells of them, how all of it ends."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from proxywatch import exposition, health, journal, scrape
from proxywatch.collector.wireguard import WireguardCollector
from proxywatch.config import Config, load
from proxywatch.errors import ConfigError, Fault
from proxywatch.exposition import Exposition
from proxywatch.health.face import HealthServer, Sources
from proxywatch.health.verdict import Tunnel, allowance
from proxywatch.registry import Closing, Collector, Publisher, Registry, Watching
from proxywatch.scrape import Scrape
from proxywatch.source.proxy import Proxy
from proxywatch.status import Board
from proxywatch.table import COLLECTORS, Context, Entry, sections

log = logging.getLogger(__name__)

SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "proxy": Proxy,
    **sections(),
    "scrape": scrape.Settings,
    "http": exposition.Settings,
    "health": health.Settings,
    "log": journal.Settings,
}
_AT_START_ONLY = (scrape.Settings, exposition.Settings, health.Settings)
_STOP_WITHIN = 1.7


@dataclass(frozen=True, slots=True)
class Faces:
    """Where the exporter listens, as people write it."""

    http: list[str]
    health: list[str]


async def run(read: Callable[[], Config], announce: Callable[[Faces], None] = lambda _: None) -> None:
    """The exporter, from its settings to its end by SIGTERM or SIGINT.

    Args:
        read: Reads the settings; raises ConfigError. Called again for each reload.
        announce: Told where the faces listen, once they do.

    Raises:
        ConfigError: The settings have faults at the start, or an address cannot be listened on; it may be
            wrapped in an ExceptionGroup.
    """
    config = read()
    journal.install(config[journal.Settings])
    stop, hangup = _signals()
    context = new_context(config)
    names = Registry(proxy_name(config))
    runner = Scrape(names, config[scrape.Settings], context.clock)
    names.publish(runner)
    board = Board(names, runner, context.clock, context.history.snapshot)
    watchdog = _watchdog()
    async with AsyncExitStack() as stack:
        stack.callback(watchdog.cancel)
        await stack.enter_async_context(aclosing(context.transfers))
        assembly = await stack.enter_async_context(Assembly(names, runner, context))
        assembly.apply(config)
        reload = Reload(read, config, assembly, context)
        assembly.start(
            refresh=runner.serve(),
            heartbeat=runner.heartbeat(),
            sample=board.sample(),
            reload=reload.on(hangup),
        )
        told = exposition.Sources(names, runner, board.status, context.history.snapshot, reload)
        http = await stack.enter_async_context(Exposition(config[exposition.Settings], told, context.clock))
        asked = Sources(lambda: required(reload.config), runner.outcomes, lambda: tunnel(names))
        probed = await stack.enter_async_context(HealthServer(config[health.Settings], asked, context.clock))
        faces = Faces(http.addresses, probed.addresses)
        log.info("listening", extra={"http": " ".join(faces.http), "health": " ".join(faces.health)})
        announce(faces)
        await stop.wait()
        log.info("stopping")
        watchdog.start()


def _watchdog() -> threading.Timer:
    """Ends the process when it does not stop in order: it is to be gone within 2 s. Not started yet."""

    def give_up() -> None:
        log.warning("did not stop in order")
        os._exit(0)

    timer = threading.Timer(_STOP_WITHIN, give_up)
    timer.daemon = True
    return timer


def proxy_name(config: Config) -> str:
    """The proxy's name: the one that was given, or the host's."""
    return config[Proxy].name or socket.gethostname()


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
    for entry in COLLECTORS:
        settings = config.sections[entry.section or entry.name] if entry.settings else None
        if entry.derived or getattr(settings, "enabled", True):
            lines[entry.name] = (entry, settings)
    return lines


def required(config: Config) -> dict[str, float]:
    """The collectors that readiness asks for, with the age that their last success may have, in seconds."""
    asked = {}
    for name, (_, settings) in wanted(config).items():
        if name in config[health.Settings].require:
            interval = getattr(settings, "interval", config[scrape.Settings].interval)
            asked[name] = allowance(interval, getattr(settings, "timeout", 0.0))
    return asked


def tunnel(names: Registry) -> Tunnel | None:
    """The tunnel's state, its words, and whether it is up; None when nobody watches it, or it cannot be read.

    What cannot be read is no reason to have the VPN's container restarted.
    """
    collector = names.collectors.get("wireguard")
    if not isinstance(collector, WireguardCollector):
        return None
    snapshot = collector.tunnel()
    return (snapshot.state.value, snapshot.sentence, snapshot.up) if snapshot else None


def every_publisher() -> list[Publisher]:
    """All collectors of the table and the runner, as they are without settings; for the reference."""
    config = load("", {}, SECTIONS)
    context = new_context(config)
    registry = Registry("")
    for entry, settings in wanted(config).values():
        registry.add(entry.build(settings, context))
    registry.publish(Scrape(registry, config[scrape.Settings], context.clock))
    return registry.publishers


@dataclass(slots=True)
class _Running:
    made_from: object
    collector: Collector
    task: asyncio.Task[None] | None


class Assembly:
    """The running collectors and the daemon's other tasks; an asynchronous context that ends them all."""

    def __init__(self, names: Registry, runner: Scrape, context: Context) -> None:
        self._names = names
        self._runner = runner
        self._context = context.among(names.collectors)
        self._running: dict[str, _Running] = {}
        self._tasks = asyncio.TaskGroup()
        self._others: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        collectors = [running.collector for running in self._running.values()]
        for task in (*self._others, *(running.task for running in self._running.values())):
            if task is not None:
                task.cancel()
        await self._tasks.__aexit__(*failure)  # type: ignore[arg-type]
        for collector in collectors:
            await _close(collector)

    def start(self, **loops: Coroutine[Any, Any, None]) -> None:
        """Run what never ends by itself, by name, until the assembly does."""
        self._others += [self._tasks.create_task(loop, name=name) for name, loop in loops.items()]

    def apply(self, config: Config) -> None:
        """Start, keep, replace and stop collectors, so that those run that the settings ask for.

        A collector whose settings did not change, nor the proxy's, goes on with all that it has counted.
        """
        context = replace(self._context, proxy=config[Proxy])
        lines = wanted(config)
        fresh = {
            name: _Running((settings, context.proxy), entry.build(settings, context), None)
            for name, (entry, settings) in lines.items()
            if name not in self._running or self._running[name].made_from != (settings, context.proxy)
        }
        for name in [name for name in self._running if name in fresh or name not in lines]:
            self._drop(name)
        for name, running in fresh.items():
            self._names.add(running.collector)
            if isinstance(running.collector, Watching):
                running.task = self._tasks.create_task(
                    self._runner.watch(running.collector), name=f"watch {name}"
                )
            self._running[name] = running
        self._names.proxy_name = proxy_name(config)

    def _drop(self, name: str) -> None:
        running = self._running.pop(name)
        self._names.remove(name)
        self._runner.forget(name)
        if running.task is not None:
            running.task.cancel()
        self._tasks.create_task(_close(running.collector), name=f"close {name}")


async def _close(collector: Collector) -> None:
    if isinstance(collector, Closing):
        try:
            async with asyncio.timeout(_STOP_WITHIN / 3):
                await collector.close()
        except Exception as error:
            log.exception(
                "collector did not close", extra={"collector": collector.name, "reason": str(error)}
            )


class Reload:
    """Reads the settings again; the old ones stay in force when the new ones have a fault."""

    def __init__(
        self, read: Callable[[], Config], config: Config, assembly: Assembly, context: Context
    ) -> None:
        self.config = config
        self._read = read
        self._assembly = assembly
        self._context = context
        context.reloads.at = context.clock.now()

    async def __call__(self) -> None:
        """Apply the settings as they are now.

        Raises:
            ConfigError: They have faults; nothing changed.
        """
        reloads = self._context.reloads
        try:
            config = await asyncio.to_thread(self._read)
        except ConfigError as error:
            reloads.successful, reloads.fault = False, str(error)
            log.error("settings refused, the old ones stay in force", extra={"faults": str(error)})  # noqa: TRY400
            raise
        self._assembly.apply(config)
        journal.install(config[journal.Settings])
        for settings in _AT_START_ONLY:
            if config[settings] != self.config[settings]:
                log.warning("needs a restart to take effect", extra={"section": settings.__module__})
        self.config = config
        reloads.successful, reloads.fault, reloads.at = True, "", self._context.clock.now()
        log.info("settings loaded")

    async def on(self, hangup: asyncio.Event) -> None:
        """Reload whenever the event is set; a task of the daemon."""
        while True:
            await hangup.wait()
            hangup.clear()
            try:
                await self()
            except ConfigError:
                continue


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events for the end (SIGTERM, SIGINT) and for a reload (SIGHUP)."""
    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    return stop, hangup
