"""The exporter without its ports, for programs with a registry of their own; collectors of others in ours.

    async with Exporter.load("interface: {name: wg0}") as exporter:
        registry.register(exporter)

docs/library.md explains it by examples.
"""

import asyncio
import logging
import socket
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from importlib import metadata
from typing import Any, Self

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as ClientCollector

from proxywatch.config import Config, load
from proxywatch.exporter import runner
from proxywatch.exporter.runner import Scrape
from proxywatch.exporter.settings import SCHEMA
from proxywatch.exporter.table import COLLECTORS, Context, Entry
from proxywatch.finding import Finding
from proxywatch.metrics.family import Family
from proxywatch.metrics.registry import Collector, Registry, Watching
from proxywatch.probe.proxy import Proxy
from proxywatch.runtime.supervisor import Plan, Supervisor

log = logging.getLogger(__name__)

GROUP = "proxywatch.collectors"
STOP_WITHIN = 1.7  # seconds; a process is to be gone within two
_PATIENCE = 10.0
_OF_DANTE = ("sessions", "children")
_OURS = {entry.name for entry in COLLECTORS} | {Scrape.name}


class Extension:
    """Somebody else's collector with what the runner needs; `update()`, if it has that, is run like ours.

    Attributes:
        name: Of the collector, in `collect[]` and in `proxywatch_collector_success`.
        timeout: Seconds for one `update()`; the collector's own, or ten.
    """

    def __init__(self, name: str, collector: ClientCollector) -> None:
        self.name = name
        self.timeout = float(getattr(collector, "timeout", _PATIENCE))
        self._collector = collector

    def describe(self) -> Sequence[Family]:
        """As the collector does; nothing when it does not."""
        return [Family.of(family) for family in _described(self._collector)]

    def collect(self) -> Iterable[Metric]:
        """As the collector does."""
        return self._collector.collect()

    async def update(self) -> None:
        """As the collector does."""
        update = getattr(self._collector, "update", None)
        if update is not None:
            await update()

    async def examine(self) -> Sequence[Finding]:
        """Whether it can be updated."""
        await self.update()
        return [Finding.ok("a collector of another package, which works")]

    def status(self) -> msgspec.Struct | None:
        """Nothing to show."""
        return None


def installed() -> dict[str, ClientCollector]:
    """The collectors that installed packages offer by entry points of the group `proxywatch.collectors`.

    One that cannot be made is logged, and left out.
    """
    collectors = {}
    for entry in metadata.entry_points(group=GROUP):
        if entry.name in _OURS:
            log.error("a collector has the name of one of ours", extra={"collector": entry.name})
            continue
        try:
            collectors[entry.name] = entry.load()()
        except Exception:
            log.exception("a collector cannot be loaded", extra={"collector": entry.name})
    return collectors


