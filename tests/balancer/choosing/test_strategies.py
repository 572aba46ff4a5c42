"""Every strategy, with its documented examples."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.choosing.strategy.interface import FEW
from proxywatch.balancer.choosing.strategy.table import OWN, strategies
from proxywatch.balancer.choosing.strategy.weighted_latency import weigh
from proxywatch.errors import ConfigError
from support.pools import Bench, node

DOCUMENTED = ["round_robin", "least_connections", "weighted_latency", "random", "health_score"]


def with_strategy(strategy: str, *nodes: object, **more: object) -> Bench:
    balancing = {"strategy": strategy, **more}
    return Bench(*nodes, balancing=balancing, exit={"verify": "off"})  # type: ignore[arg-type]


def test_documented_names_and_descriptions() -> None:
    """The five documented strategies with their documented sentences, and two more."""
    told = Bench().brain.strategies()
    assert [it["name"] for it in told] == [*DOCUMENTED, "power_of_two", "peak_ewma"]
    assert told[0]["description"] == "Distributes requests evenly across all healthy nodes"
    assert told[1]["description"] == "Routes to the node with fewest active connections"
    assert told[2]["description"] == "Routes based on server latency with weighted randomization"
    assert told[3]["description"] == "Randomly selects from available healthy nodes"
    assert told[4]["description"] == (
        "Routes to node with best overall health score (CPU, memory, latency, connections)"
    )


def test_health_score_is_the_default() -> None:
    """Documented: health score is the default strategy."""
    assert Bench().brain.chooser.strategy_of("us") == "health_score"


# Round robin


def test_round_robin_goes_by_id() -> None:
    """A9: by id, and after the last one from the front."""
    bench = with_strategy("round_robin", "se-3", "se-1", "se-2")
    assert bench.picks(5, country="se") == ["se-1", "se-2", "se-3", "se-1", "se-2"]


def test_round_robin_goes_on_when_the_list_changes() -> None:
    """A9: continues after the last id, also when nodes come and go; the counter still counts picks."""
    bench = with_strategy("round_robin", "us-1", "us-2", "us-3", "us-4")
    assert bench.picks(2, country="us") == ["us-1", "us-2"]
    bench.set("us-1", "us-3", "us-4")
    assert bench.picks(1, country="us") == ["us-3"]
    bench.set("us-1", "us-3", "us-35", "us-4")
    assert bench.picks(2, country="us") == ["us-35", "us-4"]
    assert bench.brain.stats()["round_robin_counters"] == {"us": 5}


def test_round_robin_counts_per_country() -> None:
    """Documented: per-country counters, such as {"us": 5, "uk": 2}."""
    bench = with_strategy("round_robin", "us-1", "us-2", "gb-1")
    bench.picks(5, country="us")
    bench.picks(2, country="gb", asked="uk")
    assert bench.brain.stats()["round_robin_counters"] == {"us": 5, "gb": 2}


def test_round_robin_by_weight() -> None:
    """A weight of 2 beside 1 gets two thirds, spread over the rounds."""
    bench = with_strategy("round_robin", node("se-1", weight=2.0), node("se-2"))
    picks = bench.picks(30, country="se")
    assert Counter(picks) == {"se-1": 20, "se-2": 10}
    assert picks[:6] == ["se-1", "se-1", "se-2", "se-1", "se-1", "se-2"]


@given(st.integers(17, 60))
def test_round_robin_sees_all_of_a_large_pool(many: int) -> None:
    """Also where other strategies see a sample."""
    bench = with_strategy("round_robin", *(f"se-{at:03}" for at in range(many)))
    assert Counter(bench.picks(2 * many, country="se")) == {f"se-{at:03}": 2 for at in range(many)}


# Least connections


def test_least_connections() -> None:
    """Documented: the node with the fewest active connections."""
    bench = with_strategy("least_connections", "se-1", "se-2", "se-3")
    bench.brain.publish({"se-1": 2, "se-2": 1, "se-3": 3})
    assert bench.picks(3, country="se") == ["se-2", "se-1", "se-2"]


def test_least_connections_counts_ours_and_published_ones() -> None:
    """A8: own in flight and what other balancers publish, not the sidecar's gauge; a crash leaks nothing."""
    bench = with_strategy("least_connections", "se-1", "se-2")
    bench.facts("se-1", connections=50.0)
    bench.brain.publish({"se-2": 1})
    assert bench.picks(1, country="se") == ["se-1"]
    bench.brain.publish({})
    assert bench.picks(1, country="se") == ["se-2"]


