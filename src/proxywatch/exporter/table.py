"""The explicit table of collectors, and what they are built from.

A collector that needs a number of another one is handed a function that asks for it when called, so that
collectors stay strangers to each other.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Self

import msgspec

from proxywatch.clock import Clock, SystemClock
from proxywatch.exporter.collector import (
    active,
    children,
    interface,
    latency,
    loop,
    process,
    sessions,
    sockets,
    speed,
    tcp,
    traffic,
    wireguard,
)
from proxywatch.exporter.collector import exit as exit_
from proxywatch.metrics.registry import Collector
from proxywatch.probe.history import History
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.prober import Prober
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.transfer import Transfers
from proxywatch.runtime.reload import Reloads


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
        fail: Ends the daemon for a reason that only a restart of its container can cure.
    """

    clock: Clock = field(default_factory=SystemClock)
    dice: Random = field(default_factory=Random)
    own_traffic: OwnTraffic = field(default_factory=OwnTraffic)
    peers: Mapping[str, Collector] = field(default_factory=dict)
    reloads: Reloads = field(default_factory=Reloads)
    proxy: Proxy = field(default_factory=Proxy)
    transfers: Transfers = field(default_factory=Transfers)
    history: History = field(default_factory=History)
    quiet: asyncio.Lock = field(default_factory=asyncio.Lock)
    fail: Callable[[str], None] = lambda _: None

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
        derived: It measures nothing itself but concludes from the other collectors: so it runs also where
            its section says `enabled: false`, and is examined after them.
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


def _traffic(_: object, context: Context) -> Collector:
    asked = traffic.Asked(
        device=context.count("interface", "transferred"),
        has_device=context.count("interface", "was_seen"),
        payload=context.count("tcp", "transferred"),
        log_mean=context.count("sessions", "mean_duration"),
        kernel_mean=context.count("tcp", "mean_duration"),
        log_ended=context.count("sessions", "ended"),
        kernel_ended=context.count("tcp", "ended"),
    )
    return traffic.build(asked, context.clock)


COLLECTORS: tuple[Entry, ...] = (
    Entry("process", None, lambda _, context: process.build(context.reloads)),
    Entry("loop", None, lambda _, context: loop.LoopCollector(context.clock)),
    Entry("latency", latency.Settings, lambda s, c: latency.build(s, c.prober, quiet=c.quiet, **c.pace)),
    Entry(
        "speed", speed.Settings, lambda s, c: speed.build(s, c.prober, c.received, quiet=c.quiet, **c.pace)
    ),
    Entry("exit", exit_.Settings, lambda s, c: exit_.build(s, c.prober, tunnel=c.tunnel, **c.pace)),
    Entry("interface", interface.Settings, lambda s, c: interface.build(s, c.clock, c.fail)),
    Entry("wireguard", wireguard.Settings, lambda s, c: wireguard.build(s, c.clock)),
    Entry("sessions", sessions.Settings, lambda s, c: sessions.build(s, c.clock, c.own_traffic)),
    Entry("tcp", tcp.Settings, lambda s, c: tcp.build(s, c.proxy, c.clock, c.own_traffic)),
    Entry("sockets", sockets.Settings, lambda settings, context: sockets.build(settings, context.clock)),
    Entry(
        "children",
        children.Settings,
        lambda s, c: children.build(s, c.clock, c.count("sockets", "listening")),
    ),
    Entry("active", children.Settings, _active, section="children", derived=True),
    Entry("traffic", None, _traffic, derived=True),
)


def sections() -> dict[str, type[msgspec.Struct]]:
    """The sections of the settings that collectors have, in the table's order."""
    return {entry.section or entry.name: entry.settings for entry in COLLECTORS if entry.settings}
