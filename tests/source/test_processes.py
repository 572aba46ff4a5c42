"""What psutil finds, against processes and a machine that are real."""

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import processes
from proxywatch.source.processes import Process
from support.processes import sleeping

GONE = 4_194_305  # above the kernel's highest pid
BUSY = "import time; begin = time.process_time()\nwhile time.process_time() < begin + 0.2: pass"


def test_named() -> None:
    """A child of ours is found by its name, with its parent."""
    with sleeping() as child:
        assert Process(child.pid, os.getpid()) in asyncio.run(processes.named(["sleep"]))
    assert Process(child.pid, os.getpid()) not in asyncio.run(processes.named(["sleep"]))


def test_a_table_that_cannot_be_listed_is_an_error_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when there is no descriptor left."""

    def full(_path: str) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "listdir", full)
    with pytest.raises(SourceError, match="/proc: Too many open files"):
        asyncio.run(processes.named(["sleep"]))


def test_what_a_process_uses() -> None:
    """Its memory as the kernel counts it, and the time of a child that has ended."""
    before = asyncio.run(processes.usage([os.getpid()]))
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    after = asyncio.run(processes.usage([os.getpid(), GONE]))
    assert before is not None
    assert after is not None
    assert after.cpu >= before.cpu + 0.15  # both are in ticks of 10 ms
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert after.resident == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.2)


def test_a_process_that_is_gone_uses_nothing() -> None:
    """Not even no bytes."""
    assert asyncio.run(processes.usage([GONE])) is None


def test_what_the_host_has_left() -> None:
    """As /proc/meminfo and /proc/stat say."""
    host = processes.host()
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert host.available == pytest.approx(int(fields["MemAvailable"].split()[0]) * 1024, rel=0.2)
    assert host.processors == os.cpu_count()
    assert host.idle > 0
