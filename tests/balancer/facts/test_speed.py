"""Speed tests: what they show, what they cost, one at a time, within a budget that holds over a simulated week."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.facts import goodput
from proxywatch.balancer.facts.budget import DAY, Budget
from proxywatch.balancer.facts.goodput import STEPS, bound_mbps, mbps, rtt_bound, size_for
from proxywatch.balancer.facts.rounds import Rounds
from proxywatch.balancer.facts.speed import SLACK, DailySize, Settings, Speed, SpeedResult, SpentError, figure
from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.node import Node
from proxywatch.errors import ParseError
from proxywatch.probe.outcome import Phases, Transfer
from proxywatch.probe.request import Request
from proxywatch.quantity import Duration, Size
from support.fakes import FakeClock, settle
from support.pools import Bench, node


class Line:
    """A way with a round trip and a speed, over which bodies go as TCP sends them when it starts slowly."""

    def __init__(self, clock: FakeClock, rtt: float = 0.05, speed: float = 12.5e6) -> None:
        self.clock = clock
        self.rtt = rtt
        self.speed = speed
        self.fails_after: int | None = None
        self.at_once = False
        self.now = 0
        self.most_at_once = 0
        self.asked: list[Request] = []
        self.passed: Callable[[], None] = lambda: None

    async def ask(self, _: Node, request: Request) -> Reply:
        self.asked.append(request)
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        size = request.limit if self.fails_after is None else min(self.fails_after, request.limit)
        body = max(size / self.speed, goodput.round_trips(size) * self.rtt)
        total = body + 4 * self.rtt
        if self.at_once:
            self.clock._monotonic += total
        else:
            await self.clock.sleep_until(self.clock.monotonic() + total)
        self.now -= 1
        self.passed()
        bad = size < request.limit
        transfer = Transfer(
            "id", "speed", request.url, self.clock.now() - total, total,
            Phases(self.rtt, self.rtt, None, self.rtt, None if bad else body),
            stage="transfer" if bad else None, reason="reset" if bad else None, status=200, bytes=size,
            speed=size / body,
        )  # fmt: skip
        return Reply(transfer, reason="transfer: reset" if bad else "")


class Testing:
    """Nodes whose speed is tested."""

    __test__ = False

    def __init__(self, count: int = 1, **settings: Any) -> None:
        self.nodes = [node(f"se-{number}") for number in range(1, count + 1)]
        self.bench = Bench(*self.nodes)
        self.clock = FakeClock()
        self.clock._monotonic = self.bench.time.now
        self.line = Line(self.clock)
        self.line.passed = self._passed
        self.settings = Settings(**settings)
        self.heard: list[SpeedResult] = []
        self.speed = Speed(
            self.line, self.bench.brain, lambda: self.settings, self.clock,
            nodes=lambda: len(self.nodes), heard=self.heard.append,
        )  # fmt: skip

    def _passed(self) -> None:
        self.bench.time.now = self.clock.monotonic()

    async def test(self, number: int = 0) -> SpeedResult | None:
        task = asyncio.ensure_future(self.speed.test(self.nodes[number]))  # noqa: TID251 - awaited below
        while not task.done():
            await self.clock.advance(1)
        await task
        return self.speed.latest(self.nodes[number].id)

    def fact(self) -> Any:
        candidate = self.bench.brain.pool.roster.get("se-1")
        assert candidate is not None
        known = candidate.state.facts.collected.get("speed_mbps")
        return None if known is None else known.value


async def test_megabits_are_of_ten_to_the_sixth() -> None:
    """B13: 25.4 Mbit/s is shown as that, not as 24.2; bytes and seconds are kept beside it."""
    assert mbps(3_175_000, 1.0) == pytest.approx(25.4)
    testing = Testing()
    result = await testing.test()
    assert result is not None
    assert result.size_bytes == 1_000_000
    assert result.download_mbps == pytest.approx(8 * result.size_bytes / result.time_seconds / 1e6)


@pytest.mark.parametrize(("rtt", "most"), [(0.05, 14.5), (0.1, 7.3), (0.15, 4.8), (0.2, 3.6)])
async def test_one_megabyte_measures_the_round_trip(rtt: float, most: float) -> None:
    """B14: on a line of 100 Mbit/s the figure is the way's; it is marked, and does not take the node for a slow one."""
    assert bound_mbps(1_000_000, rtt) == pytest.approx(most, abs=0.05)
    testing = Testing()
    testing.line.rtt = rtt
    result = await testing.test()
    assert result is not None
    assert result.download_mbps == pytest.approx(most, abs=0.05)
    assert result.rtt_bound
    assert result.goodput_mbps is None
    assert testing.fact() == (pytest.approx(most, abs=0.05) if most > 10 else None)


