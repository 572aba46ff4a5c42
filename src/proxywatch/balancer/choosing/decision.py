"""The record of a decision: everything that it was made of, so that it can be explained and replayed."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from proxywatch.balancer.choosing.candidate import Seen
from proxywatch.balancer.choosing.score import factors

How = Literal[
    "strategy",  # the strategy chose
    "lease",  # the request's lease decided
    "moved",  # its lease had to move; the strategy chose among the nearest
    "node",  # the node was asked for, by a wish or a rule
    "trial",  # the node was out and is tried again
    "first",  # balancing is disabled: the first usable node
    "none",  # nobody was chosen
]


_SLACK = 1000


class Attempt(msgspec.Struct, gc=False):
    """One node tried for a request.

    Attributes:
        how: What decided.
        considered: The candidates that were compared, as they were: all of a small pool, a sample of a large
            one.
        loads: Connections in flight through each of them.
        usable: How many there were to choose from.
        draw: What the strategy drew from the dice.
        node: Who was chosen, or empty.
        now: Monotonic time of the choice.
        last: Whom the strategy chose before, for strategies that go round.
        round: How often round robin had begun anew.
        outcome: `pending`, `open`, `ok`, `failed`, `abandoned`, `refused`.
        reason: Of a failure, of the end, or of a refusal.
        seconds: Until the connection stood, or failed.
        lasted: Seconds for which it was open.
    """

    how: How
    considered: tuple[Seen, ...]
    loads: tuple[int, ...]
    usable: int
    draw: tuple[float, ...]
    node: str
    now: float
    last: str = ""
    round: int = 0
    outcome: str = "pending"
    reason: str = ""
    seconds: float | None = None
    lasted: float | None = None


class Decision(msgspec.Struct, gc=False):
    """All that became of a request.

    Attributes:
        id: Unique.
        at: Unix time.
        country: Asked for, by wish or rule; empty for any.
        asked: The same as the client spelled it.
        session: Whether the request belonged to a session.
        rule: Name of the rule that decided, or empty.
        strategy: Name of the strategy.
        bias: How strongly connections in flight counted.
        attempts: Nodes tried, in order; the last one is the answer.
        route: Country of the node, or empty.
        substituted: Whether that is another one than was asked for.
        unverified: Whether the node's exit was not verified.
        lease: Id of the lease, or empty.
        notes: What else was considered, in sentences.
        destination: Where to, if that is kept at all.
    """

    id: str
    at: float
    country: str
    asked: str
    session: bool
    rule: str
    strategy: str
    bias: float
    attempts: list[Attempt]
    route: str = ""
    substituted: bool = False
    unverified: bool = False
    lease: str = ""
    notes: tuple[str, ...] = ()
    destination: str = ""

    @property
    def last(self) -> Attempt:
        """The attempt that gives the answer."""
        return self.attempts[-1]


class Ring:
    """The newest decisions by id."""

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._order: deque[Decision] = deque()
        self._by_id: dict[str, Decision] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Decision]:
        return reversed(self._order)

    def add(self, decision: Decision) -> None:
        """Keep it; the oldest go later, at `trim`, as a pick should not wait for that."""
        self._order.append(decision)
        self._by_id[decision.id] = decision
        if len(self._order) > self._size + _SLACK:
            self.trim()

    def trim(self) -> None:
        """Forget the oldest of too many."""
        while len(self._order) > self._size:
            del self._by_id[self._order.popleft().id]

    def get(self, decision: str) -> Decision | None:
        """The decision of an id, if it is still kept."""
        return self._by_id.get(decision)


def document(decision: Decision) -> dict[str, Any]:
    """As the API and the journal give it, without names of people."""
    last = decision.last
    told: dict[str, Any] = {
        "id": decision.id, "at": decision.at, "country": decision.asked or decision.country,
        "session": decision.session, "rule": decision.rule or None, "strategy": decision.strategy,
        "bias": decision.bias, "how": last.how, "node": last.node or None, "route": decision.route or None,
        "substituted": decision.substituted, "unverified": decision.unverified,
        "lease": decision.lease or None, "notes": list(decision.notes), "draw": list(last.draw),
        "usable": last.usable, "outcome": last.outcome, "reason": last.reason or None,
        "candidates": _candidates(last),
        "attempts": [_attempt(attempt, attempt is last) for attempt in decision.attempts],
    }  # fmt: skip
    if decision.destination:
        told["destination"] = decision.destination
    return told


def _attempt(attempt: Attempt, last: bool) -> dict[str, Any]:  # noqa: FBT001 - private
    told: dict[str, Any] = {
        "node": attempt.node or None, "how": attempt.how, "now": attempt.now, "outcome": attempt.outcome,
        "reason": attempt.reason or None, "seconds": attempt.seconds, "lasted": attempt.lasted,
        "last": attempt.last, "round": attempt.round,
    }  # fmt: skip
    if not last:  # those of the last one stand beside the attempts
        told |= {"draw": list(attempt.draw), "usable": attempt.usable}
        told["candidates"] = _candidates(attempt)
    return told


def _candidates(attempt: Attempt) -> list[dict[str, Any]]:
    pairs = zip(attempt.considered, attempt.loads, strict=True)
    return [_candidate(seen, load, attempt.now) for seen, load in pairs]


def _candidate(seen: Seen, in_flight: int, now: float) -> dict[str, Any]:
    candidate, assessment = seen.candidate(in_flight), seen.assessment
    return {
        "node": seen.node.id,
        "country": seen.node.country,
        "score": round(candidate.score, 1),
        "in_flight": in_flight,
        "weight": seen.node.weight,
        "ramp": seen.ramp,
        "ramp_end": seen.ramp_end,
        "latency_ms": candidate.latency_ms(now),
        "peak_ms": candidate.peak_ms(now),
        "confidence": assessment.confidence,
        "caps": [{"score": cap.score, "reason": cap.reason} for cap in assessment.caps],
        "factors": {
            "latency_ms": assessment.latency_ms,
            "latency_source": assessment.latency_source,
            "connections": assessment.reported,
            "cpu_percent": assessment.cpu_percent,
            "memory_mb": assessment.memory_mb,
        },
        "costs": {it.name: round(it.cost, 2) for it in factors(assessment, in_flight)},
    }
