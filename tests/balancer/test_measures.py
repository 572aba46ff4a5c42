"""What may be asked of measurements, where there is a history to answer from."""

from math import pi, sin
from random import Random

import pytest

from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.control import UnknownError
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.measures import Measures
from proxywatch.balancer.measuring import Measuring, Settings
from support.fakes import FakeClock
from support.pools import Bench, node

HOUR = 3600.0


class Asked:
    """A pool with a history."""

    def __init__(self, *names: str) -> None:
        self.bench = Bench(*names)
        self.clock = FakeClock()
        self.clock._monotonic = self.bench.time.now
        settings = Settings(probe.Settings(), speed.Settings(), Exit())
        self.measuring = Measuring(
            self.bench.brain, lambda: [it.node for it in self.bench.brain.pool.roster], lambda: settings,
            lambda _: None, clock=self.clock, dice=Random(1),
        )  # fmt: skip
        self.measures = Measures(self.bench.brain, self.measuring, self.clock)


async def test_a_prediction_of_a_week_of_load() -> None:
    """The documented keys, the country as it was asked for, hours that follow each other, the error beside them."""
    asked = Asked("gb-1")
    now = asked.clock.now()
    for hour in range(168):
        at = now - (168 - hour) * HOUR
        asked.measuring.history.add_load("gb", at, 40 + 20 * sin(2 * pi * (at // HOUR) / 24))
    found = await asked.measures.prediction("uk", 3)
    assert (found.country, found.status, len(found.hours)) == ("uk", "ok", 3)
    assert found.samples >= 167
    assert all(it.p10 <= it.p50 <= it.p90 for it in found.hours)
    assert found.mean_absolute_error == pytest.approx(0, abs=0.2)
    assert len({it.at for it in found.hours}) == 3
    with pytest.raises(UnknownError):
        await asked.measures.prediction("jp", 1)


def test_what_is_known_now_has_its_age() -> None:
    """And what is not is None, not 0 or 100."""
    asked = Asked("se-1", "se-2")
    asked.bench.facts("se-1", age=12, proxy_latency_ms=61.7, cpu_percent=25.0)
    now = asked.measures.current()
    one, two = now.nodes["se-1"], now.nodes["se-2"]
    assert (one.latency_ms, one.latency_age_seconds, one.cpu_percent) == (61.7, 12.0, 25.0)
    assert (one.speed_mbps, one.success_rate_percent, one.exit_country) == (None, None, None)
    assert (two.latency_ms, two.latency_age_seconds, two.probe) == (None, None, None)
    assert now.uplink_up is None


def test_samples_fill_the_history() -> None:
    """Fresh facts only: an old one is not measured again and again."""
    asked = Asked("se-1")
    asked.bench.facts("se-1", proxy_latency_ms=50.0)
    asked.measuring.sample()
    asked.bench.time.now += 1000
    asked.clock._monotonic = asked.bench.time.now
    asked.measuring.sample()
    history, now = asked.measuring.history, asked.clock.now()
    assert [value for _, value in history.points("se-1", "latency_ms", now)] == [50.0]
    assert len(history.points("se-1", "connections", now)) == 2


def test_tests_that_are_asked_for_wait_their_turn() -> None:
    """Each node once; an unknown one is none."""
    asked = Asked("se-1", "se-2")
    assert asked.measures.test_all().nodes == ["se-1", "se-2"]
    assert asked.measures.test_all().nodes == []
    assert asked.measures.summary().waiting == ["se-1", "se-2"]
    assert asked.measures.summary().avg_speed_mbps is None
    with pytest.raises(UnknownError):
        asked.measures.test(node("se-9").id)
