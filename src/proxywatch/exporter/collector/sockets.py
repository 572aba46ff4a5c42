"""The connections of the SOCKS port, as the kernel has them: exact, whatever Dante was doing with each.

Asked for by inet_diag where that is allowed, else read from /proc/self/net/tcp and tcp6; both show our own
network namespace, which is Dante's in a pod, and need no right beyond being there.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Annotated

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import NoData, ProxywatchError, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.parse import inet_diag, socket_table
from proxywatch.parse.tcp_socket import HELD, STANDINGS, Socket
from proxywatch.source import netlink, procfs

SOCKETS = metric.gauge(
    "proxy_client_sockets",
    "Connections on the SOCKS port. By TCP state while Dante holds them (all of these are served); backlog, "
    "not yet accepted by it; ended, closed by it and not yet by the client; syn_recv, in the handshake; "
    "TIME_WAIT is left out. Absent while nothing listens on the port and nothing is connected to it.",
    ["state"],
)

Read = Callable[[int], Awaitable[list[Socket]]]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_MOMENT = 0.5


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Connections on the SOCKS port.

    Attributes:
        enabled: Whether to count them.
        port: The port that Dante listens on.
    """

    enabled: bool = True
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1080


class Status(msgspec.Struct, frozen=True):
    """The port as it was last read."""

    port: int
    source: str
    listening: bool
    connections: dict[str, int]


class Reading:
    """All sockets of the port at one moment.

    Attributes:
        listening: The inodes of those that listen.
        connections: How many stand how, each standing with its count; empty when the port is not in use.
        served: Connections that Dante holds.
    """

    def __init__(self, sockets: Sequence[Socket]) -> None:
        alike = Counter((socket.state, socket.inode != 0) for socket in sockets)
        counts: Counter[str] = Counter()
        for (state, held), count in alike.items():
            counts[Socket(state, held, 0).standing] += count
        self.listening = {socket.inode for socket in sockets if socket.state == "listen"}
        self.connections = {standing: counts[standing] for standing in STANDINGS} if sockets else {}
        self.served = sum(counts[state] for state in HELD)


class SocketsCollector:
    """A reading collector."""

    name = "sockets"
    timeout = 5.0

    def __init__(self, port: int, sources: Mapping[str, Read], clock: Clock) -> None:
        """Be handed the sources.

        Args:
            port: The SOCKS port.
            sources: By name, the best first; one that is refused for good is not asked again.
            clock: For a second look at who waits.
        """
        self._port = port
        self._clock = clock
        self._sources = dict(sources)
        self._refused: dict[str, str] = {}
        self._source = ""
        self._reading: Reading | None = None

    def describe(self) -> Sequence[Family]:
        """One family."""
        return (SOCKETS,)

    async def update(self) -> None:
        """Read the port's sockets.

        Raises:
            NoData: Nothing listens there, and nobody is connected.
            SourceError: No source can be read.
        """
        self._reading = None
        self._reading = Reading(await self._read())
        if not self._reading.connections:
            raise NoData(f"nothing listens on port {self._port}")

    async def _read(self) -> list[Socket]:
        for name, read in list(self._sources.items()):
            self._source = name
            try:
                return await read(self._port)
            except SourceError as error:
                if error.temporary or len(self._sources) == 1:
                    raise
                self._refused[name] = str(error)
                del self._sources[name]
        raise SourceError("no source of sockets", temporary=False)

    def active(self) -> int | None:
        """Connections that Dante serves; None when that is not known."""
        reading = self._reading
        return reading.served if reading and reading.connections else None

    def listening(self) -> set[int] | None:
        """The inodes of the sockets that listen on the port; None when that is not known."""
        return self._reading.listening if self._reading else None

    def collect(self) -> Iterator[Metric]:
        """Every state with its count, or none of them."""
        yield SOCKETS.values({(state,): count for state, count in self.status().connections.items()})

    async def examine(self) -> Sequence[Finding]:
        """Does somebody listen, and by which source do we know?"""
        try:
            await self.update()
            if self.status().connections["backlog"]:  # who came just now may not have been seen yet
                await self._clock.sleep_until(self._clock.monotonic() + _MOMENT)
                await self.update()
        except NoData as error:
            return [Finding.fault(str(error), "Start the proxy, or give its port in `sockets.port`.")]
        except ProxywatchError as error:
            return [Finding.fault(str(error), "Let us read /proc/self/net/tcp, or use inet_diag.")]
        return [self._found(), *self._slower()]

    def _found(self) -> Finding:
        status = self.status()
        if not status.listening:
            return Finding.fault(
                f"nothing listens on port {self._port}; {self.active()} sessions of an earlier Dante go on",
                "Start Dante.",
            )
        waiting = status.connections["backlog"]
        if waiting:
            return Finding.hint(
                f"{waiting} connections on port {self._port} wait for Dante to accept them",
                "See whether Dante hangs, or has run out of processes or of open files.",
            )
        return Finding.ok(f"port {self._port} serves {self.active()} connections, by {self._source}")

    def _slower(self) -> Iterator[Finding]:
        for name, reason in self._refused.items():
            yield Finding.hint(
                f"{name} is refused ({reason}); {self._source} is used, which costs more on a busy host",
                "Allow AF_NETLINK sockets in the seccomp or LSM profile.",
            )

    def status(self) -> Status:
        """The port, the source, and how many connections stand how; empty when that is not known."""
        reading = self._reading
        return Status(
            self._port, self._source, bool(self.listening()), reading.connections if reading else {}
        )


async def from_inet_diag(port: int) -> list[Socket]:
    """The port's sockets, asked of the kernel; connections only of the families that somebody listens for."""
    families = (inet_diag.IPV4, inet_diag.IPV6)
    listening = {
        family: await _dump(inet_diag.request(family, port, inet_diag.LISTENING)) for family in families
    }
    sockets = [socket for found in listening.values() for socket in found]
    anybody = bool(sockets)
    for family in families:
        if listening[family] or not anybody:
            sockets += await _dump(inet_diag.request(family, port, inet_diag.CONNECTED))
    return sockets


async def _dump(request: bytes) -> list[Socket]:
    sockets = []
    for rows in netlink.dump(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request):
        sockets += [inet_diag.parse(row) for row in rows]
        await asyncio.sleep(0)  # some three hundred rows at a time
    return sockets


async def from_table(port: int) -> list[Socket]:
    """The port's sockets, sought in the tables of all; in a thread, as these may be long."""
    return await asyncio.to_thread(
        lambda: [
            socket
            for table in ("tcp", "tcp6")
            for socket in socket_table.parse(procfs.lines(f"/proc/self/net/{table}"), port)
        ]
    )


def build(settings: Settings, clock: Clock) -> SocketsCollector:
    """The collector on the real kernel."""
    sources = {"inet_diag": from_inet_diag, "/proc/self/net/tcp": from_table}
    return SocketsCollector(settings.port, sources, clock)
