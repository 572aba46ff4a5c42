"""What must hold after any course of events, judged by a second, slower reading of the rules."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxywatch.balancer.attempt import Choice, Failure
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.strategy.table import OWN
from support.pools import Bench, node

COUNTRIES = ("se", "no", "us")
NODES = [
    node(
        f"{country}-{at}", city=("one", "two")[at % 2], server=f"{country}-s{at % 3}",
        max_connections=(0, 3)[at % 4 == 3], weight=1.0 + at % 2, tags=frozenset({"fast"} if at % 2 else ()),
    )
    for country in COUNTRIES for at in range(6)
]  # fmt: skip
NAMES = [it.id for it in NODES]

wishes = st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from((*COUNTRIES, "de")),
        "city": st.sampled_from(("one", "two")),
        "session": st.sampled_from(("a", "b", "c")),
        "strategy": st.sampled_from(list(OWN)),
        "fallback": st.sampled_from(("none", "region", "any")),
        "countries": st.sampled_from((frozenset({"se"}), frozenset({"se", "no"}))),
    },
)
steps = st.one_of(
    st.tuples(st.just("ask"), wishes),
    st.tuples(st.just("ask"), wishes),
    st.tuples(st.just("end"), st.sampled_from(["connected", "failed", "abandoned"])),
    st.tuples(st.just("fact"), st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([
            {"tunnel_up": False}, {"tunnel_up": True}, {"exit_country": "us"}, {"exit_country": "se"},
            {"server_latency_ms": 70.0, "cpu_percent": 3.0}, {"not_direct": False}, {"not_direct": True},
        ]),
    )),
    st.tuples(st.just("probe"), st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "dead"]))),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 5.0, 31.0, 95.0, 700.0])),
    st.tuples(st.just("drain"), st.tuples(st.sampled_from(NAMES), st.sampled_from([10.0, 60.0]))),
)  # fmt: skip


@dataclass
class Course:
    """A brain, and the connections that are open."""

    bench: Bench
    open: list[tuple[Choice, bool]]


def take(course: Course, step: tuple[str, Any], verify: str) -> None:
    """One step, and what must hold after it."""
    bench, (kind, what) = course.bench, step
    if kind == "ask":
        ask(course, what, verify)
    elif kind == "end" and course.open:
        choice, connected = course.open.pop()
        if connected:
            bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
        elif what == "failed" or not bench.brain.permits(choice):
            bench.brain.failed(choice, Failure("node", "socks_general", 0.1))
        elif what == "abandoned":
            bench.brain.abandoned(choice)
        else:
            bench.brain.connected(choice, 0.1)
            course.open.append((choice, True))
    elif kind == "fact":
        bench.facts(what[0], **what[1])
    elif kind == "probe":
        bench.brain.probed(*what)
    elif kind == "wait":
        bench.time.now += what
        bench.brain.tick()
    elif kind == "drain":
        bench.brain.drain(*what)


def ask(course: Course, wish: dict[str, Any], verify: str) -> None:
    """A choice is usable, where it was asked for, and where its lease is."""
    bench = course.bench
    roster, now = bench.brain.pool.roster, bench.time.now
    request = bench.request(**wish)
    owner = ("session", "", wish.get("session", ""), wish.get("country", ""))
    lease = bench.brain.leases.find(owner, now) if "session" in wish else None
    leased = lease and lease.node
    answer = bench.brain.choose(request)
    allowed = wish.get("countries", frozenset(COUNTRIES) | {"de"})
    if not isinstance(answer, Choice):
        usable = [
            it for it in roster
            if it.standing.kind in {"ready", "unseen"} and it.node.country in allowed
            and it.node.country == wish.get("country", it.node.country)
            and it.node.city == wish.get("city", it.node.city)
        ]  # fmt: skip
        assert answer.kind == "denied" or not usable
        return
    course.open.append((answer, False))
    candidate = roster.get(answer.node.id)
    assert candidate is not None
    assert candidate.node.country in allowed
    strict = wish.get("fallback", "none") == "none"
    assert not strict or candidate.node.country == wish.get("country", candidate.node.country)
    assert not strict or candidate.node.city == wish.get("city", candidate.node.city)
    assert answer.substituted == ("country" in wish and candidate.node.country != wish["country"])
    fit(candidate, verify, now, leased=candidate.id == leased)
    home = roster.get(str(leased)) if leased else None
    if home is not None and strict and home.standing.kind in {"ready", "unseen", "draining"}:
        there = home.node.city == wish.get("city", home.node.city) and home.node.country in allowed
        assert candidate is home or not there


def fit(candidate: Candidate, verify: str, now: float, *, leased: bool) -> None:
    """Read from the facts anew, not from the standing."""
    state = candidate.state
    known = state.facts.collected
    told = {name: fact.value for name, fact in known.items()}
    assert told.get("tunnel_up") is not False
    assert told.get("not_direct") is not False
    if verify != "off":
        assert told.get("exit_country", candidate.node.country) == candidate.node.country
    if verify == "required":
        assert now - known["exit_country"].at < 600
    if state.drain_until is not None:
        assert leased
        assert now < state.drain_until
    if state.health.ejected:
        assert now >= state.health.until
    limit = candidate.node.max_connections
    assert not limit or candidate.in_flight <= limit or leased


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=60), st.sampled_from(["required", "preferred", "off"]), st.integers(0, 9))
def test_any_course(course_of: list[tuple[str, Any]], verify: str, seed: int) -> None:
    """A choice is among the usable, never outside a strict country, and a lease is respected."""
    course = Course(Bench(*NODES, seed=seed, exit={"verify": verify}), [])
    for step in course_of:
        take(course, step, verify)
    in_flight = {it.id: it.own for it in course.bench.brain.pool.roster}
    for name in NAMES:
        assert in_flight[name] == sum(choice.node.id == name for choice, _ in course.open)
    assert course.bench.brain.counts.wrong_exits == 0
    indexes(course.bench)


def indexes(bench: Bench) -> None:
    """The groups hold exactly the nodes that stand so, in order."""
    roster = bench.brain.pool.roster
    for country in ("", *COUNTRIES):
        tiers = roster.tiers((country, "", ""))
        for kind in ("ready", "unseen", "trial"):
            group = tiers.tier(kind)
            expected = sorted(
                it.id for it in roster if it.standing.kind == kind and country in {"", it.node.country}
            )
            assert group.ids == expected == [it.id for it in group.candidates]


@settings(max_examples=50, deadline=None)
@given(st.lists(steps, max_size=40), st.integers(0, 9))
def test_same_course_same_dice_same_choices(course_of: list[tuple[str, Any]], seed: int) -> None:
    """Nothing but what is handed in decides."""
    told = []
    for _ in range(2):
        course = Course(Bench(*NODES, seed=seed), [])
        for step in course_of:
            take(course, step, "preferred")
        told.append([[it.node for it in decision.attempts] for decision in course.bench.brain.decisions])
    assert told[0] == told[1]


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(12)), st.integers(0, 9))
def test_order_of_facts_is_irrelevant(order: list[int], seed: int) -> None:
    """The same facts in any order lead to the same choices."""
    news: list[tuple[str, dict[str, Any], float]] = [
        (NAMES[at % 6], {"server_latency_ms": 40.0 + 7 * at, "cpu_percent": float(at)}, float(at))
        for at in range(12)
    ]
    told = []
    for numbers in (range(12), order):
        bench = Bench(*NODES, seed=seed)
        for number in numbers:
            name, facts, age = news[number]
            bench.facts(name, age=age, **facts)
        told.append(bench.picks(20, country="se"))
    assert told[0] == told[1]
