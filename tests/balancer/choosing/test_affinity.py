"""Leases: who has one, how long, and where it goes when its node does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.choosing.affinity import Lease
from proxywatch.balancer.request import Wishes
from support.pools import Bench, node

SESSION = {"country": "se", "session": "abc"}


def names(count: int) -> list[str]:
    return [f"se-{at:02}" for at in range(count)]


def test_a_session_stays_on_its_node() -> None:
    """However loaded that is, and beside it others are spread."""
    bench = Bench(*names(10))
    first = bench.choose(**SESSION).node.id
    bench.picks(40, country="se")
    assert set(bench.picks(20, **SESSION)) == {first}


def test_without_a_session_there_is_no_affinity() -> None:
    """affinity.key defaults to session."""
    bench = Bench(*names(4))
    bench.picks(8, country="se")
    assert len(bench.brain.leases) == 0


def test_sessions_of_two_users_are_two() -> None:
    """The name of a session is its user's own, and a country's."""
    bench = Bench(*names(10))
    bench.choose(user="a", **SESSION)
    bench.choose(user="b", **SESSION)
    bench.choose(user="a", country="", session="abc")
    assert len(bench.brain.leases) == 3


@pytest.mark.parametrize(
    ("key", "requests", "leases"),
    [
        ("client", [{"client": "192.0.2.1"}, {"client": "192.0.2.1"}, {"client": "192.0.2.2"}], 2),
        ("user", [{"user": "a"}, {"user": "a", "client": "192.0.2.2"}, {"user": "b"}], 2),
        ("user", [{"client": "192.0.2.1"}, {"client": "192.0.2.2"}], 2),
        ("client", [{"client": "192.0.2.1", "session": "x"}, {"client": "192.0.2.2", "session": "x"}], 1),
    ],
)
def test_keys(key: str, requests: list[dict[str, str]], leases: int) -> None:
    """E42: by session, user or client; a session that is asked for always counts, and no user is a client."""
    bench = Bench(*names(4), affinity={"key": key})
    for request in requests:
        bench.choose(country="se", **request)
    assert len(bench.brain.leases) == leases


def test_documented_timeout_slides() -> None:
    """E42: an hour of idleness ends a lease, each use renews it."""
    bench = Bench(*names(10))
    bench.choose(**SESSION)
    [lease] = bench.brain.leases
    for _ in range(3):
        bench.time.now += 3599
        bench.choose(**SESSION)
    assert [it.id for it in bench.brain.leases] == [lease.id]
    bench.time.now += 3600
    bench.choose(**SESSION)
    assert [it.id for it in bench.brain.leases] != [lease.id]


def test_greatest_age() -> None:
    """E42: max_age ends even a busy lease."""
    bench = Bench(*names(10), affinity={"max_age": 7200.0})
    bench.choose(**SESSION)
    [lease] = bench.brain.leases
    for _ in range(7):
        bench.time.now += 1000
        bench.choose(**SESSION)
    assert [it.id for it in bench.brain.leases] == [lease.id]
    bench.time.now += 200
    bench.choose(**SESSION)
    assert [it.id for it in bench.brain.leases] != [lease.id]


def test_a_ttl_of_the_clients_own() -> None:
    """A wish for a time replaces the configured one, also later; the end comes by time alone."""
    bench = Bench(*names(10))
    bench.choose(ttl=60.0, **SESSION)
    bench.after(59)
    assert len(bench.brain.leases) == 1
    bench.choose(ttl=5.0, **SESSION)
    bench.after(5)
    assert len(bench.brain.leases) == 0
    assert bench.brain.counts.leases_ended == 1


def test_the_oldest_idle_goes_first() -> None:
    """Bounded in number."""
    bench = Bench(*names(4), affinity={"max_leases": 3})
    for name in "abc":
        bench.choose(country="se", session=name)
    bench.choose(country="se", session="a")
    bench.choose(country="se", session="d")
    assert [it.owner[2] for it in bench.brain.leases] == ["c", "a", "d"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=60))
def test_leases_on_a_node_add_up(steps: list[tuple[int, int]]) -> None:
    """However leases come, move and go, those counted by node are those there are."""
    bench = Bench(*names(4), affinity={"max_leases": 5, "timeout": 20.0})
    for session, what in steps:
        if what == 0:
            bench.after(7)
        elif what == 1:
            bench.brain.probed(f"se-0{session % 4}", "dead")
        else:
            bench.choose(country="se", session=str(session))
    leases = list(bench.brain.leases)
    assert len(leases) <= 5
    for name in names(4):
        assert bench.brain.leases.on(name) == sum(it.node == name for it in leases)


# Where a lease goes


def moved(bench: Bench, gone: str) -> str:
    """The node of the session after its node went down."""
    assert bench.choose(**SESSION).node.id == gone
    bench.facts(gone, tunnel_up=False)
    choice = bench.choose(**SESSION)
    assert "Its lease was on" in (bench.brain.explain(choice.decision) or "")
    return choice.node.id


def test_anchor() -> None:
    """E42: the same exit address first, then server, then city, then country."""
    home = node("se-00", city="got", server="got-1")
    same_ip, same_server = node("se-05"), node("se-06", server="got-1")
    same_city, others = node("se-07", city="got"), [node(name) for name in names(5)[1:]]
    bench = Bench(home, same_ip, same_server, same_city, *others, balancing={"bias": 0.0})
    bench.healthy("se-00", exit_ip="203.0.113.1")
    pool = bench.brain.pool
    assert bench.choose(**SESSION).node.id == "se-00"
    bench.facts("se-05", exit_ip="203.0.113.1", exit_country="se")
    for name in (*names(5)[1:], "se-06", "se-07"):
        bench.facts(name, exit_country="se")
    assert moved(bench, "se-00") == "se-05"
    bench.brain.leases.move(next(iter(bench.brain.leases)), pool.roster.get("se-00"))  # type: ignore[arg-type]
    bench.facts("se-05", tunnel_up=False)
    assert bench.choose(**SESSION).node.id == "se-06"
    bench.brain.leases.move(next(iter(bench.brain.leases)), pool.roster.get("se-00"))  # type: ignore[arg-type]
    bench.facts("se-06", tunnel_up=False)
    assert bench.choose(**SESSION).node.id == "se-07"
    bench.facts("se-07", tunnel_up=False)
    assert bench.choose(**SESSION).node.id in names(5)[1:]
    [lease] = bench.brain.leases
    assert lease.version == 7


def test_no_lease_for_an_ejected_node() -> None:
    """E42: health is judged from memory at each use."""
    bench = Bench(*names(4))
    first = bench.choose(**SESSION).node.id
    for _ in range(3):
        bench.brain.probed(first, "dead")
    assert first not in bench.picks(5, **SESSION)


def test_a_draining_node_keeps_its_leases() -> None:
    """E42: until the deadline; others do not get it."""
    bench = Bench(*names(4))
    first = bench.choose(**SESSION).node.id
    bench.brain.drain(first, 300)
    assert set(bench.picks(5, **SESSION)) == {first}
    assert first not in bench.picks(12, country="se")
    bench.after(300)
    assert bench.choose(**SESSION).node.id != first
    assert [it[:2] for it in bench.told("draining", "drained")] == [("draining", first), ("drained", first)]


def test_a_drain_ends_when_nothing_is_left() -> None:
    """No connection and no lease: drained before the deadline."""
    bench = Bench(*names(2))
    choice = bench.choose(country="se")
    bench.brain.connected(choice, 0.1)
    bench.brain.drain(choice.node.id, 300)
    bench.after(10)
    assert bench.told("drained") == []
    bench.brain.closed(choice, 0, 0, 10.0, "client_closed")
    bench.after(1)
    assert bench.told("drained") == [("drained", choice.node.id, "nothing is left on it")]


def test_a_drain_called_off() -> None:
    """Ready again, slowly; unknown nodes are told apart."""
    bench = Bench(*names(2))
    assert bench.brain.drain("se-00", 300)
    assert bench.brain.ready("se-00")
    assert bench.kind("se-00") == "unseen"
    assert not bench.brain.drain("gone", 1)
    assert not bench.brain.ready("gone")


def test_a_full_node_lends_its_sessions() -> None:
    """The connection goes elsewhere, the lease stays."""
    bench = Bench(node("se-00", max_connections=1), node("se-01", max_connections=5), balancing={"bias": 0.0})
    bench.healthy("se-00", "se-01")
    first = bench.choose(**SESSION)
    assert first.node.id == "se-00"
    assert bench.choose(**SESSION).node.id == "se-01"
    bench.brain.connected(first, 0.1)
    bench.brain.closed(first, 0, 0, 0.0, "client_closed")
    assert bench.choose(**SESSION).node.id == "se-00"


def test_a_session_stays_within_its_country() -> None:
    """A lease is not a way abroad."""
    bench = Bench("se-00", "no-00")
    bench.choose(**SESSION)
    bench.facts("se-00", tunnel_up=False)
    assert bench.refused(**SESSION).kind == "no_node"


def test_a_substitute_serves_until_the_country_is_back() -> None:
    """A session abroad by fallback stays there, and comes home."""
    bench = Bench("de-00", "fr-00", "fr-01")
    wish = {"country": "de", "session": "abc", "fallback": "region"}
    bench.healthy("de-00", "fr-00", "fr-01")
    bench.after(1)
    bench.facts("de-00", tunnel_up=False)
    abroad = bench.choose(**wish).node.id
    assert abroad.startswith("fr")
    assert set(bench.picks(5, **wish)) == {abroad}
    for _ in range(2):
        bench.after(30)
        bench.facts("de-00", tunnel_up=True)
    assert bench.choose(**wish).node.id == "de-00"


def test_an_asked_node_beats_the_lease() -> None:
    """An explicit wish is not overruled by affinity."""
    bench = Bench(*names(3))
    first = bench.choose(**SESSION).node.id
    other = next(name for name in names(3) if name != first)
    assert bench.choose(node=other, **SESSION).node.id == other
    assert bench.choose(**SESSION).node.id == first


def test_a_retry_moves_the_session() -> None:
    """The session goes on where its connection succeeded."""
    bench = Bench(*names(3))
    first = bench.choose(**SESSION).node.id
    second = bench.choose((first,), **SESSION).node.id
    assert second != first
    assert set(bench.picks(3, **SESSION)) == {second}


# Clients that dial themselves


def test_assign_holds_a_lease() -> None:
    """A10: assign commits and returns a lease, which counts as in flight until it is released."""
    bench = Bench(*names(2))
    held = [bench.brain.assign(bench.request(country="se")) for _ in range(4)]
    leases = [it[0] for it in held if isinstance(it, tuple)]
    assert sorted(it.node for it in leases) == ["se-00", "se-00", "se-01", "se-01"]
    assert [it.in_flight for it in bench.brain.pool.roster] == [2, 2]
    assert all(bench.brain.release(it.id) for it in leases)
    assert not bench.brain.release(leases[0].id)
    assert [it.in_flight for it in bench.brain.pool.roster] == [0, 0]


def test_assign_with_a_session() -> None:
    """The session's lease is given again, and counts once."""
    bench = Bench(*names(2))
    one = bench.brain.assign(bench.request(**SESSION))
    two = bench.brain.assign(bench.request(**SESSION))
    assert isinstance(one, tuple)
    assert isinstance(two, tuple)
    assert one[0].id == two[0].id
    assert sum(it.in_flight for it in bench.brain.pool.roster) == 1


