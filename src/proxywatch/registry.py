"""The explicit table of collectors, and the registry that they all publish into.

A collector comes in two kinds. A reading one asks the kernel when somebody wants to know: the runner calls
`update()`. A watching one also has `due()`: it has a task of its own that waits for `due()` and then updates.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol, Self, runtime_checkable

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as ClientCollector
from prometheus_client.registry import CollectorRegistry
from prometheus_client.samples import Sample

from proxywatch.collector import (
    active,
    children,
    interface,
    latency,
    loop,
    process,
    sessions,
    sockets,
    speed,
    wireguard,
)
from proxywatch.collector import exit as exit_
from proxywatch.finding import Finding
from proxywatch.metric import Family
from proxywatch.prober import Prober
from proxywatch.source.clock import Clock, SystemClock
from proxywatch.source.own_traffic import OwnTraffic
from proxywatch.source.proxy import Proxy
from proxywatch.source.transfer import Transfers
from proxywatch.state.history import History

log = logging.getLogger(__name__)


class Publisher(Protocol):
    """Whoever has series of its own.

    Attributes:
        name: One word; the value of the `collector` label and of `collect[]`.
    """

    name: str

    def describe(self) -> Sequence[Family]:
        """Every family that `collect()` may publish."""

    def collect(self) -> Iterable[Metric]:
        """Map the last snapshot to metric families; synchronous, no I/O."""


class Collector(Publisher, Protocol):
    """What the runner, the exposition, `check` and the status page need of a collector.

    Attributes:
        timeout: The longest that one `update()` may take, in seconds.
    """

    timeout: float

    async def update(self) -> None:
        """Obtain the facts, and publish them as one frozen snapshot.

        Raises:
            NoData: All was read, and there was nothing to measure.
            SourceError: A source cannot be read.
            ParseError: A source does not follow its format.
        """

    async def examine(self) -> Sequence[Finding]:
        """Look at the machine as `update()` would, and say what is there, what is missing, how to mend it."""

    def status(self) -> msgspec.Struct | None:
        """The snapshot as the status page and the API show it; None before the first."""


@runtime_checkable
class Watching(Collector, Protocol):
    """A collector with a task of its own, because its facts happen over time."""

    async def due(self) -> None:
        """Return when the next `update()` is to be made."""


@runtime_checkable
class Closing(Collector, Protocol):
    """A collector that has something to finish when it is stopped."""

    async def close(self) -> None:
        """Finish, within half a second."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the daemon hands to the collectors that it builds.

    Attributes:
        clock: Both clocks of the machine.
        dice: For jitter.
        own_traffic: The connections of our own probes; the probes write it, the log's reader asks it.
        peers: Every collector by name, as they are now: a collector that needs a number of another one is
            handed a function that looks here.
        reloads: How the last reading of the settings went.
        proxy: The proxy under watch.
        transfers: Makes the probes; the daemon closes it at the end.
        history: The last probes.
        quiet: Keeps the speed test and the latency probes apart.
    """

    clock: Clock = field(default_factory=SystemClock)
    dice: Random = field(default_factory=Random)
    own_traffic: OwnTraffic = field(default_factory=OwnTraffic)
    peers: Mapping[str, Collector] = field(default_factory=dict)
    reloads: process.Reloads = field(default_factory=process.Reloads)
    proxy: Proxy = field(default_factory=Proxy)
    transfers: Transfers = field(default_factory=Transfers)
    history: History = field(default_factory=History)
    quiet: asyncio.Lock = field(default_factory=asyncio.Lock)

    def among(self, peers: Mapping[str, Collector]) -> Self:
        """The same, with the collectors that are to find each other."""
        return replace(self, peers=peers)

    @property
    def prober(self) -> Prober:
        """Makes probes through the proxy."""
        return Prober(self.proxy, self.transfers, self.own_traffic, self.history)

    @property
    def pace(self) -> dict[str, Any]:
        """What a schedule needs."""
        return {"clock": self.clock, "dice": self.dice}

    def tunnel(self) -> bool:
        """Whether the VPN device is on this host, so that all traffic of it should go that way."""
        return self.received() is not None

    def count(self, name: str, question: str) -> Callable[[], Any]:
        """A method of another collector, looked up when it is called; it returns None where there is none."""

        def ask() -> Any:  # noqa: ANN401 - the collector that is handed it names the type
            peer = self.peers.get(name)
            return getattr(peer, question)() if peer is not None else None

        return ask

    def received(self) -> int | None:
        """Bytes that the VPN device has received; None without such a device on this host."""
        received: int | None = self.count("interface", "received")()
        return received


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: how a collector is built from its section of the settings.

    Attributes:
        name: The collector's.
        settings: The section's struct; None for a collector that has no settings, whose `build` gets None.
        build: Makes the collector; does no I/O.
        section: The section, where it is not called as the collector is.
        derived: It measures nothing itself, but concludes from the other collectors: so it runs also where its
            section says `enabled: false`, and is examined after them.
    """

    name: str
    settings: type[msgspec.Struct] | None
    build: Callable[[Any, Context], Collector]
    section: str = ""
    derived: bool = False


