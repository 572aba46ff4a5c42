"""A small file that is there whole, in its old or its new state."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import checkpoint
from proxywatch.source.checkpoint import Kept

ENDLESS = """
import sys
from proxywatch.source import checkpoint
number = 0
while True:
    number += 1
    checkpoint.write(sys.argv[1], b"%09d" % number * 50_000)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


def test_what_is_written_is_read(path: Path) -> None:
    """And replaced; nothing is left beside it, and nobody else may read it."""
    assert checkpoint.read(str(path)) == Kept(None)
    for content in (b"first", b"", b"x" * 3_000_000):
        checkpoint.write(str(path), content)
        assert checkpoint.read(str(path)) == Kept(content)
    assert sorted(path.parent.iterdir()) == [path, path.with_name("checkpoint.old")]
    assert path.stat().st_mode & 0o077 == 0


def test_a_writer_that_is_killed_leaves_a_whole_file(path: Path) -> None:
    """The old one or the new one, whenever it was killed; what it left beside is no hindrance."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    seen = set()
    for kill in range(6):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, path], env=environ)
        before = checkpoint.read(str(path)).content
        while checkpoint.read(str(path)).content == before:
            time.sleep(0.001)
        time.sleep(0.003 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        content = checkpoint.read(str(path)).content
        assert content is not None
        assert content == content[:9] * 50_000
        seen.add(content[:9])
    checkpoint.write(str(path), b"after")
    assert checkpoint.read(str(path)) == Kept(b"after")
    assert {it.name for it in path.parent.iterdir()} == {"checkpoint", "checkpoint.old"}


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    """The failure is said, in words, and is not for ever."""
    checkpoint.write(str(path), b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SourceError, match="checkpoint: File too large") as raised:
            checkpoint.write(str(path), b"new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert raised.value.temporary
    assert checkpoint.read(str(path)) == Kept(b"old")
    assert list(path.parent.iterdir()) == [path]


def test_where_it_cannot_be_written_or_read(path: Path) -> None:
    """No directory; a directory in its place."""
    with pytest.raises(SourceError, match="No such file"):
        checkpoint.write(str(path.parent / "absent" / "checkpoint"), b"x")
    path.mkdir()
    with pytest.raises(SourceError, match="Is a directory"):
        checkpoint.write(str(path), b"x")
    with pytest.raises(SourceError, match="no regular file"):
        checkpoint.read(str(path))
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(SourceError, match="Not a directory"):
        checkpoint.read("/dev/null/checkpoint")


def test_a_write_that_takes_long_is_not_disturbed_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the exporter is stopped while the disk is busy: the last one is there in the end."""
    flush = os.fsync
    flushing, goes_on = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        flushing.set()
        goes_on.wait(10)
        flush(fd)

    monkeypatch.setattr(os, "fsync", slow)
    first = threading.Thread(target=checkpoint.write, args=(str(path), b"first" * 1000))
    first.start()
    flushing.wait(10)
    threading.Timer(0.05, goes_on.set).start()
    checkpoint.write(str(path), b"second")
    first.join()
    assert checkpoint.read(str(path)) == Kept(b"second")
    assert {it.name for it in path.parent.iterdir()} == {"checkpoint", "checkpoint.old"}


def test_a_content_that_is_damaged_is_set_aside_for_the_one_before(path: Path) -> None:
    """One byte changed, one missing, one too many, none at all, another file."""
    for damage in (
        lambda whole: whole[:-3] + b"\xff" + whole[-2:],
        lambda whole: whole[:-1],
        lambda whole: whole + b"x",
        lambda _: b"",
        lambda whole: b"\xff" + whole,
        lambda whole: whole.replace(b" 5 ", b" 9999999999999999999999 "),
    ):
        checkpoint.write(str(path), b"first")
        checkpoint.write(str(path), b"after")
        path.write_bytes(damage(path.read_bytes()))
        assert checkpoint.read(str(path)) == Kept(b"first", f"{path} is damaged")
        assert path.with_name("checkpoint.damaged").exists()
        assert checkpoint.read(str(path)) == Kept(b"first")


def test_when_both_are_damaged_there_is_nothing(path: Path) -> None:
    """And what comes next is kept as ever."""
    for name in ("checkpoint", "checkpoint.old"):
        path.with_name(name).write_bytes(b"\xff")
    assert checkpoint.read(str(path)) == Kept(None, f"{path} is damaged")
    checkpoint.write(str(path), b"new")
    assert checkpoint.read(str(path)) == Kept(b"new")


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint.new"])
@pytest.mark.parametrize("kind", ["symlink", "fifo"])
def test_nothing_but_a_regular_file_of_ours_is_touched(path: Path, name: str, kind: str) -> None:
    """A link's target stays as it is; a FIFO makes nobody wait."""
    other = path.with_name("other")
    other.write_bytes(b"precious")
    there = path.with_name(name)
    there.symlink_to(other) if kind == "symlink" else os.mkfifo(there)
    if there == path:
        with pytest.raises(SourceError):
            checkpoint.read(str(path))
        with pytest.raises(SourceError, match="no regular file"):
            checkpoint.write(str(path), b"new")
    else:
        checkpoint.write(str(path), b"new")
        assert checkpoint.read(str(path)) == Kept(b"new")
    assert other.read_bytes() == b"precious"
