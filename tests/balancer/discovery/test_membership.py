"""Nodes that come and go, in a real pool: drained and not cut, back again, never lost to a source that fails."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Self

import pytest

from proxywatch.balancer.discovery.membership import Membership
from proxywatch.balancer.discovery.sighting import MOST_NODES, Leaving, Sighting, gather, merge
from proxywatch.balancer.discovery.sources import Sources
from proxywatch.balancer.node import Node
from proxywatch.errors import SourceError
from support.fakes import FakeClock, settle
from support.pools import Bench, node


class Pool:
    """A brain whose members come from settings and sources."""

    def __init__(self, *static: str, drain: float = 300.0) -> None:
        self.bench = Bench()
        self.members = Membership(self.bench.brain, drain)
        self.members.set_static([node(it) for it in static], self.bench.time.now)

    def sees(self, *nodes: str | Node, leaving: Mapping[str, Leaving] | None = None) -> None:
        found = {it.id: it for it in (it if isinstance(it, Node) else node(it) for it in nodes)}
        self.members.saw({"test": Sighting(found, leaving or {})}, self.bench.time.now)

    def after(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.bench.after(1)
            self.members.tick(self.bench.time.now)

    @property
    def states(self) -> dict[str, str]:
        return {it.id: it.standing.kind for it in self.bench.brain.pool.roster}

    def reason(self, name: str) -> str:
        candidate = self.bench.brain.pool.roster.get(name)
        assert candidate is not None
        return candidate.standing.reason


def test_an_idle_node_that_goes_is_gone() -> None:
    """Nothing is left on it: nothing has to be waited for."""
    pool = Pool("se-1")
    pool.sees("se-2")
    pool.sees()
    assert set(pool.states) == {"se-1"}


def test_a_node_that_goes_is_drained() -> None:
    """No new requests, its session stays with it, its connection is not cut; it leaves when that has ended."""
    pool = Pool("se-1")
    pool.sees("se-2")
    pool.bench.healthy("se-1", "se-2")
    choice = pool.bench.choose(node="se-2")
    pool.sees()
    assert pool.states["se-2"] == "draining"
    assert "names it no more" in pool.reason("se-2")
    assert set(pool.bench.picks(20, country="se")) == {"se-1"}
    pool.after(10)
    pool.bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
    pool.after(1)
    assert set(pool.states) == {"se-1"}
    assert [event.type for event in pool.bench.events if event.node == "se-2"][-3:] == [
        "draining",
        "drained",
        "left",
    ]


def test_the_deadline_of_a_drain_is_kept() -> None:
    """However long a connection lasts; and its end harms nobody."""
    pool = Pool("se-1", drain=60)
    pool.sees("se-2")
    choice = pool.bench.choose(node="se-2")
    pool.sees()
    pool.after(59)
    assert pool.states["se-2"] == "draining"
    pool.after(2)
    assert "se-2" not in pool.states
    pool.bench.brain.closed(choice, 0, 0, 1.0, "client_closed")


def test_a_node_that_comes_back_serves_again() -> None:
    """Its drain is called off, and its facts are still there."""
    pool = Pool("se-1")
    pool.sees("se-2")
    pool.bench.healthy("se-1", "se-2")
    choice = pool.bench.choose(node="se-2")
    pool.sees()
    pool.sees("se-2")
    assert pool.states["se-2"] == "ready"
    pool.bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
    pool.after(400)
    assert "se-2" in pool.states


def test_a_node_that_is_not_ready_stays_and_gets_nothing() -> None:
    """However long; it serves with the event that says that it is ready."""
    pool = Pool("se-1")
    pool.sees("se-2")
    pool.bench.healthy("se-1", "se-2")
    pool.sees(leaving={"se-2": Leaving("its pod is not ready")})
    pool.after(600)
    assert pool.states["se-2"] == "drained"
    assert pool.reason("se-2") == "it is being drained: its pod is not ready"
    pool.sees("se-2")
    assert pool.states["se-2"] in {"ready", "unseen"}


def test_what_was_never_ready_is_no_member() -> None:
    """It has served nobody."""
    pool = Pool("se-1")
    pool.sees(leaving={"se-2": Leaving("its pod is not ready")})
    assert set(pool.states) == {"se-1"}


def test_a_drain_of_the_operators_is_not_called_off() -> None:
    """A pod that turns ready again is still being drained by whom it was asked for."""
    pool = Pool("se-1")
    pool.sees("se-2")
    choice = pool.bench.choose(node="se-2")
    pool.bench.brain.drain("se-2", 600, "maintenance")
    pool.sees(leaving={"se-2": Leaving("its pod is not ready")})
    pool.sees("se-2")
    assert pool.states["se-2"] == "draining"
    pool.bench.brain.closed(choice, 0, 0, 1.0, "client_closed")


def test_another_instance_under_the_same_name_and_address_is_a_new_node() -> None:
    """Its exit is unseen, whatever was seen of the one before; a drain of that one does not bind it."""
    pool = Pool("se-1")
    old, new = (replace(node("se-2"), instance=uid) for uid in ("a", "b"))
    pool.sees(old)
    pool.bench.healthy("se-1", "se-2")
    choice = pool.bench.choose(node="se-2")
    pool.sees(leaving={"se-2": Leaving("its pod is being deleted")})
    pool.sees(new)
    candidate = pool.bench.brain.pool.roster.get("se-2")
    assert candidate is not None
    assert not candidate.state.facts.collected
    assert pool.states["se-2"] == "unseen"
    pool.bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
    assert candidate.in_flight == 0


def test_labels_may_change_under_open_connections() -> None:
    """The node stays, with what is known of it, and what is in flight is counted down to nothing."""
    pool = Pool()
    pool.sees("se-1")
    pool.bench.healthy("se-1")
    choice = pool.bench.choose(country="se")
    pool.sees(replace(node("se-1"), weight=3.0, city="got", tags=frozenset({"fast"})))
    candidate = pool.bench.brain.pool.roster.get("se-1")
    assert candidate is not None
    assert (candidate.weight, candidate.in_flight, pool.states["se-1"]) == (3.0, 1, "ready")
    assert pool.bench.choose(country="se", city="got").node.id == "se-1"
    pool.bench.brain.closed(choice, 0, 0, 1.0, "client_closed")
    assert candidate.in_flight == 1


def test_thousands_of_new_nodes_join_in_slices() -> None:
    """Fifty at once, the next with the next second; those of the settings all at once."""
    pool = Pool(*(f"de-{number}" for number in range(300)))
    assert len(pool.states) == 300
    nodes = [f"se-{number}" for number in range(250)]
    pool.sees(*nodes)
    assert len(pool.states) == 350
    pool.after(1)
    assert len(pool.states) == 400
    pool.sees(*nodes[1:])
    assert "se-0" not in pool.states
    pool.after(5)
    assert set(pool.states) == {*nodes[1:], *(f"de-{number}" for number in range(300))}


def test_the_settings_win_and_then_the_first_source() -> None:
    """Whoever is left out is named."""
    merged = merge(
        [node("se-1")], {"a": gather([node("se-1"), node("se-2")]), "b": gather([node("se-2"), node("se-3")])}
    )
    assert list(merged.nodes) == ["se-1", "se-2", "se-3"]
    assert merged.faults == (
        "se-1 of a is left out: nodes has a node of that id",
        "se-2 of b is left out: a has a node of that id",
    )


def test_a_source_has_a_bound() -> None:
    """On nodes, and on the words about what is wrong."""
    many = gather([replace(node("se-1"), id=f"n-{number}") for number in range(MOST_NODES + 100)])
    assert len(many.nodes) == MOST_NODES
    twice = gather([node("se-1")] * 100)
    assert len(twice.faults) == 21
    assert twice.faults[-1] == "and 79 more"


@dataclass(eq=False)
class Scripted:
    """A source that plays what it is given: sightings, errors, and None for the end of a watch."""

    script: list[Any]
    asked: list[float] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        self.asked.append(self.clock.monotonic())
        while self.script:
            step = self.script.pop(0)
            if step is None:
                return
            if isinstance(step, Exception):
                raise step
            yield step
        await asyncio.sleep(3600)


class Watching:
    """Sources on a clock of their own."""

    def __init__(self, **sources: Any) -> None:
        self.clock = FakeClock()
        self.saw: list[dict[str, list[str]]] = []
        self.sources = Sources(self._note, clock=self.clock, dice=Random(1))
        for source in sources.values():
            source.clock = self.clock
        self.sources.configure(sources)

    def _note(self, sightings: Mapping[str, Sighting]) -> None:
        self.saw.append({name: list(sighting.nodes) for name, sighting in sightings.items()})

    async def __aenter__(self) -> Self:
        self.task = asyncio.ensure_future(self.sources.run())  # noqa: TID251 - awaited below
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


ONE, TWO = gather([node("se-1")]), gather([node("se-1"), node("se-2")])


async def test_a_source_that_fails_keeps_what_was_known(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked again, its fault is on record and logged once, and so is its end."""
    source = Scripted([TWO, SourceError("gone"), SourceError("gone"), ZeroDivisionError(), ONE])
    async with Watching(test=source) as watching:
        assert watching.saw[-1] == {"test": ["se-1", "se-2"]}
        state = watching.sources.states["test"]
        assert (state.nodes, state.fault, state.failures) == (2, "gone", 1)
        await watching.clock.advance(2)
        assert watching.sources.states["test"].failures == 2
        assert watching.saw[-1] == {"test": ["se-1", "se-2"]}
        await watching.clock.advance(30)
        state = watching.sources.states["test"]
        assert (state.nodes, state.fault, state.failures) == (1, "", 3)
        assert watching.saw[-1] == {"test": ["se-1"]}
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "its 2 nodes stay as they were" in warnings[0].reason  # type: ignore[attr-defined]