def test_least_connections_serves_equals_in_turn() -> None:
    """A8: ties go round instead of to the first."""
    bench = with_strategy("least_connections", "se-1", "se-2", "se-3")
    served = []
    for _ in range(6):
        choice = bench.choose(country="se")
        served.append(choice.node.id)
        bench.brain.connected(choice, 0.1)
        bench.brain.closed(choice, 0, 0, 0.0, "client_closed")
    assert served == ["se-1", "se-2", "se-3"] * 2


# Weighted latency


def test_documented_weights() -> None:
    """Documented: 50 ms is 150, 100 ms is 100, 150 ms is 50, 200 ms and more is 1."""
    assert weigh([50, 100, 150, 200, 350]) == [150, 100, 50, 1, 1]


def test_weights_of_the_far() -> None:
    """A7: where all are at 199 ms or more the weights are 200 x fastest / own instead of all 1."""
    assert weigh([199, 398]) == [200, 100]
    assert weigh([198, 398]) == [2, 1]


def test_weighted_latency_draws_in_proportion() -> None:
    """50, 100 and 150 ms are drawn as 150 : 100 : 50."""
    bench = with_strategy("weighted_latency", "se-1", "se-2", "se-3")
    for name, latency in (("se-1", 50.0), ("se-2", 100.0), ("se-3", 150.0)):
        bench.facts(name, server_latency_ms=latency)
    drawn = Counter(bench.picks(6000, country="se"))
    assert drawn["se-1"] == pytest.approx(3000, rel=0.05)
    assert drawn["se-2"] == pytest.approx(2000, rel=0.07)
    assert drawn["se-3"] == pytest.approx(1000, rel=0.1)


def test_draw_never_falls_through() -> None:
    """A7: rounding at the end of the loop gives the last node, not none."""

    class Last(Random):
        def random(self) -> float:
            return 1.0

    bench = with_strategy("weighted_latency", "se-1", "se-2")
    bench.brain.chooser.picker._tape._dice = Last()
    assert bench.picks(1, country="se") == ["se-2"]


def test_failing_fast_is_not_fast() -> None:
    """A7: a failure counts as a time-out, so a node that fails at once weighs little."""
    bench = with_strategy("weighted_latency", "se-1", "se-2")
    for name in ("se-1", "se-2"):
        bench.facts(name, server_latency_ms=50.0)
    bench.fail("se-1", 1)
    drawn = Counter(bench.picks(300, country="se"))
    assert drawn["se-1"] < 15
    bench.time.now += 600
    for name in ("se-1", "se-2"):
        bench.facts(name, server_latency_ms=50.0)
    assert Counter(bench.picks(300, country="se"))["se-1"] > 100


# Random


def test_random_by_weight() -> None:
    """Each node as often as its weight is of the total."""
    bench = with_strategy("random", node("se-1", weight=3.0), node("se-2"))
    drawn = Counter(bench.picks(4000, country="se"))
    assert drawn["se-1"] == pytest.approx(3000, rel=0.05)


# Health score


def test_idle_pool_gets_the_documented_answer() -> None:
    """A2: with nothing in flight assignment is the documented maximum; bias 0 always is."""
    for bias, expected in ((1.0, {"se-2": 1}), (0.0, {"se-2": 3})):
        bench = with_strategy("health_score", "se-1", "se-2", "se-3", bias=bias)
        for name, latency in (("se-1", 90.0), ("se-2", 50.0), ("se-3", 70.0)):
            bench.healthy(name, server_latency_ms=latency, connections=10.0)
        picks = bench.picks(3, country="se")
        assert picks[0] == "se-2"
        assert Counter(picks)["se-2"] == expected["se-2"]


