"""A world of exits and clients in which time is a number: what happens is a queue of events.

Requests arrive at random and hold their connection for a while. What a balancer is told of an exit is what a
sidecar would tell it, once per interval; what it learns from its own connections it learns at once.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from math import log
from typing import Protocol

import msgspec

from proxywatch.balancer.choosing.strategy.interface import Dice


class Exit(msgspec.Struct):
    """One exit.

    Attributes:
        id: Of the node.
        country: Its country.
        latency: Milliseconds to a connection, by time.
        works: Whether connections through it succeed, by time.
        draining: When its drain begins, or None.
        open: Connections now.
        peak: Most connections at once.
    """

    id: str
    country: str
    latency: Callable[[float], float]
    works: Callable[[float], bool]
    draining: float | None = None
    open: int = 0
    peak: int = 0


class Balancer(Protocol):
    """What is compared."""

    name: str
    retries: int

    def told(self, node: str, facts: dict[str, float]) -> None:
        """A sidecar's measurements."""

    def pick(self, session: str, tried: tuple[str, ...]) -> str:
        """A node for a request; empty for none."""

    def opened(self, request: int, node: str, seconds: float) -> None:
        """The connection stands."""

    def failed(self, request: int, node: str, seconds: float) -> None:
        """The node failed."""

    def closed(self, request: int, node: str) -> None:
        """The connection ended."""

    def bind(self, request: int) -> None:
        """The node just picked is for this request."""

    def second(self) -> None:
        """A second has passed."""

    def drain(self, node: str, seconds: float) -> None:
        """A node is to be drained."""

    def preferred(self) -> str:
        """The node that it would name as the best."""


class Load(msgspec.Struct, frozen=True):
    """What clients do.

    Attributes:
        seconds: How long it goes on.
        rate: Requests per second.
        hold: Seconds for which a connection is held; on average where it is random.
        steady: Whether every connection is held equally long.
        sessions: How many sessions the requests belong to; 0 for none.
        event: When the thing happens that the scenario is about.
        bad: The exit to which it happens, or empty.
        interval: Seconds from one collection of facts to the next.
        drain: Seconds of the drain, where there is one.
    """

    seconds: float
    rate: float
    hold: float
    steady: bool = False
    sessions: int = 0
    event: float = 0.0
    bad: str = ""
    interval: float = 30.0
    drain: float = 300.0


class Told(msgspec.Struct):
    """What came of it.

    Attributes:
        name: Of the balancer.
        requests: That arrived.
        lost: That no node served.
        failures: Attempts that failed, retried or not.
        picks: By node.
        picks_after: By node, after the event.
        peak: Most connections on one exit.
        waits: Milliseconds to a connection, after the event, retries included.
        switches: Changes of the preferred node.
        moved_early: Connections of a session that left a draining exit before its deadline.
        abroad: Connections of a session in another country than its first.
        seconds: How long it went on.
    """

    name: str
    seconds: float
    requests: int = 0
    lost: int = 0
    failures: int = 0
    picks: Counter[str] = msgspec.field(default_factory=Counter)
    picks_after: Counter[str] = msgspec.field(default_factory=Counter)
    peak: int = 0
    waits: list[float] = msgspec.field(default_factory=list)
    switches: int = 0
    moved_early: int = 0
    abroad: int = 0


class _Job(msgspec.Struct):
    """A request on its way."""

    number: int
    session: str
    hold: float
    began: float
    tried: tuple[str, ...] = ()


class World:
    """Runs one balancer through a load."""

    def __init__(self, exits: list[Exit], load: Load, balancer: Balancer, dice: Dice, clock: "Clock") -> None:
        self._exits = {it.id: it for it in exits}
        self._load, self._balancer, self._dice, self._clock = load, balancer, dice, clock
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._told = Told(balancer.name, load.seconds)
        self._homes: dict[str, str] = {}
        self._preferred = ""

    def run(self) -> Told:
        """From the first second to the last."""
        self._at(0.0, self._collect)
        self._at(0.0, self._second)
        self._at(self._wait(), self._arrive)
        for it in self._exits.values():
            if it.draining is not None:
                self._at(it.draining, partial(self._balancer.drain, it.id, self._load.drain))
        while self._queue and self._queue[0][0] < self._load.seconds:
            self._clock.now, _, event = heappop(self._queue)
            event()
        self._told.peak = max(it.peak for it in self._exits.values())
        return self._told

    def _at(self, when: float, event: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._queue, (when, self._number, event))

    def _wait(self) -> float:
        return -log(1 - self._dice.random()) / self._load.rate if self._load.rate else float("inf")

    def _collect(self) -> None:
        now = self._clock.now
        for it in self._exits.values():
            facts = {
                "server_latency_ms": it.latency(now), "connections": float(it.open),
                "cpu_percent": min(100.0, 2 + it.open * 0.5), "memory_mb": 200.0,
            }  # fmt: skip
            self._balancer.told(it.id, facts)
        self._at(now + self._load.interval, self._collect)

    def _second(self) -> None:
        self._balancer.second()
        preferred = self._balancer.preferred()
        self._told.switches += bool(self._preferred) and preferred != self._preferred
        self._preferred = preferred
        self._at(self._clock.now + 1, self._second)

    def _arrive(self) -> None:
        load = self._load
        self._told.requests += 1
        session = f"s{int(self._dice.random() * load.sessions)}" if load.sessions else ""
        hold = load.hold if load.steady else -log(1 - self._dice.random()) * load.hold
        self._try(_Job(self._told.requests, session, hold, self._clock.now))
        self._at(self._clock.now + self._wait(), self._arrive)

    def _try(self, job: "_Job") -> None:
        now = self._clock.now
        node = self._balancer.pick(job.session, job.tried)
        if not node:
            self._told.lost += 1
            return
        self._balancer.bind(job.number)
        exit_ = self._exits[node]
        exit_.open += 1
        exit_.peak = max(exit_.peak, exit_.open)
        self._told.picks[node] += 1
        if now >= self._load.event:
            self._told.picks_after[node] += 1
        if job.session:
            self._follow(job.session, exit_, now)
        job.tried = (*job.tried, node)
        took, works = exit_.latency(now) / 1000, exit_.works(now)
        self._at(now + took, partial(self._answer if works else self._fail, job, exit_, took))

    def _answer(self, job: "_Job", exit_: Exit, took: float) -> None:
        now = self._clock.now
        self._balancer.opened(job.number, exit_.id, took)
        if now >= self._load.event:
            self._told.waits.append((now - job.began) * 1000)
        self._at(now + job.hold, partial(self._close, job.number, exit_))

    def _fail(self, job: "_Job", exit_: Exit, took: float) -> None:
        exit_.open -= 1
        self._told.failures += 1
        self._balancer.failed(job.number, exit_.id, took)
        if len(job.tried) <= self._balancer.retries:
            self._try(job)
        else:
            self._told.lost += 1

    def _close(self, request: int, exit_: Exit) -> None:
        exit_.open -= 1
        self._balancer.closed(request, exit_.id)

    def _follow(self, session: str, exit_: Exit, now: float) -> None:
        home = self._exits[self._homes.setdefault(session, exit_.id)]
        if home.draining is not None and home.draining <= now < home.draining + self._load.drain:
            self._told.moved_early += exit_ is not home
        self._told.abroad += exit_.country != home.country


class Clock:
    """Time in the world: seconds since it began."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now
