"""Processes and tables of the real /proc."""

import asyncio
import errno
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import procfs

GONE = 4_194_305  # above the kernel's highest pid


@contextmanager
def sleeping() -> Iterator["subprocess.Popen[bytes]"]:
    """A child that has become `sleep` for certain: between fork and exec it bears our name."""
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            deadline = time.monotonic() + 10
            while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
                time.sleep(0.001)
            yield child
        finally:
            child.kill()


def test_named() -> None:
    """A child of ours is found by its name, with its parent."""
    with sleeping() as child:
        assert procfs.Process(child.pid, os.getpid()) in asyncio.run(procfs.named(["sleep"]))
    assert procfs.Process(child.pid, os.getpid()) not in asyncio.run(procfs.named(["sleep"]))


def test_a_table_that_cannot_be_listed_is_an_error_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when there is no descriptor left."""

    def full(_path: str) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "listdir", full)
    with pytest.raises(SourceError, match="/proc: Too many open files"):
        asyncio.run(procfs.named(["sleep"]))


def test_one_process() -> None:
    """Its name, its arguments, its children."""
    with sleeping() as child:
        assert child.pid in procfs.children(os.getpid())
        assert procfs.name(child.pid) == "sleep"
        assert procfs.command_line(child.pid) == b"sleep\x0060\0"


def test_a_zombie_has_no_arguments() -> None:
    """It has a name, and is a child, until it is reaped."""
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert procfs.command_line(child.pid) == b""


def test_a_process_that_is_gone() -> None:
    """Nothing, and no error."""
    assert (procfs.name(GONE), procfs.command_line(GONE)) == ("", b"")
    assert (procfs.children(GONE), procfs.sockets(GONE)) == ([], set())


def test_sockets() -> None:
    """The inodes of our own."""
    with socket.socket() as ours:
        assert os.fstat(ours.fileno()).st_ino in procfs.sockets(os.getpid())
        inode = os.fstat(ours.fileno()).st_ino
    assert inode not in procfs.sockets(os.getpid())


def test_lines(tmp_path: Path) -> None:
    """A table line by line; none at all where the kernel lacks it."""
    assert next(procfs.lines("/proc/net/tcp")).split()[:2] == [b"sl", b"local_address"]
    assert list(procfs.lines(str(tmp_path / "tcp6"))) == []
    with pytest.raises(SourceError, match="directory"):
        list(procfs.lines(str(tmp_path)))
