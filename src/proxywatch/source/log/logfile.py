"""One file that grows by lines, read from an offset on; knows when it was cut or written anew meanwhile.

The offset always stands between two lines: what follows the last newline is read again, once it has grown.
The bytes before the offset are remembered (the mark) and read again with every chunk. So a file that was cut
is told from one that grew, also when it has grown beyond the old offset since.
"""

import errno
import os
import stat
from contextlib import suppress

from proxywatch.errors import SourceError
from proxywatch.source import file
from proxywatch.source.log.position import FilePosition
from proxywatch.source.log.rotated import HEAD, alike
from proxywatch.source.log.splitter import KEPT, LONGEST

_MARK = 256
_NULS = bytes(1 << 16)
_STEPS = 64  # of NUL bytes, 4 MiB: about a millisecond's work
_LONG_STEPS = 4  # of a long line, 4 MiB too


class CutError(Exception):
    """The file no longer holds what was read of it."""


class LogFile:
    """An open file and how far it was read.

    Attributes:
        identity: (device, inode).
        more: Whether the last read gave nothing only because it had done enough for once.
        touched: Monotonic time of the last line, in seconds; kept by who follows the file.
        copy: Whether nobody writes to it; kept by who follows the file.
    """

    __slots__ = ("_fd", "_head", "_mark", "_offset", "_skipping", "copy", "identity", "more", "touched")

    def __init__(self, path: str) -> None:
        """Open a file at its beginning.

        Raises:
            SourceError: Absent, not permitted, or no file: a directory is what a container gets whose volume
                names a file that is not there.
        """
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise file.unreadable(path, error) from error
        self.touched = 0.0
        self.copy = False
        self.more = False
        try:
            self._begin(path)
        except OSError as error:
            os.close(self._fd)
            raise file.unreadable(path, error) from error
        except SourceError:
            os.close(self._fd)
            raise

    def _begin(self, path: str) -> None:
        state = os.fstat(self._fd)
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(f"{path} is no file", temporary=True)
        self.identity = (state.st_dev, state.st_ino)
        self._head = os.pread(self._fd, HEAD, 0)
        self._stand(0)

    # Where it stands

    def _stand(self, offset: int) -> None:
        start = max(0, offset - _MARK)
        self._mark = os.pread(self._fd, offset - start, start)
        self._offset = offset
        # Amid a line that is too long, and was handed out as far as it will be.
        self._skipping = bool(self._mark) and self._mark[-1] not in b"\n\0"

    def to_end(self) -> None:
        """Stand at the end: before a last line that is still being written, unless that is a long one."""
        size = self.size()
        start = max(0, size - LONGEST)
        newline = os.pread(self._fd, size - start, start).rfind(b"\n")
        self._stand(size if newline < 0 and start > 0 else start + newline + 1)

    def holds(self, position: FilePosition) -> bool:
        """Whether the file has the bytes that were read before a position, and began as that file did."""
        start = position.offset - len(position.mark)
        if os.pread(self._fd, len(position.mark), start) != position.mark:
            return False
        same = position.identity == self.identity
        if same and (position.mark or not position.head):
            return True  # holes may have been punched into what was read
        head = os.pread(self._fd, HEAD, 0)
        told = same or bool(position.mark.strip(b"\0")) or alike(head, position.head)
        return told and head.startswith(position.head)

    def go_on(self, position: FilePosition) -> bool:
        """Stand at a position that the file holds; in one that was shortened at either end, where it fits.

        Returns:
            Whether it is the same log; else nothing has changed.
        """
        if self.holds(position):
            self._head = max(position.head, self._head, key=len)
            self._stand(position.offset)
            return True
        if self.size() < position.offset and alike(os.pread(self._fd, HEAD, 0), position.head):
            self.to_end()
            return True
        kept = os.pread(self._fd, LONGEST, 0).find(position.mark) if len(position.mark) == _MARK else -1
        if kept >= 0 and position.mark.count(b"\0") < _MARK:
            self._head = os.pread(self._fd, HEAD, 0)
            self._stand(kept + _MARK)
            return True
        return False

    def restart(self) -> None:
        """Read the file anew, from its first byte that is not in a hole."""
        self._head = os.pread(self._fd, HEAD, 0)
        self._stand(self._data(0))

    def _data(self, offset: int) -> int:
        try:
            return max(offset, os.lseek(self._fd, offset, os.SEEK_DATA))
        except OSError as error:  # ENXIO: nothing but a hole; else a file system that cannot tell
            return max(offset, self.size()) if error.errno == errno.ENXIO else offset

    # Reading

    def read(self, limit: int) -> bytes:
        """Complete lines out of the next `limit` bytes; empty when no line is complete, or see `more`.

        A run of NUL bytes, which a writer leaves that does not append, is passed over. Of a line of more than
        1 MiB the first 4 KiB are handed out. No call looks at more than a few MiB.

        Raises:
            CutError: The file was cut or written anew; `go_on` or `restart` read what it holds now.
        """
        self.more = False
        mark = self._mark
        known = len(mark)
        if not known and not os.pread(self._fd, HEAD, 0).startswith(self._head):
            raise CutError
        data = os.pread(self._fd, known + limit, self._offset - known)
        if not data.startswith(mark):
            raise CutError
        if data.startswith(b"\0", known):
            return self._pass_nuls(limit)
        if self._skipping:
            return self._pass_line(limit)
        end = data.rfind(b"\n", known) + 1
        if not end:
            return self._long_line() if len(data) == known + limit else b""
        self._offset += end - known
        self._mark = data[max(0, end - _MARK) : end]
        return data[known:end]

    def _pass_nuls(self, limit: int) -> bytes:
        offset = self._offset
        for _ in range(_STEPS):
            offset = self._data(offset)
            block = os.pread(self._fd, len(_NULS), offset)
            if not block or not _NULS.startswith(block):
                self._stand(offset + len(block) - len(block.lstrip(b"\0")))
                return self.read(limit)
            offset += len(block)
        self._stand(offset)
        self.more = True
        return b""

    def _long_line(self) -> bytes:
        """One line that is longer than a chunk; its start when it is too long."""
        line = os.pread(self._fd, LONGEST, self._offset)
        end = line.find(b"\n") + 1
        if not end and len(line) < LONGEST:
            return b""
        self._stand(self._offset + (end or len(line)))
        return line[:end] or line[:KEPT] + b"\n"

    def _pass_line(self, limit: int) -> bytes:
        """Go to the end of a line that is too long."""
        for _ in range(_LONG_STEPS):
            block = os.pread(self._fd, LONGEST, self._offset)
            end = block.find(b"\n") + 1
            if end:
                self._stand(self._offset + end)
                return self.read(limit)
            self._stand(self._offset + len(block))
            if len(block) < LONGEST:
                return b""
        self.more = True
        return b""

    # What is known of it

    @property
    def position(self) -> FilePosition:
        """Where the reading stands."""
        return FilePosition(*self.identity, self._offset, self._mark, self.head)

    @property
    def head(self) -> bytes:
        """How the file began, as far as it was seen; by that a copy of it is known."""
        if self._offset == len(self._mark) > len(self._head):
            return self._mark
        return self._head

    def learn(self) -> bool:
        """See how a file begins that was shorter before, so that it is missed when it is cut unread.

        Returns:
            Whether anything was learned.
        """
        if len(self._head) >= HEAD:
            return False
        try:
            head = os.pread(self._fd, HEAD, 0)
        except OSError:  # which reading will say
            return False
        if len(head) == len(self._head) or not head.startswith(self._head):
            return False
        self._head = head
        return True

    def begins(self) -> bytes:
        """How it begins now, which may be unlike what is known of it."""
        return os.pread(self._fd, HEAD, 0)

    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._fd).st_size

    def unread(self) -> int:
        """Bytes that were not handed out yet."""
        return max(0, self.size() - self._offset)

    def done(self) -> bool:
        """Whether it was read to its end, and was not cut since."""
        with suppress(OSError):
            return self.size() == self._offset and self.holds(self.position)
        return False

    def written_at(self) -> float:
        """Unix time of the last write, in seconds."""
        return os.fstat(self._fd).st_mtime

    def named(self) -> bool:
        """Whether some path still leads to the file."""
        return os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        """Let go of it; once more does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