def test_assignment_divides_by_load() -> None:
    """A2: score / (1 + in flight): the requests of one interval do not all go to the best node."""
    bench = with_strategy("health_score", "se-1", "se-2", "se-3")
    for name, latency in (("se-1", 50.0), ("se-2", 60.0), ("se-3", 70.0)):
        bench.healthy(name, server_latency_ms=latency, connections=10.0)
    assert Counter(bench.picks(30, country="se")) == {"se-1": 10, "se-2": 10, "se-3": 10}


def test_ties() -> None:
    """A3: saturated scores tie; fewer in flight goes first, then the nearer, then the first by id."""
    bench = with_strategy("health_score", "se-1", "se-2", "se-3", bias=0.0)
    for name, latency in (("se-1", 900.0), ("se-2", 300.0), ("se-3", 300.0)):
        bench.healthy(name, server_latency_ms=latency, connections=10.0)
    assert bench.picks(3, country="se") == ["se-2", "se-3", "se-1"]


def test_poor_nodes_are_reserve() -> None:
    """A cap below 70 costs most of the share: 69 beside 100 would otherwise still get two thirds of it."""
    bench = with_strategy("health_score", "se-1", "se-2")
    bench.healthy("se-1")
    bench.healthy("se-2", success_rate_percent=94.0)
    drawn = Counter(bench.picks(24, country="se"))
    assert drawn["se-2"] == 1


