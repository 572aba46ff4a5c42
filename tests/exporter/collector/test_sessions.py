"""The sessions' collector on recorded logs, on logs that come and go, and under backlogs."""

import asyncio
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxywatch.clock import SystemClock
from proxywatch.dante import line as dante_line
from proxywatch.errors import SourceError
from proxywatch.exporter import followed_log
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
    while collector._followed.more:
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


async def test_no_client_and_no_destination_is_in_a_series(log: Path) -> None:
    """Labels are words of closed lists, whatever clients ask for."""
    log.write_bytes(corpus("main").log)
    collector = build(log, clock=FakeClock(log.stat().st_mtime + 1), start="beginning")
    await drain(collector)
    labels = {text for family in collector.collect() for it in family.samples for text in it.labels.values()}
    assert {"destination", "refused", "connect"} <= labels
    assert not [text for text in labels if not re.fullmatch(r"[a-z0-9_]+|[0-9.]+|\+Inf", text)]
    assert not [text for text in labels if text.count(".") > 1]
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


async def test_what_the_log_has_not_proven_is_absent(log: Path) -> None:
    """Without a log nothing is known; with an empty one, how much was read of it.

    Then what its lines prove.
    """
    collector = build(log, start="beginning")
    assert series(collector) == {}
    with pytest.raises(SourceError):
        await collector.update()
    assert series(collector) == {}
    log.touch()
    await drain(collector)
    assert {name for name, _ in series(collector)} == {
        "dante_log_lines_total",
        "dante_log_unparsed_lines_total",
        "dante_log_ambiguous_lines_total",
        "dante_log_read_bytes_total",
        "dante_log_rotations_total",
        "dante_log_truncations_total",
        "dante_log_gaps_total",
        "dante_log_lag_seconds",
    }
    client = b"10.0.0.1.5 10.0.0.2.1080"
    head = b"Nov 21 12:04:52 (1795262692.5) danted[7]: info: "
    with log.open("ab") as file:
        file.write(head + b"pass(1): tcp/accept [: " + client + b"\n")
    await drain(collector)
    assert value(collector, "proxy_requests_successful_total") == 0
    assert value(collector, "proxy_sessions_opened_total", {"command": "bind", "origin": "self"}) == 0
    assert value(collector, "proxy_requests_failed_total") is None
    assert value(collector, "proxy_sessions_closed_total", {"command": "bind", "origin": "self"}) is None
    with log.open("ab") as file:
        file.write(
            head
            + b"pass(1): tcp/accept ]: 5 -> "
            + client
            + b" -> 5: remote peer closed.  Session duration: 0s\n"
        )
    await drain(collector)
    assert value(collector, "proxy_requests_failed_total") == 0
    assert value(collector, "proxy_request_failures_total", {"blame": "tunnel", "reason": "no_route"}) == 0
    assert value(collector, "dante_log_shows", {"what": "failures"}) == 1
    with log.open("ab") as file:
        file.write(head + b"SIGHUP ]: config reloaded.  Broadcasting to children to do the same\n")
    await drain(collector)
    assert value(collector, "proxy_requests_failed_total") == 0  # shown until it is refuted
    await collector.close()


@pytest.mark.parametrize("kind", ["directory", "/dev/null", "absent"])
async def test_what_is_no_log_says_nothing(log: Path, kind: str) -> None:
    """It is a fault for `check`, and no count is 0."""
    path = log if kind != "/dev/null" else Path(kind)
    if kind == "directory":
        log.mkdir()
    collector = build(path)
    with pytest.raises(SourceError):
        await collector.update()
    assert series(collector) == {}
    assert [finding.level for finding in await collector.examine()] == ["fault"]
    await collector.close()


async def test_our_own_probes_prove_that_a_log_shows_no_successes(log: Path) -> None:
    """`log: error`, or none: probes succeed, and no line comes.

    Said on the page, by a metric, and until it changes.
    """
    log.touch()
    clock, succeeded = FakeClock(), [0]
    collector = sessions.build(Settings(log=str(log)), clock, OwnTraffic(), lambda: succeeded[0])
    await drain(collector)
    succeeded[0] = 2
    for _ in range(3):
        await clock.advance(6)
        await drain(collector)
    assert value(collector, "dante_log_shows", {"what": "successes"}) is None
    succeeded[0] = 3
    await drain(collector)
    assert value(collector, "dante_log_shows", {"what": "successes"}) is None  # a line may still come
    await clock.advance(6)
    await drain(collector)
    assert value(collector, "dante_log_shows", {"what": "successes"}) == 0
    assert value(collector, "proxy_requests_successful_total") is None
    assert "our own probes" in collector.status().report.cannot_tell[0]
    with log.open("ab") as file:
        file.write(
            b"Nov 21 12:04:52 (1795262692.5) danted[7]: info: pass(1): tcp/connect [: 10.0.0.1.5"
            b" 10.0.0.2.1080 -> 10.0.0.3.5 10.0.0.4.80\n"
        )
    await drain(collector)
    assert value(collector, "dante_log_shows", {"what": "successes"}) == 1
    assert value(collector, "proxy_requests_successful_total") == 1
    assert collector.status().report.cannot_tell == []
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
        assert collector._followed.more or value(collector, "dante_log_lines_total") == 40 * content.count(
            b"\n"
        )
        await drain(collector)
        running = False
    print(f"\nthe loop was held for {longest * 1000:.1f} ms at most, over {40 * len(content) / 1e6:.0f} MB")
    assert value(collector, "dante_log_lines_total") == 40 * content.count(b"\n")
    await collector.close()


