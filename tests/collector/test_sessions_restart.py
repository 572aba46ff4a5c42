"""A restart, orderly or by kill -9, loses and doubles nothing."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from log_writer import Writer
from proxywatch.state.dante_account import Checkpoint, DanteAccount
from proxywatch.state.sessions import Sessions

SCRIPT = Path(__file__).parent / "follow_log.py"


def line(count: int) -> bytes:
    """One request that a client rule refused."""
    now = time.time()
    client = f"10.{count >> 16 & 255}.{count >> 8 & 255}.{count & 255}.{1024 + count % 60000}"
    head = f"Nov 21 12:04:52 ({now:.6f}) danted[7310]: info: "
    return f"{head}block(1): tcp/accept ]: {client} 10.77.0.1.1080\n".encode()


def saved(checkpoint: Path) -> tuple[DanteAccount, Checkpoint]:
    account = DanteAccount(Sessions(lambda _endpoint, _at: False))
    return account, account.restore(checkpoint.read_bytes())


def follower(log: Path, checkpoint: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, SCRIPT, log, checkpoint], env=environment)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_kill_and_restart_under_a_busy_writer_that_rotates(tmp_path: Path) -> None:
    """5,000 lines a second, rotated in every way that keeps the lines, killed often: each counts once."""
    log, checkpoint = tmp_path / "danted.log", tmp_path / "checkpoint"
    writer = Writer(log, line)
    writer.ways = writer.ways_that_keep_the_lines  # type: ignore[method-assign]
    thread = threading.Thread(target=writer.run, args=(15.0,), kwargs={"every": 0.9})
    process = follower(log, checkpoint)
    kills = 0
    try:
        wait_for(checkpoint.exists)
        thread.start()
        while thread.is_alive():
            thread.join(2.4)
            process.kill()
            process.wait()
            kills += 1
            process = follower(log, checkpoint)
        wait_for(lambda: saved(checkpoint)[1].lines >= writer.count)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        thread.join()
        writer.close()
    account, reading = saved(checkpoint)
    print(f"\n{writer.count} lines, {kills} kills, {reading.rotations} rotations")
    assert (account.lines, account.unparsed) == (writer.count, 0)
    assert account.sessions.totals.failures["client_rule"] == writer.count
    assert reading.gaps == 0
