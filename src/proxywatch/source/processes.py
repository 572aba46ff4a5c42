"""What psutil knows: processes by name, what they use, what is free on the host.

For looks that are rare. The look at Dante's children, at each scrape, is `procfs`.
"""

import asyncio
from collections.abc import Collection
from typing import NamedTuple

import psutil

from proxywatch.errors import SourceError
from proxywatch.source import file

_BATCH = 32
_KERNEL_NAME = 15  # the kernel cuts names here; psutil completes them


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

    Raises:
        SourceError: The processes cannot be listed, for want of descriptors for example.
    """
    found = []
    try:
        for index, process in enumerate(psutil.process_iter(["name", "ppid"])):
            if index % _BATCH == 0:
                await asyncio.sleep(0)
            if (process.info["name"] or "")[:_KERNEL_NAME] in names:
                found.append(Process(process.pid, process.info["ppid"] or 0))
    except OSError as error:
        raise file.unreadable("/proc", error) from error
    finally:
        psutil.process_iter.cache_clear()
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
