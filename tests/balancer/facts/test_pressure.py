"""Pressure on nodes: told when it begins and when it ends, and only then."""

from random import Random

from proxywatch.balancer.choosing.event import Event
from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.facts.pressure import Pressure
from proxywatch.balancer.measuring import Measuring, Settings
from support.fakes import FakeClock
from support.pools import Bench


def test_cpu_counts_after_five_minutes_and_memory_at_once() -> None:
    """A gap, or a moment of rest, begins it anew."""
    pressure = Pressure()
    assert pressure.look("a", 95.0, 400.0, 0.0) == []
    assert pressure.look("a", 95.0, 400.0, 299.0) == []
    assert [(it.kind, it.began) for it in pressure.look("a", 95.0, 501.0, 300.0)] == [
        ("cpu", True),
        ("memory", True),
    ]
    assert pressure.look("a", 95.0, 501.0, 330.0) == []
    assert [(it.kind, it.began) for it in pressure.look("a", None, 501.0, 360.0)] == [("cpu", False)]
    assert pressure.look("a", 95.0, 501.0, 390.0) == []
    assert [(it.kind, it.began) for it in pressure.look("a", 80.0, 500.0, 420.0)] == [("memory", False)]


async def test_the_pool_is_told() -> None:
    """As an event with its reason; of fresh facts only, and of nodes that are there."""
    bench, clock, told = Bench("se-1", "se-2"), FakeClock(), list[Event]()
    measuring = Measuring(
        bench.brain, list, lambda: Settings(probe.Settings(), speed.Settings(), Exit()), lambda _: None,
        clock=clock, dice=Random(1), tell=told.append,
    )  # fmt: skip
    clock._monotonic = bench.time.now
    bench.facts("se-1", memory_mb=812.0)
    bench.facts("se-2", memory_mb=812.0, age=500)
    measuring.sample()
    measuring.sample()
    assert [(it.type, it.node, it.reason) for it in told] == [
        ("pressure", "se-1", "memory 812 MB, above 500 MB")
    ]
    bench.time.now += 500
    clock._monotonic = bench.time.now
    measuring.sample()
    assert told[-1].type == "relieved"
    measuring.pressure.forget(frozenset())
    assert measuring.pressure.now == {}
