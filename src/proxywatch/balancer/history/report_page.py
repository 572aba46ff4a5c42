"""The report as a page of HTML with plots, without scripts and without anything from elsewhere. Pure."""

from collections.abc import Mapping, Sequence
from html import escape

from proxywatch.balancer.history.report import NodeTrends, Report

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 240, 40
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .8rem;text-align:left;"
    "border-bottom:1px solid #ddd}"
    "td.n{text-align:right}polyline{fill:none;stroke:#2563a8;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181a1b}th,td{border-color:#444}"
    "polyline{stroke:#7fb2e5}}"
)


def page(report: Report, plots: Mapping[str, tuple[Points, Points]]) -> str:
    """The page.

    Args:
        report: What to show.
        plots: By node, its speeds and its latencies over the period.
    """
    title = f"Load balancing, {report.period_hours} hours to {escape(report.generated_at)}"
    advice = (
        "".join(f"<li>{escape(it)}</li>" for it in report.recommendations) or "<li>Nothing to recommend.</li>"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f"<h2>Countries</h2>{_countries(report)}<h2>Nodes</h2>{_nodes(report, plots)}"
        f"<h2>Recommendations</h2><ul>{advice}</ul></body></html>"
    )


def plot(points: Points, name: str) -> str:
    """A line over time from 0 to the greatest value; a dash where there is nothing to draw."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return "-"
    first, last = points[0][0], points[-1][0]
    most = max(value for _, value in points) or 1.0
    line = " ".join(
        f"{_WIDTH * (at - first) / (last - first):.1f},{_HEIGHT * (1 - value / most):.1f}"
        for at, value in points
    )
    return (
        f'<svg role="img" aria-label="{escape(name)}, at most {most:.1f}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 -1 {_WIDTH} {_HEIGHT + 2}"><polyline points="{line}"/></svg>'
    )


def _countries(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{escape(country)}</td>"
        + "".join(
            f'<td class="n">{cell}</td>'
            for cell in (
                it.node_count,
                it.total_connections,
                shown(it.avg_speed_mbps),
                shown(it.avg_latency_ms),
                it.ejections,
            )
        )
        + "</tr>"
        for country, it in report.by_country.items()
    )
    head = "<th>country<th>nodes<th>connections<th>Mbps<th>latency ms<th>ejections"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _nodes(report: Report, plots: Mapping[str, tuple[Points, Points]]) -> str:
    rows = "".join(
        _node(node, it, plots.get(node, ((), ()))) for node, it in report.performance_trends.items()
    )
    head = "<th>node<th>speed<th>Mbps<th>over time<th>latency<th>ms<th>over time"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _node(node: str, trends: NodeTrends, plots: tuple[Points, Points]) -> str:
    speeds, latencies = plots
    return (
        f"<tr><td>{escape(node)}</td><td>{trends.speed_trend}</td><td class='n'>{shown(trends.avg_speed)}</td>"
        f"<td>{plot(speeds, 'speed')}</td><td>{trends.latency_trend}</td>"
        f"<td class='n'>{shown(trends.avg_latency)}</td><td>{plot(latencies, 'latency')}</td></tr>"
    )


def shown(value: float | None) -> str:
    """A figure, or a dash where nothing was measured."""
    return "-" if value is None else f"{value:.1f}"
