"""What this process is: which proxy it stands beside, its version, its settings' state, its own resources.

The `process_*` series are those of Prometheus's client library, which every exporter in Python has.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from prometheus_client.process_collector import ProcessCollector as ClientCollector

import proxywatch
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.runtime.reload import Reloads

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
        self, reloads: Reloads, read: Callable[[], Iterable[Metric]], now: Callable[[], float]
    ) -> None:
        """Take the sources.

        Args:
            reloads: The state of the settings.
            read: The `process_*` families.
            now: Seconds of a clock that never steps.
        """
        self._reloads = reloads
        self._read = read
        self._now = now
        self._started = now()
        self._families: Sequence[Metric] = ()

    def describe(self) -> Sequence[Family]:
        """Identity, settings, resources."""
        return (INFO, BUILD, RELOAD, RELOAD_TIME, *map(Family.of, self._read()))

    async def update(self) -> None:
        """Read /proc/self."""
        self._families = list(self._read())

    def collect(self) -> Iterator[Metric]:
        """Who we are, and what we use."""
        yield INFO.value(1)
        yield BUILD.values({(proxywatch.__version__, platform.python_version()): 1})
        yield RELOAD.value(float(self._reloads.successful))
        yield RELOAD_TIME.value(self._reloads.at or None)
        yield from self._families

    async def examine(self) -> Sequence[Finding]:
        """Nothing to look for."""
        return [Finding.ok(f"proxywatch {proxywatch.__version__} on Python {platform.python_version()}")]

    def status(self) -> Status:
        """The exporter itself."""
        used = {family.name: family.samples[0].value for family in self._families}
        return Status(
            proxywatch.__version__,
            platform.python_version(),
            self._now() - self._started,
            used.get("process_resident_memory_bytes", 0.0),
            used.get("process_cpu_seconds", 0.0),
            self._reloads.fault,
        )


def build(reloads: Reloads) -> ProcessCollector:
    """The collector on the real /proc/self."""
    return ProcessCollector(reloads, ClientCollector(registry=None).collect, time.monotonic)
