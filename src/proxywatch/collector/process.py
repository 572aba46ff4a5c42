"""What this process is: which proxy it stands beside, its version, its settings' state, its own resources.

The `process_*` series are those of every exporter that uses Prometheus's Python client, from /proc/self.
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector as ClientProcessCollector

import proxywatch
from proxywatch import metric
from proxywatch.finding import Finding
from proxywatch.metric import Family

INFO = metric.gauge("proxy_info", "Always 1: the proxy that this exporter stands beside.")
BUILD = metric.gauge(
    "proxywatch_build_info",
    "Always 1: the exporter's version and the Python that runs it.",
    ["version", "python"],
)
RELOAD = metric.gauge(
    "proxywatch_config_last_reload_successful",
    "1 when the settings in force are the ones that were read last; 0 when those had a fault.",
)
RELOAD_TIME = metric.gauge(
    "proxywatch_config_last_reload_success_timestamp_seconds",
    "Unix time at which the settings in force were read.",
)
PROCESS = {
    family.name: family
    for family in (
        metric.gauge("process_virtual_memory_bytes", "Virtual memory of the exporter."),
        metric.gauge("process_resident_memory_bytes", "Resident memory of the exporter."),
        metric.gauge("process_start_time_seconds", "Unix time at which the exporter started."),
        metric.counter("process_cpu_seconds_total", "User and system CPU time of the exporter."),
        metric.gauge("process_open_fds", "Open file descriptors of the exporter."),
        metric.gauge("process_max_fds", "The most file descriptors that the exporter may open."),
    )
}


class Reloads(msgspec.Struct):
    """How the last reading of the settings went; the daemon writes it.

    Attributes:
        successful: Whether it had no fault.
        at: Unix time of the last one without a fault.
        fault: What was wrong, in lines; empty when nothing.
    """

    successful: bool = True
    at: float = 0.0
    fault: str = ""


class Status(msgspec.Struct, frozen=True):
    """The exporter itself.

    Attributes:
        version: Of the exporter.
        python: Of the interpreter.
        uptime_seconds: Since the exporter started.
        resident_bytes: Memory held.
        cpu_seconds: CPU time used.
        config_fault: What was wrong with the settings at the last reload; empty when nothing.
    """

    version: str
    python: str
    uptime_seconds: float
    resident_bytes: float
    cpu_seconds: float
    config_fault: str


class ProcessCollector:
    """A reading collector."""

    name = "process"
    timeout = 2.0

    def __init__(
        self, reloads: Reloads, read: Callable[[], Sequence[Metric]], now: Callable[[], float]
    ) -> None:
        """Be handed the source.

        Args:
            reloads: The state of the settings.
            read: The families of the client library's process collector.
            now: Unix time in seconds.
        """
        self._reloads = reloads
        self._read = read
        self._now = now
        self._values: dict[str, float] = {}

    def describe(self) -> Sequence[Family]:
        """Identity, settings, resources."""
        return (INFO, BUILD, RELOAD, RELOAD_TIME, *PROCESS.values())

    async def update(self) -> None:
        """Read /proc/self."""
        self._values = {
            sample.name: sample.value
            for family in self._read()
            for sample in family.samples
            if sample.name in PROCESS
        }

    def collect(self) -> Iterator[Metric]:
        """Who we are, and what we use."""
        yield INFO.value(1)
        yield BUILD.values({(proxywatch.__version__, platform.python_version()): 1})
        yield RELOAD.value(float(self._reloads.successful))
        yield RELOAD_TIME.value(self._reloads.at or None)
        for name, family in PROCESS.items():
            yield family.value(self._values.get(name))

    async def examine(self) -> Sequence[Finding]:
        """Nothing to look for."""
        return [Finding.ok(f"proxywatch {proxywatch.__version__} on Python {platform.python_version()}")]

    def status(self) -> Status:
        """The exporter itself."""
        started = self._values.get("process_start_time_seconds", self._now())
        return Status(
            proxywatch.__version__,
            platform.python_version(),
            max(0.0, self._now() - started),
            self._values.get("process_resident_memory_bytes", 0.0),
            self._values.get("process_cpu_seconds_total", 0.0),
            self._reloads.fault,
        )


def build(reloads: Reloads) -> ProcessCollector:
    """The collector on the real /proc/self."""
    client = ClientProcessCollector(registry=None)
    return ProcessCollector(reloads, lambda: list(client.collect()), time.time)
