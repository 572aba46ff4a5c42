"""Where lines come from: a file that is followed, a FIFO, or standard input."""

import asyncio
import fcntl
import os
import select
import stat
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from proxywatch.errors import SourceError
from proxywatch.source import file
from proxywatch.source.log.inotify import readable
from proxywatch.source.log.position import NOWHERE, Position, Progress
from proxywatch.source.log.splitter import LONGEST, Splitter
from proxywatch.source.log.tail import Tail

STANDARD_INPUT = "-"


class Lines(Protocol):
    """Lines as they come.

    Attributes:
        more: Whether the last read gave nothing only because it had done enough for once.
    """

    more: bool

    @property
    def progress(self) -> Progress:
        """How much was read."""

    def read(self, limit: int) -> bytes:
        """Complete lines, about `limit` bytes at most; empty when there are none now, or see `more`.

        Raises:
            SourceError: They cannot be read.
        """

    async def changed(self, timeout: float) -> None:  # noqa: ASYNC109 - the longest it may take is the point
        """Return when there may be more, after `timeout` seconds at the latest."""

    def unread(self) -> int:
        """Bytes that wait."""

    def written_at(self) -> float | None:
        """Unix time of the last write, in seconds; None when it cannot be known."""

    def position(self) -> Position:
        """How far it was read, for the next run."""

    def close(self) -> None:
        """Let go of everything."""


def follow(
    path: str,
    monotonic: Callable[[], float],
    *,
    at_end: bool,
    position: Position = NOWHERE,
) -> Lines:
    """The lines at a path.

    Args:
        path: Of a file or a FIFO; `-` for standard input.
        monotonic: A clock, in seconds.
        at_end: Whether a file is read from its end on.
        position: How far an earlier run had read.

    Raises:
        SourceError: Nothing is there, or it is not permitted.
    """
    if path == STANDARD_INPUT:
        return Pipe(os.dup(0))
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - pathlib costs 1 MB
    except OSError as error:
        if position.files and isinstance(error, FileNotFoundError):
            return Tail(path, monotonic, at_end=False, position=position)
        raise file.unreadable(path, error) from error
    if stat.S_ISFIFO(mode):
        return Pipe(_open_fifo(path))
    return Tail(path, monotonic, at_end=at_end, position=position)


def last(path: str, size: int) -> bytes:
    """The complete lines in the last `size` bytes of a file; nothing of a FIFO, whose lines would be lost.

    Raises:
        SourceError: Absent, not permitted, or no file.
    """
    try:
        state = os.stat(path)  # noqa: PTH116 - as above
        if stat.S_ISFIFO(state.st_mode):
            return b""
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(f"{path} is no file", temporary=True)
        with open(path, "rb", buffering=0) as log:  # noqa: PTH123 - as above
            log.seek(max(0, state.st_size - size))
            content = log.read(size)
    except OSError as error:
        raise file.unreadable(path, error) from error
    if state.st_size > size:
        content = content.partition(b"\n")[2]
    return content[: content.rfind(b"\n") + 1]


def _open_fifo(path: str) -> int:
    # Held open for writing too, it never ends when its writer does, and the writer never finds it closed.
    flags = os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except PermissionError:
        pass
    try:
        return os.open(path, os.O_RDONLY | flags)
    except OSError as error:
        raise file.unreadable(path, error) from error


class Pipe:
    """A FIFO or standard input: what was read is gone, so there is no position to go back to."""

    def __init__(self, fd: int) -> None:
        """Take over a file descriptor."""
        self.read_bytes = 0
        self._fd = fd
        self.more = False
        self._splitter = Splitter()
        self._ended = False
        self._whole = not stat.S_ISREG(os.fstat(fd).st_mode)  # what has ended does not grow again
        with suppress(OSError):  # 64 KiB are less than one line of `log: data`; or it is no pipe
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, LONGEST)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def read(self, limit: int) -> bytes:
        """Complete lines; of a line of more than 1 MiB, nothing but its start.

        Reads on while there are none, 1 MiB at most: who writes a long line must not wait for us.
        """
        self.more = False
        taken = 0
        while self._poll.poll(0):
            try:
                chunk = os.read(self._fd, limit)
            except OSError as error:
                raise file.unreadable(STANDARD_INPUT, error) from error
            self._ended = not chunk
            lines = self._splitter.end() if self._ended and self._whole else self._splitter.feed(chunk)
            if lines:
                self.read_bytes += len(lines)
                return lines
            if self._ended:
                break
            taken += len(chunk)
            if taken >= LONGEST:
                self.more = True
                break
        return b""

    async def changed(self, timeout: float) -> None:  # noqa: ASYNC109 - as in the protocol
        """Return when there is something to read, or, after its end, whether there is or not."""
        if self._ended:  # which can always be "read"
            await asyncio.sleep(timeout)
        else:
            await readable(self._fd, timeout)

    def unread(self) -> int:
        """Bytes in the pipe."""
        try:
            waiting = fcntl.ioctl(self._fd, termios.FIONREAD, b"\0\0\0\0")
        except OSError:
            return 0
        return int.from_bytes(waiting, "little")

    def written_at(self) -> float | None:
        """Not known: what is written is read at once."""
        return None

    def position(self) -> Position:
        """None: what was read is gone."""
        return Position()

    @property
    def progress(self) -> Progress:
        """How much was read."""
        return Progress(self.read_bytes)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
