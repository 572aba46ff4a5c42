"""The runner: single flight, timeouts, judgement, back-off, and one log line per change of state."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from proxywatch.errors import NoData, ParseError, SourceError
from proxywatch.exporter.runner import Scrape, Settings
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.metrics.registry import Registry
from support.fakes import FakeClock, settle

VALUE = metric.gauge("fake_value", "How often it was updated.")


class FakeCollector:
    """Counts its updates; does whatever `act` says."""

    name = "fake"
    timeout = 0.02

    def __init__(self, act: Callable[[], None] = lambda: None, name: str = "fake") -> None:
        self.name = name
        self.act = act
        self.updates = 0
        self.hang = False
        self.family = VALUE if name == "fake" else metric.gauge(f"{name}_value", "Another one.")

    def describe(self) -> Sequence[Family]:
        return (self.family,)

    async def update(self) -> None:
        self.updates += 1
        if self.hang:
            await asyncio.Event().wait()
        self.act()

    def collect(self) -> Iterator[Metric]:
        yield self.family.value(self.updates)

    async def examine(self) -> Sequence[Finding]:
        return []

    def status(self) -> msgspec.Struct | None:
        return None


class FakeWatcher(FakeCollector):
    """Due every ten seconds."""

    def __init__(self, clock: FakeClock, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(act)
        self.clock = clock
        self.due_error: Exception | None = None

    async def due(self) -> None:
        if self.due_error:
            raise self.due_error
        await self.clock.sleep_until(self.clock.monotonic() + 10)


def runner(clock: FakeClock, *collectors: FakeCollector, steady: Sequence[str] = ()) -> Scrape:
    registry = Registry({"proxy_name": "golden-crab"})
    for collector in collectors:
        registry.register(collector)
    return Scrape(registry, Settings(), clock, steady)


def fail(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


async def test_a_hundred_who_ask_at_once_share_one_update() -> None:
    """Scrape, status page and readiness together cost one reading."""
    clock, collector = FakeClock(), FakeCollector()
    scrape = runner(clock, collector)
    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(scrape.serve())
        await asyncio.gather(*(scrape.refresh() for _ in range(100)))
        await scrape.refresh()
        server.cancel()
    assert collector.updates == 1


async def test_readings_are_updated_again_after_max_age() -> None:
    """A reading of a second ago is served again, an older one is not."""
    clock, collector = FakeClock(), FakeCollector()
    scrape = runner(clock, collector)
    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(scrape.serve())
        await scrape.refresh()
        await clock.advance(0.9)
        await scrape.refresh()
        assert collector.updates == 1
        await clock.advance(0.2)
        await scrape.refresh()
        assert collector.updates == 2
        server.cancel()


async def test_the_heartbeat_refreshes_when_nobody_asks() -> None:
    """The tunnel's state machine has its samples also without a scrape; the others are read less often."""
    clock, collector, tunnel = FakeClock(), FakeCollector(), FakeCollector(name="tunnel")
    scrape = runner(clock, collector, tunnel, steady=["tunnel"])
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(scrape.serve()), tasks.create_task(scrape.heartbeat())]
        await clock.advance(60)
        assert tunnel.updates == pytest.approx(13, abs=1)
        assert collector.updates == pytest.approx(4, abs=1)
        for task in running:
            task.cancel()


async def test_a_hanging_collector_is_timed_out_and_the_others_are_served() -> None:
    """One that hangs costs a scrape its timeout once, then is left alone for longer and longer."""
    clock, hanging, good = FakeClock(), FakeCollector(), FakeCollector(name="good")
    hanging.hang = True
    scrape = runner(clock, hanging, good)
    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(scrape.serve())
        for _ in range(30):
            await scrape.refresh()
            await clock.advance(2)
        server.cancel()
    assert good.updates == 30
    assert hanging.updates == 5  # at 0, 2, 6, 14, 30 s
    assert scrape.outcomes["fake"].reason == "timeout"
    assert scrape.outcomes["good"].success


