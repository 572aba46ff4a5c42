"""Processes and tables of the real /proc."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import procfs
from support.processes import sleeping

GONE = 4_194_305  # above the kernel's highest pid


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
