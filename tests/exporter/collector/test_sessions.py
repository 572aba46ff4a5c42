"""The sessions' collector on recorded logs, on logs that come and go, and under backlogs."""

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxywatch.clock import SystemClock
from proxywatch.errors import SourceError
from proxywatch.exporter.collector import sessions
from proxywatch.exporter.collector.sessions import SessionsCollector, Settings
from proxywatch.probe.own_traffic import OwnTraffic
from support.corpora import corpus, read
from support.fakes import FakeClock


def build(
    log: Path, *, clock: object = None, own: OwnTraffic | None = None, **options: object
) -> SessionsCollector:
    settings = Settings(log=str(log), **options)  # type: ignore[arg-type]
    return sessions.build(settings, clock or FakeClock(), own or OwnTraffic())  # type: ignore[arg-type]


def series(collector: SessionsCollector) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


def value(collector: SessionsCollector, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    return series(collector).get((name, frozenset((labels or {}).items())))


async def drain(collector: SessionsCollector) -> None:
    await collector.update()
    while collector._more:
        await collector.update()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "danted.log"


async def test_the_series_of_a_recorded_log(log: Path) -> None:
    """Part A's five, by the definitions."""
    log.write_bytes(corpus("main").log)
    clock = FakeClock(log.stat().st_mtime + 1)
    collector = build(log, clock=clock, start="beginning")
    await drain(collector)
    assert value(collector, "proxy_requests_successful_total") == 676
    assert value(collector, "proxy_requests_failed_total") == 270
    assert value(collector, "proxy_success_rate_percent") == pytest.approx(100 * 676 / 946)
    assert value(collector, "proxy_request_rate_permin") == 946
    assert collector.mean_duration() == pytest.approx(2.7934, abs=0.001)
    assert collector.ended() == (676 + 270 + 39, None), "some payload went by UDP"
    assert value(collector, "proxy_session_setup_seconds_count") == 570
    assert (
        value(collector, "proxy_request_failures_total", {"blame": "destination", "reason": "refused"}) == 32
    )
    assert value(collector, "dante_dns_failures_total", {"kind": "not_found"}) == 55
    assert value(collector, "dante_log_unparsed_lines_total") == 0
    assert value(collector, "dante_log_lag_seconds") == 0
    await clock.advance(61)
    assert value(collector, "proxy_request_rate_permin") == 0
    await clock.advance(300)
    assert value(collector, "proxy_success_rate_percent") is None
    await collector.close()


async def test_what_the_log_cannot_tell_is_absent(log: Path) -> None:
    """`log: error` and `log: connect`."""
    log.write_bytes(corpus("error").log)
    collector = build(log, start="beginning")
    await drain(collector)
    for name in (
        "proxy_requests_successful_total",
        "proxy_requests_failed_total",
        "proxy_success_rate_percent",
        "proxy_request_rate_permin",
    ):
        assert value(collector, name) is None
    assert (collector.active(), collector.mean_duration(), collector.ended()) == (None, None, None)
    await collector.close()
    log.write_bytes(corpus("connect").log)
    collector = build(log, start="beginning")
    await drain(collector)
    assert value(collector, "proxy_requests_successful_total") == 179
    assert value(collector, "proxy_requests_failed_total") is None
    assert collector.status().report.cannot_tell
    await collector.close()


async def test_labels_exist_from_the_start(log: Path) -> None:
    """At 0, before the first line."""
    log.touch()
    collector = build(log)
    await drain(collector)
    assert value(collector, "proxy_sessions_opened_total", {"command": "bind", "origin": "self"}) == 0
    assert value(collector, "proxy_request_failures_total", {"blame": "tunnel", "reason": "no_route"}) == 0
    assert {family.exposed for family in collector.describe()} >= {
        "proxy_success_rate_percent",
        "dante_log_gaps_total",
    }
    await collector.close()


async def test_our_own_probes_are_recognised(log: Path) -> None:
    """By endpoint and time, as the probes note them."""
    own = OwnTraffic()
    own.opened("10.0.0.1", 5, 1795262692.0)
    log.write_text(
        "Nov 21 12:04:52 (1795262692.5) danted[7]: info: pass(1): tcp/accept [: 10.0.0.1.5 10.0.0.2.1080\n"
        "Nov 21 12:04:52 (1795262692.6) danted[7]: info: pass(1): tcp/connect [: 10.0.0.1.5 10.0.0.2.1080 ->"
        " 10.0.0.3.5 10.0.0.4.80\n"
    )
    collector = build(log, own=own, start="beginning")
    await drain(collector)
    assert value(collector, "proxy_sessions_opened_total", {"command": "connect", "origin": "self"}) == 1
    assert value(collector, "proxy_requests_successful_total") == 1
    await collector.close()


async def test_a_log_that_appears_later_is_read_from_its_beginning(log: Path) -> None:
    """Its absence is said, and is no end."""
    collector = build(log)
    with pytest.raises(SourceError, match="No such file"):
        await collector.update()
    assert value(collector, "dante_log_lag_seconds") is None
    log.write_bytes(corpus("main").log)
    await drain(collector)
    assert value(collector, "proxy_requests_successful_total") == 676
    await collector.close()


async def test_a_checkpoint_takes_up_counters_and_place(log: Path, tmp_path: Path) -> None:
    """Over a restart in the middle of the log, with a rotation while nobody looked."""
    content = corpus("main").log
    half = content.index(b"\n", len(content) // 2) + 1
    log.write_bytes(content[:half])
    checkpoint = str(tmp_path / "checkpoint")
    first = build(log, start="beginning", checkpoint=checkpoint)
    await drain(first)
    await first.close()
    log.rename(f"{log}.1")
    log.write_bytes(content[half:])
    second = build(log, checkpoint=checkpoint)
    await drain(second)
    assert value(second, "proxy_requests_successful_total") == 676
    assert value(second, "proxy_requests_failed_total") == 270
    assert value(second, "dante_log_lines_total") == content.count(b"\n")
    assert value(second, "dante_log_read_bytes_total") == len(content)
    await second.close()


async def test_a_checkpoint_is_taken_up_once_while_the_log_cannot_be_opened(
    log: Path, tmp_path: Path
) -> None:
    """However often it is tried: the last failures and durations would come again and again."""
    log.write_bytes(corpus("main").log[:100_000])
    checkpoint = str(tmp_path / "checkpoint")
    first = build(log, start="beginning", checkpoint=checkpoint)
    await drain(first)
    before, failures = series(first), first.status().report.recent_failures
    await first.close()
    log.rename(tmp_path / "kept")
    log.symlink_to(log)
    second = build(log, checkpoint=checkpoint)
    for _ in range(3):
        with pytest.raises(SourceError, match="symbolic links"):
            await second.update()
    log.unlink()
    (tmp_path / "kept").rename(log)
    await drain(second)
    assert 0 < len(failures) < 50
    assert second.status().report.recent_failures == failures
    assert series(second) == before
    await second.close()


async def test_a_checkpoint_that_is_none_is_not_used(log: Path, tmp_path: Path) -> None:
    """A damaged file costs the past, not the present."""
    (tmp_path / "checkpoint").write_bytes(b"garbage")
    log.write_bytes(corpus("main").log)
    collector = build(log, start="beginning", checkpoint=str(tmp_path / "checkpoint"))
    await drain(collector)
    assert value(collector, "proxy_requests_successful_total") == 676
    await collector.close()


async def test_it_wakes_for_a_line(log: Path) -> None:
    """Not only when the next look is due."""
    log.touch()
    collector = build(log, clock=SystemClock())
    await drain(collector)
    await asyncio.sleep(0)
    start = time.monotonic()
    asyncio.get_running_loop().call_later(0.4, log.write_bytes, corpus("main").log[:300])
    await collector.due()
    assert time.monotonic() - start < 0.95
    await collector.close()


async def test_a_fifo(tmp_path: Path) -> None:
    """Lines by a FIFO count; their writer may come and go."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    collector = build(fifo)
    await drain(collector)
    with fifo.open("wb", buffering=0) as writer:
        for part in (b"", b"garbage"):
            writer.write(
                part
                + b"Nov 21 12:04:52 (1.5) danted[7]: info: pass(1): tcp/accept [: 10.0.0.1.5 10.0.0.2.1080\n"
            )
            await drain(collector)
    await drain(collector)
    assert value(collector, "dante_log_lines_total") == 2
    await collector.close()


async def test_a_backlog_leaves_the_loop_free(log: Path) -> None:
    """Tens of megabytes are read; nothing else waits 50 ms for its turn meanwhile."""
    content = corpus("main").log
    with log.open("wb") as file:
        for _ in range(40):
            file.write(content)
    collector = build(log, clock=SystemClock(), start="beginning")
    longest = 0.0
    running = True

    async def others() -> None:
        nonlocal longest
        while running:
            start = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - start)

    async with asyncio.TaskGroup() as group:
        group.create_task(others())
        await asyncio.wait_for(collector.update(), collector.timeout)
        assert collector._more or value(collector, "dante_log_lines_total") == 40 * content.count(b"\n")
        await drain(collector)
        running = False
    print(f"\nthe loop was held for {longest * 1000:.1f} ms at most, over {40 * len(content) / 1e6:.0f} MB")
    assert value(collector, "dante_log_lines_total") == 40 * content.count(b"\n")
    await collector.close()


async def test_the_doctor(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there, what is missing, which line of danted.conf to change, and what it will give."""
    collector = build(log)
    [absent] = await collector.examine()
    assert (absent.level, "logoutput" in absent.mend) == ("fault", True)
    log.touch()
    assert [finding.level for finding in await collector.examine()] == ["ok"]
    log.write_bytes(read("main.log"))
    assert [finding.level for finding in await collector.examine()] == ["ok"]
    conf = log.parent / "danted.conf"
    conf.write_text(
        "# log: none\nclient pass {\n  from: 0/0 to: 0/0\n  log: error\n}\n"
        "socks pass {\n  from: 0/0 to: 0/0\n}\n"
    )
    monkeypatch.setattr(sessions, "_CONFS", (str(conf),))
    log.write_bytes(read("error.log"))
    [hint] = await collector.examine()
    assert hint.level == "hint"
    assert f"{conf}:4: change `log: error` to `log: connect disconnect error`" in hint.mend
    assert f"{conf}:6: give `socks pass` `log: connect disconnect error`" in hint.mend
    assert "success rate" in hint.mend
    monkeypatch.setattr(sessions, "_CONFS", ())
    log.write_bytes(read("connect.log"))
    [hint] = await collector.examine()
    assert "every client and socks rule" in hint.mend
    log.write_text("GET / HTTP/1.1 200\n" * 5)
    assert [finding.level for finding in await collector.examine()] == ["fault"]


async def test_the_status(log: Path) -> None:
    """Recent failures with reason, blame and destination; the heaviest destinations."""
    log.write_bytes(corpus("main").log)
    collector = build(log, start="beginning")
    await drain(collector)
    report = collector.status().report
    assert (report.successful, report.failed, report.health_checks) == (676, 270, 39)
    assert report.recent_failures[-1].reason == "negotiation_timeout"
    assert report.recent_failures[-1].blame == "client"
    assert len(report.recent_failures) == 50
    assert report.top_by_bytes[0].destination == "10.77.2.1.8000"
    assert report.top_by_failures[0].destination == "10.77.2.1.81"
    assert report.dante == "1.4.2"
    await collector.close()