async def test_a_source_that_always_fails_is_asked_seldom() -> None:
    """At most ten times in half a minute, and every half minute after that."""
    source = Scripted([SourceError("gone")] * 1000)
    async with Watching(test=source) as watching:
        await watching.clock.advance(30)
        assert len(source.asked) <= 6
        await watching.clock.advance(300)
        assert 12 <= len(source.asked) <= 20


async def test_a_watch_that_ends_is_taken_up_again() -> None:
    """Without a fault."""
    async with Watching(test=Scripted([ONE, None, TWO])) as watching:
        await watching.clock.advance(3)
        assert watching.saw[-1] == {"test": ["se-1", "se-2"]}
        assert watching.sources.states["test"].failures == 0


async def test_a_source_that_was_left_out_may_still_say_something() -> None:
    """Between the reload and its end."""
    async with Watching(test=Scripted([ONE])) as watching:
        watching.sources.configure({})
        watching.sources._take("test", TWO)
        watching.sources._fail("test", "gone")
        await settle()
        assert watching.saw[-1] == {}
        assert watching.sources.states == {}


async def test_sources_change_at_a_reload() -> None:
    """One that is left out takes its nodes along; one that stays is not disturbed."""
    kept, dropped, new = (
        Scripted([ONE]),
        Scripted([gather([node("de-1")])]),
        Scripted([gather([node("fr-1")])]),
    )
    async with Watching(kept=kept, dropped=dropped) as watching:
        new.clock = watching.clock
        watching.sources.configure({"kept": kept, "new": new})
        await settle()
        assert watching.saw[-1] == {"kept": ["se-1"], "new": ["fr-1"]}
        assert set(watching.sources.states) == {"kept", "new"}
        assert len(kept.asked) == 1
