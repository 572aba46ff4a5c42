"""Processes as /proc shows them, in our own pid namespace.

Nothing here costs by the number of processes of the host; `processes` finds them by name.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress

from proxywatch.errors import SourceError
from proxywatch.source import file

_PAGE = 4096


def pids() -> list[int]:
    """Every process that can be seen.

    Raises:
        SourceError: /proc cannot be listed, for want of descriptors for example.
    """
    try:
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - as below
    except OSError as error:
        raise file.unreadable("/proc", error) from error


def holders(inodes: Collection[int]) -> list[int]:
    """The processes that hold one of the sockets, as far as their descriptors are ours to see.

    Raises:
        SourceError: /proc cannot be listed.
    """
    wanted = set(inodes)
    found = []
    for pid in pids():
        with suppress(SourceError):
            if sockets(pid) & wanted:
                found.append(pid)
    return found


def name(pid: int) -> str:
    """The process's name, at most 15 characters; empty when it has gone."""
    return _read(pid, "comm").rstrip(b"\n").decode(errors="backslashreplace")


def command_line(pid: int) -> bytes:
    """The memory of its arguments, up to 4 KiB, which it may have written over; empty for a zombie."""
    return _read(pid, "cmdline")


def children(pid: int) -> list[int]:
    """Its children, in one read; none when it has gone.

    Raises:
        SourceError: The kernel is built without this file (not temporary).
    """
    path = f"/proc/{pid}/task/{pid}/children"
    try:
        return [int(child) for child in file.read(path).split()]
    except SourceError as error:
        if os.path.exists(f"/proc/{pid}/comm"):  # noqa: PTH110 - as everywhere in this room
            raise SourceError(str(error), temporary=False) from error
        return []


def sockets(pid: int) -> set[int]:
    """The inodes of its open sockets.

    Raises:
        SourceError: Not ours to see (not temporary).
    """
    folder = f"/proc/{pid}/fd"
    try:
        links = [_link(f"{folder}/{entry}") for entry in os.listdir(folder)]  # noqa: PTH208
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise file.unreadable(folder, error) from error
    return {int(link[8:-1]) for link in links if link.startswith("socket:[")}


def lines(path: str) -> Iterator[bytes]:
    """A table of /proc line by line, however long it is; nothing when the kernel has no such table.

    For a thread: a hundred rows take the kernel half a millisecond.

    Raises:
        SourceError: Not permitted (not temporary), or broken off.
    """
    try:
        with open(path, "rb") as table:  # noqa: PTH123
            yield from table
    except FileNotFoundError:
        return
    except OSError as error:
        raise file.unreadable(path, error) from error


def _read(pid: int, entry: str) -> bytes:
    """In three system calls: the kernel gives what fits in one read whole."""
    try:
        descriptor = os.open(f"/proc/{pid}/{entry}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _PAGE)
    except OSError:  # it has gone between the two
        return b""
    finally:
        os.close(descriptor)


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except FileNotFoundError:
        return ""
