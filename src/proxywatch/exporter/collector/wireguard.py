"""The tunnel: WireGuard's peers, and a state concluded from them.

Four ways to ask, the first that answers is taken, anew at each reading: the UAPI socket of a userspace
WireGuard, generic netlink for the kernel's, `wg show DEVICE dump`, and, where none of them may be used, the
device's own counters, which say less. What they answer is received into one buffer of ours, which is wiped
before anything else happens: it holds the private key.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import ParseError, ProxywatchError, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.parse import netdev
from proxywatch.source import command, file, genetlink, uapi
from proxywatch.wireguard import device as wireguard
from proxywatch.wireguard import genetlink as genetlink_format
from proxywatch.wireguard.device import Device, Peer
from proxywatch.wireguard.tunnel import Reading, Snapshot, State, Tunnel

log = logging.getLogger(__name__)

CONNECTION = metric.gauge(
    "vpn_connection_status", "1 when the tunnel is fresh or idle (see vpn_tunnel_state), else 0."
)
STATE = metric.gauge(
    "vpn_tunnel_state",
    "The tunnel's state: 1 for the one that it is in, 0 for the others.",
    ["state"],
)
SOURCE = metric.gauge(
    "vpn_tunnel_source",
    "What the state is concluded from: 1 for the one in use, 0 for the others; none without a device.",
    ["source"],
)
RECEIVED = metric.counter(
    "wireguard_peer_receive_bytes_total",
    "Bytes from the peer since the device was made, WireGuard's own packets included.",
    ["device", "public_key"],
)
TRANSMITTED = metric.counter(
    "wireguard_peer_transmit_bytes_total",
    "Bytes to the peer since the device was made, WireGuard's own packets included.",
    ["device", "public_key"],
)
HANDSHAKE = metric.gauge(
    "wireguard_peer_last_handshake_seconds",
    "Unix time of the last handshake with the peer; absent before the first.",
    ["device", "public_key"],
)
SOURCES = ("uapi", "netlink", "command", "device")
_BUFFER = 1 << 16
_COSTLY = {"command": 60.0}
"""Seconds to leave a source alone that failed and is not cheap to ask."""
_FIX_SOURCE = (
    "For a userspace WireGuard mount its /var/run/wireguard here and run as the socket's owner, root; "
    "for the kernel's grant NET_ADMIN."
)
_FIX_STATE = "Check the peer's endpoint, both public keys, and that UDP gets there (see docs/tunnel.md)."
_FIX_DEVICE = (
    "Bring the tunnel up in this network namespace, or name its device in `wireguard.name`; "
    "where there is no VPN, set `wireguard: {enabled: false}` and "
    "`interface: {enabled: false}`."
)

Ask = Callable[[bytearray], Awaitable[Device]]
"""Receives an answer into the buffer and reads it; SourceError or ParseError when it cannot."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The WireGuard tunnel.

    Attributes:
        enabled: Whether to read it.
        name: Its device, as `ip link` names it.
        sockets: The directory of the UAPI sockets of userspace implementations.
    """

    enabled: bool = True
    name: str = "wg0"
    sockets: str = "/var/run/wireguard"


class Status(msgspec.Struct, frozen=True):
    """The tunnel as it was last read."""

    name: str
    state: str
    since: float
    sentence: str
    source: str
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """One reading with its conclusion; `source` is empty without a device."""

    tunnel: Snapshot
    source: str
    peers: tuple[Peer, ...]


class WireguardCollector:
    """A reading collector; its states need a reading every few seconds."""

    name = "wireguard"
    timeout = 4.0

    def __init__(
        self, device: str, read: Callable[[str], bytes], sources: Mapping[str, Ask], clock: Clock
    ) -> None:
        """Be handed the sources.

        Args:
            device: The device's name.
            read: Returns the content of a file below /proc or /sys; SourceError when it cannot.
            sources: By name, in the order in which they are tried.
            clock: For ages.
        """
        self._device = device
        self._read_file = read
        self._sources = sources
        self._clock = clock
        self._tunnel = Tunnel(device)
        self._buffer = bytearray(_BUFFER)
        self._not_before: dict[str, float] = {}
        self._last: _Read | None = None

    def describe(self) -> Sequence[Family]:
        """The tunnel's state and its peers."""
        return (CONNECTION, STATE, SOURCE, RECEIVED, TRANSMITTED, HANDSHAKE)

    async def update(self) -> None:
        """Take a reading and conclude; a missing device is a state, no error.

        Raises:
            SourceError: /proc/self/net/dev cannot be read.
            ParseError: A file of /proc or /sys does not follow its format.
        """
        try:
            self._last = await self._look({})
        except BaseException:
            self._last = None  # what was is not what is
            raise

    async def _look(self, refusals: dict[str, str]) -> _Read:
        """One reading; why a source could not be used is left in `refusals`."""
        counters = netdev.parse(self._read_file("/proc/self/net/dev")).get(self._device)
        if counters is None or not self._is_up():
            return _Read(self._conclude(self._reading(None, None)), "", ())
        source, device = await self._ask(refusals)
        snapshot = self._conclude(self._reading(counters, device))
        return _Read(snapshot, source, device.peers if device else ())

    def _reading(self, counters: netdev.Device | None, device: Device | None) -> Reading:
        at, now, index = self._clock.monotonic(), self._clock.now(), self._attribute("ifindex")
        if counters is None:
            return Reading(at, now, up=False, index=index)
        sent = counters.transmit_packets - self._multicast()
        if device is None:
            return Reading(at, now, index=index, sent=sent, heard=counters.receive_bytes)
        latest = max(device.peers, key=lambda peer: peer.last_handshake, default=Peer(""))
        return Reading(
            at,
            now,
            index=index,
            sent=sent,
            heard=sum(peer.receive_bytes for peer in device.peers),
            handshake=latest.last_handshake,
            keepalive=latest.keepalive,
            peers=len(device.peers),
            age=latest.handshake_age,
        )

    def _conclude(self, reading: Reading) -> Snapshot:
        before = self._tunnel.state
        snapshot = self._tunnel.observe(reading)
        if self._last is None or snapshot.state is not before:
            level = logging.INFO if snapshot.up else logging.WARNING
            fields = {"device": self._device, "state": snapshot.state.value, "reason": snapshot.sentence}
            log.log(level, "tunnel", extra=fields)
        return snapshot

    async def _ask(self, refusals: dict[str, str]) -> tuple[str, Device | None]:
        for name, ask in self._sources.items():
            if self._clock.monotonic() < self._not_before.get(name, 0.0):
                continue
            try:
                return name, wireguard.dated(await ask(self._buffer), self._clock.now())
            except (SourceError, ParseError) as error:
                refusals[name] = str(error)
                if name in _COSTLY:
                    self._not_before[name] = self._clock.monotonic() + _COSTLY[name]
            finally:
                self._buffer[:] = bytes(_BUFFER)
        return "device", None

    def _is_up(self) -> bool:
        flags = self._attribute("flags")
        return flags is None or bool(flags & netdev.UP)

    def _attribute(self, name: str) -> int | None:
        try:
            return netdev.attribute(self._read_file(f"/sys/class/net/{self._device}/{name}"))
        except SourceError:  # no /sys here, or the device has just gone
            return None

    def _multicast(self) -> int:
        try:
            return netdev.multicast6(self._read_file(f"/proc/self/net/dev_snmp6/{self._device}"))
        except SourceError:  # no IPv6 here
            return 0

    def collect(self) -> Iterator[Metric]:
        """The state, and the peers of this reading; nothing before the first."""
        last = self._last
        yield CONNECTION.value(None if last is None else float(last.tunnel.up))
        yield STATE.values(
            {state.value: float(last.tunnel.state is state) for state in State} if last else {}
        )
        yield SOURCE.values({source: float(last.source == source) for source in SOURCES} if last else {})
        peers = {(self._device, peer.public_key): peer for peer in (last.peers if last else ())}
        yield RECEIVED.values({labels: peer.receive_bytes for labels, peer in peers.items()})
        yield TRANSMITTED.values({labels: peer.transmit_bytes for labels, peer in peers.items()})
        yield HANDSHAKE.values(
            {labels: peer.last_handshake for labels, peer in peers.items() if peer.last_handshake}
        )

    def tunnel(self) -> Snapshot | None:
        """The tunnel's state with a sentence, for the health endpoint; None before the first reading."""
        return self._last.tunnel if self._last else None

    async def examine(self) -> Sequence[Finding]:
        """Is there a device, who tells about it, and what is its state?"""
        refusals: dict[str, str] = {}
        try:
            last = self._last = await self._look(refusals)
        except ProxywatchError as error:
            return [Finding.fault(str(error), "Let this process read /proc/self/net/dev.")]
        if not last.source:
            down = self._attribute("ifindex") is not None
            fix = f"Bring it up: `ip link set {self._device} up`." if down else _FIX_DEVICE
            return [Finding.fault(last.tunnel.sentence, fix)]
        return [self._finding_of_source(last, refusals), _finding_of_state(last.tunnel)]

    def _finding_of_source(self, last: _Read, refusals: Mapping[str, str]) -> Finding:
        if last.source != "device":
            return Finding.ok(f"{self._device} is read by {last.source}: {len(last.peers)} peer(s)")
        why = "; ".join(refusals.values())
        text = f"the peers of {self._device} cannot be read, its state is judged by the device alone: {why}"
        return Finding.hint(text, _FIX_SOURCE)

    def status(self) -> Status | None:
        """The tunnel and its peers."""
        last = self._last
        if last is None:
            return None
        tunnel = last.tunnel
        return Status(
            self._device, tunnel.state.value, tunnel.since, tunnel.sentence, last.source, last.peers
        )


