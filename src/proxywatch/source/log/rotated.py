"""The files beside a log that were rotated, by their names; and which logs are known, by their first bytes.

An inode does not name what was written: a copy has another one, and a removed file's is given to the next.
The first bytes do, as a log begins with a time: whatever begins as another file did holds the same lines.
"""

import os
import re
import stat
from collections.abc import Container, Iterator
from contextlib import suppress
from typing import NamedTuple

HEAD = 256
_MOST = 64
_LOOKS = 16  # as many as a shell script is busy renaming dozens of files
_PART = r"[-._](?:\d[\dTZ:]*|old|bak|backup|prev|last|saved?|orig)"
_PACKED = (".gz", ".xz", ".zst", ".bz2", ".lz4")
_COMPRESSED = (b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"BZh", b"\x04\x22\x4d\x18")


class Rotated(NamedTuple):
    """A file beside the log, by whose name it may hold what was the log's.

    Attributes:
        path: Where it is.
        identity: (device, inode).
        size: In bytes.
        written: Unix time of its last write, in seconds.
    """

    path: str
    identity: tuple[int, int]
    size: int
    written: float


def beside(path: str) -> list[Rotated]:
    """The log's rotated files, the last written last, 64 at most.

    `danted.log` is rotated to `danted.log.1`, `danted.log-20261121`, `danted.log.old`, `danted.log~`, or
    `danted-20261121.log`. Compressed files and all others (an errorlog, what grep made) have other names;
    `danted-2.log` is the log of a second server.
    """
    directory, name = os.path.split(os.path.realpath(path))
    stem, extension = map(re.escape, os.path.splitext(name))  # noqa: PTH122 - pathlib costs 1 MB
    instance = rf"-\d{{1,5}}{extension}$"
    named = re.compile(f"{stem}(?!{instance})(?:{extension}(?:(?:{_PART})+~?|~)|(?:{_PART})+{extension})")
    found = []
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if named.fullmatch(entry.name) and entry.name != name:
                with suppress(OSError):  # it went while we looked, as the oldest does in every rotation
                    found.append(described(entry.path))
    files = [file for file in found if file is not None]
    return sorted(files, key=lambda file: file.written)[-_MOST:]


def packed_since(path: str, since: float) -> bool:
    """Whether a rotated file was compressed whose last write was at or after a time, in Unix seconds."""
    directory, name = os.path.split(os.path.realpath(path))
    stem = os.path.splitext(name)[0]  # noqa: PTH122 - as above
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(stem) and entry.name.endswith(_PACKED):
                with suppress(OSError):
                    if entry.stat().st_mtime >= since:
                        return True
    return False


def named(path: str, identities: Container[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Where files of these identities are in the log's directory, whatever their names."""
    found = {}
    directory = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - as above
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                file = described(entry.path)
                if file is not None and file.identity in identities:
                    found[file.identity] = file.path
    return found


def looks(path: str) -> Iterator[None]:
    """For who looks at the log and the files beside it: once more when one was renamed or came meanwhile."""
    names = _names(path)
    for _ in range(_LOOKS):
        yield
        before, names = names, _names(path)
        if names == before:
            return


def _names(path: str) -> set[tuple[str, tuple[int, int]]]:
    found = {(file.path, file.identity) for file in beside(path)}
    with suppress(OSError):
        state = os.stat(path)  # noqa: PTH116 - as above
        found.add((path, (state.st_dev, state.st_ino)))
    return found


def described(path: str) -> Rotated | None:
    """What is at a path; None when it is no regular file.

    Raises:
        OSError: Absent, or not permitted.
    """
    state = os.stat(path)  # noqa: PTH116 - as above
    if not stat.S_ISREG(state.st_mode):
        return None
    return Rotated(path, (state.st_dev, state.st_ino), state.st_size, state.st_mtime)


def compressed(head: bytes) -> bool:
    """Whether a file begins as gzip, xz, zstd, bzip2 or lz4 begin theirs, whatever its name."""
    return head.startswith(_COMPRESSED)


def alike(one: bytes, other: bytes) -> bool:
    """Whether two files begin alike, as far as both were known; one whole line is the least to go by."""
    known = min(len(one), len(other))
    return _tells(one) and _tells(other) and one[:known] == other[:known]


def _tells(head: bytes) -> bool:
    return (len(head) >= HEAD or b"\n" in head) and not head.startswith(b"\0")


class Known:
    """How logs began that are not followed any more; the last 64."""

    def __init__(self) -> None:
        self._heads: list[bytes] = []

    def add(self, head: bytes) -> None:
        """Remember one."""
        if _tells(head):
            self._heads = [it for it in self._heads if not alike(it, head)][1 - _MOST :]
            self._heads.append(head)

    def __contains__(self, head: bytes) -> bool:
        return any(alike(head, it) for it in self._heads)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._heads)
