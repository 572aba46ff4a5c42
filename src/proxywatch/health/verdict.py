"""Readiness, concluded from what is in memory."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from proxywatch.scrape import Outcome

_ROUNDS = 3

Tunnel = tuple[str, str, bool]


class Check(msgspec.Struct, frozen=True):
    """One thing that readiness depends on.

    Attributes:
        name: Which.
        ok: Whether it is well.
        reason: Why, in words.
        age_seconds: Since it was last well; None when it never was, or has no age.
    """

    name: str
    ok: bool
    reason: str
    age_seconds: float | None = None


class Health(msgspec.Struct, frozen=True):
    """The answer of /healthz?verbose."""

    status: Literal["ok", "failing"]
    checks: list[Check]


def verdict(
    required: Mapping[str, float], outcomes: Mapping[str, Outcome], tunnel: Tunnel | None, now: float
) -> Health:
    """Conclude readiness.

    Args:
        required: By collector, the seconds that its last success may lie back.
        outcomes: Of the collectors that have run.
        tunnel: State, words, whether it is up; None when nobody watches it.
        now: Unix time.
    """
    checks = [_check(name, longest, outcomes.get(name), now) for name, longest in required.items()]
    checks.append(_tunnel(tunnel))
    return Health("ok" if all(check.ok for check in checks) else "failing", checks)


def _check(name: str, longest: float, outcome: Outcome | None, now: float) -> Check:
    if outcome is None:
        return Check(name, ok=False, reason="has not run yet")
    if outcome.last_success is None:
        return Check(name, ok=False, reason=f"has never succeeded: {outcome.message}")
    age = max(now - outcome.last_success, 0.0)
    if age <= longest:
        return Check(name, ok=True, reason=f"succeeded {age:.0f} s ago", age_seconds=age)
    why = f": {outcome.message}" if outcome.message else ""
    return Check(
        name, ok=False, reason=f"last success {age:.0f} s ago, {longest:.0f} s allowed{why}", age_seconds=age
    )


def _tunnel(tunnel: Tunnel | None) -> Check:
    if tunnel is None:
        return Check("tunnel", ok=True, reason="nobody watches it")
    state, words, up = tunnel
    return Check("tunnel", ok=up, reason=f"{state}: {words}" if words else state)


def allowance(interval: float, timeout: float) -> float:
    """How far back a collector's last success may lie: three rounds of it, in seconds."""
    return _ROUNDS * interval + timeout
