"""Deadlines that keep their distance, and rounds that are skipped rather than piled up."""

from random import Random

import pytest

from proxywatch.config import load
from proxywatch.errors import ConfigError
from proxywatch.exporter.settings import SCHEMA
from proxywatch.probe.schedule import Schedule


def test_the_first_round_comes_within_its_jitter() -> None:
    """At once, but not in step with the other proxies of a pool."""
    firsts = [Schedule(30, 3, Random(seed)).next(100) for seed in range(50)]
    assert all(100 <= first <= 103 for first in firsts)
    assert len(set(firsts)) == 50


def test_deadlines_do_not_drift() -> None:
    """Whatever a round takes, the next one stands an interval after the last deadline."""
    schedule = Schedule(30, 0, Random(1))
    assert [schedule.next(now) for now in (100, 101, 159.9, 161)] == [100, 130, 160, 190]
    assert schedule.skipped == 0


def test_an_overrun_is_skipped_and_counted() -> None:
    """A round of 95 s costs three deadlines, not three rounds at once."""
    schedule = Schedule(30, 0, Random(1))
    schedule.next(100)
    assert schedule.next(195) == 220
    assert schedule.skipped == 3
    assert schedule.next(221) == 250


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("latency: {interval: 999ms, targets: ['http://10.0.0.1/']}", "at least 1s"),
        ("latency: {interval: 1s, targets: ['http://10.0.0.1/']}", ""),
        ("latency: {interval: 4s, targets: ['http://10.0.0.1/', 'http://example.org/']}", "at least 5s"),
        ("latency: {interval: 5s, targets: ['http://example.org/']}", ""),
        ("latency: {interval: 4s, targets: [{url: 'http://example.org/', status: 204}]}", "at least 5s"),
        ("exit: {interval: 2s}", "at least 5s"),
        ("speed: {interval: 2s}", "at least 5s"),
        ("speed: {interval: 2s, url: 'http://web.test/'}", ""),
        ("speed: {interval: 2s, url: 'http://web.test/', upload: {enabled: true}}", "at least 5s"),
        ("scrape: {interval: 0s}", "at least 1s"),
    ],
)
def test_intervals_have_a_floor(text: str, fault: str) -> None:
    """A slip of the unit neither spins nor floods somebody else's server."""
    try:
        load(text, {}, SCHEMA)
        seen = ""
    except ConfigError as error:
        seen = str(error)
    assert fault in seen
    assert bool(fault) == bool(seen)
