"""The strategies there are: our own, and those of third parties."""

from collections.abc import Iterable, Mapping
from typing import cast

from proxywatch.balancer.choosing.strategy.health_score import HealthScore
from proxywatch.balancer.choosing.strategy.interface import FEW, Strategy
from proxywatch.balancer.choosing.strategy.least_connections import LeastConnections
from proxywatch.balancer.choosing.strategy.peak_ewma import PeakEwma
from proxywatch.balancer.choosing.strategy.power_of_two import PowerOfTwo
from proxywatch.balancer.choosing.strategy.random import Random
from proxywatch.balancer.choosing.strategy.round_robin import RoundRobin
from proxywatch.balancer.choosing.strategy.weighted_latency import WeightedLatency
from proxywatch.errors import ConfigError, Fault

GROUP = "proxywatch.strategies"
Strategies = Mapping[str, Strategy]

OWN: Strategies = {
    strategy.name: strategy
    for strategy in (
        RoundRobin(),
        LeastConnections(),
        WeightedLatency(),
        Random(),
        HealthScore(),
        PowerOfTwo(),
        PeakEwma(),
    )
}


def strategies(found: Iterable[tuple[str, object]] = ()) -> Strategies:
    """Our own strategies and those that were found.

    Args:
        found: Name of the entry point and what it refers to: a class with the members of `Strategy`, or an
            instance.

    Raises:
        ConfigError: When one lacks a member or takes a name that exists; with every such fault.
    """
    table, faults = dict(OWN), []
    for name, thing in found:
        strategy = thing() if isinstance(thing, type) else thing
        if lacking := _lacking(strategy):
            faults.append(Fault(f"entry point {GROUP} {name}", f"not a strategy: {lacking}"))
        elif name in table or getattr(strategy, "name", "") != name:
            faults.append(Fault(f"entry point {GROUP} {name}", "expected a name of its own, the strategy's"))
        else:
            table[name] = cast("Strategy", strategy)
    if faults:
        raise ConfigError(*faults)
    return table


def _lacking(strategy: object) -> str:
    """What keeps the object from being a strategy, or empty."""
    for member, kind in (
        ("name", str),
        ("description", str),
        ("sample", int),
        ("ranks", bool),
        ("draws", bool),
    ):
        if not isinstance(getattr(strategy, member, None), kind):
            return f"it has no {member} of type {kind.__name__}"
    if not callable(getattr(strategy, "assign", None)):
        return "it has no method assign"
    sample = strategy.sample  # type: ignore[attr-defined]
    return "" if 1 <= sample <= FEW else f"its sample is not from 1 to {FEW}"
