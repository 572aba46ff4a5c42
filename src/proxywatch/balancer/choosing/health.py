"""Health of a node: when failures take it out, for how long, and what brings it back. Pure transitions.

A node is ejected after `failures` failures in a row on its own account, for `base` x 2^k seconds up to `max`,
k being the ejections that are still remembered (one is forgotten per `max` seconds of service). When its time
is up it returns after `rise` good probes or requests in a row; where nothing probes it, requests are risked
one at a time.

Flaps are damped as RFC 2439 does it for routes: each time a node goes out adds 1 to its penalty, which halves
every `max` seconds; above SUPPRESS it stays out until the penalty is below REUSE.
"""

from collections.abc import Callable
from math import floor, log2

import msgspec

from proxywatch.balancer.choosing.settings import Ejection

SUPPRESS = 3.0
REUSE = 1.5
_CEILING = 6.0  # so that nothing is suppressed for more than two half-lives
TOGETHER = 30.0
_PROBE_MEMORY = 90.0
_NEVER = float("-inf")


class Health(msgspec.Struct, frozen=True):
    """What results have shown of a node; times are monotonic seconds.

    Attributes:
        failures: In a row, on the node's account.
        successes: In a row while it is out.
        failed_at: The last failure.
        probed_at: The last active check, whatever its result.
        ejected: Whether it is out for failures, or on its way back from being told down.
        since: When it went out.
        until: When it may return at the earliest.
        reason: Why it is out.
        ejections: How many are remembered.
        penalty: Flaps remembered, as of `penalty_at`.
        penalty_at: When `penalty` was worked out.
        withheld: Why it was not ejected although it failed often enough.
        counted: Whether failures that we counted took it out; these alone are limited by `share`.
    """

    failures: int = 0
    successes: int = 0
    failed_at: float = _NEVER
    probed_at: float = _NEVER
    ejected: bool = False
    since: float = _NEVER
    until: float = _NEVER
    reason: str = ""
    ejections: int = 0
    penalty: float = 0.0
    penalty_at: float = _NEVER
    withheld: str = ""
    counted: bool = False

    def penalty_now(self, now: float, settings: Ejection) -> float:
        """The penalty after it decayed."""
        if not self.penalty:
            return 0.0
        return float(self.penalty * 0.5 ** ((now - self.penalty_at) / settings.max))

    def suppressed_until(self, settings: Ejection) -> float:
        """When the penalty falls to REUSE, for a node that went out above SUPPRESS; else minus infinity."""
        if self.penalty <= SUPPRESS:
            return _NEVER
        return self.penalty_at + settings.max * log2(self.penalty / REUSE)

    def free_at(self, settings: Ejection) -> float:
        """When an ejected node may return at the earliest."""
        return max(self.until, self.suppressed_until(settings))

    def probed(self, now: float) -> bool:
        """Whether active checks look after it."""
        return now - self.probed_at < _PROBE_MEMORY


def failure(health: Health, at: float, *, probe: bool) -> Health:
    """After a failure on the node's account."""
    return msgspec.structs.replace(
        health,
        failures=health.failures + 1,
        successes=0,
        failed_at=at,
        probed_at=at if probe else health.probed_at,
    )


def success(health: Health, at: float, *, probe: bool) -> Health:
    """After a good probe or request."""
    return msgspec.structs.replace(
        health,
        failures=0,
        withheld="",
        successes=health.successes + 1 if health.ejected else 0,
        probed_at=at if probe else health.probed_at,
    )


def eject(health: Health, at: float, reason: str, settings: Ejection) -> Health:
    """Out for failures, longer each time."""
    forgotten = 0 if health.since == _NEVER else floor(max(0.0, at - health.until) / settings.max)
    ejections = max(0, health.ejections - forgotten)
    time = min(settings.max, settings.base * 2.0 ** min(ejections, 30))
    out = _out(health, at, reason, settings)
    return msgspec.structs.replace(out, until=at + time, ejections=ejections + 1, counted=True)


def told_down(health: Health, at: float, reason: str, settings: Ejection) -> Health:
    """Out because a fact says so; once the fact is gone, `rise` good results bring it back."""
    if health.ejected:
        return msgspec.structs.replace(health, reason=reason, successes=0, counted=False)
    return _out(health, at, reason, settings)


def _out(health: Health, at: float, reason: str, settings: Ejection) -> Health:
    penalty = min(_CEILING, health.penalty_now(at, settings) + 1)
    return msgspec.structs.replace(
        health, ejected=True, since=at, until=at, reason=reason, failures=0, successes=0, withheld="",
        penalty=penalty, penalty_at=at, counted=False,
    )  # fmt: skip


def returned(health: Health) -> Health:
    """Back in service."""
    return msgspec.structs.replace(
        health, ejected=False, reason="", failures=0, successes=0, counted=False, withheld=""
    )


def may_return(health: Health, now: float, settings: Ejection) -> bool:
    """Whether an ejected node has served its time and shown enough good results."""
    return now >= health.free_at(settings) and health.successes >= settings.rise


def withhold(health: Health, reason: str) -> Health:
    """Not ejected, and why."""
    return msgspec.structs.replace(health, withheld=reason)


def most_ejected(nodes: int, share: float) -> int:
    """How many of so many nodes may be ejected at once: at one half 0 of 1, 1 of 2 and of 3, 2 of 4."""
    return floor(share * nodes)


def failing_together(nodes: int, failing: Callable[[], int]) -> bool:
    """Whether more than half of a country's nodes fail at once, which no node can be blamed for."""
    return nodes > 1 and failing() * 2 > nodes


def fails_now(health: Health, now: float) -> bool:
    """Whether the node failed a moment ago and has shown nothing good since."""
    recent = now - health.failed_at <= TOGETHER
    return recent and (health.failures > 0 or (health.counted and health.successes == 0))