def test_a_forgotten_lease_ends_by_itself() -> None:
    """And no longer counts."""
    bench = Bench(*names(2))
    bench.brain.assign(bench.request(country="se", ttl=60.0))
    bench.after(60)
    assert sum(it.in_flight for it in bench.brain.pool.roster) == 0


def test_assign_without_nodes() -> None:
    """A refusal like any other."""
    refusal = Bench().brain.assign(Bench().request(country="se"))
    assert not isinstance(refusal, tuple)
    assert refusal.kind == "no_node"


def test_another_balancers_claim() -> None:
    """The newer claim wins on both, whoever hears of it."""
    bench = Bench(*names(4))
    mine = bench.choose(**SESSION).node.id
    [lease] = bench.brain.leases
    other = next(name for name in names(4) if name != mine)
    claim = Lease("x", lease.owner, other, "se", "", "", "", lease.created, lease.used, lease.ttl, version=1)
    bench.brain.adopt(claim)
    assert bench.choose(**SESSION).node.id == mine
    claim.version = 2
    bench.brain.adopt(claim)
    assert bench.choose(**SESSION).node.id == other


def test_wishes_are_what_they_say() -> None:
    """The keys that these tests use are wishes."""
    assert {"country", "session", "ttl", "node", "fallback"} <= set(Wishes.__dataclass_fields__)