def _finding_of_state(tunnel: Snapshot) -> Finding:
    if tunnel.up:
        return Finding.ok(tunnel.sentence)
    return Finding.fault(tunnel.sentence, _FIX_STATE)


def build(settings: Settings, clock: Clock) -> WireguardCollector:
    """The collector on the real machine."""
    return WireguardCollector(settings.name, file.read, sources(settings.name, settings.sockets), clock)


def sources(device: str, sockets: str, wg: Sequence[str] = ("wg",)) -> dict[str, Ask]:
    """Every way to ask for the peers, in the order in which they are tried.

    Args:
        device: The device's name.
        sockets: The directory of the UAPI sockets.
        wg: How to call wg(8).
    """

    async def by_uapi(buffer: bytearray) -> Device:
        size = await uapi.get(f"{sockets}/{device}.sock", buffer)
        return wireguard.parse_uapi(memoryview(buffer)[:size])

    async def by_netlink(buffer: bytearray) -> Device:
        size = genetlink.ask(genetlink_format.family_request("wireguard"), buffer)
        family = genetlink_format.parse_family(memoryview(buffer)[:size])
        size = genetlink.ask(genetlink_format.device_request(family, device), buffer)
        return genetlink_format.parse_device(memoryview(buffer)[:size])

    async def by_command(buffer: bytearray) -> Device:
        size = await command.run(*wg, "show", device, "dump", into=buffer)
        return wireguard.parse_dump(memoryview(buffer)[:size])

    return {"uapi": by_uapi, "netlink": by_netlink, "command": by_command}
