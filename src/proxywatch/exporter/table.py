"""The explicit table of collectors, and what they are built from.

A collector that needs a number of another one takes a function that asks for it when called, so that
collectors stay strangers to each other; `Peers` has these functions.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Self, TypeVar

import msgspec

from proxywatch.clock import Clock, SystemClock
from proxywatch.exporter.collector import (
    active,
    children,
    interface,
    latency,
    loop,
    process,
    resources,
    sessions,
    sockets,
    speed,
    tcp,
    traffic,
    wireguard,
)
from proxywatch.exporter.collector import exit as exit_
from proxywatch.exporter.collector.children import ChildrenCollector
from proxywatch.exporter.collector.interface import InterfaceCollector
from proxywatch.exporter.collector.sessions import SessionsCollector
from proxywatch.exporter.collector.sockets import SocketsCollector
from proxywatch.exporter.collector.tcp import TcpCollector
from proxywatch.exporter.collector.wireguard import WireguardCollector
from proxywatch.metrics.registry import Collector
from proxywatch.probe.history import History
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.prober import Prober
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.transfer import Transfers
from proxywatch.runtime.reload import Reloads
from proxywatch.wireguard.tunnel import Snapshot

AnswerT = TypeVar("AnswerT")
CollectorT = TypeVar("CollectorT", bound=Collector)


@dataclass(frozen=True, slots=True)
class Peers:
    """What collectors, readiness and the page ask of a collector; None while that one does not run.

    Attributes:
        collectors: By name, as they are now: they come and go as the settings change.
    """

    collectors: Mapping[str, Collector] = field(default_factory=dict)

    def find(self, kind: type[CollectorT]) -> CollectorT | None:
        """The collector of a class."""
        return next((each for each in self.collectors.values() if isinstance(each, kind)), None)

    def received(self) -> int | None:
        """Bytes that the VPN device has received; None without such a device on this host."""
        interface = self.find(InterfaceCollector)
        return interface.received() if interface else None

    def on_this_host(self) -> bool:
        """Whether the VPN device is on this host, so that all traffic of it should go that way."""
        return self.received() is not None

    def tunnel(self) -> Snapshot | None:
        """What the tunnel's collector concluded last."""
        wireguard = self.find(WireguardCollector)
        return wireguard.tunnel() if wireguard else None

    def listening(self) -> set[int] | None:
        """The inodes of the sockets that listen on the SOCKS port; None before the first look."""
        sockets_ = self.find(SocketsCollector)
        return sockets_.listening() if sockets_ else None

    def dante(self) -> frozenset[int] | None:
        """Dante's processes; None before the first look."""
        children_ = self.find(ChildrenCollector)
        return children_.pids() if children_ else frozenset()

    def connections(self) -> dict[str, Callable[[], int | None]]:
        """The ways to count active connections."""
        return {
            "sockets": lambda: _ask(self.find(SocketsCollector), SocketsCollector.active),
            "io": lambda: _ask(self.find(ChildrenCollector), ChildrenCollector.io_slots),
            "log": lambda: _ask(self.find(SessionsCollector), SessionsCollector.active),
            "slots": lambda: _ask(self.find(ChildrenCollector), ChildrenCollector.slots),
            "processes": lambda: _ask(self.find(ChildrenCollector), ChildrenCollector.processes),
        }


def _ask(collector: CollectorT | None, question: Callable[[CollectorT], AnswerT | None]) -> AnswerT | None:
    return question(collector) if collector else None


