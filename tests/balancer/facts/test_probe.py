"""Probes through nodes: what a round tells the pool, whom it blames, and who is probed at all."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.facts.probe import Probes
from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.measuring import Measuring, Settings
from proxywatch.balancer.node import Node
from proxywatch.probe.request import Request
from proxywatch.quantity import Url
from support.fakes import FakeClock
from support.pools import Bench, node
from support.probing import failure, success

TARGETS = tuple(Url(f"http://{letter}.example/") for letter in "abc")


class Far:
    """What is behind the nodes: seconds that a target takes through a node, or None where it is not reached."""

    def __init__(self, answers: Callable[[str, str], float | None]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    async def ask(self, through: Node, request: Request) -> Reply:
        return self._reply(through.id, request)

    async def ask_directly(self, request: Request) -> Reply:
        return self._reply("", request)

    def _reply(self, name: str, request: Request) -> Reply:
        self.asked.append((name, request.url))
        seconds = self.answers(name, request.url)
        if seconds is None:
            return Reply(failure(request, "socks", "general"), reason="socks: general")
        return Reply(success(request, seconds))


class Probing:
    """A pool whose nodes are probed when a test says so."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.bench = Bench(*names)
        self.clock = FakeClock()
        self.clock._monotonic = self.bench.time.now
        self.far = Far(lambda _, __: 0.05)
        self.probes = Probes(
            self.far, self.bench.brain, lambda: probe.Settings(targets=TARGETS, **settings), self.clock
        )

    async def round(self, *names: str, seconds: float = 30.0) -> None:
        self.clock._monotonic += seconds
        self.bench.time.now = self.clock.monotonic()
        for name in names:
            await self.probes.probe(node(name))

    def fact(self, name: str, fact: str) -> Any:
        candidate = self.bench.brain.pool.roster.get(name)
        assert candidate is not None
        known = candidate.state.facts.collected.get(fact)
        return None if known is None else known.value

    def uplink(self) -> bool | None:
        return self.probes.uplink

    def state(self, name: str) -> str:
        candidate = self.bench.brain.pool.roster.get(name)
        assert candidate is not None
        return candidate.standing.kind


async def test_latency_is_the_median_of_what_answered_and_failures_are_a_rate() -> None:
    """B15: an endpoint that fails is not left out of both figures, and one far endpoint does not pull the latency."""
    probing = Probing("se-1")
    times = {TARGETS[0]: 0.05, TARGETS[1]: 0.06, TARGETS[2]: 4.0}
    probing.far.answers = lambda _, url: times[Url(url)]
    await probing.round("se-1")
    assert probing.fact("se-1", "proxy_latency_ms") == pytest.approx(60)
    assert probing.fact("se-1", "success_rate_percent") == 100
    probing.far.answers = lambda _, url: 0.05 if url == TARGETS[0] else None
    await probing.round("se-1")
    assert probing.fact("se-1", "proxy_latency_ms") == pytest.approx(50)
    assert probing.fact("se-1", "success_rate_percent") == pytest.approx(100 * 4 / 6)


async def test_a_round_that_fails_sets_no_latency() -> None:
    """B15: neither nothing divided by nothing, nor the last good value as if it were new."""
    probing = Probing("se-1")
    await probing.round("se-1")
    first = probing.bench.brain.pool.roster.get("se-1")
    assert first is not None
    before = first.state.facts.collected["proxy_latency_ms"]
    probing.far.answers = lambda _, __: None
    await probing.round("se-1")
    assert first.state.facts.collected["proxy_latency_ms"] is before
    assert probing.probes.states["se-1"].latency_ms is None


async def test_rates_are_of_the_last_minutes_and_no_data_is_no_rate() -> None:
    """B16: nothing is frozen and nothing remembered for ever; what was not measured is None and not 100."""
    probing = Probing("se-1", "se-2")
    assert probing.fact("se-1", "success_rate_percent") is None
    probing.far.answers = lambda _, __: None
    await probing.round("se-1")
    assert probing.fact("se-1", "success_rate_percent") == 0
    probing.far.answers = lambda _, __: 0.05
    await probing.round("se-1", seconds=301)
    assert probing.fact("se-1", "success_rate_percent") == 100


async def test_one_target_alone_is_refused() -> None:
    """B17: its outage would be that of the pool."""
    with pytest.raises(ValueError, match="two or more"):
        probe.Settings(targets=TARGETS[:1])


async def test_the_outage_of_one_target_fails_nobody() -> None:
    """B17: the others are a quorum."""
    probing = Probing("se-1", "se-2", "se-3")
    probing.far.answers = lambda _, url: None if url == TARGETS[0] else 0.05
    for _ in range(5):
        await probing.round("se-1", "se-2", "se-3")
    assert not any(state.fault for state in probing.probes.states.values())


async def test_an_outage_of_all_targets_blames_nobody() -> None:
    """B17: when nobody reaches them, the targets or our own uplink are to blame."""
    probing = Probing("se-1", "se-2", "de-1")
    await probing.round("se-1", "se-2", "de-1")
    probing.far.answers = lambda _, __: None
    for _ in range(10):
        await probing.round("se-1", "se-2", "de-1", seconds=45)
    states = [it.state.health for it in probing.bench.brain.pool.roster]
    assert not any(health.ejected for health in states)
    assert not probing.probes.states["se-1"].blamed
    assert probing.probes.states["se-1"].failures == 10


