"""The health score: the documented formula bit for bit, caps, confidence, bands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.choosing.fact import Fact, Facts
from proxywatch.balancer.choosing.score import (
    Conduct,
    assess,
    band,
    base_score,
    connection_score,
    cpu_score,
    factors,
    latency_score,
    memory_score,
)
from support.pools import Bench

LITTLE = st.floats(0, 2000, allow_nan=False)


def documented(latency: float, connections: int, cpu: float, memory: float) -> float:
    """The documented formula, written down a second time."""
    score = 100.0
    score = score * 0.6 + max(50, min(100, 100 - (latency - 50) * 0.5)) * 0.4
    score = score * 0.7 + max(60, 100 - min(20, connections * 2)) * 0.3
    score = score * 0.8 + max(60, 100 - min(100, cpu)) * 0.2
    return score * 0.9 + max(70, 100 - max(0, (memory - 300) / 10)) * 0.1


@pytest.mark.parametrize(
    ("latency", "connections", "cpu", "memory", "score"),
    [
        (50, 0, 0, 0, 100),
        (100, 0, 0, 0, 94.96),
        (150, 0, 0, 0, 89.92),
        (1000, 0, 0, 0, 89.92),
        (50, 10, 0, 0, 95.68),
        (50, 99, 0, 0, 95.68),
        (50, 0, 40, 0, 92.8),
        (50, 0, 0, 600, 97.0),
        (500, 50, 100, 2000, 75.40),
    ],
)
def test_golden_vectors(latency: float, connections: int, cpu: float, memory: float, score: float) -> None:
    """A1: the formula's golden vectors, from 75.40 at the worst to 100."""
    assert base_score(latency, connections, cpu, memory) == pytest.approx(score, abs=1e-9)


def test_documented_statistics_example() -> None:
    """A1: 25 connections and 45.2 % CPU score 87.3, as the documented statistics show, at 61.7 ms."""
    assert round(base_score(61.7, 25, 45.2, 300), 1) == 87.3


@given(LITTLE, st.integers(0, 200), LITTLE, LITTLE)
def test_formula_bit_for_bit(latency: float, connections: int, cpu: float, memory: float) -> None:
    """A1: the same bits as the documented formula, also where it is worked out in advance."""
    facts = {
        name: Fact(value, 0.0, "sidecar")
        for name, value in (("server_latency_ms", latency), ("cpu_percent", cpu), ("memory_mb", memory))
    }
    score = base_score(latency, connections, cpu, memory)
    assert score == documented(latency, connections, cpu, memory)
    prepared = assess(Facts().learn(facts), Conduct(), 0.0, 90.0)
    assert prepared.score(connections) == min(score, *(cap.score for cap in prepared.caps), 100)
    assert prepared.base(connections) == score
    assert 75.39 < score <= 100


@given(LITTLE, st.integers(0, 200), LITTLE, LITTLE)
def test_factors_add_up(latency: float, connections: int, cpu: float, memory: float) -> None:
    """A score explained factor by factor: 100 less all costs is the base score."""
    facts = {
        name: Fact(value, 0.0, "sidecar")
        for name, value in (("server_latency_ms", latency), ("cpu_percent", cpu), ("memory_mb", memory))
    }
    prepared = assess(Facts().learn(facts), Conduct(), 0.0, 90.0)
    costs = sum(factor.cost for factor in factors(prepared, connections))
    assert 100 - costs == pytest.approx(prepared.base(connections), abs=1e-9)


def test_code_wins_over_its_comment() -> None:
    """A4: 100 ms is 75 in the code, not 90; 50 ms is 100, 200 ms is 50; both ends are clamped."""
    assert [latency_score(ms) for ms in (0, 50, 100, 200)] == [100, 100, 75, 50]
    assert cpu_score(340) == 60
    assert cpu_score(-5) == 100
    assert connection_score(1000) == 80
    assert memory_score(10_000) == 70
    assert base_score(0, 0, 0, 0) == 100


@pytest.mark.parametrize(
    ("score", "name"),
    [(100, "excellent"), (90, "excellent"), (89.9, "good"), (80, "good"), (79.9, "acceptable"),
     (70, "acceptable"), (69.9, "poor"), (60, "poor"), (59.9, "critical"), (0, "critical")],
)  # fmt: skip
def test_documented_bands(score: float, name: str) -> None:
    """Score interpretation: 90, 80, 70 and 60 are the bounds."""
    assert band(score) == name


