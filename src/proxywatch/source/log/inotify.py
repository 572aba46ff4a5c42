"""Waits for a change in a directory: inotify(7) where there is, a time-out where there is not.

On overlay and network file systems inotify may see nothing, or not everything. So nobody may rely on it:
whoever waits looks again after a while in any case, and inotify only makes that sooner.
"""

import asyncio
import ctypes
import os
from contextlib import suppress

_CREATE, _MODIFY, _MOVED_TO, _MOVED_FROM, _DELETE = 0x100, 0x2, 0x80, 0x40, 0x200
_EVENTS = _CREATE | _MODIFY | _MOVED_TO | _MOVED_FROM | _DELETE
_PENDING = 1 << 16


class DirectoryWatch:
    """A watch on everything in one directory; works as a plain time-out while it cannot be set."""

    def __init__(self, directory: str) -> None:
        """Touch nothing yet."""
        self._directory = directory
        self._fd: int | None = None

    async def changed(self, timeout: float) -> None:  # noqa: ASYNC109 - a wait that ends is its purpose
        """Return on the next change since the last call, after `timeout` seconds at the latest."""
        if self._fd is None:
            self._fd = _watch(self._directory)
        if self._fd is None:
            await asyncio.sleep(timeout)
            return
        await readable(self._fd, timeout)
        self._drain(self._fd)

    def _drain(self, fd: int) -> None:
        with suppress(BlockingIOError):
            while events := os.read(fd, _PENDING):
                if _is_gone(events):
                    self.close()
                    return

    def close(self) -> None:
        """Let go of it; the next wait sets it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


async def readable(fd: int, timeout: float) -> None:  # noqa: ASYNC109 - as above
    """Return when a file descriptor can be read, after `timeout` seconds at the latest."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    try:
        loop.add_reader(fd, event.set)
    except OSError:  # a regular file: always readable, and no news
        await asyncio.sleep(timeout)
        return
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await event.wait()
    finally:
        loop.remove_reader(fd)


def _watch(directory: str) -> int | None:
    """An inotify descriptor on a directory; None where there is no inotify or no directory."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            return None
        if libc.inotify_add_watch(fd, os.fsencode(directory), _EVENTS) < 0:
            os.close(fd)
            return None
    except (OSError, AttributeError):
        return None
    return fd


def _is_gone(events: bytes) -> bool:
    """Whether the directory itself went: IN_IGNORED among the events."""
    offset = 0
    while offset < len(events):
        mask = int.from_bytes(events[offset + 4 : offset + 8], "little")
        if mask & 0x8000:
            return True
        offset += 16 + int.from_bytes(events[offset + 12 : offset + 16], "little")
    return False
