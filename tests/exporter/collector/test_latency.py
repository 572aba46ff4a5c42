"""Rounds of probes: what is published after each, whose fault a failure is, and what `check` says."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from proxywatch.errors import NoData, SourceError
from proxywatch.exporter.collector import latency
from proxywatch.exporter.collector.latency import LatencyCollector, Settings
from proxywatch.probe.outcome import USUAL, Transfer
from proxywatch.probe.request import Request
from proxywatch.quantity import Url
from support.fakes import FakeClock, settle
from support.metrics import samples
from support.probing import FakeProber, failure, success

A, B, C = (Url(url) for url in ("http://a.test/", "http://b.test/", "https://c.test/"))
DURATIONS = {A: 0.1, B: 0.3, C: 0.2}


def _good(asked: Request) -> Transfer:
    return success(asked, DURATIONS[Url(asked.url)])


def _only(*good: str) -> Callable[[Request], Transfer]:
    return lambda asked: _good(asked) if asked.url in good else failure(asked)


def _collector(
    act: Callable[[Request], Transfer] = _good, clock: FakeClock | None = None, **settings: object
) -> tuple[LatencyCollector, FakeProber, asyncio.Lock]:
    prober, quiet = FakeProber(act), asyncio.Lock()
    chosen = Settings(targets=(A, B, C), **settings)  # type: ignore[arg-type]
    made = latency.build(chosen, prober, quiet=quiet, clock=clock or FakeClock(1000), dice=Random(1))
    return made, prober, quiet


def test_all_is_there_at_zero_before_the_first_round() -> None:
    """Counters of every target and of the usual reasons; no gauge."""
    collector, _, _ = _collector()
    seen = samples(collector)
    assert seen['proxy_probe_attempts_total{target="http://a.test/"}'] == 0
    failures = [name for name in seen if name.startswith("proxy_probe_failures_total")]
    assert len(failures) == len(USUAL)
    assert seen['proxy_probe_phase_duration_seconds_count{phase="tls"}'] == 0
    assert "proxy_latency_ms" not in seen
    assert collector.status() is None


async def test_the_number_is_the_median_of_the_successes() -> None:
    """In milliseconds, over the targets that answered."""
    collector, prober, _ = _collector()
    await collector.update()
    seen = samples(collector)
    assert seen["proxy_latency_ms"] == pytest.approx(200)
    assert seen['proxy_probe_duration_seconds_count{target="http://a.test/"}'] == 1
    assert seen['proxy_probe_phase_duration_seconds_sum{phase="socks"}'] == pytest.approx(0.18)
    assert seen['proxy_probe_success{target="https://c.test/"}'] == 1
    assert seen['proxy_probe_last_success_timestamp_seconds{target="http://b.test/"}'] == pytest.approx(
        1000.3
    )
    assert seen['proxy_probe_rounds_total{verdict="ok"}'] == 1
    assert [asked.url for asked in prober.asked] == [A, B, C]


async def test_one_targets_outage_is_not_the_proxys() -> None:
    """The round says so, and the number is of the others."""
    collector, _, _ = _collector(_only(A, B))
    await collector.update()
    seen = samples(collector)
    assert seen['proxy_probe_rounds_total{verdict="target"}'] == 1
    assert seen["proxy_latency_ms"] == pytest.approx(200)
    assert seen['proxy_probe_success{target="https://c.test/"}'] == 0
    assert seen['proxy_probe_failures_total{reason="rule",stage="socks"}'] == 1


async def test_a_round_without_an_answer_is_no_data_in_words() -> None:
    """The number goes, the counters stay, and the failures are counted."""
    collector, prober, _ = _collector()
    await collector.update()
    prober.act = failure
    with pytest.raises(NoData, match=r"^socks: connection refused by the proxy's rule$"):
        await collector.update()
    seen = samples(collector)
    assert "proxy_latency_ms" not in seen
    assert seen['proxy_probe_attempts_total{target="http://a.test/"}'] == 2
    assert seen['proxy_probe_duration_seconds_count{target="http://a.test/"}'] == 1
    assert seen['proxy_probe_rounds_total{verdict="proxy"}'] == 1
    status = collector.status()
    assert status
    assert (status.verdict, status.latency, len(status.probes)) == ("proxy", None, 3)


async def test_rounds_are_as_far_apart_as_set() -> None:
    """The first within seconds; a round that overruns makes the next one be skipped and counted."""
    clock = FakeClock()
    collector, _, _ = _collector(clock=clock)
    rounds = []

    async def watch() -> None:
        while True:
            await collector.due()
            rounds.append(clock.monotonic())
            await clock.sleep_until(clock.monotonic() + (70 if len(rounds) == 2 else 1))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch())
        await clock.advance(200)
        task.cancel()
    assert rounds[0] <= 1003
    assert [round(b - a) for a, b in pairwise(rounds)][:3] == [30, 90, 30]
    assert samples(collector)['proxy_probe_rounds_total{verdict="skipped"}'] == 2


async def test_a_round_waits_for_the_end_of_a_speed_test() -> None:
    """Both when due and while it runs; the lock is free again afterwards."""
    clock = FakeClock()
    collector, prober, quiet = _collector(clock=clock)
    held = []
    prober.during = lambda: held.append(quiet.locked())
    async with quiet, asyncio.TaskGroup() as group:
        due = group.create_task(collector.due())
        await clock.advance(5)
        assert not due.done()
        quiet.release()
        await settle()
        assert due.done()
        await quiet.acquire()
    await collector.update()
    assert held == [True, True, True]
    assert not quiet.locked()


async def test_a_password_that_cannot_be_read_is_the_operators() -> None:
    """It is no failure of a target."""

    def refuse(_: Request) -> Transfer:
        raise SourceError("/run/secret: No such file or directory")

    collector, _, quiet = _collector(refuse)
    with pytest.raises(SourceError):
        await collector.update()
    assert not quiet.locked()
    assert samples(collector)['proxy_probe_attempts_total{target="http://a.test/"}'] == 0
    assert [finding.level for finding in await collector.examine()] == ["fault"]


async def test_check_says_what_each_target_does() -> None:
    """A hint when others answer, a fault with its fix when none does."""
    collector, prober, _ = _collector(_only(A))
    levels = [finding.level for finding in await collector.examine()]
    assert levels == ["ok", "hint", "hint"]
    prober.act = failure
    findings = await collector.examine()
    assert [finding.level for finding in findings] == ["fault"] * 3
    assert "log" in findings[0].fix


async def test_check_misses_the_authorities() -> None:
    """Without a bundle no https target can be verified."""
    collector, prober, _ = _collector()
    prober.transfers.bundle = None
    findings = await collector.examine()
    assert "ca-certificates" in findings[0].fix


@pytest.mark.parametrize("targets", [(), (A, A)])
def test_targets_that_cannot_be(targets: tuple[Url, ...]) -> None:
    """None at all, or one twice."""
    with pytest.raises(ValueError, match="targets"):
        Settings(targets=targets)
