"""Speed tests: what is asked for, when they are left out, and what is published of them."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from proxywatch.errors import NoData
from proxywatch.exporter.collector import speed
from proxywatch.exporter.collector.speed import Settings, SpeedCollector
from proxywatch.probe.outcome import Transfer
from proxywatch.probe.request import Request
from proxywatch.quantity import Duration, Size, Url
from support.fakes import FakeClock
from support.metrics import samples
from support.probing import FakeProber, failure, success

URL = Url("http://a.test/{bytes}")
MEGABYTE = 1_000_000


def _good(asked: Request) -> Transfer:
    return success(asked, 1.0, bytes=MEGABYTE, speed=2_500_000.0, tail_speed=3_000_000.0)


class Counter:
    """The device's counter: so many bytes more at each look."""

    def __init__(self, step: int | None = 0) -> None:
        self.step = step
        self.count = 0

    def __call__(self) -> int | None:
        if self.step is None:
            return None
        self.count += self.step
        return self.count


def _collector(
    act: Callable[[Request], Transfer] = _good, received: Counter | None = None, **settings: object
) -> tuple[SpeedCollector, FakeProber, FakeClock]:
    prober, clock = FakeProber(act), FakeClock(1000.5)
    chosen = Settings(**{"url": URL, **settings})  # type: ignore[arg-type]
    collector = speed.build(
        chosen, prober, received or Counter(None), quiet=asyncio.Lock(), clock=clock, dice=Random(1)
    )
    return collector, prober, clock


async def _update(collector: SpeedCollector, clock: FakeClock) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(collector.update())
        await clock.advance(2)
        await task


async def _skipped(collector: SpeedCollector, clock: FakeClock) -> str:
    """Why the update was left out."""
    with pytest.raises(ExceptionGroup) as caught:
        await _update(collector, clock)
    (error,) = caught.value.exceptions
    assert isinstance(error, NoData)
    return str(error)


async def test_a_test_asks_for_a_megabyte_and_no_more() -> None:
    """The number stands in the URL, and reading ends there."""
    collector, prober, clock = _collector()
    await _update(collector, clock)
    (asked,) = prober.asked
    assert asked.url == "http://a.test/1000000"
    assert (asked.limit, asked.enough) == (MEGABYTE, True)
    seen = samples(collector)
    assert seen["proxy_download_speed_mbps"] == pytest.approx(20)
    assert seen["proxy_speedtest_throughput_bytes_per_second"] == 2_500_000
    assert seen["proxy_speedtest_tail_throughput_bytes_per_second"] == 3_000_000
    assert seen["proxy_speedtest_duration_seconds"] == 1
    assert seen["proxy_speedtest_bytes_total"] == MEGABYTE
    assert seen["proxy_speedtest_last_success_timestamp_seconds"] == 1001


async def test_a_minimum_of_time_lets_it_grow() -> None:
    """Up to the most that is allowed, and reading goes on until then."""
    collector, prober, clock = _collector(min_duration=Duration(2), max_bytes=Size(5_000_000))
    await _update(collector, clock)
    (asked,) = prober.asked
    assert asked.url == "http://a.test/5000000"
    assert (asked.limit, asked.least, asked.min_duration) == (5_000_000, MEGABYTE, 2)


async def test_a_failed_test_leaves_no_number_behind() -> None:
    """The gauges go; attempts and failures are counted, with stage and reason."""
    collector, prober, clock = _collector()
    await _update(collector, clock)
    prober.act = lambda asked: failure(asked, "transfer", "short_body")
    assert (
        await _skipped(collector, clock) == "transfer: the body ended before what was announced or requested"
    )
    seen = samples(collector)
    assert "proxy_download_speed_mbps" not in seen
    assert "proxy_speedtest_throughput_bytes_per_second" not in seen
    assert seen["proxy_speedtest_attempts_total"] == 2
    assert seen['proxy_speedtest_failures_total{reason="short_body",stage="transfer"}'] == 1
    assert seen["proxy_speedtest_last_success_timestamp_seconds"] == 1001


async def test_a_body_in_one_piece_cannot_be_timed() -> None:
    """A speed is not made up for it."""
    collector, _, clock = _collector(success)
    assert "too short" in await _skipped(collector, clock)
    assert "proxy_download_speed_mbps" not in samples(collector)


