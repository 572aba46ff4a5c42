"""What this process takes, as the kernel counts it."""

import os
import resource
import time
from typing import NamedTuple

from proxywatch.source import file


class Usage(NamedTuple):
    """At one moment.

    Attributes:
        virtual: Bytes mapped.
        resident: Bytes held in memory.
        cpu: Seconds of processor since the start, in user and system mode.
        descriptors: How many are open.
        most_descriptors: How many may be.
    """

    virtual: int
    resident: int
    cpu: float
    descriptors: int
    most_descriptors: float


def usage() -> Usage:
    """As it is now.

    Raises:
        SourceError: /proc is not to be read.
    """
    virtual, resident = (int(pages) for pages in file.read("/proc/self/statm").split()[:2])
    page = resource.getpagesize()
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib costs 1 MB
    except OSError as error:
        raise file.unreadable("/proc/self/fd", error) from error
    return Usage(
        virtual * page, resident * page, time.process_time(), descriptors,
        float("inf") if most == resource.RLIM_INFINITY else most,
    )  # fmt: skip


def started() -> float:
    """Unix time at which this process started, by the clock as it is set now.

    Raises:
        SourceError: /proc is not to be read.
    """
    ticks = int(file.read("/proc/self/stat").rpartition(b")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age
