"""The report of a period: numbers by country, trends by node, and what to do. Pure.

What was not measured is null, never 0 or 100.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from proxywatch.balancer.history.trend import Trend

_SLOW = 20.0  # Mbps
_BUSY = 50.0  # connections per node


class CountryReport(msgspec.Struct, frozen=True):
    """A country.

    Attributes:
        node_count: Its nodes.
        total_connections: Through them now.
        avg_speed_mbps: Over the period; null where nothing was measured.
        avg_latency_ms: The same.
        failover_events: Nodes that moved to another server.
        ejections: Nodes that were taken out.
    """

    node_count: int
    total_connections: int
    avg_speed_mbps: float | None
    avg_latency_ms: float | None
    failover_events: int
    ejections: int


class NodeTrends(msgspec.Struct, frozen=True):
    """A node's trends over the period.

    Attributes:
        speed_trend: `improving`, `degrading`, `stable` or `insufficient_data`.
        latency_trend: The same; falling is better.
        avg_speed: In Mbps; null where nothing was measured.
        avg_latency: In milliseconds; the same.
        speed_per_hour: Median slope.
        latency_per_hour: Median slope.
    """

    speed_trend: str
    latency_trend: str
    avg_speed: float | None
    avg_latency: float | None
    speed_per_hour: float | None
    latency_per_hour: float | None


class Summary(msgspec.Struct, frozen=True):
    """All countries together."""

    countries: int
    node_count: int
    total_connections: int
    avg_speed_mbps: float | None
    avg_latency_ms: float | None
    ejections: int


class Report(msgspec.Struct, frozen=True):
    """The report.

    Attributes:
        period_hours: As asked for.
        generated_at: In UTC.
        summary: All countries together.
        by_country: By code.
        performance_trends: By node.
        recommendations: Sentences.
    """

    period_hours: int
    generated_at: str
    summary: Summary
    by_country: dict[str, CountryReport]
    performance_trends: dict[str, NodeTrends]
    recommendations: list[str]


class NodePeriod(msgspec.Struct, frozen=True):
    """What is known of a node over the period.

    Attributes:
        node: Its id.
        country: Its country.
        connections: Through it now.
        speed_mbps: Mean; None where nothing was measured.
        latency_ms: Mean; None where nothing was measured.
        speed: Its trend.
        latency: Its trend.
    """

    node: str
    country: str
    connections: int
    speed_mbps: float | None
    latency_ms: float | None
    speed: Trend
    latency: Trend


def report(nodes: Sequence[NodePeriod], events: dict[tuple[str, str], int], hours: int, now: float) -> Report:
    """Make it.

    Args:
        nodes: All nodes.
        events: How often something happened in the period, by country and type.
        hours: The period.
        now: Unix time.
    """
    countries = sorted({node.country for node in nodes})
    by_country = {
        it: _country([node for node in nodes if node.country == it], it, events) for it in countries
    }
    return Report(
        hours,
        datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        Summary(
            len(countries),
            len(nodes),
            sum(node.connections for node in nodes),
            _mean([node.speed_mbps for node in nodes]),
            _mean([node.latency_ms for node in nodes]),
            sum(it.ejections for it in by_country.values()),
        ),
        by_country,
        {node.node: _trends(node) for node in sorted(nodes, key=lambda node: node.node)},
        [sentence for country, it in by_country.items() for sentence in recommendations(country, it)],
    )


def recommendations(country: str, it: CountryReport) -> list[str]:
    """What to do about a country."""
    found = []
    if it.avg_speed_mbps is not None and it.avg_speed_mbps < _SLOW:
        found.append(f"Consider adding more nodes to {country} - low speed detected")
        found.append(
            f"Try other servers in {country}: more nodes share a load, they do not make one exit faster"
        )
    if it.node_count and it.total_connections / it.node_count > _BUSY:
        found.append(f"Scale up {country} - high load detected")
    return found


def markdown(document: Report) -> str:
    """The report as Markdown."""
    lines = [
        f"# Load balancing, {document.period_hours} hours to {document.generated_at}",
        "",
        "| country | nodes | connections | Mbps | latency ms | ejections |",
        "|---|---|---|---|---|---|",
    ]
    for country, it in document.by_country.items():
        speed, latency = _shown(it.avg_speed_mbps), _shown(it.avg_latency_ms)
        lines.append(
            f"| {country} | {it.node_count} | {it.total_connections} | {speed} | {latency} | {it.ejections} |"
        )
    lines += ["", "| node | speed | latency | Mbps | latency ms |", "|---|---|---|---|---|"]
    for node, trends in document.performance_trends.items():
        speed, latency = _shown(trends.avg_speed), _shown(trends.avg_latency)
        lines.append(f"| {node} | {trends.speed_trend} | {trends.latency_trend} | {speed} | {latency} |")
    lines += [
        "",
        *(f"- {sentence}" for sentence in document.recommendations or ["Nothing to recommend."]),
        "",
    ]
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _country(nodes: Sequence[NodePeriod], country: str, events: dict[tuple[str, str], int]) -> CountryReport:
    ejections = sum(events.get((country, kind), 0) for kind in ("ejected", "exit_drift"))
    return CountryReport(
        len(nodes),
        sum(node.connections for node in nodes),
        _mean([node.speed_mbps for node in nodes]),
        _mean([node.latency_ms for node in nodes]),
        events.get((country, "failover"), 0),
        ejections,
    )


def _trends(node: NodePeriod) -> NodeTrends:
    return NodeTrends(
        node.speed.verdict,
        node.latency.verdict,
        node.speed_mbps,
        node.latency_ms,
        node.speed.per_hour,
        node.latency.per_hour,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
