"""A small file that is there whole, in its old or its new state, whenever a machine stops."""

import os
import threading
from contextlib import suppress

from proxywatch.source import file

_writing: dict[str, threading.Lock] = {}  # by path: who stops waiting for a write does not end it


def write(path: str, content: bytes) -> None:
    """Replace the file: written beside it, flushed to the disk, renamed over it. Blocks for the disk.

    Several threads may write one file, one after the other.

    Raises:
        SourceError: It cannot be written.
    """
    beside = f"{path}.new"
    with _writing.setdefault(path, threading.Lock()):
        try:
            _write(beside, content)
            os.replace(beside, path)  # noqa: PTH105 - pathlib costs 1 MB
        except OSError as error:
            with suppress(OSError):
                os.unlink(beside)  # noqa: PTH108 - as above
            raise file.unreadable(path, error) from error


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str) -> bytes | None:
    """The content; None when there is no such file yet.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        os.stat(path)  # noqa: PTH116 - as above
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file.unreadable(path, error) from error
    return file.read(path, limit=256 << 20)
