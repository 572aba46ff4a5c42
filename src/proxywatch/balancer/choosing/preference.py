"""The preferred node of a country: the best one, unless the incumbent is nearly as good."""

from collections.abc import Iterable

import msgspec

from proxywatch.balancer.choosing.candidate import Candidate

# A score says nothing of latencies above 150 ms, so an incumbent also yields to one that is twice as near.
_TWICE_AS_NEAR = 0.5
_NEARER_MS = 50.0


class Preferred(msgspec.Struct, frozen=True):
    """The node that a country prefers.

    Attributes:
        node: Its id.
        since: Monotonic time since when.
        beaten_since: Since when another has led by the margin, or None.
        reason: Why it replaced the one before.
    """

    node: str
    since: float
    beaten_since: float | None = None
    reason: str = "first"


def rank(candidate: Candidate, now: float) -> tuple[float, float, float, str]:
    """Better ones have the smaller rank: score, then in flight, latency, id."""
    return -candidate.score, candidate.in_flight, candidate.latency_ms(now), candidate.id


def best_of(candidates: Iterable[Candidate], now: float) -> Candidate | None:
    """The plain maximum."""
    return min(candidates, key=lambda candidate: rank(candidate, now), default=None)


def prefer(
    current: Preferred | None,
    incumbent: Candidate | None,
    best: Candidate,
    *,
    now: float,
    margin: float,
    hold: float,
) -> Preferred:
    """The preference after a look at the pool.

    Args:
        current: The preference so far.
        incumbent: Its node, when that is usable.
        best: The plain maximum now.
        now: Monotonic seconds.
        margin: Points by which another must lead.
        hold: Seconds for which it must.
    """
    if current is None:
        return Preferred(best.id, now)
    if incumbent is None:
        return Preferred(best.id, now, reason=f"{current.node} is not usable")
    if best is incumbent or not (why := _leads(best, incumbent, now, margin)):
        return msgspec.structs.replace(current, beaten_since=None)
    since = now if current.beaten_since is None else current.beaten_since
    if now - since >= hold:
        return Preferred(best.id, now, reason=f"{why} for {now - since:.0f} s")
    return msgspec.structs.replace(current, beaten_since=since)


def _leads(best: Candidate, incumbent: Candidate, now: float, margin: float) -> str:
    lead = best.score - incumbent.score
    if lead > margin:
        return f"{lead:.1f} points ahead of {incumbent.id}"
    mine, other = best.latency_ms(now), incumbent.latency_ms(now)
    if lead >= 0 and mine <= other * _TWICE_AS_NEAR and other - mine >= _NEARER_MS:
        return f"{other - mine:.0f} ms nearer than {incumbent.id}"
    return ""
