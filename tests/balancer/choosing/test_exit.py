"""Verification of exits: who may be chosen under each setting, and drift."""

from dataclasses import replace

import pytest

from support.pools import Bench, node


def test_preferred_takes_the_unseen_only_where_none_was_seen() -> None:
    """The default; a pick of an unseen one is counted and shown in its decision."""
    bench = Bench("se-1", "se-2")
    choice = bench.choose(country="se")
    assert bench.brain.counts.unverified == 1
    assert bench.brain.decisions.get(choice.decision).unverified  # type: ignore[union-attr]
    bench.facts("se-2", exit_country="se")
    assert set(bench.picks(10, country="se")) == {"se-2"}
    assert bench.brain.counts.unverified == 1


def test_preferred_never_takes_the_wrong() -> None:
    """One seen in another country is out, also when it is the only one."""
    bench = Bench("se-1")
    bench.facts("se-1", exit_country="us")
    assert bench.refused(country="se").kind == "no_node"
    assert bench.reason("se-1") == "its exit was seen in us, not in se"


def test_preferred_keeps_those_seen_long_ago() -> None:
    """Only `required` minds the age; the decision says that it is not verified."""
    bench = Bench("se-1", "se-2")
    bench.facts("se-1", exit_country="se")
    bench.after(601)
    choice = bench.choose(country="se")
    assert choice.node.id == "se-1"
    assert bench.brain.decisions.get(choice.decision).unverified  # type: ignore[union-attr]


def test_required_takes_only_the_freshly_seen() -> None:
    """Unseen or stale ones are never chosen, to the second."""
    bench = Bench("se-1", exit={"verify": "required"})
    assert "1 unverified" in bench.refused(country="se").reason
    bench.facts("se-1", exit_country="se")
    assert bench.choose(country="se").node.id == "se-1"
    bench.time.now += 599.9
    assert bench.choose(country="se").node.id == "se-1"
    bench.time.now += 0.1
    assert "1 unverified" in bench.refused(country="se").reason
    assert bench.brain.counts.unverified == 0


def test_required_in_a_large_pool_without_a_tick() -> None:
    """A sample never shows one whose sighting has just become too old."""
    names = [f"se-{at:03}" for at in range(40)]
    bench = Bench(*names, exit={"verify": "required"})
    for at, name in enumerate(names):
        bench.facts(name, exit_country="se", age=590.0 if at else 0.0)
    bench.time.now += 11
    assert set(bench.picks(5, country="se")) == {"se-000"}


def test_posted_sightings_do_not_count_under_required() -> None:
    """What an operator posts is no sighting of ours; a wrong country posted is believed all the same."""
    bench = Bench("se-1", exit={"verify": "required"})
    bench.facts("se-1", "operator", exit_country="se")
    assert bench.kind("se-1") == "unverified"
    bench.facts("se-1", exit_country="se")
    assert bench.kind("se-1") == "ready"
    bench.facts("se-1", "operator", exit_country="us")
    assert bench.kind("se-1") == "wrong_exit"


def test_a_posted_right_does_not_hide_a_seen_wrong() -> None:
    """The exit that we saw ourselves counts against the node whatever is posted."""
    bench = Bench("se-1")
    bench.facts("se-1", exit_country="us")
    bench.facts("se-1", "operator", exit_country="se")
    assert bench.kind("se-1") == "wrong_exit"


def test_off_does_not_look() -> None:
    """But traffic that leaves without the tunnel is out even then."""
    bench = Bench("se-1", exit={"verify": "off"})
    bench.facts("se-1", exit_country="us")
    assert bench.choose(country="se").node.id == "se-1"
    bench.facts("se-1", not_direct=False)
    assert bench.kind("se-1") == "wrong_exit"


@pytest.mark.parametrize("seen", ["se", "SE", "Sweden", " sweden "])
def test_a_country_is_a_code_or_a_name(seen: str) -> None:
    """As exit checks tell it."""
    bench = Bench("se-1")
    bench.facts("se-1", exit_country=seen)
    assert bench.kind("se-1") == "ready"


def test_gb_and_uk_are_one() -> None:
    """E36: `uk` is no ISO code, but an exit check may say it."""
    bench = Bench("gb-1")
    bench.facts("gb-1", exit_country="uk")
    assert bench.kind("gb-1") == "ready"


def test_two_families_in_two_countries_are_drift() -> None:
    """IPv4 right and IPv6 elsewhere is a wrong exit."""
    bench = Bench("se-1")
    bench.facts("se-1", exit_country="se", exit_country_ipv6="us")
    assert bench.kind("se-1") == "wrong_exit"


def test_our_own_uplink_is_a_wrong_exit() -> None:
    """In any country, also one that would be right."""
    bench = Bench("se-1")
    bench.brain.pool.uplinks = frozenset({"198.51.100.1"})
    bench.facts("se-1", exit_country="se", exit_ip="198.51.100.1")
    assert bench.kind("se-1") == "wrong_exit"
    bench.after(1)
    bench.facts("se-1", exit_ip="203.0.113.1")
    assert bench.kind("se-1") != "wrong_exit"


def test_going_direct_is_a_wrong_exit_until_rise() -> None:
    """not_direct 0 beside the right country: out at once, and back after `rise` good signs."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    bench.after(1)
    bench.facts("se-1", exit_country="se", not_direct=False)
    assert bench.kind("se-1") == "wrong_exit"
    assert bench.told("exit_drift") == [("exit_drift", "se-1", "its traffic leaves without the tunnel")]
    bench.after(30)
    bench.facts("se-1", exit_country="se", not_direct=True)
    assert bench.kind("se-1") == "trial"
    bench.after(30)
    bench.facts("se-1", exit_country="se", not_direct=True)
    assert bench.kind("se-1") == "ready"


def test_wrong_exits_are_out_whatever_the_share() -> None:
    """If none is left the request is refused."""
    bench = Bench("se-1", "se-2")
    for name in ("se-1", "se-2"):
        bench.facts(name, exit_country="us")
    assert bench.refused(country="se").reason == "No healthy nodes available in se: 2 wrong exit"


def test_exits_are_looked_at_again_after_the_dial() -> None:
    """After drift a choice is no longer permitted; a connection opened all the same counts."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1", "se-2")
    choice = bench.choose(country="se")
    assert bench.brain.permits(choice)
    bench.after(1)
    bench.facts(choice.node.id, exit_country="us")
    assert not bench.brain.permits(choice)
    assert bench.brain.counts.wrong_exits == 0
    bench.brain.connected(choice, 0.1)
    assert bench.brain.counts.wrong_exits == 1
    assert bench.told("wrong_exit")[0][1] == choice.node.id


def test_an_exit_that_became_too_old_is_a_wrong_exit_under_required() -> None:
    """Absent or too old counts there, and only there."""
    for verify, wrong in (("required", 1), ("preferred", 0)):
        bench = Bench("se-1", exit={"verify": verify})
        bench.healthy("se-1")
        choice = bench.choose(country="se")
        bench.time.now += 601
        bench.brain.connected(choice, 0.1)
        assert bench.brain.counts.wrong_exits == wrong


def test_a_node_at_another_address_is_unseen_again() -> None:
    """The same id with another address is another exit."""
    bench = Bench("se-1")
    bench.healthy("se-1")
    moved = node("se-1")
    bench.set(moved)
    assert bench.kind("se-1") == "ready"
    bench.set(replace(moved, upstream=replace(moved.upstream, host="other.example")))
    assert bench.kind("se-1") == "unseen"
