"""Facts: precedence, age, order."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.choosing.fact import KINDS, Fact, Facts, Source, read
from proxywatch.errors import ParseError
from support.pools import Bench

SOURCES: tuple[Source, ...] = ("operator", "sidecar", "probe")
FACTS = st.builds(
    Fact,
    st.integers(0, 9).map(float),
    st.integers(0, 9).map(float),
    st.sampled_from(SOURCES),
)


@given(
    st.lists(st.tuples(st.sampled_from(["server_latency_ms", "cpu_percent"]), FACTS), max_size=6),
    st.randoms(),
)
def test_order_of_arrival_is_irrelevant(news: list[tuple[str, Fact]], dice: object) -> None:
    """The same facts in any order give the same knowledge."""
    shuffled = list(news)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = Facts(), Facts()
    for name, fact in news:
        one = one.learn({name: fact})
    for name, fact in shuffled:
        other = other.learn({name: fact})
    assert one == other


def test_order_of_many_samples_is_irrelevant() -> None:
    """Also where more samples come than are kept."""
    samples = [Fact(float(at), float(at), "sidecar") for at in range(10)]
    known = set()
    for seed in range(30):
        order = Random(seed).sample(samples, len(samples))
        facts = Facts()
        for sample in order:
            facts = facts.learn({"server_latency_ms": sample})
        known.add(facts.smoothed("server_latency_ms", 9.0, 90.0))
    assert len(known) == 1


def test_posted_facts_win_until_they_are_stale() -> None:
    """An operator's fact counts for three intervals, newer collected ones notwithstanding."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    bench.facts("se-1", "operator", server_latency_ms=150.0)
    for _ in range(8):
        bench.after(10)
        bench.healthy("se-1")
        assert bench.score("se-1") == pytest.approx(89.92)
    bench.after(10)
    bench.healthy("se-1")
    assert bench.score("se-1") == 100


def test_times_in_the_future_are_clamped() -> None:
    """A fact cannot be newer than now."""
    bench = Bench("se-1")
    bench.facts("se-1", age=-500.0, server_latency_ms=50.0)
    assert bench.brain.pool.roster.get("se-1").state.facts.collected["server_latency_ms"].at == bench.time.now  # type: ignore[union-attr]


def test_latency_is_smoothed_for_strategies_but_not_for_the_score() -> None:
    """A7: strategies compare a moving average; the score shows the last value."""
    bench = Bench("se-1")
    for latency in (60.0, 60.0, 100.0):
        bench.after(30)
        bench.healthy("se-1", server_latency_ms=latency)
    candidate = bench.brain.pool.roster.get("se-1")
    assert candidate is not None
    assert 60 < candidate.measured_ms < 100
    assert candidate.assessment.latency_ms == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", 1.0),
        ("server_latency_ms", -1.0),
        ("server_latency_ms", "50"),
        ("server_latency_ms", True),
        ("server_latency_ms", float("nan")),
        ("server_latency_ms", float("inf")),
        ("server_latency_ms", 10**400),
        ("success_rate_percent", 100.1),
        ("tunnel_up", 2),
        ("tunnel_up", "yes"),
        ("exit_country", "x" * 65),
        ("exit_country", "a\nb"),
    ],
)
def test_what_is_no_fact(name: str, value: object) -> None:
    """Unknown names, other types and impossible numbers are refused."""
    with pytest.raises(ParseError):
        read(name, value)


def test_what_is_a_fact() -> None:
    """Each kind as programs write it."""
    assert read("connections", 3) == 3.0
    assert read("tunnel_up", 1) is True
    assert read("exit_country", "Sweden") == "Sweden"
    assert set(KINDS) >= {"server_latency_ms", "proxy_latency_ms", "speed_mbps", "connections", "cpu_percent"}