class Exporter:
    """The collectors that the settings ask for, running as long as the context is open.

    It is a collector of Prometheus's client library itself, and so can be registered with any registry. In
    the event loop's thread `collect()` shows the last readings, as `refresh()` left them; in another thread
    it has the loop refresh them first.

    Attributes:
        config: The settings in force.
        context: What the collectors share.
        registry: All series, with the constant labels.
        scrape: Updates the collectors.
        supervisor: Runs them, and whatever else is to end with them.
    """

    def __init__(self, config: Config, context: Context | None = None) -> None:
        """Prepare; nothing runs and nothing is read yet.

        Args:
            config: From `proxywatch.config.load`.
            context: What the collectors share; one of its own by default.
        """
        self.config = config
        self.context = context or new_context(config)
        self.registry = Registry(labels(config))
        steady = [entry.name for entry in COLLECTORS if entry.steady]
        self.scrape = Scrape(self.registry, config[runner.Settings], self.context.clock, steady)
        self.registry.register(self.scrape)
        self.supervisor: Supervisor[Collector] = Supervisor(STOP_WITHIN / 3, self._added, self._removed)
        self._others: dict[str, Extension] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()

    @classmethod
    def load(cls, text: str = "", environ: Mapping[str, str] | None = None) -> Self:
        """One with settings in YAML, and those of the environment that is passed.

        Raises:
            ConfigError: The settings have faults.
        """
        return cls(load(text, environ or {}, SCHEMA))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._stack.enter_async_context(aclosing(self.context.transfers))
        await self._stack.enter_async_context(self.supervisor)
        self.apply(self.config)
        self.supervisor.start(refresh=self.scrape.serve(), heartbeat=self.scrape.heartbeat())
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._loop = None
        await self._stack.__aexit__(*failure)  # type: ignore[arg-type]

    def register(self, collector: ClientCollector, name: str) -> None:
        """Publish somebody else's collector with ours under a name; before or while the exporter runs.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._others or name in _OURS:
            raise ValueError(f"there is a collector {name} already")
        self._others[name] = Extension(name, collector)
        if self._loop is not None:
            self.apply(self.config)

    def apply(self, config: Config) -> None:
        """Put settings in force: collectors whose settings did not change, nor the proxy's, go on."""
        self.config = config
        self.supervisor.apply(self._plans(config))
        self.registry.labels = labels(config)

    async def refresh(self, patience: float | None = None) -> None:
        """Return when readings are at most `scrape.max_age` old, or after `patience` seconds as they are."""
        await self.scrape.refresh(patience)

    def describe(self) -> Iterable[Metric]:
        """What ours declare, as far as they run."""
        return [family for collector in self.registry.registered for family in _described(collector)]

    def collect(self) -> Iterable[Metric]:
        """All families, with the constant labels; nothing when the exporter does not run."""
        if self._loop is None:
            return []
        if self._loop is _running_loop():
            return list(self.registry.collect())
        return asyncio.run_coroutine_threadsafe(self._refreshed(), self._loop).result()

    async def _refreshed(self) -> list[Metric]:
        await self.refresh()
        return list(self.registry.collect())

    # Which collectors run.

    def _plans(self, config: Config) -> dict[str, Plan[Collector]]:
        proxy = msgspec.structs.replace(config[Proxy], kind="auto")
        context = replace(self.context.among(self.registry.collectors), proxy=proxy)
        ours = {
            name: Plan((settings, context.proxy), partial(entry.build, settings, context), self._watch)
            for name, (entry, settings) in wanted(config).items()
        }
        return ours | {name: Plan(name, partial(_same, each)) for name, each in self._others.items()}

    def _watch(self, collector: Collector) -> Coroutine[Any, Any, None] | None:
        return self.scrape.watch(collector) if isinstance(collector, Watching) else None

    def _added(self, name: str, collector: Collector) -> None:
        try:
            self.registry.register(collector)
        except ValueError:
            if name not in self._others:
                raise
            log.exception("a collector cannot be registered", extra={"collector": name})

    def _removed(self, name: str, collector: Collector) -> None:
        if collector in self.registry.registered:
            self.registry.unregister(collector)
        self.scrape.forget(name)


def new_context(config: Config) -> Context:
    """What the collectors share."""
    return Context(proxy=config[Proxy])


def labels(config: Config) -> dict[str, str]:
    """The constant labels: the proxy's name, which is the host's unless one was given.

    A variable of the environment may hold bytes that are no UTF-8, which no exposition can.
    """
    name = config[Proxy].name or socket.gethostname()
    return {"proxy_name": name.encode(errors="surrogateescape").decode(errors="replace")}


def wanted(config: Config) -> dict[str, tuple[Entry, msgspec.Struct | None]]:
    """The lines of the table that the settings ask for, with their sections."""
    lines = {}
    generic = config[Proxy].kind == "generic"
    for entry in COLLECTORS:
        if generic and entry.name in _OF_DANTE:
            continue
        settings = config.sections[entry.section or entry.name] if entry.settings else None
        if entry.derived or (generic and entry.name == "tcp") or getattr(settings, "enabled", True):
            lines[entry.name] = (entry, settings)
    return lines


def _described(collector: ClientCollector) -> Iterable[Metric]:
    describe = getattr(collector, "describe", None)
    return describe() if describe else ()


def _same(collector: Extension) -> Collector:
    return collector


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