@dataclass(frozen=True, slots=True)
class Context:
    """What the daemon hands to the collectors that it builds.

    Attributes:
        clock: Both clocks of the machine.
        dice: For jitter.
        own_traffic: The connections of our own probes; the probes write it, the log's reader asks it.
        peers: The other collectors.
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
    peers: Peers = field(default_factory=Peers)
    reloads: Reloads = field(default_factory=Reloads)
    proxy: Proxy = field(default_factory=Proxy)
    transfers: Transfers = field(default_factory=Transfers)
    history: History = field(default_factory=History)
    quiet: asyncio.Lock = field(default_factory=asyncio.Lock)
    fail: Callable[[str], None] = lambda _: None

    def among(self, collectors: Mapping[str, Collector]) -> Self:
        """The same, with the collectors that are to find each other."""
        return replace(self, peers=Peers(collectors))

    @property
    def prober(self) -> Prober:
        """Makes probes through the proxy."""
        return Prober(self.proxy, self.transfers, self.own_traffic, self.history)

    @property
    def pace(self) -> dict[str, Any]:
        """What a schedule needs."""
        return {"clock": self.clock, "dice": self.dice}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: how a collector is built from its section of the settings.

    Attributes:
        name: The collector's.
        settings: The section's struct; None for a collector that has no settings, whose `build` gets None.
        build: Makes the collector; does no I/O.
        section: The section, where it is not called as the collector is.
        steady: It concludes from a course of readings, so it is read also when nobody asks.
        derived: It measures nothing itself but concludes from the other collectors: so it runs also where
            its section says `enabled: false`, and is examined after them.
    """

    name: str
    settings: type[msgspec.Struct] | None
    build: Callable[[Any, Context], Collector]
    section: str = ""
    steady: bool = False
    derived: bool = False


def _traffic(_: object, context: Context) -> Collector:
    peers = context.peers
    asked = traffic.Asked(
        device=lambda: _ask(peers.find(InterfaceCollector), InterfaceCollector.transferred),
        has_device=lambda: _ask(peers.find(InterfaceCollector), InterfaceCollector.was_seen),
        payload=lambda: _ask(peers.find(TcpCollector), TcpCollector.transferred),
        log_mean=lambda: _ask(peers.find(SessionsCollector), SessionsCollector.mean_duration),
        kernel_mean=lambda: _ask(peers.find(TcpCollector), TcpCollector.mean_duration),
        log_ended=lambda: _ask(peers.find(SessionsCollector), SessionsCollector.ended),
        kernel_ended=lambda: _ask(peers.find(TcpCollector), TcpCollector.ended),
    )
    return traffic.build(asked, context.clock)


COLLECTORS: tuple[Entry, ...] = (
    Entry("process", None, lambda _, context: process.build(context.reloads)),
    Entry("loop", None, lambda _, context: loop.LoopCollector(context.clock)),
    Entry("latency", latency.Settings, lambda s, c: latency.build(s, c.prober, quiet=c.quiet, **c.pace)),
    Entry(
        "speed",
        speed.Settings,
        lambda s, c: speed.build(s, c.prober, c.peers.received, quiet=c.quiet, **c.pace),
    ),
    Entry(
        "exit", exit_.Settings, lambda s, c: exit_.build(s, c.prober, tunnel=c.peers.on_this_host, **c.pace)
    ),
    Entry("interface", interface.Settings, lambda s, c: interface.build(s, c.clock, c.fail), steady=True),
    Entry("wireguard", wireguard.Settings, lambda s, c: wireguard.build(s, c.clock), steady=True),
    Entry(
        "sessions",
        sessions.Settings,
        lambda s, c: sessions.build(s, c.clock, c.own_traffic, lambda: c.history.succeeded),
    ),
    Entry("tcp", tcp.Settings, lambda s, c: tcp.build(s, c.proxy, c.clock, c.own_traffic)),
    Entry("sockets", sockets.Settings, lambda settings, context: sockets.build(settings, context.clock)),
    Entry(
        "children",
        children.Settings,
        lambda s, c: children.build(s, c.clock, c.peers.listening),
    ),
    Entry("resources", resources.Settings, lambda s, c: resources.build(s, c.clock, c.peers.dante)),
    Entry(
        "active",
        children.Settings,
        lambda s, c: active.build(s.active, c.peers.connections(), c.clock),
        section="children",
        derived=True,
    ),
    Entry("traffic", None, _traffic, derived=True),
)


def sections() -> dict[str, type[msgspec.Struct]]:
    """The sections of the settings that collectors have, in the table's order."""
    return {entry.section or entry.name: entry.settings for entry in COLLECTORS if entry.settings}
