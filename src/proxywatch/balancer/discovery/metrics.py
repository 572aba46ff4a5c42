"""The series of discovery, `balancer_discovery_*`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from proxywatch.balancer.discovery.sources import SourceState
from proxywatch.metrics.family import Family, counter, gauge

_SOURCE = ["source"]

UP = gauge(
    "balancer_discovery_up",
    "1 when the source of nodes was seen and nothing is wrong with it; 0 while its last nodes are kept.",
    _SOURCE,
)
NODES = gauge("balancer_discovery_nodes", "Nodes that the source has in service.", _SOURCE)
LEAVING = gauge(
    "balancer_discovery_leaving_nodes", "Nodes that the source calls not ready, or is deleting.", _SOURCE
)
DROPPED = gauge("balancer_discovery_dropped_entries", "Entries of the source that make no node.", _SOURCE)
FAILURES = counter("balancer_discovery_failures_total", "How often the source failed.", _SOURCE)
SEEN = gauge(
    "balancer_discovery_last_success_timestamp_seconds",
    "Unix time at which the source was last seen.",
    _SOURCE,
)
FAMILIES: Sequence[Family] = (UP, NODES, LEAVING, DROPPED, FAILURES, SEEN)


@dataclass(frozen=True, slots=True, eq=False)
class DiscoveryMetrics:
    """Publishes them.

    Attributes:
        states: How each source does.
    """

    states: Mapping[str, SourceState]
    name: str = "discovery"

    def describe(self) -> Sequence[Family]:
        """Every family."""
        return FAMILIES

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        states = self.states
        yield UP.values({it: float(state.at is not None and not state.fault) for it, state in states.items()})
        yield NODES.values({it: state.nodes for it, state in states.items() if state.nodes is not None})
        yield LEAVING.values({it: state.leaving for it, state in states.items()})
        yield DROPPED.values({it: state.dropped for it, state in states.items()})
        yield FAILURES.values({it: state.failures for it, state in states.items()})
        yield SEEN.values({it: state.at for it, state in states.items() if state.at is not None})
