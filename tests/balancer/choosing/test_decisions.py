"""The record of a decision: what it holds, what it never holds, how it reads."""

import json

import msgspec

from proxywatch.balancer.attempt import Failure
from proxywatch.balancer.choosing.decision import document
from proxywatch.balancer.choosing.explain import explain
from support.pools import Bench


def test_document() -> None:
    """The fields that are fixed, in a form that JSON takes."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1")
    bench.healthy("se-2", server_latency_ms=100.0)
    choice = bench.choose(country="se", session="x", user="anna", host="secret.example")
    told = document(bench.brain.decisions.get(choice.decision))  # type: ignore[arg-type]
    assert json.loads(msgspec.json.encode(told)) == told
    assert {
        "id", "at", "country", "session", "rule", "strategy", "candidates", "draw", "node", "attempts",
        "outcome",
    } <= told.keys()  # fmt: skip
    assert {"node", "score", "factors", "caps", "in_flight", "weight"} <= told["candidates"][0].keys()
    assert (told["session"], told["node"], told["outcome"]) == (True, "se-1", "pending")


def test_nobody_and_nothing_is_named() -> None:
    """Neither user nor session nor client nor, unless asked for, destination."""
    for kept in (False, True):
        bench = Bench("se-1", destinations=kept)
        choice = bench.choose(
            country="se", session="sess-ion", user="anna", client="192.0.2.77", host="secret.example"
        )
        decision = bench.brain.decisions.get(choice.decision)
        assert decision is not None
        text = msgspec.json.encode(document(decision)).decode() + explain(document(decision))
        for word in ("sess-ion", "anna", "192.0.2.77"):
            assert word not in text
        assert ("secret.example:443" in text) is kept


def test_kept_in_number() -> None:
    """journal.keep; newest first."""
    bench = Bench("se-1", decisions=3)
    for choice in [bench.choose(country="se") for _ in range(5)]:
        bench.brain.abandoned(choice)
    assert [it.id for it in bench.brain.decisions] == ["5", "4", "3"]
    assert bench.brain.decisions.get("2") is None
    assert bench.brain.explain("2") is None
    bench.picks(3000, country="se")
    assert len(bench.brain.decisions) <= 3 + 1000


def test_explained() -> None:
    """A sentence, then the table."""
    bench = Bench("se-1", "se-2")
    bench.healthy("se-1")
    bench.healthy("se-2", success_rate_percent=94.0)
    choice = bench.choose(country="se")
    bench.brain.connected(choice, 0.042)
    bench.brain.closed(choice, 1, 2, 3.5, "client_closed")
    assert bench.brain.explain(choice.decision) == (
        "Decision 1, 2023-11-14 22:13:20 UTC: a request for se went to se-1, chosen by health_score among 2 "
        "usable nodes: it scores 100.0 with 0 in flight, se-2 69.0 with 0 in flight. "
        "It was connected after 42 ms and closed after 3.5 s (client_closed).\n\n"
        "node  score  in flight  weight  latency  costs  caps\n"
        "se-1  100.0  0          1       50 ms    none   none\n"
        "se-2  69.0   0          1       50 ms    none   69: success rate 94 % is below 95 %\n"
    )


def test_explained_retry() -> None:
    """Who was tried before, and why not."""
    bench = Bench("se-1", "se-2")
    request = bench.request(country="se")
    one = bench.brain.choose(request)
    bench.brain.failed(one, Failure("node", "dial_timeout", 1.0))  # type: ignore[arg-type]
    two = bench.brain.choose(request, (one.node.id,))  # type: ignore[union-attr]
    told = bench.brain.explain(two.decision)
    assert f"Before, {one.node.id} was tried and failed (dial_timeout)." in (told or "")  # type: ignore[union-attr]


def test_explained_refusal() -> None:
    """And who was not usable."""
    bench = Bench("se-1", "se-2")
    bench.facts("se-1", tunnel_up=False)
    bench.brain.drain("se-2", 60)
    refusal = bench.refused(country="se")
    assert bench.brain.explain(refusal.decision) == (
        "Decision 1, 2023-11-14 22:13:20 UTC: a request for se was refused: "
        "No healthy nodes available in se: 1 down, 1 draining.\n"
    )


def test_other_courses_are_explained() -> None:
    """An asked node, a lease, a draw, a trial, disabled balancing, an abandoned and an open connection."""
    bench = Bench("se-1", "se-2")
    bench.choose(country="se", session="x")
    texts = [
        bench.brain.explain(choice.decision) or ""
        for choice in (
            bench.choose(node="se-1"),
            bench.choose(country="se", session="x"),
            bench.choose(country="se", strategy="random"),
        )
    ]
    assert "which was asked for" in texts[0]
    assert "where its lease is" in texts[1]
    assert "which drew 0." in texts[2]
    choice = bench.choose(country="se")
    bench.brain.connected(choice, 0.05)
    assert "and is open" in (bench.brain.explain(choice.decision) or "")
    choice = bench.choose(country="se")
    bench.brain.abandoned(choice)
    assert "The client left" in (bench.brain.explain(choice.decision) or "")
    disabled = Bench("se-1", balancing={"enabled": False})
    choice = disabled.choose(country="se")
    assert "balancing is disabled" in (disabled.brain.explain(choice.decision) or "")
