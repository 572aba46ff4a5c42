"""Ejection: when, for how long, how many, and the way back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.attempt import Failure
from proxywatch.balancer.choosing.health import REUSE, SUPPRESS, Health, eject, most_ejected, told_down
from proxywatch.balancer.choosing.settings import Ejection
from support.pools import Bench, node

NAMES = ("se-1", "se-2", "se-3", "se-4")


def test_three_failures_in_a_row_eject() -> None:
    """ejection.failures counts what is in a row; a good request begins anew."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 2)
    bench.serve("se-1")
    bench.fail("se-1", 2)
    assert bench.kind("se-1") == "unseen"
    bench.fail("se-1")
    assert bench.kind("se-1") == "ejected"
    [(_, name, reason)] = bench.told("ejected")
    assert (name, reason) == ("se-1", "3 failures in a row, the last: socks_general; for 30 s")


@pytest.mark.parametrize("blame", ["destination", "self"])
def test_others_failures_are_not_the_nodes(blame: str) -> None:
    """A site that refuses, or our own lack of ports, ejects nobody."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 20, blame=blame)
    assert bench.kind("se-1") == "unseen"
    assert bench.told("ejected", "withheld") == []
    assert bench.brain.counts.failures[blame] == 20


def test_a_failing_hop_is_blamed_itself() -> None:
    """What is reached through a node is out while that node is, and the failures are that node's."""
    bench = Bench("no-1", "no-2", node("se-1", via="no-1"), node("se-2", via="no-2"))
    bench.fail("se-1", 3, blame="hop")
    assert bench.kind("no-1") == "ejected"
    assert bench.kind("se-1") == "down"
    assert "no-1" in bench.reason("se-1")
    assert set(bench.picks(4, country="se")) == {"se-2"}
    bench.after(31)
    bench.brain.probed("no-1")
    bench.brain.probed("no-1")
    assert bench.kind("no-1") == "unseen"
    assert bench.kind("se-1") == "unseen"


def test_ejection_doubles_up_to_its_cap() -> None:
    """30 s, 60 s, 120 s, 240 s, 300 s, 300 s."""
    settings = Ejection()
    health, at, times = Health(), 0.0, []
    for _ in range(6):
        health = eject(health, at, "x", settings)
        times.append(health.until - at)
        at = health.until
    assert times == [30, 60, 120, 240, 300, 300]


def test_old_ejections_are_forgotten() -> None:
    """One per ejection.max of service."""
    settings = Ejection()
    health = eject(eject(Health(), 0, "x", settings), 30, "x", settings)
    assert health.ejections == 2
    later = eject(health, health.until + 300, "x", settings)
    assert later.until - later.since == 60


