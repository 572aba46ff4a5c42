"""The state of one node, immutable, and its standing: whether requests may be sent to it, and why not."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from proxywatch.balancer.choosing.fact import Fact, Facts
from proxywatch.balancer.choosing.geography import country_code
from proxywatch.balancer.choosing.health import Health
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.node import Node

Kind = Literal[
    "ready",  # usable
    "unseen",  # usable where no exit was seen: its own never was
    "trial",  # was out, has served its time; risked for single requests
    "full",  # at max_connections
    "draining",  # for its leases only
    "drained",  # past the drain's deadline
    "ejected",  # out for failures
    "down",  # told down
    "wrong_exit",  # seen in another country, or going direct
    "unverified",  # exit unseen or seen too long ago, where that is required
]
USABLE: frozenset[Kind] = frozenset({"ready", "unseen", "trial"})
_NEVER = float("inf")
_SEEN_THROUGH = ("reached", "exit_country")
_EXITS = ("exit_country", "exit_country_ipv6")


class State(msgspec.Struct, frozen=True):
    """Everything known of one node.

    Attributes:
        node: As the operator or a discovery describes it.
        joined: Monotonic time at which it joined or came back, for slow start.
        facts: What was measured.
        health: What results have shown.
        drain_until: Deadline of its drain; None when it does not drain.
        drain_reason: Why it drains.
        position: Its place in the file's order.
    """

    node: Node
    joined: float
    facts: Facts = Facts()
    health: Health = Health()
    drain_until: float | None = None
    drain_reason: str = ""
    position: int = 0


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Whether a node is usable.

    Attributes:
        kind: See Kind.
        reason: For people; empty when it is ready.
        due: Monotonic time at which the passage of time alone may change it.
        verified: Whether its exit was seen in its country, within `exit.max_age`.
    """

    kind: Kind
    reason: str = ""
    due: float = _NEVER
    verified: bool = False


def told_out(
    state: State, now: float, settings: Choosing, uplinks: frozenset[str]
) -> tuple[Literal["down", "wrong_exit"], str] | None:
    """Why facts alone put the node out, whatever else is known of it; None when they do not."""
    facts, keep = state.facts, settings.collect.keep
    if any(fact.value is False for fact in _told(facts, "not_direct", now, keep)):
        return "wrong_exit", "its traffic leaves without the tunnel"
    for fact in _told(facts, "exit_ip", now, keep):
        if fact.value in uplinks:
            return "wrong_exit", f"its exit {fact.value} is our own uplink"
    if settings.exit.verify != "off" and state.node.country:
        for name in _EXITS:
            for fact in _told(facts, name, now, keep):
                seen = country_code(str(fact.value))
                if seen and seen != state.node.country:
                    return "wrong_exit", f"its exit was seen in {seen}, not in {state.node.country}"
    tunnel = facts.get("tunnel_up", now, keep)
    if tunnel is not None and tunnel.value is False:
        return "down", "its tunnel is down"
    return None


def good_sign(state: State, news: Mapping[str, Fact]) -> bool:
    """Whether facts show that a node works, from after it went out.

    A tunnel that says it is up proves nothing to connections that fail, only to a node that it had put out.
    """
    known, health = state.facts.collected, state.health
    names = _SEEN_THROUGH if health.counted else (*_SEEN_THROUGH, "tunnel_up")
    return any(
        name in news and known.get(name) is news[name] and news[name].at > health.since and news[name].value
        for name in names
    )


def sighting(facts: Facts) -> Fact | None:
    """The last time the exit was seen by ourselves; what an operator posts is no sighting."""
    return facts.collected.get("exit_country")


class Around(msgspec.Struct, frozen=True, gc=False):
    """What a node's standing depends on beside its own state.

    Attributes:
        now: Monotonic seconds.
        settings: All of choosing.
        uplinks: Known addresses of our own uplink.
        in_flight: Connections through it.
        hop: Why the node through which it is reached is out, or empty.
    """

    now: float
    settings: Choosing
    uplinks: frozenset[str] = frozenset()
    in_flight: float = 0.0
    hop: str = ""


def standing(state: State, around: Around) -> Standing:
    """Where a node stands: out by facts, exit, hop or failures, else draining, full, or usable."""
    now, settings = around.now, around.settings
    seen, verify = sighting(state.facts), settings.exit.verify
    age_end = seen.at + settings.exit.max_age if seen is not None else now
    verified = now < age_end
    if out := told_out(state, now, settings, around.uplinks):
        return Standing(*out)
    if verify == "required" and not verified:
        age = "never seen" if seen is None else f"last seen {now - seen.at:.0f} s ago"
        return Standing("unverified", f"its exit was {age}")
    kind, reason, due = _serving(state, around)
    if kind == "ready" and verify == "preferred" and seen is None:
        kind, reason = "unseen", "its exit was never seen"
    return Standing(kind, reason, min(due, age_end) if verified else due, verified)


def _serving(state: State, around: Around) -> tuple[Kind, str, float]:
    """How a node stands whose exit is in order, why, and until when at the most."""
    now, health, node, drain = around.now, state.health, state.node, state.drain_until
    if around.hop:
        return "down", around.hop, _NEVER
    ends = drain if drain is not None and now < drain else _NEVER
    if health.ejected and now < (free := health.free_at(around.settings.ejection)):
        return "ejected", health.reason, min(ends, free)
    if drain is not None:
        reason = f"it is being drained: {state.drain_reason}" if state.drain_reason else "it is being drained"
        return ("draining" if now < drain else "drained"), reason, ends
    if node.max_connections and around.in_flight >= node.max_connections:
        return "full", f"it has its {node.max_connections} connections", _NEVER
    if health.ejected:
        return "trial", f"on trial after: {health.reason}", _NEVER
    return "ready", "", _NEVER


def _told(facts: Facts, name: str, now: float, keep: float) -> list[Fact]:
    """The collected fact, and the posted one as long as it is fresh: either can put a node out."""
    posted = facts.posted.get(name)
    fresh = [posted] if posted is not None and now - posted.at < keep else []
    return fresh + ([facts.collected[name]] if name in facts.collected else [])
