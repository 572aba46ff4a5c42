"""The brain as relay and API use it: order of decisions, retries, counts, documented answers, events."""

import pytest

from proxywatch.balancer.attempt import Brain, Choice, Failure, Refusal
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.rule import Rules, read_rule
from support.pools import Bench, node, settings


def test_it_is_a_brain() -> None:
    """What the relay calls."""
    brain: Brain = Bench().brain
    assert isinstance(brain, PoolBrain)


def in_flight(bench: Bench) -> dict[str, int]:
    return {it.id: it.in_flight for it in bench.brain.pool.roster if it.in_flight}


def test_in_flight_follows_each_course() -> None:
    """Chosen counts; connected does not change it; failed, abandoned and closed take it back."""
    bench = Bench("se-1")
    one, two, three = (bench.choose(country="se") for _ in range(3))
    assert in_flight(bench) == {"se-1": 3}
    bench.brain.connected(one, 0.1)
    assert in_flight(bench) == {"se-1": 3}
    bench.brain.failed(two, Failure("destination", "refused", 0.1))
    bench.brain.abandoned(three)
    bench.brain.closed(one, 10, 20, 1.0, "client_closed")
    assert in_flight(bench) == {}
    assert (bench.brain.counts.bytes_in, bench.brain.counts.bytes_out) == (10, 20)


def test_reports_that_come_twice_count_once() -> None:
    """In flight never falls below what is open."""
    bench = Bench("se-1")
    choice = bench.choose(country="se")
    for _ in range(2):
        bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
        bench.brain.failed(choice, Failure("node", "late", 0.1))
        bench.brain.abandoned(choice)
        bench.brain.connected(choice, 0.1)
    assert in_flight(bench) == {}


def test_a_node_that_left_takes_its_connections_along() -> None:
    """Reports about it are harmless, and a node of the same id begins at nothing."""
    bench = Bench("se-1", "se-2")
    choice = bench.choose(country="se")
    bench.set("se-2")
    bench.set("se-1", "se-2")
    bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
    assert in_flight(bench) == {}


def test_retries() -> None:
    """The next node is another one; one decision tells of all attempts."""
    bench = Bench("se-1", "se-2", "se-3")
    request = bench.request(country="se")
    one = bench.brain.choose(request)
    assert isinstance(one, Choice)
    assert (one.attempt, one.retries) == (1, 2)
    bench.brain.failed(one, Failure("node", "dial_timeout", 1.0))
    two = bench.brain.choose(request, (one.node.id,))
    assert isinstance(two, Choice)
    assert (two.attempt, two.retries, two.decision) == (2, 1, one.decision)
    assert two.node.id != one.node.id
    bench.brain.connected(two, 0.05)
    bench.brain.closed(two, 1, 1, 3.0, "client_closed")
    [decision] = bench.finished
    assert [(it.node, it.outcome) for it in decision.attempts] == [
        (one.node.id, "failed"),
        (two.node.id, "ok"),
    ]
    assert bench.brain.counts.retries == 1


def test_nobody_left_to_try() -> None:
    """A refusal that names whom was tried; the decision is finished once."""
    bench = Bench("se-1")
    request = bench.request(country="se")
    one = bench.brain.choose(request)
    assert isinstance(one, Choice)
    bench.brain.failed(one, Failure("node", "dial_timeout", 1.0))
    refusal = bench.brain.choose(request, ("se-1",))
    assert refusal == Refusal(one.decision, "no_node", "no other usable node in se: tried se-1")
    bench.after(60)
    assert len(bench.finished) == 1


def test_a_failure_that_is_not_retried_is_finished_too() -> None:
    """Half a minute later, as nobody came back."""
    bench = Bench("se-1")
    choice = bench.choose(country="se")
    bench.brain.failed(choice, Failure("node", "dial_timeout", 1.0))
    assert bench.finished == []
    bench.after(30)
    assert [it.last.outcome for it in bench.finished] == ["failed"]


def test_no_nodes() -> None:
    """Documented: No healthy nodes available."""
    bench = Bench()
    assert bench.refused(country="us").reason == "No healthy nodes available in us"
    assert bench.brain.best_node("us") is None
    assert bench.refused().reason == "No healthy nodes available"
    assert bench.brain.counts.refused == {"denied": 0, "no_node": 2}


# Wishes


def test_an_asked_node() -> None:
    """It serves whatever its load; unfit it is refused, unless a fallback was asked for."""
    bench = Bench("se-1", "se-2")
    assert set(bench.picks(5, node="se-2")) == {"se-2"}
    assert bench.refused(node="se-9").reason == "node se-9 is not in the pool"
    assert bench.refused(node="se-1", country="no").reason == "node se-1 is in se"
    bench.brain.drain("se-1", 60)
    assert bench.refused(node="se-1").reason == "node se-1 is not usable: it is being drained: asked to"
    assert bench.choose(node="se-1", fallback="any").node.id == "se-2"