async def test_goodput_is_of_two_seconds_and_more_and_sizes_grow_for_it() -> None:
    """B14: a slow line is measured by one megabyte; a fast one by ten and by 25, once the budget allows them."""
    slow = Testing()
    slow.line.speed = 0.3e6
    result = await slow.test()
    assert result is not None
    assert result.goodput_mbps == pytest.approx(2.4)
    assert not result.rtt_bound
    assert slow.fact() == pytest.approx(2.4)
    fast = Testing()
    fast.line.speed = 12.5e6
    sizes = []
    for _ in range(3):
        result = await fast.test()
        assert result is not None
        sizes.append(result.size_bytes)
    assert sizes == [1_000_000, 10_000_000, 25_000_000]
    assert result is not None
    assert result.goodput_mbps == pytest.approx(100)
    assert fast.fact() == pytest.approx(100)
    poor = Testing(budget=DailySize(40_000_000))
    assert [(await poor.test() or result).size_bytes for _ in range(3)] == [1_000_000] * 3


def test_sizes_grow_inside_the_share() -> None:
    """B14: never beyond it, and back again when the line has become slow."""
    sizes = [step * 1_000_000 for step in STEPS]
    assert size_for(sizes, None, 1e9) == 1_000_000
    assert size_for(sizes, 3e6, 1e9) == 10_000_000
    assert size_for(sizes, 1e9, 1e9) == 25_000_000
    assert size_for(sizes, 1e9, 12e6) == 10_000_000
    assert size_for(sizes, 1e9, 100) == 1_000_000
    assert size_for(sizes, 0.4e6, 1e9) == 1_000_000


def test_a_line_that_is_slower_than_the_round_trip_allows_is_not_bound_by_it() -> None:
    """B14: then the figure is the line's."""
    assert rtt_bound(1_000_000, 0.55, 0.05)
    assert not rtt_bound(1_000_000, 4.0, 0.05)
    assert not rtt_bound(1_000_000, 4.0, None)


async def test_the_latest_result_outlives_the_interval_and_equal_ones_are_two() -> None:
    """B18: it counts for twice the interval and a test; results are numbered; a day of them is kept."""
    testing = Testing(interval=Duration(3600))
    first = await testing.test()
    await testing.clock.advance(3600 + 60)
    assert testing.speed.latest("se-1") == first
    second = await testing.test()
    assert first is not None
    assert second is not None
    assert second.id == first.id + 1
    assert len(testing.speed.history("se-1")) == 2
    await testing.clock.advance(2 * 3600 + 61)
    assert testing.speed.latest("se-1") is None
    await testing.clock.advance(DAY)
    assert testing.speed.history("se-1") == []


async def test_times_are_unix_times_and_durations_monotonic() -> None:
    """B19: a clock that is set back an hour changes the stamp, and no duration."""
    testing = Testing()
    first = await testing.test()
    testing.clock.step(-3600)
    second = await testing.test()
    assert first is not None
    assert second is not None
    assert first.at == pytest.approx(1_795_262_692.0, abs=testing.bench.time.now)
    assert second.at < first.at
    assert second.time_seconds >= 0


async def test_nodes_are_tested_one_at_a_time_and_not_in_step() -> None:
    """B20: they share one uplink; whether on schedule or asked for."""
    testing = Testing(20)
    rounds = Rounds(
        testing.speed.test, lambda: testing.nodes, testing.speed.interval, at_once=1, clock=testing.clock,
        dice=Random(1), spread=60.0,
    )  # fmt: skip
    tasks = [asyncio.ensure_future(it) for it in (rounds.run(), testing.speed.serve())]  # noqa: TID251 - cancelled below
    await settle()
    assert len(testing.speed.ask(testing.nodes)) == 20
    for _ in range(3000):
        await testing.clock.advance(1)
    for task in tasks:
        task.cancel()
    assert testing.line.most_at_once == 1
    assert testing.speed.tests >= 40
    times = sorted(round(result.at) for result in testing.heard[20:])
    gaps = {later - earlier for earlier, later in pairwise(times)}
    assert len(gaps) > 5


async def test_a_test_that_fails_costs_what_it_read() -> None:
    """At most its size: the rest of what was reserved is given back."""
    testing = Testing()
    testing.line.fails_after = 1234
    await testing.test()
    result = testing.speed.history("se-1")[0]
    assert (result.ok, result.size_bytes, result.download_mbps) == (False, 1234, None)
    assert testing.speed.budget_state().spent_bytes == 1234
    assert testing.speed.budget.reserved == 0
    assert figure(result) is None