async def test_a_scrape_waits_no_longer_than_its_patience() -> None:
    """The scraper's own timeout bounds the wait, whatever a collector does."""
    clock, hanging = FakeClock(), FakeCollector()
    hanging.hang = True
    hanging.timeout = 60
    scrape = runner(clock, hanging)
    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(scrape.serve())
        async with asyncio.timeout(5):
            await scrape.refresh(patience=0.01)
        server.cancel()


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (NoData("no device wg0"), "no_data", "no device wg0"),
        (SourceError("/x: Permission denied", temporary=False), "source", "/x: Permission denied"),
        (ParseError("a line too short"), "parse", "a line too short"),
        (KeyError("oops"), "error", "internal error: KeyError: 'oops'"),
    ],
)
async def test_every_failure_has_its_reason(error: Exception, reason: str, message: str) -> None:
    """The outcome tells whose fault it was, in words, and the counter counts it."""
    scrape = runner(FakeClock(), collector := FakeCollector(fail(error)))
    await scrape.update(collector)
    outcome = scrape.outcomes["fake"]
    assert (reason, message, 1, None) == (
        outcome.reason, outcome.message, outcome.failures, outcome.last_success,
    )  # fmt: skip
    counts = {
        s.labels["reason"]: s.value for f in scrape.collect() for s in f.samples if "reason" in s.labels
    }
    assert counts == {"source": 0} | {reason: 1}


async def test_what_is_absent_is_asked_again_at_once_when_it_appears() -> None:
    """NoData does not slow a collector down, so what appears is picked up with the next reading."""
    clock = FakeClock()
    scrape = runner(clock, collector := FakeCollector(fail(NoData("no device"))))
    for _ in range(5):
        await scrape.update(collector)
    collector.act = lambda: None
    await scrape.update(collector)
    assert scrape.outcomes["fake"].success
    assert collector.updates == 6


async def test_one_log_line_per_change_of_state(caplog: pytest.LogCaptureFixture) -> None:
    """Failing in the same way for hours is one line, recovery another."""
    caplog.set_level(logging.INFO)
    scrape = runner(FakeClock(), collector := FakeCollector(fail(NoData("no device"))))
    for _ in range(10):
        await scrape.update(collector)
    collector.act = lambda: None
    for _ in range(10):
        await scrape.update(collector)
    assert [record.getMessage() for record in caplog.records] == [
        "collector sees nothing", "collector works again",
    ]  # fmt: skip


async def test_a_watcher_is_updated_when_due_and_survives_its_own_faults() -> None:
    """A watcher whose update and whose due() break goes on when they work again."""
    clock = FakeClock()
    watcher = FakeWatcher(clock, fail(RuntimeError("bug")))
    scrape = runner(clock, watcher)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scrape.watch(watcher))
        await clock.advance(10)
        assert scrape.outcomes["fake"].reason == "error"
        watcher.act = lambda: None
        watcher.due_error = OSError("inotify is gone")
        await clock.advance(20)
        assert scrape.outcomes["fake"].message == "internal error: OSError: inotify is gone"
        watcher.due_error = None
        await clock.advance(60)
        assert scrape.outcomes["fake"].success
        task.cancel()
    await settle()


async def test_a_broken_collect_spoils_nobody_elses_series(caplog: pytest.LogCaptureFixture) -> None:
    """A collector whose mapping raises loses its own series alone."""
    registry = Registry({"proxy_name": "golden-crab"})
    broken, good = FakeCollector(), FakeCollector(name="good")
    broken.collect = lambda: iter([1 // 0])  # type: ignore[method-assign,list-item]
    registry.register(broken)
    registry.register(good)
    assert [family.name for family in registry.collect()] == ["good_value"]
    assert "collect failed" in caplog.text


async def test_every_series_carries_the_proxys_name() -> None:
    """The registry adds the label in one place."""
    registry = Registry({"proxy_name": "golden-crab"})
    registry.register(FakeCollector())
    assert [s.labels for f in registry.collect() for s in f.samples] == [{"proxy_name": "golden-crab"}]


def test_a_metric_name_belongs_to_one_collector() -> None:
    """Two collectors with the same metric are refused when they are assembled."""
    registry = Registry({"proxy_name": "golden-crab"})
    registry.register(FakeCollector())
    other = FakeCollector(name="other")
    other.family = VALUE
    with pytest.raises(ValueError, match="fake_value"):
        registry.register(other)