def test_an_asked_server() -> None:
    """Nodes behind a VPN server."""
    bench = Bench(node("se-1", server="got-1"), node("se-2", server="got-2"), node("no-1", server="osl-1"))
    assert set(bench.picks(3, server="got-2")) == {"se-2"}
    assert bench.refused(country="se", server="osl-1").kind == "no_node"


def test_order_rules_then_affinity_then_strategy() -> None:
    """A rule leads a session elsewhere; without the rule it is where it was."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    bench = Bench("se-1", "se-2", "no-1")
    home = bench.choose(country="se", session="x").node.id
    rule = read_rule(
        {"name": "r", "condition": {"domain": "a.example"}, "action": {"country": "no"}},
        id="1", created=0.0, origin="api", zones=ZoneInfo,
    )  # fmt: skip
    bench.brain.set_rules(Rules([rule]))
    assert bench.choose(host="a.example", country="se", session="x").node.id == "no-1"
    assert set(bench.picks(3, country="se", session="x", host="b.example")) == {home}


# Documented answers


def test_documented_statistics() -> None:
    """The documented document: two nodes in us with 45 connections, 22.5 on average, one of them at 87.3."""
    bench = Bench(
        node("container_123", "us", server="us5063.nordvpn.com"), node("container_456", "us"), "gb-1",
        balancing={"countries": {"us": "round_robin", "gb": "round_robin"}},
    )  # fmt: skip
    bench.facts(
        "container_123", connections=25.0, cpu_percent=45.2, memory_mb=280.0, server_latency_ms=61.7,
        success_rate_percent=100.0,
    )  # fmt: skip
    bench.facts("container_456", connections=20.0)
    for country, count in (("us", 5), ("gb", 2)):
        for choice in [bench.choose(country=country) for _ in range(count)]:
            bench.brain.abandoned(choice)
    stats = bench.brain.stats()
    assert stats["strategies"][:5] == [
        "round_robin", "least_connections", "weighted_latency", "random", "health_score",
    ]  # fmt: skip
    assert stats["round_robin_counters"] == {"us": 5, "gb": 2}
    us = stats["countries"]["us"]
    assert (us["node_count"], us["total_connections"], us["avg_connections_per_node"]) == (2, 45, 22.5)
    shown = {
        key: us["nodes"][0][key] for key in ("id", "server", "connections", "cpu_percent", "health_score")
    }
    assert shown == {
        "id": "container_123", "server": "us5063.nordvpn.com", "connections": 25, "cpu_percent": 45.2,
        "health_score": 87.3,
    }  # fmt: skip


def test_statistics_are_a_plain_function() -> None:
    """A11: they come from memory, without waiting, and list every node with its state."""
    bench = Bench("se-1", "se-2")
    bench.facts("se-1", tunnel_up=False)
    nodes = bench.brain.stats()["countries"]["se"]["nodes"]
    assert [(it["id"], it["state"], it["health_score"]) for it in nodes] == [
        ("se-1", "down", 0.0), ("se-2", "unseen", 95.0),
    ]  # fmt: skip
    assert bench.brain.stats()["countries"]["se"]["node_count"] == 1


def test_documented_best_node() -> None:
    """The documented document."""
    bench = Bench(node("container_123", "us", server="us5063.nordvpn.com"))
    bench.facts("container_123", connections=25.0, cpu_percent=45.2, memory_mb=280.0, server_latency_ms=61.7)
    assert bench.brain.best_node("us") == {
        "selected_node": {
            "id": "container_123", "country": "us", "server": "us5063.nordvpn.com",
            "tailscale_ip": "container_123.example", "health_score": 87.3,
        },
        "strategy": "health_score",
        "country": "us",
    }  # fmt: skip


def best(bench: Bench, **more: bool) -> str:
    told = bench.brain.best_node("se", **more)
    assert told is not None
    return str(told["selected_node"]["id"])


@pytest.mark.parametrize(
    "strategy", ["round_robin", "least_connections", "health_score", "random", "peak_ewma"]
)
def test_asking_for_the_best_node_changes_nothing(strategy: str) -> None:
    """A10: GET peeks, under round robin too; `advance` counts as a pick, for older clients."""
    bench = Bench("se-1", "se-2", "se-3", balancing={"strategy": strategy})
    for _ in range(5):
        best(bench)
    assert bench.brain.round_robin_counters == {}
    assert in_flight(bench) == {}
    assert len(bench.brain.decisions) == 0
    if strategy == "round_robin":
        assert [best(bench, advance=True) for _ in range(4)] == ["se-1", "se-2", "se-3", "se-1"]
        assert bench.brain.round_robin_counters == {"se": 4}
        assert best(bench) == "se-2"


def test_ranking_is_the_plain_maximum() -> None:
    """A2: `strict` is the documented maximum of the scores, whatever is in flight elsewhere."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", server_latency_ms=60.0)
    bench.healthy("se-2")
    assert best(bench, strict=True) == "se-2"
    bench.picks(9, country="se")
    assert best(bench, strict=True) in {"se-1", "se-2"}