def _active(settings: children.Settings, context: Context) -> Collector:
    counts = {
        "sockets": context.count("sockets", "active"),
        "io": context.count("children", "io_slots"),
        "log": context.count("sessions", "active"),
        "slots": context.count("children", "slots"),
        "processes": context.count("children", "processes"),
    }
    return active.build(settings.active, counts, context.clock)


COLLECTORS: tuple[Entry, ...] = (
    Entry("process", None, lambda _, context: process.build(context.reloads)),
    Entry("loop", None, lambda _, context: loop.LoopCollector(context.clock)),
    Entry("latency", latency.Settings, lambda s, c: latency.build(s, c.prober, quiet=c.quiet, **c.pace)),
    Entry(
        "speed", speed.Settings, lambda s, c: speed.build(s, c.prober, c.received, quiet=c.quiet, **c.pace)
    ),
    Entry("exit", exit_.Settings, lambda s, c: exit_.build(s, c.prober, tunnel=c.tunnel, **c.pace)),
    Entry("interface", interface.Settings, lambda settings, _: interface.build(settings)),
    Entry("wireguard", wireguard.Settings, lambda s, c: wireguard.build(s, c.clock)),
    Entry("sessions", sessions.Settings, lambda s, c: sessions.build(s, c.clock, c.own_traffic)),
    Entry("sockets", sockets.Settings, lambda settings, _: sockets.build(settings)),
    Entry(
        "children",
        children.Settings,
        lambda s, c: children.build(s, c.clock, c.count("sockets", "listening")),
    ),
    Entry("active", children.Settings, _active, section="children", derived=True),
)


def sections() -> dict[str, type[msgspec.Struct]]:
    """The sections of the settings that collectors have, in the table's order."""
    return {entry.section or entry.name: entry.settings for entry in COLLECTORS if entry.settings}


class Registry:
    """All collectors, published with the proxy's name as a label on every series.

    Attributes:
        proxy_name: The value of that label.
        collectors: By name, in the order in which they were added.
    """

    def __init__(self, proxy_name: str) -> None:
        self.proxy_name = proxy_name
        self.collectors: dict[str, Collector] = {}
        self._published: dict[str, _Published] = {}
        self._names = CollectorRegistry(auto_describe=False)

    def add(self, collector: Collector) -> None:
        """Publish a collector, and let the runner find it."""
        self.publish(collector)
        self.collectors[collector.name] = collector

    def publish(self, publisher: Publisher) -> None:
        """Publish series; a metric name that another publisher has already is refused with ValueError."""
        published = _Published(publisher, self)
        self._names.register(published)
        self._published[publisher.name] = published

    def remove(self, name: str) -> None:
        """Publish a collector no longer."""
        self._names.unregister(self._published.pop(name))
        self.collectors.pop(name, None)

    @property
    def publishers(self) -> list[Publisher]:
        """In the order in which they were added."""
        return [published.publisher for published in self._published.values()]

    def collect(self, names: Collection[str] | None = None) -> Iterator[Metric]:
        """The families of all publishers, or of those named."""
        for name, published in self._published.items():
            if names is None or name in names:
                yield from published.collect()


class _Published(ClientCollector):
    def __init__(self, publisher: Publisher, registry: Registry) -> None:
        self.publisher = publisher
        self._registry = registry

    def describe(self) -> list[Metric]:
        return [family.absent() for family in self.publisher.describe()]

    def collect(self) -> list[Metric]:
        try:
            families = list(self.publisher.collect())
        except Exception:
            log.exception("collect failed", extra={"collector": self.publisher.name})
            return []
        name = {"proxy_name": self._registry.proxy_name}
        for family in families:
            family.samples = [_labelled(sample, name) for sample in family.samples]
        return families


def _labelled(sample: Sample, labels: dict[str, str]) -> Sample:
    return sample._replace(labels=labels | sample.labels)
