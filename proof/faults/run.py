"""Scenarios and sequences: break, look, fix, wait, compare with the truth."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random

from faults.bed import HEALTH, Bed
from faults.catalogue import FAULTS, Fault
from faults.clients import Clients
from faults.invariants import Watch, miscounted, settled, well

_RECOVERY = 150.0  # WireGuard makes a new key every two minutes; some faults are over with the next


@dataclass(frozen=True)
class Result:
    """How one went.

    Attributes:
        name: Of the scenario, or the faults of the sequence.
        lasted: Seconds that the faults did.
        recovery: Seconds from the last one's end until all was well; None when it was not.
        requests: Of clients in the meantime.
        slowest: Of the faces' answers, in seconds.
        saw: What readiness said while it was broken.
        usage: Descriptors, threads and kilobytes afterwards; and the number of series.
        broken: Invariants that did not hold, in words.
    """

    name: str
    lasted: float
    recovery: float | None
    requests: int
    slowest: float
    saw: str
    usage: dict[str, int]
    broken: list[str] = field(default_factory=list)


class Runner:
    """Runs them on one bed, one after the other."""

    def __init__(self, bed: Bed, clients: Clients) -> None:
        self._bed = bed
        self._clients = clients

    def run(self, faults: Sequence[Fault], seconds: float, dice: Random) -> Result:
        """Begin the faults a moment after each other, let them last, end them in any order."""
        bed, start = self._bed, time.monotonic()
        truth, counted = self._clients.pause(), settled(bed)
        ends = any(fault.ends for fault in faults)
        lossy = any(fault.lossy or (ends and fault.fragile) for fault in faults)
        with Watch(bed, kept=not lossy) as watch:
            self._clients.resume()
            saw = self._suffer(faults, seconds, dice, watch)
            lasted = time.monotonic() - start
            recovery = self._recover()
            made, now = self._clients.pause() - truth, settled(bed) - counted
        broken = watch.broken()
        if recovery is None:
            broken.append(f"not well after {_RECOVERY:g} s: {_complaint(bed)}")
        broken += miscounted(
            made,
            now,
            lossy=lossy,
            strangers=sum(f.strangers for f in faults),
        )
        self._tidy()
        name = " + ".join(fault.name for fault in faults)
        requests = made.granted + made.refused + made.unsure
        return Result(name, lasted, recovery, requests, watch.slowest, saw, measure(bed), broken)

    def _suffer(self, faults: Sequence[Fault], seconds: float, dice: Random, watch: Watch) -> str:
        contexts = [(fault, ExitStack()) for fault in faults]
        for fault, context in contexts:
            watch.mute = watch.mute or fault.mute
            context.enter_context(fault.begin(self._bed))
            time.sleep(dice.uniform(0, 1) if len(faults) > 1 else 0)
        time.sleep(seconds)
        saw = "-" if watch.mute else _complaint(self._bed)
        dice.shuffle(contexts)
        for _, context in contexts:
            context.close()
        return saw

    def _recover(self) -> float | None:
        try:
            return self._bed.until("all is well", self._all_is_well, _RECOVERY)
        except TimeoutError:
            return None

    def _all_is_well(self) -> bool:
        self._bed.supervise_dante()
        return well(self._bed)

    def _tidy(self) -> None:
        """Between two of them the log is rotated as usual, so that the disk does not fill by itself."""
        self._bed.rotate()


def measure(bed: Bed) -> dict[str, int]:
    """What it takes, and how much it exposes."""
    return bed.usage() | {"series": len(bed.series())}


def _complaint(bed: Bed) -> str:
    words = [line for line in bed.ask("/readyz", HEALTH).body.splitlines() if line.startswith("-")]
    bad = [
        dict(key[1])["collector"]
        for key, value in bed.series().items()
        if key[0].endswith("collector_success") and not value
    ]
    return "; ".join([*(word[2:90] for word in words), *(f"{name} sees nothing" for name in bad)]) or "ready"


def draw(dice: Random) -> list[Fault]:
    """One to four faults that do not exclude each other."""
    names = dice.sample(sorted(FAULTS), dice.randint(1, 4))
    chosen: dict[str, Fault] = {}
    for name in names:
        chosen.setdefault(FAULTS[name].holds, FAULTS[name])
    return list(chosen.values())