def test_the_incumbent_has_a_margin() -> None:
    """Only what is clearly better for a minute replaces it, unless it is gone."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", server_latency_ms=60.0)
    bench.healthy("se-2", server_latency_ms=61.0)
    assert best(bench) == "se-1"
    for latency, expected in ((50.0, "se-1"), (50.0, "se-1")):
        bench.after(60)
        bench.healthy("se-1", server_latency_ms=64.0)
        bench.healthy("se-2", server_latency_ms=latency)
        assert best(bench) == expected
    assert best(bench, strict=True) == "se-2"
    for _ in range(4):
        bench.after(30)
        bench.healthy("se-1", server_latency_ms=120.0)
        bench.healthy("se-2", server_latency_ms=50.0)
    assert best(bench) == "se-2"
    assert bench.brain.counts.switches == {"se": 1}
    assert "points ahead of se-1" in bench.told("preferred")[0][2]
    bench.facts("se-2", tunnel_up=False)
    assert best(bench) == "se-1"


def test_a_tie_of_scores_does_not_freeze_a_bad_choice() -> None:
    """A3: beyond 150 ms scores tie, but an incumbent at 1800 ms yields to 300 ms."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", server_latency_ms=200.0)
    bench.healthy("se-2", server_latency_ms=300.0)
    assert best(bench) == "se-1"
    for _ in range(12):
        bench.after(30)
        bench.healthy("se-1", server_latency_ms=1800.0)
        bench.healthy("se-2", server_latency_ms=300.0)
    assert best(bench) == "se-2"


# Others


def test_events_have_reasons() -> None:
    """Every change of the pool is an event with its node, country and reason."""
    bench = Bench("se-1", "se-2")
    bench.set("se-2", "se-3")
    bench.facts("se-3", exit_country="us")
    bench.brain.drain("se-2", 60, "maintenance")
    seen = [(it.type, it.node, it.country) for it in bench.events]
    assert seen == [
        ("joined", "se-1", "se"), ("joined", "se-2", "se"), ("left", "se-1", "se"), ("joined", "se-3", "se"),
        ("exit_drift", "se-3", "se"), ("draining", "se-2", "se"),
    ]  # fmt: skip
    assert all(it.reason for it in bench.events)


def test_no_io_on_the_way() -> None:
    """A12: a pick asks nothing but clock and dice, once and a few times."""
    bench = Bench(*(f"se-{at:03}" for at in range(100)))
    calls = []
    clock = bench.brain._clock

    def counted() -> float:
        calls.append(1)
        return clock()

    bench.brain._clock = counted
    bench.choose(country="se")
    assert len(calls) == 1


def test_settings_can_be_changed() -> None:
    """Also while connections are open."""
    bench = Bench("se-1", "se-2")
    choice = bench.choose(country="se")
    bench.brain.configure(settings(exit={"verify": "required"}, balancing={"retries": 0}))
    assert bench.refused(country="se").kind == "no_node"
    bench.healthy("se-1")
    assert bench.choose(country="se").retries == 0
    bench.brain.closed(choice, 0, 0, 1.0, "client_closed")


def test_snapshot() -> None:
    """The whole pool at one moment, which later changes do not touch."""
    bench = Bench("se-1", "se-2")
    before = bench.brain.pool.snapshot(bench.time.now)
    bench.facts("se-1", tunnel_up=False)
    bench.picks(2, country="se")
    assert before.standings["se-1"].kind == "unseen"
    assert before.in_flight == {"se-1": 0, "se-2": 0}
    assert bench.brain.pool.snapshot(bench.time.now).standings["se-1"].kind == "down"


def test_a_lead_must_last() -> None:
    """A lead shorter than balancing.hold changes no preference; an interrupted one begins anew."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1")
    bench.healthy("se-2", server_latency_ms=60.0)
    assert best(bench) == "se-1"
    for latency, seconds in ((150.0, 55), (50.0, 10), (150.0, 55)):
        bench.healthy("se-1", server_latency_ms=latency)
        bench.healthy("se-2", server_latency_ms=60.0)
        bench.after(seconds)
        assert best(bench) == "se-1"
    bench.after(10)
    assert best(bench) == "se-2"
