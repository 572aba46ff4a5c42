"""The wireguard collector on a pod of the test bed, run in this process."""

from proxywatch.clock import Clock, SystemClock
from proxywatch.exporter.collector.wireguard import WireguardCollector, sources
from proxywatch.source.file import unreadable
from testbed.pod import Pod


def read_in(pod: Pod, path: str) -> bytes:
    """Read a file as the pod sees it, with the errors of our own source."""
    try:
        return pod.read(path)
    except OSError as error:
        raise unreadable(path, error) from error


def wg_in(pod: Pod) -> tuple[str, ...]:
    """How to call wg(8) where the pod's socket is."""
    return ("nsenter", "-t", str(pod.pid("pod")), "-m", "wg")


def collector_on(pod: Pod, clock: Clock | None = None) -> WireguardCollector:
    """The collector as it would be inside, with every source."""
    asks = sources("wg0", str(pod.uapi.parent), wg_in(pod))
    return WireguardCollector("wg0", lambda path: read_in(pod, path), asks, clock or SystemClock())