def test_slow_start() -> None:
    """A5: a node that joined gets a tenth of its share at first, and all of it after a minute."""
    bench = with_strategy("health_score", "se-1")
    bench.set("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    assert Counter(bench.picks(22, country="se"))["se-2"] == 2
    bench.after(60)
    bench.healthy("se-1", "se-2")
    assert set(bench.picks(17, country="se")) == {"se-2"}


# Power of two, peak EWMA


@pytest.mark.parametrize("strategy", ["health_score", "power_of_two", "least_connections", "peak_ewma"])
def test_large_pools_stay_even(strategy: str) -> None:
    """A2: above 16 nodes two are compared, which keeps the load within a few connections of even."""
    bench = with_strategy(strategy, *(f"se-{at:03}" for at in range(100)))
    counts = Counter(bench.picks(2000, country="se"))
    assert len(counts) == 100
    assert max(counts.values()) <= 26


def test_sample_size() -> None:
    """Up to 16 nodes all are compared, above that a sample."""
    for many, compared in ((FEW, FEW), (FEW + 1, 2)):
        bench = with_strategy("health_score", *(f"se-{at:03}" for at in range(many)))
        bench.picks(1, country="se")
        assert len(next(iter(bench.brain.decisions)).last.considered) == compared


def test_peak_ewma_follows_a_rise_at_once() -> None:
    """One slow connection moves the traffic; it comes back within seconds of quiet."""
    bench = with_strategy("peak_ewma", "se-1", "se-2")
    bench.serve("se-1", 3, seconds=0.05)
    bench.serve("se-2", 3, seconds=0.06)
    assert bench.picks(1, country="se") == ["se-1"]
    bench.serve("se-1", 1, seconds=2.0)
    assert set(bench.picks(8, country="se")) == {"se-2"}
    bench.time.now += 60
    assert "se-1" in bench.picks(2, country="se")


def test_peak_ewma_does_not_flood_the_untried() -> None:
    """A node without traffic counts as a second away."""
    bench = with_strategy("peak_ewma", "se-1", "se-2")
    bench.serve("se-1", 3, seconds=0.1)
    assert set(bench.picks(5, country="se")) == {"se-1"}


# All


@pytest.mark.parametrize("strategy", list(OWN))
def test_a_node_at_its_limit_is_not_chosen(strategy: str) -> None:
    """max_connections holds for every strategy; a connection that ends makes room."""
    bench = with_strategy(strategy, node("se-1", max_connections=2), node("se-2", max_connections=1))
    choices = [bench.choose(country="se") for _ in range(3)]
    assert Counter(it.node.id for it in choices) == {"se-1": 2, "se-2": 1}
    assert "2 full" in bench.refused(country="se").reason
    bench.brain.connected(choices[0], 0.1)
    bench.brain.closed(choices[0], 0, 0, 1.0, "client_closed")
    assert bench.choose(country="se").node.id == choices[0].node.id


@pytest.mark.parametrize("strategy", list(OWN))
def test_same_dice_same_choices(strategy: str) -> None:
    """Same snapshot, same dice, same choice."""
    names = [f"se-{at:03}" for at in range(40)]
    assert with_strategy(strategy, *names).picks(50, country="se") == with_strategy(strategy, *names).picks(
        50, country="se"
    )


def test_disabled_balancing_serves_the_first_of_the_file() -> None:
    """balancing.enabled: false takes the first usable node in the file's order."""
    bench = Bench("se-3", "se-1", "se-2", balancing={"enabled": False})
    assert set(bench.picks(5, country="se")) == {"se-3"}
    bench.facts("se-3", tunnel_up=False)
    assert set(bench.picks(5, country="se")) == {"se-1"}


# Third parties


class First:
    """Always the first."""

    name = "first"
    description = "The first by id"
    sample = FEW
    ranks = False
    draws = False

    def assign(self, candidates: Any, turn: Any) -> Any:  # noqa: ARG002 - the interface
        return candidates[0]


class Raising(First):
    """Raises."""

    name = "raising"

    def assign(self, candidates: Any, turn: Any) -> Any:  # noqa: ARG002 - the interface
        raise ZeroDivisionError


class Nonsense(First):
    """Answers with no candidate."""

    name = "nonsense"

    def assign(self, candidates: Any, turn: Any) -> Any:  # noqa: ARG002 - the interface
        return "se-1"


def test_a_third_partys_strategy() -> None:
    """One that was found is known by its name."""
    bench = Bench("se-1", "se-2", strategies=strategies([("first", First)]), balancing={"strategy": "first"})
    assert bench.picks(3, country="se") == ["se-1"] * 3
    assert bench.brain.strategies()[-1] == {"name": "first", "description": "The first by id"}


@pytest.mark.parametrize(
    ("strategy", "wrong"), [(Raising, "raised ZeroDivisionError"), (Nonsense, "none of the")]
)
def test_a_bad_strategy_ends_nothing(strategy: type[First], wrong: str) -> None:
    """health_score chooses in place of one that raises or answers nonsense, and the decision says so."""
    found = strategies([(strategy.name, strategy)])
    bench = Bench("se-1", "se-2", strategies=found, balancing={"strategy": strategy.name})
    choice = bench.choose(country="se")
    assert wrong in (bench.brain.explain(choice.decision) or "")


def test_what_is_no_strategy() -> None:
    """Faults name the entry point."""
    with pytest.raises(ConfigError) as error:
        strategies(
            [("x", object), ("random", First), ("all", type("All", (First,), {"name": "all", "sample": 0}))]
        )
    assert [fault.place for fault in error.value.faults] == [
        f"entry point proxywatch.strategies {name}" for name in ("x", "random", "all")
    ]


def test_unknown_strategies_are_refused() -> None:
    """In settings, by the API, and in a wish."""
    with pytest.raises(ConfigError, match="unknown strategy"):
        Bench(balancing={"strategy": "fastest"})
    with pytest.raises(ConfigError, match="unknown strategy"):
        Bench(balancing={"countries": {"us": "fastest"}})
    bench = Bench("se-1")
    with pytest.raises(ConfigError, match="unknown strategy"):
        bench.brain.set_strategy("fastest", "se")
    assert bench.refused(country="se", strategy="fastest").kind == "denied"


def test_strategies_by_country() -> None:
    """A country's own strategy, set in the file or later; a wish goes before both."""
    bench = Bench("us-1", "us-2", "se-1", balancing={"countries": {"us": "round_robin"}})
    bench.choose(country="us")
    bench.choose(country="se")
    bench.brain.set_strategy("random", "us")
    bench.choose(country="us")
    bench.choose(country="us", strategy="peak_ewma")
    bench.brain.set_strategy("least_connections")
    bench.choose(country="se")
    used = [decision.strategy for decision in reversed(list(bench.brain.decisions))]
    assert used == ["round_robin", "health_score", "random", "peak_ewma", "least_connections"]
