"""The round of all sidecars, on a clock of its own and with sidecars that behave as told."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from random import Random

from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.facts.sidecar import Sidecars
from proxywatch.balancer.node import Node, Upstream
from proxywatch.errors import SourceError
from support.fakes import FakeClock


def node_of(number: int) -> Node:
    return Node(
        f"n-{number}", "se", Upstream("socks5", "10.0.0.1", 1080), sidecar=f"http://10.0.0.{number}:9090"
    )


class Pool:
    """Nodes whose sidecars a test lets fail."""

    def __init__(self, count: int) -> None:
        self.clock = FakeClock()
        self.nodes = [node_of(number) for number in range(count)]
        self.fetched: list[tuple[float, str]] = []
        self.learned: list[tuple[str, Mapping[str, Fact]]] = []
        self.broken: dict[str, Exception] = {}
        self.cpu = 0.0
        self.sidecars = Sidecars(
            lambda: self.nodes,
            lambda name, facts: self.learned.append((name, facts)),
            self.fetch,
            interval=lambda: 30.0,
            clock=self.clock,
            dice=Random(1),
        )

    async def fetch(self, node: Node) -> str:
        self.fetched.append((self.clock.monotonic(), node.id))
        if node.id in self.broken:
            raise self.broken[node.id]
        self.cpu += 3.0
        return f"proxy_latency_ms 50\nproxy_pod_cpu_seconds_total {self.cpu}\n"

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            await self.clock.advance(1)
            await asyncio.sleep(0.001)  # readings are parsed in a thread


@asynccontextmanager
async def running(pool: Pool) -> AsyncIterator[None]:
    task = asyncio.ensure_future(pool.sidecars.run())  # noqa: TID251 - awaited below
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_sidecar_is_fetched_once_per_interval_at_a_moment_of_its_own() -> None:
    """Spread over time, every one of them, again and again."""
    pool = Pool(20)
    async with running(pool):
        await pool.pass_time(95)
    times: dict[str, list[float]] = {}
    for at, name in pool.fetched:
        times.setdefault(name, []).append(at)
    assert len(times) == 20
    assert all(3 <= len(moments) <= 4 for moments in times.values())
    gaps = [b - a for moments in times.values() for a, b in pairwise(moments)]
    assert all(26 <= gap <= 34 for gap in gaps)
    assert len({at for at, _ in pool.fetched[-20:]}) > 5


async def test_facts_arrive_with_cpu_from_the_second_reading_on() -> None:
    """The first reading cannot tell it."""
    pool = Pool(1)
    async with running(pool):
        await pool.pass_time(70)
    first, second = pool.learned[0][1], pool.learned[1][1]
    assert first["proxy_latency_ms"].value == 50.0
    assert "cpu_percent" not in first
    assert 8 < float(second["cpu_percent"].value) < 12
    assert pool.sidecars.states["n-0"].fault == ""


async def test_a_sidecar_that_fails_is_on_record_and_harms_nobody() -> None:
    """Its fault in words, whatever it raises; the others go on."""
    pool = Pool(2)
    pool.broken["n-0"] = SourceError("sidecar: no answer")
    async with running(pool):
        await pool.pass_time(3)
        assert pool.sidecars.states["n-0"].fault == "sidecar: no answer"
        assert pool.sidecars.states["n-1"].fault == ""
        pool.broken["n-0"] = ZeroDivisionError()
        await pool.pass_time(40)
        assert "ZeroDivisionError" in pool.sidecars.states["n-0"].fault
        del pool.broken["n-0"]
        await pool.pass_time(40)
        assert pool.sidecars.states["n-0"].fault == ""
        assert pool.sidecars.states["n-0"].failures >= 2


async def test_nodes_come_and_go() -> None:
    """One that joins is fetched at once; one that leaves is forgotten."""
    pool = Pool(1)
    async with running(pool):
        await pool.pass_time(3)
        pool.nodes.append(node_of(7))
        await pool.pass_time(3)
        assert "n-7" in pool.sidecars.states
        pool.nodes = pool.nodes[1:]
        await pool.pass_time(3)
        assert list(pool.sidecars.states) == ["n-7"]
        count = len(pool.fetched)
        await pool.pass_time(60)
        assert {name for _, name in pool.fetched[count:]} == {"n-7"}
