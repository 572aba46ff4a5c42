"""A pod in real time: clients all the while, a rotation a minute, a scrape a second."""

import time
from dataclasses import dataclass

from faults.bed import HEALTH, Bed
from faults.clients import Clients, Truth
from faults.invariants import Count, settled

_SAMPLE = 10.0
_ROTATE = 60.0


@dataclass(frozen=True)
class Sample:
    """How large it is, so many seconds after the start."""

    at: float
    resident_mb: float
    descriptors: int
    threads: int
    series: int


@dataclass(frozen=True)
class Hour:
    """Samples, what clients made, what was counted of it, scrapes, and those without an answer."""

    samples: list[Sample]
    truth: Truth
    counted: Count
    scrapes: int
    unanswered: int


def run(minutes: float, seed: int) -> Hour:
    """Let it run; needs root."""
    samples: list[Sample] = []
    scrapes = unanswered = 0
    with Bed() as bed, Clients(bed.pod, seed=seed) as clients:
        start = time.monotonic()
        next_sample, next_rotation = start, start + _ROTATE
        while (now := time.monotonic()) < start + 60 * minutes:
            scrapes += 1
            unanswered += bed.ask("/metrics").status != 200 or bed.ask("/livez", HEALTH).status != 200
            if now >= next_rotation:
                next_rotation += _ROTATE
                bed.rotate()
            if now >= next_sample:
                next_sample += _SAMPLE
                usage = bed.usage()
                samples.append(
                    Sample(
                        now - start, usage["kB"] * 1.024e-3, usage["fds"], usage["threads"], len(bed.series())
                    )
                )
            time.sleep(1)
        truth = clients.pause()
        return Hour(samples, truth, settled(bed), scrapes, unanswered)
