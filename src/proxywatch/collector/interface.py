"""The counters of the VPN device, from /proc/net/dev.

They are the device's own: IP packets of every kind, probes and DNS included, some 4 % above the payload.
`proxy_bytes_transferred_total` counts on over a re-creation of the device, which starts its counters at 0.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
from prometheus_client.metrics_core import Metric

from proxywatch import metric
from proxywatch.errors import NoData, ProxywatchError
from proxywatch.finding import Finding
from proxywatch.metric import Family
from proxywatch.parse import netdev
from proxywatch.parse.netdev import Device
from proxywatch.source import file

TRANSFERRED = metric.counter(
    "proxy_bytes_transferred_total",
    "Bytes received plus transmitted by the VPN device since the exporter started, over re-creations of it.",
)
NETWORK = {
    f"{way}_{unit}": metric.counter(
        f"proxy_network_{way}_{unit}_total", f"The VPN device's own counter of {way} {unit}.", ["device"]
    )
    for way in ("receive", "transmit")
    for unit in ("bytes", "packets", "errors", "drops")
}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counters of the VPN device.

    Attributes:
        enabled: Whether to read them.
        name: The device, as `ip link` names it.
    """

    enabled: bool = True
    name: str = "wg0"


class Status(msgspec.Struct, frozen=True):
    """The device as it was last read."""

    name: str
    present: bool
    transferred_bytes: int


class InterfaceCollector:
    """A reading collector."""

    name = "interface"
    timeout = 2.0

    def __init__(self, device: str, read: Callable[[], bytes]) -> None:
        """Be handed the source.

        Args:
            device: The device's name.
            read: Returns the content of /proc/net/dev.
        """
        self._name = device
        self._read = read
        self._device: Device | None = None
        self._last = 0
        self._transferred: int | None = None

    def describe(self) -> Sequence[Family]:
        """Two directions of four counters, and their bytes together."""
        return (TRANSFERRED, *NETWORK.values())

    async def update(self) -> None:
        """Read the device's counters.

        Raises:
            NoData: No device of that name.
        """
        self._device = netdev.parse(self._read()).get(self._name)
        if self._device is None:
            self._last = 0
            raise NoData(f"no device {self._name}")
        total = self._device.receive_bytes + self._device.transmit_bytes
        if self._transferred is None:
            self._transferred = 0
        else:
            self._transferred += total - self._last if total >= self._last else total
        self._last = total

    def collect(self) -> Iterator[Metric]:
        """The device's counters while it is there, and our own sum from the first reading on."""
        yield TRANSFERRED.value(self._transferred)
        for attribute, family in NETWORK.items():
            device = self._device
            yield family.values({device.name: getattr(device, attribute)} if device else {})

    async def examine(self) -> Sequence[Finding]:
        """Is the device there?"""
        try:
            await self.update()
        except ProxywatchError as error:
            return [Finding.fault(str(error), "Bring the tunnel up, or name its device in `interface.name`.")]
        return [Finding.ok(f"device {self._name} has moved {self._last} bytes")]

    def status(self) -> Status:
        """The device's name, whether it is there, and the bytes counted."""
        return Status(self._name, self._device is not None, self._transferred or 0)


def build(settings: Settings) -> InterfaceCollector:
    """The collector on the real /proc."""
    return InterfaceCollector(settings.name, lambda: file.read("/proc/net/dev"))
