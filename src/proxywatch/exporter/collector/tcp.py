"""The connections of any TCP proxy, on the clients' side and to destinations, by the kernel's own account.

The kernel reports every socket that ends, with what it has counted (netlink, NETLINK_SOCK_DIAG). That needs
no right, nothing of the proxy, and no log. Those that live are looked at every `interval`: so what they move
is counted as it moves, and how long they lived is known. A look costs by the number of sockets; it is put
off while it would take more than a fiftieth of the time.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import NoData, ProxywatchError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.parse import inet_diag
from proxywatch.parse.inet_diag import CONNECTED, IPV4, IPV6, LISTENING
from proxywatch.parse.tcp_info import SYN_SENT, WANTED
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.proxy import Proxy
from proxywatch.quantity import Duration
from proxywatch.source import sock_diag
from proxywatch.source.sock_diag import Kernel, Messages
from proxywatch.tcp import advice
from proxywatch.tcp.account import TcpAccount
from proxywatch.tcp.comparison import Ended
from proxywatch.tcp.report import Report
from proxywatch.tcp.sides import Scope
from proxywatch.tcp.totals import CLIENT, UPSTREAM

log = logging.getLogger(__name__)

_ABSENT = "Absent where the connections of that side cannot be told from others'."
OPENED = metric.counter(
    "proxy_tcp_connections_opened_total",
    "TCP connections to the proxy (client) and from it to destinations (upstream), dials that failed among "
    f"them, our own probes' not. {_ABSENT}",
    ["side"],
)
CLOSED = metric.counter(
    "proxy_tcp_connections_closed_total",
    "TCP connections that ended: fin, the proxy closed in order; reset, it or the other side broke it off; "
    "failed, a dial that was refused, timed out or was given up; unknown, the kernel's report was lost.",
    ["side", "end"],
)
ROUND_TRIP = metric.histogram(
    "proxy_tcp_round_trip_seconds",
    "Smoothed round trip of each connection at its end, delayed acknowledgements of the other side included.",
    ["side"],
)
MINIMUM = metric.histogram(
    "proxy_tcp_minimum_round_trip_seconds", "The least round trip of each connection, at its end.", ["side"]
)
DURATION = metric.histogram(
    "proxy_tcp_duration_seconds",
    "From a connection's begin to its end, to within tcp.interval; the mean is right for shorter ones too.",
    ["side"],
)
RATE = metric.histogram(
    "proxy_tcp_delivery_rate_bytes_per_second",
    "The last rate at which the proxy's larger transfers (over 100 kB) reached the other side.",
    ["side"],
)


def _sum(name: str, explanation: str) -> Family:
    return metric.counter(f"proxy_tcp_{name}_total", explanation, ["side"])


ENDS = {CLIENT: ("fin", "reset", "unknown"), UPSTREAM: ("fin", "reset", "failed", "unknown")}
HISTOGRAMS = (
    (ROUND_TRIP, "round_trips"),
    (MINIMUM, "minimum_round_trips"),
    (DURATION, "durations"),
    (RATE, "rates"),
)
SUMS = (
    (
        _sum("received_bytes", f"Payload that the proxy received, to one byte a connection. {_ABSENT}"),
        "received",
    ),
    (_sum("sent_bytes", f"Payload that the proxy sent and that was acknowledged. {_ABSENT}"), "sent"),
    (_sum("segments", "TCP segments that the proxy sent, those without payload included."), "segments"),
    (_sum("retransmitted_segments", "TCP segments that the proxy had to send again."), "retransmitted"),
    (
        _sum("received_segments", "TCP segments that the proxy received, those without payload included."),
        "segments_received",
    ),
    (
        _sum(
            "out_of_order_segments",
            "TCP segments that reached the proxy before an earlier one, as after a loss on the way here.",
        ),
        "out_of_order",
    ),
)
MISSED = metric.counter(
    "proxy_tcp_missed_total",
    "Reports that were lost, of anybody's connections: buffer, dropped by the kernel as we read too slowly; "
    "unreported, never sent; unparsed, of an unknown format. And ends that are known in part: unattributed, "
    "between two looks on a host that others share, may have been the proxy's; zeroed, the proxy broke the "
    "connection off and cleared its counters, so that what it moved since the last look is missing.",
    ["cause"],
)

_STATES = CONNECTED | 1 << SYN_SENT
_BATCH = 128  # a millisecond
_MOMENT = 1.0
_SLICE = 0.003
_BUDGET = 0.5
_PAUSE = 0.01  # a burst is read at once; without CAP_NET_ADMIN the buffer may hold no more than 300 messages
_SHARE = 50
_RAREST = 15.0
_RETRY = 5.0
_COMPLAIN = 60.0
_PORTS = {"http": 80, "https": 443}
_ALLOW = "Allow AF_NETLINK sockets in the seccomp or LSM profile; the kernel must be Linux 4.6 or later."


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TCP connections to and from the proxy, from the kernel.

    Attributes:
        enabled: Whether to count them: 158 series. A proxy of `kind: generic` has them in any case, as nothing
            else knows its connections.
        port: The port that the proxy listens on; 0 takes the one of `proxy.url`.
        interval: How often to look at those that live. Durations are known to within this.
        upstream: Which connections from this network namespace are the proxy's: `all`, as in a pod; those of
            its `owner`, which is the control group or the user of the socket that listens on the port; `off`,
            none is counted. `auto` is `owner` where the namespace has hardware, as a host's has, else `all`.
    """

    enabled: bool = False
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    interval: Duration = Duration(1)
    upstream: Literal["auto", "all", "owner", "off"] = "auto"