async def test_a_test_that_is_cancelled_costs_what_was_reserved() -> None:
    """Nobody knows what it read."""
    testing = Testing()
    task = asyncio.ensure_future(testing.speed.test(testing.nodes[0]))  # noqa: TID251 - cancelled below
    await settle()
    assert testing.speed.running == "se-1"
    task.cancel()
    await settle()
    assert testing.speed.budget.spent(testing.clock.monotonic()) == 1_000_000 + SLACK
    assert testing.speed.running == ""


async def test_a_budget_that_is_spent_is_said() -> None:
    """A test that is asked for is refused, one on schedule skipped and counted; nothing is fetched."""
    testing = Testing(budget=DailySize(1_500_000))
    await testing.test()
    assert len(testing.line.asked) == 1
    await testing.test()
    assert (len(testing.line.asked), testing.speed.skipped) == (1, 1)
    with pytest.raises(SpentError, match="minutes"):
        testing.speed.ask(testing.nodes)
    await testing.clock.advance(DAY + 300)
    assert testing.speed.ask(testing.nodes) == ["se-1"]


@pytest.mark.parametrize("count", [1, 3, 40, 700])
async def test_the_budget_is_never_exceeded_over_a_week(count: int) -> None:
    """Scheduled tests of every size, far more that are asked for, failures: never is more spent in 24 hours."""
    testing = Testing(count, budget=DailySize(200_000_000))
    dice = Random(count)
    clock, speed, limit = testing.clock, testing.speed, testing.settings.budget
    testing.line.at_once = True
    spent: list[tuple[float, int]] = []
    most = 0
    due = [(clock.monotonic() + dice.uniform(0, speed.interval()), it) for it in range(count)]
    end = clock.monotonic() + 7 * DAY
    while clock.monotonic() < end:
        due.sort()
        at, number = due.pop(0)
        clock._monotonic = max(clock.monotonic(), at)
        testing.line.speed, testing.line.rtt = dice.choice([0.2e6, 3e6, 12e6]), dice.choice([0.01, 0.1])
        testing.line.fails_after = dice.choice([None, None, 5000, 900_000])
        for each in (number, *dice.choices(range(count), k=max(4, 30 // count))):
            asked = len(testing.line.asked)
            await speed.test(testing.nodes[each])
            if len(testing.line.asked) > asked:
                spent.append((clock.monotonic(), speed.history(testing.nodes[each].id)[0].size_bytes))
            most = max(most, sum(size for then, size in spent if then > clock.monotonic() - DAY))
        spent = [(then, size) for then, size in spent if then > clock.monotonic() - DAY]
        due.append((at + speed.interval() * dice.uniform(0.9, 1.1), number))
    assert 0.9 * limit < most <= limit
    assert speed.skipped > 0


def test_the_interval_grows_where_the_budget_is_too_small_for_it() -> None:
    """So that each node has its turn."""
    assert Testing(3).speed.interval() == 3600
    many = Testing(700, budget=DailySize(200_000_000))
    per_day = 700 * DAY / many.speed.interval()
    assert per_day * (1_000_000 + SLACK) == pytest.approx(0.8 * 200_000_000)
    assert Testing(700, budget=DailySize(0)).speed.interval() == 3600
    assert Testing(1, enabled=False).speed.interval() == float("inf")


@given(st.lists(st.tuples(st.floats(0, 40_000), st.integers(0, 400), st.floats(0, 1)), max_size=40))
def test_whatever_is_reserved_and_spent_the_budget_holds(steps: list[tuple[float, int, float]]) -> None:
    """In any 24 hours; and what is given back can be spent again."""
    budget, now, spent = Budget(1000), 0.0, []
    for wait, size, share in steps:
        now += wait
        if budget.reserve(size, now):
            assert budget.left(now) >= 0
            used = int(size * share)
            budget.settle(size, used, now)
            spent.append((now, used))
        assert sum(used for at, used in spent if at > now - DAY) <= 1000
    assert budget.left(now + 2 * DAY) == 1000


@pytest.mark.parametrize("text", ["1GB", "1GB per day", "1GB/day", "1000000000"])
def test_a_budget_may_say_that_it_is_of_a_day(text: str) -> None:
    """As people write it."""
    assert DailySize.parse(text) == 1_000_000_000
    with pytest.raises(ParseError, match="per day"):
        DailySize.parse("1GB per week")
    assert Settings().bytes == Size(1_000_000)
