"""The last day of every node and the last two weeks of every country, in memory. Does no I/O.

A node takes 5 kB, whatever is measured how often. Samples of five minutes are one mean; of a country's connections an
hour is one.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Literal

from proxywatch.balancer.history.forecast import HOUR, Forecast, forecast
from proxywatch.balancer.history.report import NodePeriod, Report, report
from proxywatch.balancer.history.series import Series, mean
from proxywatch.balancer.history.trend import trend

Metric = Literal["latency_ms", "speed_mbps", "connections", "success_percent"]
METRICS: Sequence[Metric] = ("latency_ms", "speed_mbps", "connections", "success_percent")
DAY = 86_400.0
_STEP, _SLOTS = 300.0, 288
_HOURS = 14 * 24
_MOST_EVENTS = 20_000


class History:
    """What was measured."""

    def __init__(self) -> None:
        """Begin empty."""
        self._nodes: dict[str, dict[Metric, Series]] = {}
        self._countries: dict[str, Series] = {}
        self._events: deque[tuple[float, str, str]] = deque(maxlen=_MOST_EVENTS)

    def add(self, node: str, metric: Metric, at: float, value: float) -> None:
        """Add a sample of a node, of Unix time `at`."""
        series = self._nodes.setdefault(node, {})
        if metric not in series:
            series[metric] = Series(_STEP, _SLOTS)
        series[metric].add(at, value)

    def add_load(self, country: str, at: float, connections: float) -> None:
        """Add a sample of a country's connections."""
        if country not in self._countries:
            self._countries[country] = Series(HOUR, _HOURS)
        self._countries[country].add(at, connections)

    def add_event(self, at: float, country: str, kind: str) -> None:
        """Note that something happened in a country."""
        self._events.append((at, country, kind))

    def forget(self, nodes: Iterable[str]) -> None:
        """Forget every node but these."""
        for name in self._nodes.keys() - set(nodes):
            del self._nodes[name]

    def points(
        self, node: str, metric: Metric, now: float, seconds: float = DAY
    ) -> list[tuple[float, float]]:
        """Time and mean of each five minutes that has any, the oldest first."""
        series = self._nodes.get(node, {}).get(metric)
        return series.points(now, seconds) if series is not None else []

    def forecast(self, country: str, now: float, hours: int) -> Forecast:
        """The connections of a country in the hours to come."""
        series = self._countries.get(country)
        points = series.points(now, _HOURS * HOUR) if series is not None else []
        return forecast({int(at // HOUR): value for at, value in points}, int(now // HOUR), hours)

    def period(self, node: str, country: str, connections: int, now: float, hours: int) -> NodePeriod:
        """What is known of a node over a period."""
        speed = self.points(node, "speed_mbps", now, hours * HOUR)
        latency = self.points(node, "latency_ms", now, hours * HOUR)
        return NodePeriod(
            node,
            country,
            connections,
            mean(speed),
            mean(latency),
            trend(speed, rising_is_better=True),
            trend(latency, rising_is_better=False),
        )

    def report(self, nodes: Sequence[tuple[str, str, int]], now: float, hours: int) -> Report:
        """The report of a period.

        Args:
            nodes: Id, country and connections of each.
            now: Unix time.
            hours: The period.
        """
        since = now - hours * HOUR
        events = Counter((country, kind) for at, country, kind in self._events if at >= since)
        periods = [self.period(*node, now, hours) for node in nodes]
        return report(periods, dict(events), hours, now)