@pytest.mark.parametrize(
    ("facts", "score", "reason"),
    [
        ({"tunnel_up": False}, 0, "tunnel is down"),
        ({"exit_country": "us"}, 0, "seen in us"),
        ({"not_direct": False}, 0, "without the tunnel"),
        ({"success_rate_percent": 89.9}, 59, "success rate"),
        ({"success_rate_percent": 94.9}, 69, "success rate"),
        ({"success_rate_percent": 98.9}, 89, "success rate"),
        ({"proxy_latency_ms": 1001.0}, 69, "proxy latency"),
        ({"speed_mbps": 4.9}, 79, "speed"),
    ],
)
def test_caps(facts: dict[str, Any], score: float, reason: str) -> None:
    """A1: facts that the formula does not know put caps on the score, and say why."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    assert bench.score("se-1") == 100
    bench.time.now += 1
    bench.facts("se-1", **facts)
    assert bench.score("se-1") == score
    assert reason in bench.caps("se-1")[0]


def test_bounds_of_caps_are_no_caps() -> None:
    """A1: 99 % success, 1000 ms and 5 Mbps are still good."""
    bench = Bench("se-1")
    bench.healthy("se-1", success_rate_percent=99.0, proxy_latency_ms=1000.0, speed_mbps=5.0)
    assert bench.score("se-1") == 100
    assert bench.caps("se-1") == []


def test_open_circuit_is_zero() -> None:
    """A1: an ejected node scores 0."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    bench.fail("se-1", 3)
    assert bench.score("se-1") == 0


def test_every_documented_threshold_can_be_reached() -> None:
    """A1: alert below 70, failover below 60, the critical threshold of 50: each can happen."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    reached = set()
    for facts in ({"success_rate_percent": 94.0}, {"success_rate_percent": 80.0}, {"tunnel_up": False}):
        bench.time.now += 1
        bench.facts("se-1", **facts)
        reached |= {bound for bound in (70, 60, 50) if bench.score("se-1") < bound}
    assert reached == {70, 60, 50}


def test_unknown_is_not_perfect() -> None:
    """A5: unknown latency counts as the documented 100 ms, and nobody unknown is at 100."""
    bench = Bench("se-1", "se-2")
    assert bench.score("se-1") == pytest.approx(94.96)
    bench.facts("se-2", server_latency_ms=50.0)
    assert bench.score("se-2") == pytest.approx(99.9)
    assert bench.caps("se-2") == ["never measured: cpu_percent, memory_mb"]


def test_confidence() -> None:
    """A5: confidence is the weight of what was measured; a stale factor counts half."""
    unknown = assess(Facts(), Conduct(), 0.0, 90.0)
    one = Facts().learn({"server_latency_ms": Fact(50.0, 0.0, "sidecar")})
    assert unknown.confidence == 0.3
    assert assess(one, Conduct(), 0.0, 90.0).confidence == 0.7
    assert assess(one, Conduct(), 90.0, 90.0).confidence == 0.5


def test_stale_is_capped_at_69() -> None:
    """A5: after three intervals without news a score is at most 69; the node is not down."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    bench.after(89)
    assert bench.score("se-1") == 100
    bench.after(1)
    assert bench.score("se-1") == 69
    assert bench.kind("se-1") == "ready"
    assert "stale" in bench.caps("se-1")[0]


def test_two_latencies() -> None:
    """A6: server latency if measured, else proxy latency, else 100."""
    bench = Bench("se-1")
    bench.facts("se-1", proxy_latency_ms=150.0, cpu_percent=0.0, memory_mb=0.0)
    assert bench.score("se-1") == pytest.approx(89.92)
    bench.facts("se-1", server_latency_ms=50.0)
    assert bench.score("se-1") == 100
    bench.after(90)
    bench.facts("se-1", proxy_latency_ms=100.0, cpu_percent=0.0, memory_mb=0.0)
    assert bench.brain.pool.roster.get("se-1").assessment.latency_source == "proxy_latency_ms"  # type: ignore[union-attr]


def test_connections_are_the_greater_of_two_counts() -> None:
    """The sidecar's connections include ours: the score takes the greater, not the sum."""
    bench = Bench("se-1")
    bench.healthy("se-1", connections=4.0)
    assert bench.score("se-1") == pytest.approx(100 - 8 * 0.216)
    bench.picks(3, country="se")
    assert bench.score("se-1") == pytest.approx(100 - 8 * 0.216)
    bench.picks(2, country="se")
    assert bench.score("se-1") == pytest.approx(100 - 10 * 0.216)
    bench.brain.publish({"se-1": 2})
    assert bench.score("se-1") == pytest.approx(100 - 14 * 0.216)


def test_own_traffic_shows_a_slow_proxy() -> None:
    """Connections that take longer than a second cap the score as a measured proxy latency does."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    bench.serve("se-1", 1, seconds=0.06)
    bench.serve("se-1", 3, seconds=2.0)
    assert bench.score("se-1") == 69
    bench.serve("se-1", 8, seconds=0.06)
    assert bench.score("se-1") == 100
