"""The lines that are appended to a file."""

import os

from proxywatch.errors import SourceError
from proxywatch.source import file


class Tail:
    """Reads what is appended, from the end or the beginning of the file on.

    Attributes:
        path: The file.
        read_bytes: Bytes handed out.
        rotations: Times that another file took the path.
        truncations: Times that the file was cut.
    """

    def __init__(self, path: str, *, from_end: bool = True) -> None:
        self.path = path
        self.read_bytes = 0
        self.rotations = 0
        self.truncations = 0
        self._from_end = from_end
        self._fd: int | None = None
        self._offset = 0
        self._rest = b""
        self._behind = False

    @property
    def behind(self) -> bool:
        """Whether the last read left something."""
        return self._behind

    def read(self, limit: int = 1 << 16) -> bytes:
        """Complete lines, some `limit` bytes of them at most; empty when there are none now.

        Raises:
            SourceError: The file is absent or may not be read.
        """
        if self._fd is None:
            self._open()
        assert self._fd is not None
        chunk = os.pread(self._fd, limit, self._offset)
        self._behind = len(chunk) == limit
        if not chunk:
            self._follow()
            return b""
        self._offset += len(chunk)
        self.read_bytes += len(chunk)
        lines, newline, rest = (self._rest + chunk).rpartition(b"\n")
        self._rest = rest
        return lines + newline

    def _open(self) -> None:
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._from_end = False
            raise file.unreadable(self.path, error) from error
        self._offset = os.fstat(self._fd).st_size if self._from_end else 0
        self._from_end = False

    def _follow(self) -> None:
        assert self._fd is not None
        ours = os.fstat(self._fd)
        if ours.st_size < self._offset:
            self._offset = 0
            self.truncations += 1
            self._behind = True
        try:
            there = os.stat(self.path)
        except OSError:
            return
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            os.close(self._fd)
            self._fd = None
            self.rotations += 1
            self._behind = True

    def written_at(self) -> float | None:
        """Unix time of the last write, in seconds."""
        return None if self._fd is None else os.fstat(self._fd).st_mtime

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


__all__ = ["SourceError", "Tail"]