async def test_the_doctor(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there, what is missing, which line of danted.conf to change, and what it will give."""
    collector = build(log)
    [absent] = await collector.examine()
    assert (absent.level, "logoutput" in absent.fix) == ("fault", True)
    monkeypatch.setattr(sessions, "_CONFS", ())
    monkeypatch.setattr(sessions, "_NAMES", ())
    log.touch()
    [hint] = await collector.examine()
    assert (hint.level, "not known what it will show" in hint.text) == ("hint", True)
    log.write_bytes(read("main.log"))
    assert [finding.level for finding in await collector.examine()] == ["ok"]
    conf = log.parent / "danted.conf"
    conf.write_text(
        "# log: none\nclient pass {\n  from: 0/0 to: 0/0\n  log: error\n}\n"
        "socks pass {\n  from: 0/0 to: 0/0\n}\n"
    )
    monkeypatch.setattr(sessions, "_CONFS", (str(conf),))
    log.write_bytes(b"")
    [hint] = await collector.examine()
    assert f"{conf}:4: change `log: error` to" in hint.fix
    log.write_bytes(read("error.log"))
    [hint] = await collector.examine()
    assert hint.level == "hint"
    assert f"{conf}:4: change `log: error` to `log: connect disconnect error`" in hint.fix
    assert f"{conf}:6: give `socks pass` `log: connect disconnect error`" in hint.fix
    assert "success rate" in hint.fix
    monkeypatch.setattr(sessions, "_CONFS", ())
    log.write_bytes(read("connect.log"))
    [hint] = await collector.examine()
    assert "every client and socks rule" in hint.fix
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
    assert report.most_bytes[0].target == "10.77.2.1:8000"
    assert report.most_failures[0].target == "10.77.2.1:81"
    assert report.dante == "1.4.2"
    await collector.close()


async def test_a_log_that_is_swapped_for_a_link_shows_no_line_of_another_file(
    log: Path, tmp_path: Path
) -> None:
    """Its lines are counted as none of Dante's, and nowhere to be seen."""
    secret = tmp_path / "secret"
    secret.write_text("root:$6$hash:1::::::\n" * 5)
    log.write_bytes(corpus("main").log)
    collector = build(log, start="beginning")
    await drain(collector)
    log.unlink()
    log.symlink_to(secret)
    await drain(collector)
    report = collector.status().report
    assert (report.unparsed, report.unparsed_example) == (5, "")
    findings = await collector.examine()
    assert "hash" not in repr((collector.status(), findings))
    await collector.close()


async def test_a_checkpoint_that_cannot_be_written_is_said_once(
    log: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counting goes on; it is said again when it can be written."""
    log.write_bytes(corpus("main").log)
    directory, clock = tmp_path / "kept", FakeClock()
    collector = build(log, clock=clock, start="beginning", checkpoint=str(directory / "checkpoint"))
    caplog.set_level("INFO")
    for _ in range(3):
        await drain(collector)
        await clock.advance(6)
    assert [it.message for it in caplog.records].count("checkpoint cannot be written") == 1
    assert "No such file" in collector.status().checkpoint_fault
    assert value(collector, "proxy_requests_successful_total") == 676
    directory.mkdir()
    await drain(collector)
    assert collector.status().checkpoint_fault == ""
    assert caplog.records[-1].message == "checkpoint is written again"
    await collector.close()


@pytest.mark.parametrize("damage", [b"\xff", b"\xc1\xff", b""])
async def test_a_damaged_checkpoint_never_stops_the_counting(
    log: Path, tmp_path: Path, damage: bytes
) -> None:
    """The one before is gone on with; without any, counting begins anew, and is kept again."""
    log.write_bytes(corpus("main").log)
    kept, clock = tmp_path / "checkpoint", FakeClock()
    first = build(log, clock=clock, start="beginning", checkpoint=str(kept))
    await drain(first)
    await clock.advance(6)
    with log.open("ab") as file:
        file.write(corpus("main").log[:300])
    await first.close()
    kept.write_bytes(kept.read_bytes()[:200] + damage + kept.read_bytes()[201:] if damage else b"")
    for _ in range(2):
        again = build(log, start="beginning", checkpoint=str(kept))
        await drain(again)
        assert value(again, "proxy_requests_successful_total") == 676
        await again.close()
    for name in ("checkpoint", "checkpoint.old"):
        (tmp_path / name).write_bytes(b"\xff" * 5)
    anew = build(log, start="beginning", checkpoint=str(kept))
    await drain(anew)
    assert value(anew, "proxy_requests_successful_total") == 676
    await anew.close()
    assert kept.read_bytes().startswith(b"proxywatch checkpoint ")


async def test_a_slow_parser_would_delay_others_by_a_line_alone(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were every unusual line to take ten milliseconds, the loop would be free after each of them."""
    clock = FakeClock()
    log.write_bytes(b"what is this\n" * 200)
    parse, turns = dante_line.parse, 0

    def slow(line: bytes) -> object:
        clock.pass_by(0.01)
        return parse(line)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(dante_line, "parse", slow)
    monkeypatch.setattr(followed_log, "_YIELD_RATIO", 0)
    collector = build(log, clock=clock, start="beginning")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(others())
        await drain(collector)
        task.cancel()
    assert turns >= 200
    assert value(collector, "dante_log_unparsed_lines_total") == 200
    await collector.close()
