"""Lines that come by a FIFO or by standard input, and where lines come from at all."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source.log import lines
from proxywatch.source.log.lines import Lines
from proxywatch.source.log.position import Progress
from proxywatch.source.log.tail import Tail


def follow(path: Path | str) -> Lines:
    return lines.follow(str(path), time.monotonic, at_end=True)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "danted.log"
    os.mkfifo(path)
    return path


@pytest.fixture
def stdin() -> Iterator[int]:
    """The writing end of a pipe that is standard input for a while."""
    kept = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.dup2(kept, 0)
    os.close(kept)


def test_a_fifo_hands_out_whole_lines_and_nothing_while_there_is_none(fifo: Path) -> None:
    """A partial line waits; it is nobody's fault that a FIFO has no place to go back to."""
    source = follow(fifo)
    assert source.read(1024) == b""
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"one\ntw")
        assert source.unread() == 6
        assert source.read(1024) == b"one\n"
        assert source.read(1024) == b""
        writer.write(b"o\nthree\n")
        assert source.read(1024) == b"two\nthree\n"
    assert (source.progress.read_bytes, source.unread(), source.position().files, source.written_at()) == (
        14,
        0,
        (),
        None,
    )
    assert source.progress == Progress(14)
    source.close()


def test_a_fifo_whose_writer_went_is_there_for_the_next(fifo: Path) -> None:
    """Neither does it end, nor does a writer ever find it closed."""
    source = follow(fifo)
    for number in range(3):
        with fifo.open("wb", buffering=0) as writer:
            writer.write(b"line %d\n" % number)
        assert source.read(1024) == b"line %d\n" % number
        assert source.read(1024) == b""
    source.close()


def test_of_a_line_of_megabytes_a_fifo_hands_out_the_start(fifo: Path) -> None:
    """And the next line is whole, wherever the reads fall."""
    source = follow(fifo)
    taken = b""
    with fifo.open("wb", buffering=0) as writer:
        for part in (b"x" * 50_000,) * 30 + (b"y\nafter\n", b"last\n"):
            writer.write(part)
            taken += source.read(1 << 16)
    taken += source.read(1 << 16)
    assert [len(line) for line in taken.split(b"\n")] == [4096, 5, 4, 0]
    source.close()


async def test_a_line_in_a_fifo_wakes_the_reader(fifo: Path) -> None:
    """At once, not after the time-out; the time-out ends a wait for nothing."""
    source = follow(fifo)
    begin = time.monotonic()
    await source.changed(0.05)
    assert 0.04 < time.monotonic() - begin < 5
    with fifo.open("wb", buffering=0) as writer:
        asyncio.get_running_loop().call_later(0.01, writer.write, b"one\n")
        await asyncio.wait_for(source.changed(60), 10)
        assert source.read(1024) == b"one\n"
    source.close()


async def test_standard_input(stdin: int) -> None:
    """Line by line; its end is no reason to spin."""
    source = follow("-")
    os.write(stdin, b"one\ntwo\nthr")
    await asyncio.wait_for(source.changed(60), 10)
    assert source.read(1024) == b"one\ntwo\n"
    os.write(stdin, b"ee\n")
    os.close(stdin)
    assert source.read(1024) == b"three\n"
    assert source.read(1024) == b""
    begin = time.monotonic()
    await source.changed(0.2)
    assert time.monotonic() - begin > 0.15
    source.close()
    assert os.fstat(0)  # only our copy of it was closed


async def test_standard_input_from_a_file_that_grows(tmp_path: Path) -> None:
    """It can be neither awaited nor ended; it is looked at again."""
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    kept = os.dup(0)
    fd = os.open(path, os.O_RDONLY)
    os.dup2(fd, 0)
    try:
        source = follow("-")
        assert source.read(1024) == b"one\n"
        assert source.read(1024) == b""
        with path.open("ab") as file:
            file.write(b"two\n")
        await source.changed(0.01)
        assert source.read(1024) == b"two\n"
        source.close()
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(fd)


def test_what_is_at_the_path_decides(fifo: Path, tmp_path: Path) -> None:
    """A file is followed; what is absent, or nothing that has lines, is said."""
    path = tmp_path / "file"
    path.touch()
    tail = follow(path)
    assert isinstance(tail, Tail)
    tail.close()
    with pytest.raises(SourceError) as absent:
        follow(tmp_path / "absent")
    assert absent.value.temporary
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(SourceError):
            follow(tmp_path / "socket").read(1)
    with pytest.raises(SourceError):
        follow(tmp_path).read(1)
    assert lines.last(str(fifo), 1000) == b""  # and its lines are still there for who reads them


def test_the_last_lines_of_a_file(tmp_path: Path) -> None:
    """Whole ones, of the last bytes."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthree\npart")
    assert lines.last(str(path), 1000) == b"one\ntwo\nthree\n"
    assert lines.last(str(path), 13) == b"three\n"
    with pytest.raises(SourceError):
        lines.last(str(tmp_path / "absent"), 10)


def test_a_long_line_in_a_fifo_is_read_as_fast_as_it_is_written(fifo: Path) -> None:
    """Not a chunk a look, which would hold its writer: one read goes on until the line is whole."""
    source = follow(fifo)
    line = b"x" * 300_000 + b"\n"
    with fifo.open("wb", buffering=0) as writer:
        assert writer.write(line + b"next\n") == len(line) + 5  # it has room for a long line, too
        taken = source.read(1 << 14)
        assert taken.startswith(line)
        assert not source.more
        assert taken + source.read(1 << 14) == line + b"next\n"
    source.close()


def test_a_line_without_an_end_in_a_fifo_holds_no_read_for_long(fifo: Path) -> None:
    """After a MiB it says that there may be more."""
    source = follow(fifo)
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"x" * (1 << 20))
        assert source.read(1 << 14) == b"x" * 4096 + b"\n"
        writer.write(b"x" * (1 << 20))
        assert source.read(1 << 14) == b""
        assert source.more
        writer.write(b"\nnext\n")
        while source.more or not (taken := source.read(1 << 14)):
            source.more = False
        assert taken == b"next\n"
    assert source.read(1 << 14) == b""
    assert not source.more
    source.close()


async def test_the_last_line_of_standard_input_may_have_no_newline(stdin: int) -> None:
    """Nothing comes after the end; it is handed out once."""
    source = follow("-")
    os.write(stdin, b"one\ntwo")
    assert source.read(1024) == b"one\n"
    assert source.read(1024) == b""
    os.close(stdin)
    assert source.read(1024) == b"two\n"
    assert source.read(1024) == b""
    source.close()


def test_who_ends_amid_a_line_that_is_too_long_does_not_spoil_the_next(
    fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where we may not hold a FIFO open ourselves, it ends with its writer and begins with the next."""
    opened = os.open

    def not_permitted(path: str, flags: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", not_permitted)
    source = follow(fifo)
    monkeypatch.undo()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"x" * (1 << 20))
        assert source.read(1 << 14) == b"x" * 4096 + b"\n"
    assert source.read(1 << 14) == b""
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"next\n")
        assert source.read(1 << 14) == b"next\n"
    source.close()
