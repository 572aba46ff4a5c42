"""Scenarios: what the brain achieves beside the documented algorithm and least connections."""

from random import Random

import pytest

from proxywatch.balancer.choosing.measures import jain, percentile
from proxywatch.balancer.choosing.simulation.scenario import SCENARIOS, report, simulate
from proxywatch.balancer.choosing.simulation.world import Told

SEEDS = range(3)


def run(name: str, seed: int, **more: object) -> tuple[Told, Told, Told, Told]:
    ours, without, documented, least = simulate(name, Random, seed=seed, **more)  # type: ignore[arg-type]
    return ours, without, documented, least


@pytest.mark.parametrize("seed", SEEDS)
def test_herd(seed: int) -> None:
    """A2: the busiest of three nodes has at most 85 connections; the documented maximum gives it over 150."""
    ours, _, documented, least = run("herd", seed)
    assert ours.peak <= 85
    assert documented.peak > 150
    assert ours.peak <= least.peak + 3
    assert jain(list(ours.picks.values())) > 0.99


@pytest.mark.parametrize("seed", SEEDS)
def test_slow_exit(seed: int) -> None:
    """Its share and the 99th percentile after the jump are better than with least connections."""
    ours, _, _, least = run("slow-exit", seed)
    assert ours.picks_after["se-001"] < least.picks_after["se-001"] / 5
    assert percentile(ours.waits, 99) < 200
    assert percentile(least.waits, 99) > 1900
    assert ours.lost == 0


@pytest.mark.parametrize("strategy", ["health_score", "weighted_latency", "peak_ewma"])
def test_slow_exit_by_strategy(strategy: str) -> None:
    """Each strategy that minds latency leaves the slow exit."""
    ours, _, _, least = run("slow-exit", 1, strategy=strategy)
    assert ours.picks_after["se-001"] < least.picks_after["se-001"]


@pytest.mark.parametrize("seed", SEEDS)
def test_flap(seed: int) -> None:
    """At most two changes of the preferred node in an hour; the plain maximum changes dozens of times."""
    ours, _, documented, _ = run("flap", seed)
    assert ours.switches <= 2
    assert documented.switches > 20


@pytest.mark.parametrize("seed", [0, 3])
def test_drain(seed: int) -> None:
    """No session leaves the draining exit before its deadline, and none its country."""
    ours, _, documented, _ = run("drain", seed)
    assert (ours.moved_early, ours.abroad, ours.lost) == (0, 0, 0)
    assert documented.moved_early > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_tunnel(seed: int) -> None:
    """At most three connections are lost before ejection, none with retries."""
    ours, without, _, least = run("dead-tunnel", seed)
    assert ours.lost == 0
    assert without.lost <= 3 + 1  # and one on the trial of the second minute
    assert least.lost > 300


def test_reports() -> None:
    """Every scenario has a table with a line per balancer."""
    for name in SCENARIOS:
        if name != "drain":
            text = report(name, simulate(name, Random))
            assert len(text.splitlines()) == 7
            assert text.startswith(f"{name}: ")


def test_any_number_of_nodes() -> None:
    """Also a large pool."""
    ours, _, _, _ = run("herd", 0, nodes=100)
    assert ours.peak <= 8


def test_same_seed_same_world() -> None:
    """A simulation can be run again."""
    assert run("herd", 3) == run("herd", 3)


def test_measures() -> None:
    """Jain's index and percentiles at their ends."""
    assert jain([5, 5, 5]) == 1
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert jain([]) == 1
    assert percentile([], 99) == 0
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([1, 2], 100) == 2