@pytest.mark.parametrize(("nodes", "out"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_share_of_a_small_pool(nodes: int, out: int) -> None:
    """At a share of one half the floor counts: one node is never ejected, of two or three one."""
    assert most_ejected(nodes, 0.5) == out


@pytest.mark.parametrize(("nodes", "out"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_share_holds_as_nodes_fail_one_after_another(nodes: int, out: int) -> None:
    """Each on its own account, half a minute after the one before; requests are still tried on the rest."""
    names = [f"se-{at}" for at in range(nodes)]
    bench = Bench(*names, exit={"verify": "off"})
    for name in names:
        for _ in range(3):
            bench.brain.probed(name, "dead")
        bench.after(31)
    ejected = [name for name in names if bench.kind(name) != "ready"]
    assert ejected == names[:out]
    for name in ejected:
        bench.brain.probed(name, "still dead")
    assert bench.choose(country="se").node.id not in ejected
    assert [name for _, name, _ in bench.told("withheld")] == names[out:]
    assert all("share" in reason for _, _, reason in bench.told("withheld"))


def test_why_a_failing_node_is_not_ejected() -> None:
    """It says so, and its score is critical."""
    bench = Bench("se-1")
    bench.fail("se-1", 3)
    assert bench.kind("se-1") == "unseen"
    assert bench.caps("se-1")[0] == "not ejected: share (0.5 of 1 nodes)"
    assert bench.score("se-1") == 10
    bench.serve("se-1")
    assert bench.score("se-1") > 90


def test_more_than_half_together_ejects_nobody() -> None:
    """When most of a country fails at once it is the target or our uplink."""
    bench = Bench(*NAMES)
    for _ in range(10):
        for name in NAMES:
            bench.fail(name)
    assert {bench.kind(name) for name in NAMES} == {"unseen"}
    assert all("target or uplink" in reason for _, _, reason in bench.told("withheld"))


def test_those_ejected_before_it_showed_come_back() -> None:
    """The first to fail are ejected, and taken back once most fail."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 3)
    assert bench.kind("se-1") == "ejected"
    bench.fail("se-2", 3)
    bench.fail("se-3", 3)
    assert {bench.kind(name) for name in NAMES} == {"unseen"}
    assert ("returned", "se-1", "more than half of the country fail together") in bench.told("returned")


def test_half_is_not_more_than_half() -> None:
    """Two of four are ejected."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 3)
    bench.fail("se-2", 3)
    assert [bench.kind(name) for name in NAMES] == ["ejected", "ejected", "unseen", "unseen"]


def test_other_countries_do_not_count() -> None:
    """Share and comparison are by country."""
    bench = Bench("se-1", "se-2", "no-1", "no-2")
    bench.fail("se-1", 3)
    bench.fail("no-1", 3)
    assert [bench.kind(it) for it in ("se-1", "no-1")] == ["ejected", "ejected"]


def test_told_down_is_out_whatever_the_share() -> None:
    """All tunnels of a country down: nobody is left."""
    bench = Bench("se-1", "se-2")
    for name in ("se-1", "se-2"):
        bench.facts(name, tunnel_up=False)
    assert bench.refused(country="se").reason == "No healthy nodes available in se: 2 down"


def test_told_down_nodes_do_not_count_for_the_share() -> None:
    """The last one that serves is not ejected because another is down."""
    bench = Bench("se-1", "se-2")
    bench.facts("se-1", tunnel_up=False)
    bench.fail("se-2", 5)
    assert bench.kind("se-2") == "unseen"


# The way back


def test_good_probes_bring_a_node_back() -> None:
    """`rise` good ones, once its time is up."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 3)
    bench.brain.probed("se-1")
    bench.after(10)
    bench.brain.probed("se-1")
    assert bench.kind("se-1") == "ejected"
    bench.after(20)
    assert bench.kind("se-1") == "unseen"
    assert bench.told("returned") == [("returned", "se-1", "2 good results")]


def test_a_bad_probe_begins_anew() -> None:
    """Good results must be in a row."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 3)
    bench.after(29)
    for reason in ("", "no answer", ""):
        bench.brain.probed("se-1", reason)
    bench.after(1)
    assert bench.kind("se-1") == "trial"
    bench.brain.probed("se-1")
    assert bench.kind("se-1") == "unseen"


def test_without_probes_single_requests_are_risked() -> None:
    """Its time up, an unprobed node gets one request at a time until `rise` were good."""
    bench = Bench(*NAMES)
    bench.healthy(*NAMES)
    bench.fail("se-1", 3)
    bench.after(30)
    first = bench.choose(country="se")
    assert first.node.id == "se-1"
    assert bench.choose(country="se").node.id != "se-1"
    bench.brain.connected(first, 0.1)
    bench.brain.closed(first, 0, 0, 0.0, "client_closed")
    second = bench.choose(country="se")
    assert second.node.id == "se-1"
    bench.brain.connected(second, 0.1)
    assert bench.kind("se-1") == "ready"


def test_a_probed_node_gets_no_trial_request() -> None:
    """Probes decide, and no client is risked."""
    bench = Bench(*NAMES)
    bench.healthy(*NAMES)
    bench.fail("se-1", 3)
    bench.after(25)
    bench.brain.probed("se-1", "no answer")
    bench.after(30)
    assert "se-1" not in bench.picks(12, country="se")


def test_a_failed_trial_ejects_for_longer() -> None:
    """Twice as long as before."""
    bench = Bench(*NAMES)
    bench.healthy(*NAMES)
    bench.fail("se-1", 3)
    bench.after(30)
    bench.brain.failed(bench.choose(country="se"), Failure("node", "socks_general", 0.1))
    assert bench.told("ejected")[-1][2] == "failed again: socks_general; for 60 s"
    assert bench.kind("se-1") == "ejected"


def test_told_down_comes_back_after_rise() -> None:
    """`rise` good signs after the fact is gone: here two collections that say the tunnel is up."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    bench.after(1)
    bench.facts("se-1", tunnel_up=False)
    assert bench.kind("se-1") == "down"
    bench.after(30)
    bench.facts("se-1", tunnel_up=True)
    assert bench.kind("se-1") == "trial"
    bench.after(30)
    bench.facts("se-1", tunnel_up=True)
    assert bench.kind("se-1") == "ready"


def test_a_silent_sidecar_is_not_down() -> None:
    """Facts go stale, the node stays."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    bench.after(3600)
    assert bench.kind("se-1") == "ready"
    assert bench.score("se-1") == 69


def test_a_slow_return() -> None:
    """A node that came back starts slowly."""
    bench = Bench(*NAMES)
    bench.fail("se-1", 3)
    bench.after(30)
    bench.brain.probed("se-1")
    bench.brain.probed("se-1")
    candidate = bench.brain.pool.roster.get("se-1")
    assert candidate is not None
    assert candidate.slow_start(bench.time.now) == pytest.approx(0.1)
    assert candidate.slow_start(bench.time.now + 30) == pytest.approx(0.5)
    assert candidate.slow_start(bench.time.now + 60) == 1


# Damping


def test_flaps_are_damped() -> None:
    """A tunnel that goes up and down keeps its node out until its penalty has decayed."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    for _ in range(5):
        bench.after(5)
        bench.facts("se-1", tunnel_up=False)
        for _ in range(2):
            bench.after(5)
            bench.facts("se-1", tunnel_up=True)
    assert bench.kind("se-1") == "ejected"
    for _ in range(60):
        bench.after(10)
        bench.facts("se-1", tunnel_up=True)
    assert bench.kind("se-1") == "ready"


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_suppression_has_an_end(gaps: list[float]) -> None:
    """However often a node flaps, it is free within two half-lives of the last time."""
    settings = Ejection()
    health, at = Health(), 0.0
    for gap in gaps:
        at += gap
        health = told_down(msgspec.structs.replace(health, ejected=False), at, "x", settings)
        assert health.free_at(settings) <= at + 2 * settings.max
        assert health.penalty_now(at, settings) <= 6
    assert SUPPRESS > REUSE


@given(st.integers(1, 12), st.lists(st.integers(0, 200), max_size=120))
def test_never_more_than_the_share(many: int, hits: list[int]) -> None:
    """Whatever fails, no more than floor(share x nodes) are ejected for failures at once."""
    names = [f"se-{at:02}" for at in range(many)]
    bench = Bench(*names, exit={"verify": "off"})
    for hit in hits:
        name = names[hit % many]
        bench.brain.probed(name, "dead" if hit % 7 else "")
        if hit % 5 == 0:
            bench.after(hit % 11)
        out = [it for it in names if bench.kind(it) in {"ejected", "trial"}]
        assert len(out) <= most_ejected(many, 0.5)


def test_a_slow_destination_does_not_make_a_slow_node() -> None:
    """Its time-out is no latency of the node, but it shows that the node works."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    bench.fail("se-1", 2)
    for _ in range(5):
        bench.brain.failed(bench.choose(node="se-1"), Failure("destination", "ttl_expired", 30.0))
    assert bench.score("se-1") == 100
    bench.fail("se-1", 2)
    assert bench.kind("se-1") == "ready"
