"""One file that grows by lines, read from an offset on; knows when it was cut or written anew meanwhile.

The offset always stands between two lines: what follows the last newline is read again, once it has grown.
The bytes before the offset are remembered (the mark) and read again with every chunk. So a file that was cut
is told from one that grew, also when it has grown beyond the old offset since.
"""

import os
import stat
from contextlib import suppress
from typing import NamedTuple, Self

from proxywatch.errors import SourceError
from proxywatch.source import file

_MARK = 256
_LONGEST = 1 << 20
_KEPT = 1 << 12


class Place(NamedTuple):
    """Where the reading of one file stands.

    Attributes:
        device: Of the file system.
        inode: Of the file.
        offset: Of the first line that was not handed out.
        mark: The bytes before the offset, 256 at most.
        ahead: Where nothing was read yet, the file's first bytes.
    """

    device: int
    inode: int
    offset: int
    mark: bytes
    ahead: bytes = b""

    @property
    def identity(self) -> tuple[int, int]:
        """What names the file, whatever its path."""
        return self.device, self.inode


class CutError(Exception):
    """The file no longer holds what was read of it."""


class LogFile:
    """An open file and how far it was read.

    Attributes:
        identity: (device, inode).
        touched: Monotonic time of the last line, in seconds; kept by who follows the file.
    """

    __slots__ = ("_ahead", "_fd", "_mark", "_offset", "_skipping", "identity", "touched")

    def __init__(self, path: str, *, at_end: bool = False) -> None:
        """Open a file at its beginning or its end.

        Raises:
            SourceError: Absent, not permitted, or no file: a directory is what a container gets whose volume
                names a file that is not there.
        """
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise file.unreadable(path, error) from error
        state = os.fstat(self._fd)
        if not stat.S_ISREG(state.st_mode):
            os.close(self._fd)
            raise SourceError(f"{path} is no file", temporary=True)
        self.identity = (state.st_dev, state.st_ino)
        self.touched = 0.0
        self._skipping = False
        self._stand(0)
        if at_end:
            self._stand_at_end(state.st_size)

    @classmethod
    def resume(cls, path: str, place: Place) -> Self | None:
        """Open a file at a place; None when it does not hold what was read before that.

        Raises:
            SourceError: Absent, or not permitted.
        """
        opened = cls(path)
        opened._stand(place.offset)
        opened._ahead = place.ahead
        if opened._mark == place.mark and opened.head().startswith(place.ahead):
            return opened
        opened.close()
        return None

    def _stand(self, offset: int) -> None:
        start = max(0, offset - _MARK)
        self._mark = os.pread(self._fd, offset - start, start)
        self._ahead = b""
        self._offset = offset

    def _stand_at_end(self, size: int) -> None:
        # Before a last line that is still being written, unless that is a long one.
        start = max(0, size - _LONGEST)
        newline = os.pread(self._fd, size - start, start).rfind(b"\n")
        self._skipping = newline < 0 and start > 0
        self._stand(size if self._skipping else start + newline + 1)

    def read(self, limit: int) -> bytes:
        """Complete lines out of the next `limit` bytes; empty when no line is complete.

        A run of NUL bytes, which a writer leaves that does not append, is passed over. Of a line of more than
        1 MiB the first 4 KiB are handed out.

        Raises:
            CutError: The file was cut or written anew; `restart` reads what it holds now.
        """
        known = len(self._mark)
        if self._ahead and not self.head().startswith(self._ahead):
            raise CutError
        data = os.pread(self._fd, known + limit, self._offset - known)
        if not data.startswith(self._mark):
            raise CutError
        chunk = data[known:]
        if chunk.startswith(b"\0"):
            nuls = len(chunk) - len(chunk.lstrip(b"\0"))
            self._stand(self._offset + nuls)
            return self.read(limit)
        end = chunk.rfind(b"\n") + 1
        if not end:
            return self._long_line(chunk, limit) if len(chunk) == limit else b""
        self._offset += end
        self._ahead = b""
        self._mark = data[: known + end][-_MARK:]
        if self._skipping:
            self._skipping = False
            return chunk[chunk.index(b"\n") + 1 : end]
        return chunk[:end]

    def _long_line(self, start: bytes, limit: int) -> bytes:
        if limit < _LONGEST:
            return self.read(_LONGEST)
        handed = b"" if self._skipping else start[:_KEPT] + b"\n"
        self._skipping = True
        self._stand(self._offset + len(start))
        return handed or self.read(limit)

    def restart(self) -> None:
        """Read the file anew, from its first byte that is not in a hole."""
        start = 0
        with suppress(OSError):  # nothing but a hole, or a file system that cannot tell
            start = os.lseek(self._fd, 0, os.SEEK_DATA)
        self._skipping = False
        self._stand(start)

    @property
    def place(self) -> Place:
        """Where the reading stands."""
        return Place(*self.identity, self._offset, self._mark, self._ahead)

    def look_ahead(self) -> None:
        """Remember how an unread file begins, so that it is known when it is cut before it is read."""
        if not self._mark and len(self._ahead) < _MARK and not self._offset:
            self._ahead = self.head()

    def head(self) -> bytes:
        """The first bytes, by which a copy is known."""
        return os.pread(self._fd, _MARK, 0)

    def unread(self) -> int:
        """Bytes that were not handed out yet."""
        return max(0, os.fstat(self._fd).st_size - self._offset)

    def written_at(self) -> float:
        """Unix time of the last write, in seconds."""
        return os.fstat(self._fd).st_mtime

    def named(self) -> bool:
        """Whether some path still leads to the file."""
        return os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