class Status(msgspec.Struct, frozen=True):
    """The proxy's port, what its connections came to, and what the kernel may hold for us."""

    port: int
    buffer_bytes: int
    report: Report | None


class TcpCollector:
    """A watching collector: takes each end as it comes."""

    name = "tcp"
    timeout = 10.0

    def __init__(self, settings: Settings, port: int, kernel: Kernel, clock: Clock, own: OwnTraffic) -> None:
        """Touch nothing yet.

        Args:
            settings: How often to look, and whose connections are the proxy's.
            port: The proxy's.
            kernel: The sources.
            clock: For looks, and to know our own probes.
            own: Our own probes' connections.
        """
        self._settings = settings
        self._port = port
        self._kernel = kernel
        self._clock = clock
        self._own = own
        self._account = TcpAccount(port, self._is_own, lru_cache(4096)(kernel.is_local))
        self._messages: Messages | None = None
        self._next_look = self._tried = self._complained = float("-inf")
        self._read_some = self._more = False
        self._busy = 0.0  # seconds that the last look has held the loop

    def describe(self) -> Sequence[Family]:
        """Connections, bytes, segments, and what was missed."""
        return (
            OPENED,
            CLOSED,
            *(family for family, _ in SUMS),
            *(family for family, _ in HISTOGRAMS),
            MISSED,
        )

    # Reading

    async def due(self) -> None:
        """When the kernel has sent something, a moment later, or when it is time for a look."""
        now = self._clock.monotonic()
        if self._messages is None:
            await self._clock.sleep_until(self._tried + _RETRY)
        elif self._more or now >= self._next_look:
            return
        elif self._read_some:
            await self._clock.sleep_until(now + _PAUSE)
        else:
            await self._messages.wait(self._next_look - now)

    async def update(self) -> None:
        """Take what has come, and look at the living when that is due.

        Raises:
            SourceError: The kernel does not let us.
            NoData: Nobody listens on the proxy's port, nor ever did.
        """
        messages = self._listen()
        await self._drain(messages)
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._settings.interval  # also when it fails
            self._busy = 0.0
            await self._look(messages)
            self._next_look = now + max(self._settings.interval, min(self._busy * _SHARE, _RAREST))
        self._account.connections.settle(self._clock.monotonic())
        if not self._account.sides.served:
            raise NoData(f"nothing listens on port {self._port} of this network namespace")

    def _listen(self) -> Messages:
        if self._messages is None:
            self._tried = self._clock.monotonic()
            self._messages = self._kernel.listen()
            self._account.sides.scope = self._scope()
        return self._messages

    def _scope(self) -> Scope:
        wanted = self._settings.upstream
        if wanted == "auto":
            return "owner" if self._kernel.is_shared() else "all"
        return wanted

    def _is_own(self, address: bytes, port: int) -> bool:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6  # noqa: PLR2004 - bytes of an address
        endpoint = f"{socket.inet_ntop(family, address)}.{port}".encode()
        return self._own.includes(endpoint, self._clock.now())

    async def _drain(self, messages: Messages) -> None:
        """Take what has come, for half a second at most; the loop is free every three milliseconds."""
        begin = slice_begin = self._clock.monotonic()
        self._read_some = self._more = False
        while self._take(messages):
            self._read_some = True
            now = self._clock.monotonic()
            if now - begin >= _BUDGET:
                self._more = True
                return
            if now - slice_begin >= _SLICE:
                await asyncio.sleep(0)
                slice_begin = self._clock.monotonic()

    def _take(self, messages: Messages) -> bool:
        """Take a batch of ends; whether there were any."""
        reports = messages.read(_BATCH)
        now = self._clock.monotonic()
        self._account.ends(reports, now, probing=self._own.running(self._clock.now()))
        lost = messages.dropped()
        lost = messages.overruns if lost is None else lost
        if lost > self._account.lost and now - self._complained >= _COMPLAIN:
            self._complained = now
            log.warning(
                "reports of ended connections were lost",
                extra={"lost": lost - self._account.lost, "buffer": messages.buffer},
            )
        self._account.lost = lost
        return bool(reports)

    async def _look(self, messages: Messages) -> None:
        """Look at what listens, then at what is connected, and take ends meanwhile."""
        now, account = self._clock.monotonic(), self._account
        port = self._port if account.sides.scope == "off" else 0
        for family in (IPV4, IPV6):
            request = inet_diag.request(family, 0, LISTENING)
            await self._each(request, lambda row: account.listener(row, now), messages)
        account.sides.forget(now)
        account.connections.begin(now)
        complete = False
        try:
            for family in (IPV4, IPV6):
                request = inet_diag.request(family, port, _STATES, WANTED)
                await self._each(request, account.living, messages)
            complete = True
        finally:
            account.connections.finish(complete=complete)
        if not port:
            account.compare(self._kernel.snmp())

    async def _each(self, request: bytes, take: Callable[[bytes], None], messages: Messages) -> None:
        begin = self._clock.monotonic()
        for rows in self._kernel.dump(request):
            for row in rows:
                take(row)
            self._busy += self._clock.monotonic() - begin
            self._take(messages)
            await asyncio.sleep(0)
            begin = self._clock.monotonic()
        self._busy += self._clock.monotonic() - begin

    async def close(self) -> None:
        """Listen no longer."""
        if self._messages is not None:
            self._messages.close()
            self._messages = None

    # Figures

    def ended(self) -> Ended | None:
        """Connections to the proxy that ended, our own probes' among them; None when that is not known."""
        return self._account.ended()

    def mean_duration(self) -> float | None:
        """Mean of the last 100 connections of clients, in seconds; None before the first."""
        return self._account.mean_duration()

    def transferred(self) -> int | None:
        """Payload to and from destinations, else to and from clients; None when that is not known."""
        return self._account.transferred()

    def collect(self) -> Iterator[Metric]:
        """The sides that can be told, and what was missed."""
        known = self._account.known()
        yield OPENED.values({side: it.opened for side, it in known.items()})
        yield CLOSED.values({(side, end): it.closed[end] for side, it in known.items() for end in ENDS[side]})
        for family, attribute in SUMS:
            yield family.values({side: getattr(it, attribute) for side, it in known.items()})
        for family, attribute in HISTOGRAMS:
            yield family.distributions({side: getattr(it, attribute) for side, it in known.items()})
        missed = self._account.missed() if self._messages is not None else {}
        yield MISSED.values(dict(missed.items()))

    async def examine(self) -> Sequence[Finding]:
        """Does the kernel report, is the proxy there, and can both sides be told?"""
        listened = self._messages is not None
        try:
            await self.update()
            if self._kernel.try_out() and not await self._is_reported(self._listen()):
                return [Finding.hint("the kernel reports no connection that ends", _ALLOW)]
        except NoData as error:
            return [Finding.hint(str(error), "Start the proxy, or give its port in `tcp.port`.")]
        except ProxywatchError as error:
            return [Finding.hint(f"TCP connections cannot be followed: {error}", _ALLOW)]
        finally:
            if not listened:
                await self.close()
        report = self._account.report()
        return advice.of_report(self._port, report) if report else []

    async def _is_reported(self, messages: Messages) -> bool:
        """Whether an end is reported within a second."""
        connections = self._account.connections
        before, deadline = connections.reported, self._clock.monotonic() + _MOMENT
        while connections.reported == before and self._clock.monotonic() < deadline:
            await messages.wait(_MOMENT)
            self._take(messages)
        return connections.reported > before

    def status(self) -> Status:
        """Both sides, as far as they can be told."""
        buffer = self._messages.buffer if self._messages else 0
        return Status(self._port, buffer, self._account.report())


def port_of(proxy: Proxy) -> int:
    """The port that the proxy's URL names, or its scheme's."""
    parts = urlsplit(proxy.url)
    return parts.port or _PORTS.get(parts.scheme, 1080)


def build(settings: Settings, proxy: Proxy, clock: Clock, own: OwnTraffic) -> TcpCollector:
    """The collector on the real kernel."""
    return TcpCollector(settings, settings.port or port_of(proxy), sock_diag.KERNEL, clock, own)