async def test_an_outage_right_after_a_good_round_ejects_nobody_either() -> None:
    """B17: that others reached the targets before this node's last round is no evidence any more."""
    probing = Probing("se-1", "se-2", "se-3", "se-4")
    for _ in range(3):
        await probing.round("se-1", "se-2", "se-3", "se-4")
    probing.far.answers = lambda _, __: None
    for _ in range(8):
        for name in ("se-1", "se-2", "se-3", "se-4"):
            await probing.round(name, seconds=0.25)
    assert not any(it.state.health.ejected for it in probing.bench.brain.pool.roster)


async def test_a_node_that_reaches_nothing_while_others_do_is_ejected_and_comes_back() -> None:
    """After as many rounds as `ejection.failures`; two good rounds bring it back."""
    probing = Probing("se-1", "se-2", "se-3")
    probing.far.answers = lambda name, _: None if name == "se-1" else 0.05
    for _ in range(3):
        await probing.round("se-2", "se-3", "se-1")
    assert probing.state("se-1") == "ejected"
    probing.far.answers = lambda _, __: 0.05
    for _ in range(3):
        await probing.round("se-2", "se-3", "se-1")
    assert probing.state("se-1") in {"ready", "unseen"}


async def test_the_only_node_is_no_evidence_against_itself() -> None:
    """It reached the targets a moment ago; that they are up now nobody knows."""
    probing = Probing("se-1")
    await probing.round("se-1")
    probing.far.answers = lambda _, __: None
    await probing.round("se-1")
    assert not probing.probes.states["se-1"].blamed


async def test_a_node_that_serves_is_asked_where_no_other_was_probed() -> None:
    """Others have real traffic and are not probed: one of them says whether the targets are there."""
    probing = Probing("se-1", "se-2")
    probing.probes._witness = lambda _: node("se-2")
    probing.far.answers = lambda name, _: None if name == "se-1" else 0.05
    await probing.round("se-1")
    assert probing.probes.states["se-1"].blamed
    probing.far.answers = lambda _, __: None
    await probing.round("se-1")
    assert not probing.probes.states["se-1"].blamed


async def test_the_guard_tells_our_uplink_from_the_nodes() -> None:
    """B17: with it, one node alone can be blamed; without an uplink nobody is."""
    probing = Probing("se-1")
    probing.far.answers = lambda name, _: None if name else 0.05
    await probing.probes.look_at_uplink()
    assert probing.uplink() is True
    await probing.round("se-1")
    assert probing.probes.states["se-1"].blamed
    probing.far.answers = lambda _, __: None
    await probing.probes.look_at_uplink()
    assert probing.uplink() is False
    await probing.round("se-1")
    assert not probing.probes.states["se-1"].blamed


async def test_what_is_our_own_fault_is_not_the_nodes() -> None:
    """Out of ports, or a hop that is down: neither a failure nor part of the rate."""
    probing = Probing("se-1", "se-2")
    await probing.round("se-2")

    async def ours(through: Node, request: Request) -> Reply:
        assert through.id != request.url
        return Reply(None, reason="the hop does not answer in time", ours=True)

    probing.far.ask = ours  # type: ignore[method-assign]
    await probing.round("se-1")
    assert not probing.probes.states["se-1"].blamed
    assert probing.fact("se-1", "success_rate_percent") is None


class Measured(Probing):
    """With the daemon's own loops."""

    def __init__(self, *names: str, **settings: Any) -> None:
        super().__init__(*names)
        self.settings = Settings(
            probe.Settings(targets=TARGETS, **settings), speed.Settings(enabled=False), Exit(urls=())
        )
        self.measuring = Measuring(
            self.bench.brain, lambda: [it.node for it in self.bench.brain.pool.roster], lambda: self.settings,
            lambda _: None, clock=self.clock, dice=Random(1),
        )  # fmt: skip

    def quiet(self, name: str) -> bool:
        return self.measuring._quiet(node(name))


def test_only_nodes_of_which_nobody_tells_are_probed() -> None:
    """Not those with real traffic, nor those whose sidecar measures; those that are out are, as it brings them back."""
    measured = Measured("se-1", "se-2", "se-3")
    bench = measured.bench
    assert all(map(measured.quiet, ("se-1", "se-2", "se-3")))
    bench.facts("se-1", proxy_latency_ms=50.0)
    choice = bench.choose(node="se-2")
    bench.brain.connected(choice, 0.05)
    assert [measured.quiet(it) for it in ("se-1", "se-2", "se-3")] == [False, False, True]
    bench.brain.drain("se-3", 60)
    assert not measured.quiet("se-3")
    bench.time.now += 100
    measured.clock._monotonic = bench.time.now
    assert [measured.quiet(it) for it in ("se-1", "se-2")] == [True, True]


def test_a_busy_node_is_not_marked_down_because_nobody_probes_it() -> None:
    """Old facts of probes are overtaken by the traffic that made probing needless."""
    measured = Measured("se-1")
    bench = measured.bench
    bench.facts("se-1", "probe", proxy_latency_ms=50.0, success_rate_percent=50.0)
    candidate = bench.brain.pool.roster.get("se-1")
    assert candidate is not None
    assert candidate.score <= 59
    bench.time.now += 120
    choice = bench.choose(node="se-1")
    bench.brain.connected(choice, 0.05)
    bench.brain.pool.refresh(candidate, bench.time.now)
    assert candidate.score > 90
    bench.time.now += 120
    bench.brain.pool.refresh(candidate, bench.time.now)
    assert candidate.score <= 59


def test_an_instance_of_a_node_that_left_is_forgotten() -> None:
    """Its states go with it."""
    measured = Measured("se-1")
    measured.measuring.probes.states["se-9"] = probe.ProbeState(0.0, None, None)
    measured.measuring.probes.forget([replace(node("se-1"))])
    assert not measured.measuring.probes.states
