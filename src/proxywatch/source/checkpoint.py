"""A small file that is there whole, in its old or its new state, whenever a machine stops.

`write` and `read` keep content with its length and a checksum, and the content before it in a file of that
name with `.old` appended. `replace` and `read_plain` are for files that others append to.

Only regular files are read and written, and no symbolic link is followed: whoever may write to the directory
    must not choose what we overwrite, nor make us wait for a FIFO.
"""

import hashlib
import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass

from proxywatch.errors import SourceError
from proxywatch.source import file

LIMIT = 128 << 20
_MAGIC = b"proxywatch checkpoint"
_LONGEST_HEADER = 128
_writing: dict[str, threading.Lock] = {}  # by path: who stops waiting for a write does not end it


@dataclass(frozen=True, slots=True)
class Kept:
    """What a checkpoint holds.

    Attributes:
        content: The newest that is whole; None where there is none.
        fault: What is wrong with the newest; empty when nothing is.
    """

    content: bytes | None
    fault: str = ""


def write(path: str, content: bytes) -> None:
    """Replaces the content, and keeps the one before. Blocks for the disk.

    Raises:
        SourceError: It cannot be written.
    """
    header = b"%b %d %b\n" % (_MAGIC, len(content), _checksum(content))
    with _writing.setdefault(path, threading.Lock()):
        _replace(path, header, content, keep=f"{path}.old")


def read(path: str) -> Kept:
    """The newest content that is whole. What is not is set aside as `PATH.damaged`.

    Raises:
        SourceError: It cannot be read.
    """
    fault = ""
    for each in (path, f"{path}.old"):
        found = read_plain(each, LIMIT)
        if found is None:
            continue
        content = _unpacked(found)
        if content is not None:
            return Kept(content, fault)
        fault = fault or f"{each} is damaged"
        with suppress(OSError):
            os.replace(each, f"{path}.damaged")  # noqa: PTH105 - pathlib costs 1 MB
    return Kept(None, fault)


def set_aside(path: str) -> bytes | None:
    """Sets a whole content aside that means nothing to us, and returns the one before; None without one."""
    with suppress(OSError):
        os.replace(path, f"{path}.damaged")  # noqa: PTH105 - as above
    with suppress(SourceError):
        return read(path).content
    return None


def replace(path: str, content: bytes) -> None:
    """Replaces a plain file: written beside it, flushed to the disk, renamed over it. Blocks for the disk.

    Several threads may write one file, one after the other.

    Raises:
        SourceError: It cannot be written.
    """
    with _writing.setdefault(path, threading.Lock()):
        _replace(path, b"", content)


def read_plain(path: str, limit: int = LIMIT) -> bytes | None:
    """The content of a plain file; None when there is no such file yet.

    Raises:
        SourceError: It cannot be read, is no regular file, or is longer than the limit.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file.unreadable(path, error) from error
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(f"{path} is no regular file", temporary=False)
        if state.st_size > limit:
            raise SourceError(f"{path} is longer than {limit} bytes", temporary=False)
        chunks = []
        while chunk := os.read(fd, min(1 << 20, limit)):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError as error:
        raise file.unreadable(path, error) from error
    finally:
        os.close(fd)


def _replace(path: str, *content: bytes, keep: str = "") -> None:
    beside = f"{path}.new"
    try:
        _check(path)
        _write(beside, content)
        if keep:
            with suppress(FileNotFoundError):
                os.replace(path, keep)  # noqa: PTH105 - as above
        os.replace(beside, path)  # noqa: PTH105 - as above
    except OSError as error:
        with suppress(OSError):
            os.unlink(beside)  # noqa: PTH108 - as above
        raise file.unreadable(path, error) from error


def _check(path: str) -> None:
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "is a directory")
        if not stat.S_ISREG(mode):
            raise SourceError(f"{path} is no regular file", temporary=False)


def _write(path: str, content: tuple[bytes, ...]) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - as above
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        for part in content:
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()


def _unpacked(found: bytes) -> bytes | None:
    header, newline, _ = found[:_LONGEST_HEADER].partition(b"\n")
    words = header.removeprefix(_MAGIC + b" ").split(b" ")
    content = found[len(header) + 1 :]
    if not newline or not header.startswith(_MAGIC):
        return None
    return content if words == [b"%d" % len(content), _checksum(content)] else None
