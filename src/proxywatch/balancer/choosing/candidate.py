"""A node as strategies see it: its state with the numbers that change with every connection.

Candidates are the one mutable thing in the pool, as a pick has no time to build records. Strategies only read
them.
"""

import msgspec

from proxywatch.balancer.choosing.pace import Pace
from proxywatch.balancer.choosing.score import ACCEPTABLE, RESERVE, UNKNOWN, Assessment, band
from proxywatch.balancer.choosing.state import Standing, State
from proxywatch.balancer.node import Node

_RAMP_START = 0.1
_LEAST_PATIENCE, _PATIENCE = 0.25, 1.0  # seconds without an answer; the second where nothing is known
_MUCH_LONGER = 5.0
_NEVER = float("inf")


class Candidate:
    """A node that may be chosen.

    Attributes:
        id: Of the node.
        node: The node.
        weight: Its share, as configured.
        in_flight: Connections through it, ours and those that other balancers publish.
        own: Ours among them.
        published: The others among them.
        measured_ms: Smoothed latency as collected: server latency, else proxy latency, else 100.
        pace: How it serves our own traffic.
        assessment: Its score but for connections.
        score: The health score now.
        seen: Its other numbers as they are now, for the record of a decision.
        worth: What assignment compares, before slow start: the score, less for what is poor, times weight.
        state: All that is known of it.
        standing: Whether it is usable.
        due: Monotonic time at which standing or assessment must be worked out again.
        queued: Time for which it is queued to be looked at again.
        ramp: Length of its slow start in seconds.
        ramp_end: End of its slow start.
        hop: The candidate through which it is reached, or None.
        waiting: Attempts through it that have no answer yet.
        silent_since: Since when it has answered none of these.
    """

    __slots__ = (
        "assessment", "due", "hop", "id", "in_flight", "measured_ms", "node", "own", "pace", "published",
        "queued", "ramp", "ramp_end", "score", "seen", "silent_since", "standing", "state", "waiting", "weight",
        "worth",
    )  # fmt: skip

    def __init__(self, state: State) -> None:
        self.id = state.node.id
        self.node: Node = state.node
        self.weight = state.node.weight
        self.state = state
        self.own = self.published = self.in_flight = 0
        self.measured_ms = 100.0
        self.pace = Pace()
        self.assessment = UNKNOWN
        self.standing = Standing("down", "not looked at yet")
        self.due = -_NEVER
        self.queued = _NEVER
        self.hop: Candidate | None = None
        self.waiting = 0
        self.silent_since = 0.0
        self.ramp = self.ramp_end = 0.0
        self.weigh()
        self.note()

    def describe(self, state: State) -> None:
        """Take another description of the same node; it must be in no roster meanwhile."""
        self.state, self.node, self.weight = state, state.node, state.node.weight
        self.standing = Standing("down", "not looked at yet")
        self.weigh()
        self.note()

    def weigh(self) -> None:
        """Work out score and worth anew, after a change of assessment or connections."""
        self.score = score = self.assessment.score(self.in_flight)
        if score < ACCEPTABLE:
            score *= RESERVE[band(score)]
        self.worth = score * self.weight

    def note(self) -> None:
        """Make the record anew, after a change of anything else than connections."""
        self.seen = Seen(self.node, self.assessment, self.pace, self.measured_ms, self.ramp, self.ramp_end)

    def asked(self, now: float) -> None:
        """An attempt through it begins."""
        if not self.waiting:
            self.silent_since = now
        self.waiting += 1

    def settled(self, now: float, *, answered: bool) -> None:
        """An attempt through it is over, or stands; whether it was the node's answer that settled it."""
        self.waiting -= 1
        if answered:
            self.silent_since = now

    def hangs(self, now: float) -> bool:
        """Whether attempts wait for it for much longer than is usual, and none of them was answered.

        After a failure one attempt at a time is enough to find out.
        """
        if not self.waiting:
            return False
        if self.state.health.failures:
            return True
        usual = self.pace.traffic(now)
        patience = _PATIENCE if usual is None else max(_LEAST_PATIENCE, _MUCH_LONGER * usual / 1000)
        return now - self.silent_since > patience

    def connections(self) -> float:
        """Connections through it: the sidecar's count or ours and other balancers', whichever is greater."""
        return max(self.assessment.reported, self.in_flight)

    def merit(self, now: float) -> float:
        """What assignment compares, divided there by the load."""
        return self.worth if now >= self.ramp_end else self.worth * self.slow_start(now)

    def slow_start(self, now: float) -> float:
        """From a tenth to the whole of its share."""
        if now >= self.ramp_end:
            return 1.0
        return max(_RAMP_START, 1 - (self.ramp_end - now) / self.ramp)

    def latency_ms(self, now: float) -> float:
        """Measured latency, plus what failures cost."""
        pace = self.pace
        return self.measured_ms + pace.penalty(now) if pace.penalty_ms else self.measured_ms

    def peak_ms(self, now: float) -> float:
        """Time to a connection as our own traffic has it: up at once, down slowly."""
        return self.pace.peak(now, self.measured_ms)


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A candidate as it was when a decision was made.

    Attributes:
        node: The node.
        assessment: Its score but for connections.
        pace: How it served our own traffic.
        measured_ms: Smoothed latency as collected.
        ramp: Length of its slow start.
        ramp_end: End of its slow start, in monotonic seconds.
    """

    node: Node
    assessment: Assessment
    pace: Pace
    measured_ms: float
    ramp: float
    ramp_end: float

    def candidate(self, in_flight: int) -> Candidate:
        """A candidate with these numbers, and so many connections in flight."""
        candidate = Candidate(State(self.node, joined=0.0))
        candidate.assessment, candidate.in_flight, candidate.pace = self.assessment, in_flight, self.pace
        candidate.measured_ms, candidate.ramp, candidate.ramp_end = self.measured_ms, self.ramp, self.ramp_end
        candidate.weigh()
        candidate.note()
        return candidate
