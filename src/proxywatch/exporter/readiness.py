"""Whether the proxy is fit for clients: its required collectors succeeded recently, and its tunnel is up."""

from collections.abc import Mapping
from dataclasses import dataclass

from proxywatch.clock import Clock
from proxywatch.exporter.runner import Outcome
from proxywatch.health.checks import Check

_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class TunnelState:
    """What the tunnel's collector concluded last.

    Attributes:
        state: Its name.
        sentence: Why, for people; may be empty.
        up: Whether traffic can pass.
    """

    state: str
    sentence: str
    up: bool


def readiness(
    required: Mapping[str, float], outcomes: Mapping[str, Outcome], tunnel: TunnelState | None, clock: Clock
) -> list[Check]:
    """The checks of readiness.

    Args:
        required: By collector, the seconds that its last success may lie back.
        outcomes: Of the collectors that have run.
        tunnel: None when no collector watches it.
        clock: Measures the ages.
    """
    checks = [_succeeded(name, longest, outcomes.get(name), clock) for name, longest in required.items()]
    return [*checks, tunnel_check(tunnel)]


def tunnel_check(tunnel: TunnelState | None) -> Check:
    """Whether the tunnel is up; one that nobody watches is."""
    if tunnel is None:
        return Check("tunnel", ok=True, reason="nobody watches it")
    sentence = f"{tunnel.state}: {tunnel.sentence}" if tunnel.sentence else tunnel.state
    return Check("tunnel", ok=tunnel.up, reason=sentence)


def allowance(interval: float, timeout: float) -> float:
    """How far back a collector's last success may lie: three rounds of it, in seconds."""
    return _ROUNDS * interval + timeout


def _succeeded(name: str, longest: float, outcome: Outcome | None, clock: Clock) -> Check:
    if outcome is None:
        return Check(name, ok=False, reason="has not run yet")
    if outcome.last_success is None:
        return Check(name, ok=False, reason=f"has never succeeded: {outcome.message}")
    age = outcome.last_success.age(clock)
    if age <= longest:
        return Check(name, ok=True, reason=f"succeeded {age:.0f} s ago", age_seconds=age)
    why = f": {outcome.message}" if outcome.message else ""
    return Check(
        name, ok=False, reason=f"last success {age:.0f} s ago, {longest:.0f} s allowed{why}", age_seconds=age
    )
