"""How far a log was read, and how much was read of it: what a restart goes on from."""

from typing import NamedTuple, Self

import msgspec


class FilePosition(NamedTuple):
    """How far one file of a log was read.

    Attributes:
        device: Of the file system.
        inode: Of the file.
        offset: Of the first line that was not returned.
        mark: The bytes before the offset, 256 at most.
        head: The file's first bytes, 256 at most.
    """

    device: int
    inode: int
    offset: int
    mark: bytes
    head: bytes = b""

    @property
    def identity(self) -> tuple[int, int]:
        """What names the file, whatever its path."""
        return self.device, self.inode


class Position(msgspec.Struct, frozen=True):
    """How far a log was read, over all its files.

    Attributes:
        files: Those that may still have lines, the oldest first.
        known: What else was read: files that are quiet for long, and how others began that are not followed.
        seen: Up to when it was seen what was written, in Unix seconds by the clock of the log's file system.
    """

    files: tuple[FilePosition, ...] = ()
    known: tuple[FilePosition, ...] = ()
    seen: float = 0.0


NOWHERE = Position()


class Progress(msgspec.Struct, frozen=True):
    """How much was read of a log.

    Attributes:
        read_bytes: In lines that were returned.
        rotations: Times that another file took the path.
        truncations: Times that a file was cut.
        gaps: Files that were not found again, or could not be read to their end: lines may be missing.
    """

    read_bytes: int = 0
    rotations: int = 0
    truncations: int = 0
    gaps: int = 0

    def __add__(self, other: Self) -> "Progress":
        """The sum of two runs."""
        return Progress(
            self.read_bytes + other.read_bytes,
            self.rotations + other.rotations,
            self.truncations + other.truncations,
            self.gaps + other.gaps,
        )