async def test_the_days_bytes_are_spent() -> None:
    """Further tests are left out until midnight, and counted as such; the last number stays."""
    collector, prober, clock = _collector(daily_bytes=Size(2_500_000))
    await _update(collector, clock)
    await _update(collector, clock)
    assert "speed.daily_bytes" in await _skipped(collector, clock)
    seen = samples(collector)
    assert seen['proxy_speedtest_skipped_total{reason="budget"}'] == 1
    assert seen["proxy_speedtest_attempts_total"] == 2
    assert seen["proxy_download_speed_mbps"] == pytest.approx(20)
    await clock.advance(86400)
    await _update(collector, clock)
    assert len(prober.asked) == 3


async def test_clients_fill_the_tunnel() -> None:
    """With half of the last speed in use, a test would measure the rest; at first nothing is known."""
    received = Counter(2_000_000)
    collector, prober, clock = _collector(received=received)
    await _update(collector, clock)
    assert "clients" in await _skipped(collector, clock)
    assert samples(collector)['proxy_speedtest_skipped_total{reason="busy"}'] == 1
    received.step = 500_000
    await _update(collector, clock)
    assert len(prober.asked) == 2
    status = collector.status()
    assert status.skipped == ""


async def test_clients_who_seem_to_fill_the_tunnel_for_long() -> None:
    """Two tests in a row are left out, not more: the speed that they are compared with may be out of date."""
    collector, prober, clock = _collector(received=Counter(2_000_000))
    await _update(collector, clock)
    for made in (2, 3):
        for _ in range(2):
            assert "clients" in await _skipped(collector, clock)
        await _update(collector, clock)
        assert len(prober.asked) == made
    assert samples(collector)['proxy_speedtest_skipped_total{reason="busy"}'] == 4


async def test_without_a_device_nothing_is_left_out() -> None:
    """What cannot be told is no reason."""
    collector, prober, clock = _collector(received=Counter(None))
    await _update(collector, clock)
    await _update(collector, clock)
    assert len(prober.asked) == 2


async def test_check_finds_an_endpoint_that_caps() -> None:
    """As many public ones do."""
    collector, prober, _ = _collector()
    assert [finding.level for finding in await collector.examine()] == ["ok"]
    prober.act = lambda asked: failure(asked, "transfer", "short_body")
    (finding,) = await collector.examine()
    assert "cap" in finding.text
    assert "speed.url" in finding.fix


async def test_uploads_follow_downloads_where_they_are_enabled() -> None:
    """With their own series, from the same budget."""

    def act(asked: Request) -> Transfer:
        if asked.upload:
            return success(asked, 1.0, sent=asked.upload, speed=1_250_000.0)
        return _good(asked)

    up = speed.Upload(enabled=True, url=Url("http://b.test/up"), bytes=Size(500_000))
    collector, prober, clock = _collector(act, upload=up, daily_bytes=Size(4 * MEGABYTE))
    await _update(collector, clock)
    download, upload = prober.asked
    assert (download.upload, upload.upload, upload.url) == (0, 500_000, "http://b.test/up")
    seen = samples(collector)
    assert seen["proxy_upload_speed_mbps"] == pytest.approx(10)
    assert seen["proxy_speedtest_upload_bytes_total"] == 500_000
    assert seen["proxy_speedtest_upload_attempts_total"] == 1
    assert [finding.level for finding in await collector.examine()] == ["ok", "ok"]
    assert "daily_bytes" in await _skipped(collector, clock), "a million and a half twice, of four"
    prober.act = lambda asked: failure(asked, "socks", "rule") if asked.upload else _good(asked)
    assert [finding.level for finding in await collector.examine()] == ["ok", "fault"]
    seen = samples(collector)
    assert "proxy_upload_speed_mbps" not in seen
    assert seen['proxy_speedtest_upload_failures_total{reason="rule",stage="socks"}'] == 1


async def test_no_upload_unless_enabled() -> None:
    """No series of it either."""
    collector, prober, clock = _collector()
    await _update(collector, clock)
    assert [asked.upload for asked in prober.asked] == [0]
    assert not [name for name in samples(collector) if "upload" in name]


def test_settings_that_cannot_be() -> None:
    """A minimum that is never reached in time."""
    with pytest.raises(ValueError, match="min_duration"):
        Settings(min_duration=Duration(60), timeout=Duration(60))


async def test_the_most_bounds_the_least() -> None:
    """Who sets `max_bytes` alone need not know of `bytes`."""
    collector, prober, _ = _collector(max_bytes=Size(200_000))
    await collector.examine()
    assert [(request.least, request.limit) for request in prober.asked] == [(200_000, 200_000)]
