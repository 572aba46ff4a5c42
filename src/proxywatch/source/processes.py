"""What psutil knows: processes by name, what they use, what is free on the host.

For looks that are rare. The look at Dante's children, at each scrape, is `procfs`.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

import psutil

from proxywatch.errors import SourceError
from proxywatch.source import file, procfs

_BATCH = 32


class Process(NamedTuple):
    """One process: its id and its parent's."""

    pid: int
    parent: int


class Usage(NamedTuple):
    """What processes use.

    Attributes:
        cpu: Seconds in user and system mode, with those of their children that have ended.
        resident: Bytes; a page that processes share counts in each of them.
    """

    cpu: float
    resident: int


class Host(NamedTuple):
    """What the machine has left.

    Attributes:
        available: Bytes of memory that can be had without swapping.
        idle: Seconds that its processors have been idle, together.
        processors: How many there are.
    """

    available: int
    idle: float
    processors: int


async def named(names: Collection[str]) -> list[Process]:
    """Every process of one of the names, as far as we may see them; yields to the loop on the way.

    Args:
        names: As the kernel has them, of 15 characters at most.

    Raises:
        SourceError: The processes cannot be listed, for want of descriptors for example.
    """
    found = []
    try:
        pids = psutil.pids()
    except OSError as error:
        raise file.unreadable("/proc", error) from error
    for index, pid in enumerate(pids):
        if index % _BATCH == 0:
            await asyncio.sleep(0)
        if procfs.name(pid) in names:  # a fifth of what psutil takes for it, and there may be thousands
            with suppress(psutil.Error):
                found.append(Process(pid, psutil.Process(pid).ppid()))
    return found


async def usage(pids: Collection[int]) -> Usage | None:
    """What processes use together; None when none of them is there. Yields to the loop on the way."""
    cpu, resident, seen = 0.0, 0, False
    for index, pid in enumerate(pids):
        if index % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
        try:
            process = psutil.Process(pid)
            cpu += sum(process.cpu_times()[:4])  # user, system, and both of children
            resident += process.memory_info().rss
        except psutil.Error:  # it has ended
            continue
        seen = True
    return Usage(cpu, resident) if seen else None


def host() -> Host:
    """The machine as it is now.

    Raises:
        SourceError: /proc cannot be read.
    """
    try:
        times = psutil.cpu_times()
        return Host(psutil.virtual_memory().available, times.idle + times.iowait, psutil.cpu_count() or 1)
    except (OSError, psutil.Error, ValueError) as error:
        raise SourceError(f"/proc: {error}") from error
