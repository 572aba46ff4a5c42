"""Replay: a journal's own strategy gives the same choices; another one is judged beside it."""

import json
from random import Random

import msgspec
import pytest

from proxywatch.balancer.attempt import Choice, Failure
from proxywatch.balancer.choosing.decision import document
from proxywatch.balancer.choosing.replay import recorded, replay, report
from proxywatch.balancer.choosing.strategy.table import OWN
from support.pools import Bench, node


def journal(strategy: str, nodes: int = 6, seed: int = 1, bias: float = 1.0) -> list[dict[str, object]]:
    """Half an hour of requests, some failing, some of sessions, as JSON lines would hold them."""
    dice = Random(seed)
    pool = [node(f"se-{at:02}", weight=1.0 + at % 2) for at in range(nodes)]
    bench = Bench(*pool, seed=seed, balancing={"strategy": strategy, "bias": bias})
    bench.set(*pool[1:])
    bench.set(*pool)  # one that starts slowly
    open_: list[tuple[float, Choice]] = []
    for step in range(400):
        bench.after(dice.random() * 3)
        if step % 20 == 0:
            for at, it in enumerate(pool):
                bench.healthy(
                    it.id, server_latency_ms=40.0 + 30 * dice.random() + 5 * at, connections=dice.random() * 9
                )
        request = bench.request(country="se", session="x" if step % 10 == 0 else "")
        choice = bench.brain.choose(request)
        tried: tuple[str, ...] = ()
        while isinstance(choice, Choice) and dice.random() < 0.1:
            tried = (*tried, choice.node.id)
            bench.brain.failed(choice, Failure("node", "socks_general", 0.2))
            choice = bench.brain.choose(request, tried)
        if isinstance(choice, Choice):
            bench.brain.connected(choice, 0.05)
            open_.append((bench.time.now + dice.random() * 60, choice))
        for end, over in [one for one in open_ if one[0] <= bench.time.now]:
            bench.brain.closed(over, 0, 0, dice.random() * 60, "client_closed")
            open_.remove((end, over))
    for _, over in open_:
        bench.brain.closed(over, 0, 0, 1.0, "client_closed")
    return [json.loads(msgspec.json.encode(document(decision))) for decision in bench.finished]


@pytest.mark.parametrize("strategy", list(OWN))
@pytest.mark.parametrize("nodes", [2, 6, 30])
def test_own_strategy_gives_the_same_choices(strategy: str, nodes: int) -> None:
    """Every one of them, draws, retries, leases and slow starts included, in small pools and large."""
    records = journal(strategy, nodes)
    outcome = replay(records, Random(99))
    assert outcome.picks > 400
    assert outcome.same == outcome.picks
    again = msgspec.structs.replace(recorded(records), name=outcome.name)
    assert again == outcome


def test_another_bias() -> None:
    """Bias 0, the documented maximum, herds; the journal's own bias does not."""
    records = journal("health_score", 6)
    ours, literal = replay(records, Random(1)), replay(records, Random(1), bias=0.0)
    assert literal.same < ours.same
    assert literal.peak > 1.5 * ours.peak
    assert literal.fairness < ours.fairness


def test_another_strategy() -> None:
    """Same dice, same answer; side by side as a table."""
    records = journal("health_score", 6)
    others = [replay(records, Random(1), strategy=name) for name in OWN]
    assert others == [replay(records, Random(1), strategy=name) for name in OWN]
    table = report([recorded(records), *others])
    assert len(table.splitlines()) == 2 + len(OWN)
    assert "Jain's index" in table.splitlines()[0]


def test_the_later_line_of_a_decision_counts() -> None:
    """A journal may hold a decision twice."""
    records = journal("round_robin", 2)
    assert replay([*records, *records[:50]], Random(1)) == replay(records, Random(1))


def test_an_empty_journal() -> None:
    """Nothing to choose, and no division by nothing."""
    outcome = replay([], Random(1))
    assert (outcome.picks, outcome.peak, outcome.fairness, outcome.switches) == (0, 0, 1.0, 0.0)


def test_unknown_strategy() -> None:
    """Is told apart from a fault of the journal."""
    with pytest.raises(KeyError):
        replay(journal("random", 2), Random(1), strategy="fastest")