def test_a_session_that_asks_for_another_place_moves() -> None:
    """A lease gives way to what is asked for now: a city, or the countries of the user."""
    bench = Bench(node("se-1", city="got"), node("se-2", city="sto"), "no-1")
    assert bench.choose(country="se", city="got", session="x").node.id == "se-1"
    assert bench.choose(country="se", city="sto", session="x").node.id == "se-2"
    first = bench.choose(session="y").node
    only = frozenset({"no" if first.country == "se" else "se"})
    assert bench.choose(session="y", countries=only).route in only


def test_rebalance() -> None:
    """E43: leases are reassigned by share, connections stay; held leases too; a dry run only counts."""
    bench = Bench("se-1", "no-1")
    open_ = [bench.choose(country="se", session=str(at)) for at in range(12)]
    held = bench.brain.assign(bench.request(country="se", session="0"))
    assert isinstance(held, tuple)
    bench.set("se-1", "no-1", node("se-2", weight=2.0))
    bench.facts("no-1", tunnel_up=False)
    assert bench.brain.rebalance("se", dry_run=True) == 8
    assert bench.brain.leases.on("se-1") == 12
    assert bench.brain.rebalance("se") == 8
    assert (bench.brain.leases.on("se-1"), bench.brain.leases.on("se-2")) == (4, 8)
    assert held[0].node == "se-1"
    assert [it.in_flight for it in bench.brain.pool.roster.members("se")] == [len(open_) + 1, 0]
    assert bench.brain.rebalance("se") == 0
    assert bench.brain.rebalance("us") == 0
