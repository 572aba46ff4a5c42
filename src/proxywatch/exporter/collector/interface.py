"""The counters of the VPN's device or devices, from /proc/self/net/dev.

They are the device's own: IP packets of every kind, probes and DNS included, some 4 % above the payload.
What they have moved together counts on over a re-creation of a device, which starts its counters at 0: told
by the device's index, and by a counter that fell.

A sidecar that shares a container's network keeps the network namespace when that container is replaced. The
new container has another one, and the sidecar is left in a namespace without any device to the outside.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import NoData, ProxywatchError, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.metrics.odometer import Odometer
from proxywatch.parse import netdev
from proxywatch.parse.netdev import Device
from proxywatch.source import file

log = logging.getLogger(__name__)

NETWORK = {
    f"{way}_{unit}": metric.counter(
        f"proxy_network_{way}_{unit}_total", f"The VPN device's own counter of {way} {unit}.", ["device"]
    )
    for way in ("receive", "transmit")
    for unit in ("bytes", "packets", "errors", "drops")
}


ORPHANED = metric.gauge(
    "proxy_network_orphaned",
    "1 when every device to the outside that was once here is gone: the container whose network this is was "
    "replaced. Absent where there never was one.",
)
_PATIENCE = 30.0  # seconds: a device that is made anew is back by then


_ORPHANED = "the container whose network this is was replaced"
_ORPHANED_HINT = (
    "Restart this container, so that it joins the network of the new one; a restart policy and "
    "`interface.exit_when_orphaned: true` do so by themselves."
)


_FIX = (
    "Bring the tunnel up in this network namespace, or name another device in `interface.name`; where there "
    "is no VPN, set `interface: {enabled: false}` and `wireguard: {enabled: false}`."
)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counters of the VPN device.

    Attributes:
        enabled: Whether to read them.
        name: The device, as `ip link` names it, or a list of devices; nothing is matched but the whole name.
        exit_when_orphaned: Whether to end with status 1 when the container whose network this is was
            replaced, so that a restart policy starts the exporter again, in the new network.
    """

    enabled: bool = True
    name: str | tuple[str, ...] = "wg0"
    exit_when_orphaned: bool = False


class Status(msgspec.Struct, frozen=True):
    """The devices as they were last read."""

    present: list[str]
    missing: list[str]
    transferred_bytes: int
    orphaned: bool = False


class InterfaceCollector:
    """A reading collector."""

    name = "interface"
    timeout = 2.0

    def __init__(
        self,
        devices: Sequence[str],
        read: Callable[[str], bytes],
        clock: Clock,
        fail: Callable[[str], None] | None = None,
    ) -> None:
        """Take the source.

        Args:
            devices: The devices' names.
            read: Returns the content of a file below /proc or /sys; SourceError when it cannot.
            clock: For how long the way out has been gone.
            fail: Ends the daemon; None to stay in an orphaned namespace.
        """
        self._read = read
        self._clock = clock
        self._fail = fail
        self._had_uplink = False
        self._gone_since: float | None = None
        self._orphaned = False
        self._devices: Mapping[str, Device] = {}
        self._odometers = {name: (Odometer(), Odometer()) for name in devices}
        self._looked = self._seen = False

    def describe(self) -> Sequence[Family]:
        """Two directions of four counters."""
        return (*NETWORK.values(), ORPHANED)

    async def update(self) -> None:
        """Read the devices' counters.

        Raises:
            NoData: A device is missing; what the others tell is published all the same.
            SourceError: /proc/self/net/dev cannot be read.
            ParseError: It does not follow its format.
        """
        present = netdev.parse(self._read("/proc/self/net/dev"))
        self._devices = {name: present[name] for name in self._odometers if name in present}
        for name, (received, transmitted) in self._odometers.items():
            device = self._devices.get(name)
            if device is None:
                received.absent()
                transmitted.absent()
            else:
                index = self._index(name)
                received.read(device.receive_bytes, index)
                transmitted.read(device.transmit_bytes, index)
        self._looked = True
        self._seen = self._seen or bool(self._devices)
        self._look_for_uplink(present)
        if self._missing():
            raise NoData(f"no device {', '.join(self._missing())} (there are: {', '.join(present)})")

    def _look_for_uplink(self, present: Mapping[str, Device]) -> None:
        now = self._clock.monotonic()
        if present.keys() - self._odometers.keys() - {"lo"}:
            self._had_uplink = True
            self._gone_since = None
        elif self._had_uplink and self._gone_since is None:
            self._gone_since = now
        gone = self._gone_since is not None and now - self._gone_since >= _PATIENCE
        if gone and not self._orphaned:
            log.error("network namespace orphaned", extra={"hint": _ORPHANED_HINT})
            if self._fail is not None:
                self._fail(_ORPHANED)
        self._orphaned = gone

    def _index(self, name: str) -> int | None:
        try:
            return netdev.attribute(self._read(f"/sys/class/net/{name}/ifindex"))
        except SourceError:  # no /sys here: falling counters must do
            return None

    def _missing(self) -> list[str]:
        return [name for name in self._odometers if name not in self._devices]

    def _transferred(self) -> int:
        return sum(one.total + other.total for one, other in self._odometers.values())

    def transferred(self) -> int | None:
        """Bytes received plus transmitted since the first look; None before it."""
        return self._transferred() if self._looked else None

    def was_seen(self) -> bool:
        """Whether one of the devices has ever been there."""
        return self._seen

    def received(self) -> int | None:
        """Bytes that the devices have received, read now; None when none of them is there.

        Raises:
            SourceError: /proc/self/net/dev cannot be read.
            ParseError: It does not follow its format.
        """
        present = netdev.parse(self._read("/proc/self/net/dev"))
        counts = [present[name].receive_bytes for name in self._odometers if name in present]
        return sum(counts) if counts else None

    def collect(self) -> Iterator[Metric]:
        """The counters of the devices that are there."""
        yield ORPHANED.value(float(self._orphaned) if self._had_uplink else None)
        for attribute, family in NETWORK.items():
            yield family.values({name: getattr(device, attribute) for name, device in self._devices.items()})

    async def examine(self) -> Sequence[Finding]:
        """Are the devices there?"""
        try:
            await self.update()
        except ProxywatchError as error:
            return [Finding.fault(str(error), _FIX)]
        return [
            Finding.ok(
                f"device {name} has moved {device.receive_bytes} bytes in, {device.transmit_bytes} out"
            )
            for name, device in self._devices.items()
        ]

    def status(self) -> Status:
        """Which devices are there and which are not, and the bytes counted."""
        return Status(list(self._devices), self._missing(), self._transferred(), self._orphaned)


def build(settings: Settings, clock: Clock, fail: Callable[[str], None]) -> InterfaceCollector:
    """The collector on the real /proc and /sys."""
    names = (settings.name,) if isinstance(settings.name, str) else settings.name
    return InterfaceCollector(names, file.read, clock, fail if settings.exit_when_orphaned else None)
