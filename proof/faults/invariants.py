"""What must hold whatever happens.

1. Both ports answer, each within a second, while the exporter runs and has what it needs to.
2. No counter ever decreases: within a life of the exporter none, over a restart none that the checkpoint
keeps.
   (A device's own counters begin anew with the device, and are told by its name and key.)
3. Nothing is counted twice, and nothing is missed but what the log lost: the requests counted are those that
   clients made, by their own count.
4. It recovers without help.
5. It does not grow: descriptors, threads, memory, series.
"""

import re
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from faults.bed import HEALTH, Bed, Key
from faults.clients import Truth

_EVERY = 0.5
_DEVICES = ("wireguard_peer_", "proxy_network_")
_COUNTING = ("_total", "_count", "_bucket")
_KEPT = ("proxy_requests_", "proxy_request_failures_", "proxy_sessions_", "dante_log_", "proxy_session_")
_OWN = re.compile(r'origin="self"')  # who forgets its own probes takes them for clients'
_IN_TIME = 1.0
SUCCESSFUL, FAILED = "proxy_requests_successful_total", "proxy_requests_failed_total"


def decreased(before: dict[Key, float], after: dict[Key, float], *, same_life: bool) -> list[str]:
    """Counters that fell from one scrape to a later one."""
    return [
        f"{key[0]}{dict(key[1])} fell from {value:g} to {after[key]:g}"
        for key, value in before.items()
        if key[0].endswith(_COUNTING) and not key[0].startswith(_DEVICES)
        if same_life or (key[0].startswith(_KEPT) and not _OWN.search(str(key[1])))
        if key in after and after[key] < value
    ]


@dataclass
class Watch:
    """Scrapes twice a second in a thread of its own, on the pod's side; a context.

    Attributes:
        mute: Whether the faces need not answer at the moment.
        kept: Whether counters must hold over a restart.
        slowest: Of the answers, in seconds.
        unanswered: Questions without one, while the faces had to answer.
        fallen: Counters that decreased.
    """

    bed: Bed
    mute: bool = False
    kept: bool = True
    slowest: float = 0.0
    asked: int = 0
    unanswered: int = 0
    fallen: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._before: dict[Key, float] = {}
        self._life = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(20)

    def _watch(self) -> None:
        with self.bed.pod.entered("pod"):
            while not self._end.wait(_EVERY):
                mute, life = self.mute, self.bed.lives
                self._look(mute=mute, life=life)

    def _look(self, *, mute: bool, life: int) -> None:
        health, metrics = self.bed.ask("/livez", HEALTH, 5), self.bed.ask("/metrics", timeout=5)
        if not (mute or self.mute):
            self.asked += 2
            answers = [face for face in (health, metrics) if face.status == 200 and face.body]
            self.unanswered += 2 - len(answers)
            self.slowest = max(self.slowest, *(face.seconds for face in (health, metrics)))
        if metrics.status == 200 and life == self.bed.lives:
            now = _parse(metrics.body)
            if self.kept or life == self._life:
                self.fallen += decreased(self._before, now, same_life=life == self._life)
            self._before, self._life = now, life

    def broken(self) -> list[str]:
        """What of 1 and 2 did not hold."""
        broken = [*self.fallen[:3]]
        if self.unanswered:
            broken.append(f"{self.unanswered} of {self.asked} questions were not answered")
        if self.slowest > _IN_TIME:
            broken.append(f"an answer took {self.slowest:.1f} s")
        return broken


def _parse(body: str) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for line in body.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name.partition("{")[0], ((name, ""),)] = float(value)
    return found


@dataclass(frozen=True)
class Count:
    """What the exporter counted of clients' requests."""

    successful: float
    failed: float

    @classmethod
    def of(cls, bed: Bed) -> Self:
        """As it is now."""
        series = bed.series()
        got = {name: sum(v for (n, _), v in series.items() if n == name) for name in (SUCCESSFUL, FAILED)}
        return cls(got[SUCCESSFUL], got[FAILED])

    def __sub__(self, other: "Count") -> "Count":
        return Count(self.successful - other.successful, self.failed - other.failed)


def settled(bed: Bed) -> Count:
    """The count, once it does not move any more."""
    last = [Count(-1, -1)]

    def still() -> bool:
        now = Count.of(bed)
        same, last[0] = now == last[0], now
        return same and not bed.value("dante_log_lag_seconds")

    # A second between two looks: the log is looked at no less often.
    for _ in range(15):
        if still():
            break
        time.sleep(1.2)
    return last[0]


def miscounted(truth: Truth, count: Count, *, lossy: bool, strangers: int) -> list[str]:
    """What of 3 did not hold.

    Args:
        truth: What clients saw.
        count: What was counted in the same time.
        lossy: Whether lines of the log may have been lost.
        strangers: Requests of our own probes that may pass for clients', after a life of the exporter
            that had no time to write down whose they were.
    """
    broken = []
    most = truth.granted + truth.unsure + strangers
    if count.successful > most:
        broken.append(f"{count.successful:g} successes counted, at most {most} made")
    everything = truth.granted + truth.refused + truth.unsure + strangers
    if count.successful + count.failed > everything:
        broken.append(f"{count.successful + count.failed:g} requests counted, at most {everything} made")
    if not lossy and count.successful < truth.granted:
        broken.append(f"{count.successful:g} successes counted, {truth.granted} granted")
    if not lossy and count.successful + count.failed < truth.granted + truth.refused:
        broken.append(
            f"{count.successful + count.failed:g} requests counted, {truth.granted + truth.refused} answered"
        )
    return broken


def well(bed: Bed) -> bool:
    """Whether all is well by the exporter's own word: ready, the tunnel up, every collector successful."""
    series = bed.series()
    success = {
        dict(key[1]).get("collector"): v for key, v in series.items() if key[0].endswith("collector_success")
    }
    up = [v for (name, _), v in series.items() if name == "vpn_connection_status"]
    return (
        bed.ask("/readyz", HEALTH).status == 200 and up == [1.0] and all(success.values()) and bool(success)
    )
