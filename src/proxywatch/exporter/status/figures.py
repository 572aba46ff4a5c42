"""The key numbers, taken from the very series that /metrics shows, and graded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from proxywatch.exporter.runner import Outcome
from proxywatch.exporter.status.model import Figure, Grade
from proxywatch.metrics.family import Metric, Sample

Samples = Mapping[str, Sequence[Sample]]
_GRADES: tuple[Grade, ...] = ("good", "fair", "poor", "bad")


@dataclass(frozen=True, slots=True)
class Scale:
    """Three bounds between four grades, the best first; falling when more is better."""

    bounds: tuple[float, float, float]

    def grade(self, value: float) -> Grade:
        """Where a value stands; one on a bound has the worse grade only when less is better."""
        rising = self.bounds[0] < self.bounds[-1]
        return _GRADES[sum(value >= bound if rising else value < bound for bound in self.bounds)]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a figure is made: its series, the collector that it comes from, its title and its scale."""

    key: str
    metric: str
    collector: str
    title: str
    unit: str
    scale: Scale | None = None


KINDS = (
    Kind("success_rate", "proxy_success_rate_percent", "sessions", "Success rate", "%", Scale((99, 95, 90))),
    Kind("latency", "proxy_latency_ms", "latency", "Latency", "ms", Scale((200, 500, 1000))),
    Kind("speed", "proxy_download_speed_mbps", "speed", "Download speed", "Mbps", Scale((20, 10, 5))),
    Kind("active", "proxy_active_connections", "active", "Active connections", ""),
    Kind("duration", "proxy_avg_connection_duration_seconds", "traffic", "Mean connection", "s"),
    Kind("request_rate", "proxy_request_rate_permin", "sessions", "Requests", "/min"),
    Kind("transferred", "proxy_bytes_transferred_total", "traffic", "Through the tunnel", "bytes"),
)


def samples(families: Iterable[Metric]) -> dict[str, list[Sample]]:
    """All samples by the name of their series."""
    found: dict[str, list[Sample]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def value(found: Samples, metric: str) -> float | None:
    """The value of a series that has one sample; None when it is absent."""
    of_name = found.get(metric)
    return of_name[0].value if of_name else None


def figure(kind: Kind, found: Samples, outcomes: Mapping[str, Outcome], names: Iterable[str]) -> Figure:
    """One number, or why there is none."""
    number = value(found, kind.metric)
    if number is None:
        reason = missing(kind.collector, outcomes, names)
        return Figure(kind.key, kind.metric, kind.title, None, kind.unit, "unknown", reason)
    grade = kind.scale.grade(number) if kind.scale else "good"
    return Figure(kind.key, kind.metric, kind.title, number, kind.unit, grade)


def missing(collector: str, outcomes: Mapping[str, Outcome], names: Iterable[str]) -> str:
    """Why a collector has no number."""
    if collector not in names:
        return f"{collector} is switched off"
    outcome = outcomes.get(collector)
    if outcome is None:
        return "not measured yet"
    return outcome.message or "nothing to measure yet"
