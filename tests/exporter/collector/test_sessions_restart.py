"""A restart, orderly or by kill -9, loses and doubles nothing."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from proxywatch.dante.log import DanteLog
from proxywatch.dante.sessions import Sessions
from proxywatch.errors import SourceError
from proxywatch.exporter.collector import sessions
from proxywatch.exporter.followed_log import Checkpoint
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.source import checkpoint
from proxywatch.source.log.position import Progress
from support.fakes import FakeClock
from support.log_writer import Writer

SCRIPT = Path(__file__).parents[2] / "support/follow_log.py"


def line(count: int) -> bytes:
    """One request that a client rule refused."""
    now = time.time()
    client = f"10.{count >> 16 & 255}.{count >> 8 & 255}.{count & 255}.{1024 + count % 60000}"
    head = f"Nov 21 12:04:52 ({now:.6f}) danted[7310]: info: "
    return f"{head}block(1): tcp/accept ]: {client} 10.77.0.1.1080\n".encode()


def saved(path: Path) -> tuple[DanteLog, Progress]:
    content = checkpoint.read(str(path)).content
    assert content is not None
    kept = msgspec.msgpack.decode(content, type=Checkpoint)
    log = DanteLog(Sessions(lambda _endpoint, _at: False))
    log.restore(kept.log)
    return log, kept.progress


def follower(log: Path, kept: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, SCRIPT, log, kept], env=environment)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_kill_and_restart_under_a_busy_writer_that_rotates(tmp_path: Path) -> None:
    """5,000 lines a second, rotated in every way that keeps the lines, killed often: each counts once."""
    log, kept = tmp_path / "danted.log", tmp_path / "checkpoint"
    writer = Writer(log, line)
    writer.ways = writer.ways_that_keep_the_lines  # type: ignore[method-assign]
    thread = threading.Thread(target=writer.run, args=(15.0,), kwargs={"every": 0.9})
    process = follower(log, kept)
    kills = 0
    try:
        wait_for(kept.exists)
        thread.start()
        while thread.is_alive():
            thread.join(2.4)
            process.kill()
            process.wait()
            kills += 1
            process = follower(log, kept)
        wait_for(lambda: saved(kept)[0].lines >= writer.count)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        thread.join()
        writer.close()
    account, reading = saved(kept)
    print(f"\n{writer.count} lines, {kills} kills, {reading.rotations} rotations")
    assert (account.lines, account.unparsed) == (writer.count, 0)
    assert account.sessions.totals.failures["client_rule"] == writer.count
    assert reading.gaps == 0


async def test_a_restart_while_the_log_cannot_be_opened(tmp_path: Path) -> None:
    """However long that takes, and when it is stopped again meanwhile: each line counts once."""
    log, kept = tmp_path / "danted.log", tmp_path / "checkpoint"
    settings = sessions.Settings(log=str(log), checkpoint=str(kept))

    async def run(looks: int) -> None:
        collector = sessions.build(settings, FakeClock(), OwnTraffic())
        for _ in range(looks):
            with suppress(SourceError):
                await collector.update()
        await collector.close()

    log.touch()
    await run(1)
    log.write_bytes(b"".join(map(line, range(100))))
    await run(1)
    log.rename(f"{log}.1")
    log.write_bytes(b"".join(map(line, range(100, 110))))
    await run(1)
    away = log.rename(tmp_path / "away")
    log.mkdir()
    await run(3)
    await run(3)
    log.rmdir()
    away.rename(log)
    with log.open("ab") as file:
        file.write(line(110))
    await run(1)
    account, reading = saved(kept)
    assert (account.lines, reading.gaps) == (111, 0)


async def test_what_is_known_of_copies_outlives_a_restart(tmp_path: Path) -> None:
    """A copy that was read is not read again when it is touched and the log is rotated while nobody looks."""
    log, kept = tmp_path / "danted.log", tmp_path / "checkpoint"
    settings = sessions.Settings(log=str(log), start="beginning", checkpoint=str(kept))
    for turn in range(4):
        with log.open("ab") as file:
            file.write(line(turn))
        collector = sessions.build(settings, FakeClock(), OwnTraffic())
        await collector.update()
        if turn % 2:
            log.rename(f"{log}.{turn}")
            log.touch()
        else:
            Path(f"{log}.{turn}").write_bytes(log.read_bytes())
            os.truncate(log, 0)
        await collector.update()
        await collector.close()
        for beside in tmp_path.glob("danted.log.*"):
            os.utime(beside)
    assert saved(kept)[0].lines == 4
