"""What this process is: which proxy it stands beside, its version, its settings' state, its own resources.

The `process_*` series are those that every exporter has from its client library, told from /proc/self.
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

import proxywatch
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.runtime.reload import Reloads
from proxywatch.source.usage import Usage, started, usage

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
STARTED = metric.gauge("process_start_time_seconds", "Unix time at which the exporter started.")
USAGE = (  # in the order of the fields of Usage
    metric.gauge("process_virtual_memory_bytes", "Virtual memory of the exporter."),
    metric.gauge("process_resident_memory_bytes", "Resident memory of the exporter."),
    metric.counter("process_cpu_seconds_total", "User and system CPU time of the exporter."),
    metric.gauge("process_open_fds", "Open file descriptors of the exporter."),
    metric.gauge("process_max_fds", "The most file descriptors that the exporter may open."),
)


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
        self, reloads: Reloads, read: Callable[[], Usage], started: float, now: Callable[[], float]
    ) -> None:
        """Be handed the source.

        Args:
            reloads: The state of the settings.
            read: What this process takes.
            started: Unix time.
            now: Unix time in seconds.
        """
        self._reloads = reloads
        self._read = read
        self._started = started
        self._now = now
        self._usage: Usage | None = None

    def describe(self) -> Sequence[Family]:
        """Identity, settings, resources."""
        return (INFO, BUILD, RELOAD, RELOAD_TIME, STARTED, *USAGE)

    async def update(self) -> None:
        """Read /proc/self.

        Raises:
            SourceError: It is not to be read.
        """
        self._usage = self._read()

    def collect(self) -> Iterator[Metric]:
        """Who we are, and what we use."""
        yield INFO.value(1)
        yield BUILD.values({(proxywatch.__version__, platform.python_version()): 1})
        yield RELOAD.value(float(self._reloads.successful))
        yield RELOAD_TIME.value(self._reloads.at or None)
        yield STARTED.value(self._started)
        for family, value in zip(USAGE, self._usage or (None,) * len(USAGE), strict=True):
            yield family.value(value)

    async def examine(self) -> Sequence[Finding]:
        """Nothing to look for."""
        return [Finding.ok(f"proxywatch {proxywatch.__version__} on Python {platform.python_version()}")]

    def status(self) -> Status:
        """The exporter itself."""
        return Status(
            proxywatch.__version__,
            platform.python_version(),
            max(0.0, self._now() - self._started),
            float(self._usage.resident) if self._usage else 0.0,
            self._usage.cpu if self._usage else 0.0,
            self._reloads.fault,
        )


def build(reloads: Reloads) -> ProcessCollector:
    """The collector on the real /proc/self."""
    return ProcessCollector(reloads, usage, started(), time.time)
