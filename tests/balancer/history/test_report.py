"""Reports: what was not measured is null, the documented sentences come for their triggers, the page shows it all."""

import re
from xml.etree import ElementTree as ET

import pytest

from proxywatch.balancer.history.history import DAY, History
from proxywatch.balancer.history.report import markdown
from proxywatch.balancer.history.report_page import page, plot
from proxywatch.balancer.history.series import Series, mean

NOW = 1_795_262_692.0


def filled(speed: float = 15.0, latency: float = 80.0) -> History:
    history = History()
    for minute in range(0, 24 * 60, 5):
        at = NOW - DAY + minute * 60
        history.add("se-1", "speed_mbps", at, speed + minute / 1000)
        history.add("se-1", "latency_ms", at, latency)
    return history


def test_nothing_measured_is_null() -> None:
    """No country divides by nothing; no node is perfect for want of data."""
    document = History().report([("se-1", "se", 3)], NOW, 24)
    se = document.by_country["se"]
    assert (se.avg_speed_mbps, se.avg_latency_ms, se.total_connections) == (None, None, 3)
    assert document.performance_trends["se-1"].speed_trend == "insufficient_data"
    assert document.recommendations == []
    empty = History().report([], NOW, 24)
    assert (empty.by_country, empty.summary.avg_speed_mbps) == ({}, None)
    assert "Nothing to recommend" in markdown(empty)


def test_documented_sentences_come_for_their_triggers() -> None:
    """Below 20 Mbps, and above 50 connections a node; more nodes make no exit faster, which is said beside it."""
    document = filled().report([("se-1", "se", 51), ("de-1", "de", 50)], NOW, 24)
    assert document.recommendations == [
        "Consider adding more nodes to se - low speed detected",
        "Try other servers in se: more nodes share a load, they do not make one exit faster",
        "Scale up se - high load detected",
    ]
    assert filled(speed=20.0).report([("se-1", "se", 50)], NOW, 24).recommendations == []


def test_the_period_is_what_was_asked_for() -> None:
    """Averages, trends and events of it."""
    history = filled()
    for at, kind in ((NOW - 7200, "ejected"), (NOW - 60, "ejected"), (NOW - 60, "failover")):
        history.add_event(at, "se", kind)
    day, hour = (history.report([("se-1", "se", 0)], NOW, hours) for hours in (24, 1))
    assert (day.by_country["se"].ejections, hour.by_country["se"].ejections) == (2, 1)
    assert hour.by_country["se"].failover_events == 1
    trends = day.performance_trends["se-1"]
    assert (trends.speed_trend, trends.latency_trend) == ("improving", "stable")
    assert trends.speed_per_hour == pytest.approx(0.06, rel=0.05)
    assert trends.avg_latency == pytest.approx(80)
    assert (hour.by_country["se"].avg_speed_mbps or 0) > (day.by_country["se"].avg_speed_mbps or 0)


def test_the_page_is_whole_and_escaped() -> None:
    """Well-formed plots, no scripts, nothing from elsewhere."""
    history = filled()
    document = history.report([("se-1", "se", 51), ("<b>&", "de", 0)], NOW, 24)
    points = history.points("se-1", "speed_mbps", NOW)
    text = page(document, {"se-1": (points, [])})
    assert "<b>&<" not in text
    assert "&lt;b&gt;&amp;" in text
    assert not re.search(r"<script|http|url\(", text)
    (svg,) = re.findall(r"<svg.*?</svg>", text)
    line = ET.fromstring(svg)[0].attrib["points"].split()
    assert len(line) == len(points)
    assert all(0 <= float(value) <= 240 for pair in line for value in pair.split(","))
    assert plot([(1.0, 5.0)], "x") == "-"
    assert "nan" not in plot([(1.0, 0.0), (2.0, 0.0)], "x")


def test_a_series_is_bounded_and_placed_by_time() -> None:
    """Gaps stay gaps; what is older than its space is gone; a clock that steps back breaks nothing."""
    series = Series(300.0, 4)
    for at, value in ((0.0, 1.0), (10.0, 3.0), (900.0, 5.0)):
        series.add(at, value)
    assert series.points(900.0, 3600) == [(0.0, 2.0), (900.0, 5.0)]
    series.add(1300.0, 7.0)
    assert series.points(1300.0, 3600) == [(900.0, 5.0), (1200.0, 7.0)]
    series.add(100.0, 9.0)
    assert series.points(1300.0, 3600) == [(900.0, 5.0), (1200.0, 8.0)]
    series.add(1e9, 1.0)
    assert len(series.points(1e9, 3600)) == 1
    assert series.points(1e9 + 7200, 3600) == []
    assert mean([]) is None


def test_nodes_that_left_are_forgotten_and_memory_is_bounded() -> None:
    """A thousand nodes for a day are a few megabytes."""
    history = History()
    history.add("gone", "latency_ms", NOW, 1.0)
    history.forget(["se-1"])
    assert history.points("gone", "latency_ms", NOW) == []
    for _ in range(30_000):
        history.add_event(NOW, "se", "ejected")
    assert history.report([("se-1", "se", 0)], NOW, 1).by_country["se"].ejections == 20_000
