"""The balancer's own series, `balancer_*`, from what the brain has counted and what it knows now.

Client names, sessions and destinations are never labels. Nodes and countries are: their number is the operator's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric

from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.facts.sidecar import SidecarState
from proxywatch.clock import Clock
from proxywatch.metrics.family import Family, counter, gauge

STATES = (
    "ready", "unseen", "trial", "full", "draining", "drained", "ejected", "down", "wrong_exit", "unverified",
)  # fmt: skip
_NODE = ["node", "country"]

NODES = gauge("balancer_nodes", "Nodes of the country in each state.", ["country", "state"])
STATE = gauge(
    "balancer_node_state", "1 for the state that the node is in, 0 for the others.", [*_NODE, "state"]
)
SCORE = gauge("balancer_node_score", "The node's health score, 0 to 100.", _NODE)
CONFIDENCE = gauge(
    "balancer_node_score_confidence", "Share of the score's factors that were measured lately, 0 to 1.", _NODE
)
IN_FLIGHT = gauge(
    "balancer_node_in_flight", "Connections through the node, ours and other balancers'.", _NODE
)
LATENCY = gauge("balancer_node_latency_seconds", "The node's latency as strategies compare it.", _NODE)
FACT_AGE = gauge(
    "balancer_node_fact_age_seconds",
    "Age of the newest fact about the node; absent when nothing was ever measured.",
    _NODE,
)
SIDECAR_UP = gauge(
    "balancer_sidecar_up",
    "1 when the last fetch of the node's sidecar gave facts; absent without one.",
    _NODE,
)
SIDECAR_FAILURES = counter(
    "balancer_sidecar_failures_total", "Fetches of the node's sidecar that gave no facts.", _NODE
)
PREFERRED = gauge("balancer_node_preferred", "1 for the country's preferred node.", _NODE)
PICKS = counter("balancer_picks_total", "Choices of a node, by strategy.", ["strategy"])
RETRIES = counter("balancer_retries_total", "Choices that were not the first of their request.")
REFUSED = counter(
    "balancer_refused_total",
    "Requests without a node: denied by a rule or limit, or no_node that is usable.",
    ["reason"],
)
SUBSTITUTED = counter(
    "balancer_substituted_picks_total",
    "Choices in another country than was asked for, as the fallback allows.",
)
UNVERIFIED = counter(
    "balancer_unverified_picks_total", "Choices of a node whose exit was not seen in its country lately."
)
WRONG_EXITS = counter(
    "balancer_wrong_exits_total",
    "Connections opened through a node whose exit was wrong, or unseen where that is required; must stay 0.",
)
FAILURES = counter(
    "balancer_attempt_failures_total", "Attempts that failed, by whose fault it was.", ["blame"]
)
EJECTIONS = counter("balancer_ejections_total", "Nodes taken out.")
SWITCHES = counter("balancer_switches_total", "Changes of the country's preferred node.", ["country"])
REFUSALS = counter(
    "balancer_client_refusals_total",
    "Clients that got no connection, by reason and whose fault it was.",
    ["reason", "blame"],
)
HANDSHAKES = gauge("balancer_relay_handshakes", "Clients that are connected without a complete request.")
LEASES = gauge("balancer_leases", "Leases held now.")
LEASES_ENDED = counter("balancer_leases_ended_total", "Leases that ended by time, limit or request.")

FAMILIES: Sequence[Family] = (
    NODES, STATE, SCORE, CONFIDENCE, IN_FLIGHT, LATENCY, FACT_AGE, SIDECAR_UP, SIDECAR_FAILURES, PREFERRED, PICKS,
    RETRIES, REFUSED, SUBSTITUTED, UNVERIFIED, WRONG_EXITS, FAILURES, EJECTIONS, SWITCHES, LEASES, LEASES_ENDED,
    REFUSALS, HANDSHAKES,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class BalancerMetrics:
    """Publishes them; a collector of Prometheus's client library.

    Attributes:
        brain: Whose series they are.
        clock: For ages.
        sidecars: How each node's sidecar answers.
        refusals: Clients that got no connection, by reason and blame.
        handshakes: Clients without a complete request, now.
    """

    brain: PoolBrain
    clock: Clock
    sidecars: Mapping[str, SidecarState] = field(default_factory=dict)
    refusals: Mapping[tuple[str, str], int] = field(default_factory=dict)
    handshakes: Callable[[], int] = int
    name: str = "balancer"

    def describe(self) -> Sequence[Family]:
        """Every family."""
        return FAMILIES

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        yield from self._nodes()
        yield from self._counts()

    def _nodes(self) -> Iterator[Metric]:
        brain, now = self.brain, self.clock.monotonic()
        nodes = {(node.id, node.node.country): node for node in sorted(brain.pool.roster, key=_id)}
        countries = sorted({country for _, country in nodes})
        kinds: list[tuple[str, str]] = [(country, node.standing.kind) for (_, country), node in nodes.items()]
        yield NODES.values({(c, s): kinds.count((c, s)) for c in countries for s in STATES})
        yield STATE.values(
            {(*label, s): float(node.standing.kind == s) for label, node in nodes.items() for s in STATES}
        )
        yield SCORE.values({label: round(node.score, 1) for label, node in nodes.items()})
        yield CONFIDENCE.values({label: node.assessment.confidence for label, node in nodes.items()})
        yield IN_FLIGHT.values({label: node.in_flight for label, node in nodes.items()})
        yield LATENCY.values({label: node.latency_ms(now) / 1000 for label, node in nodes.items()})
        newest = {label: _newest(node) for label, node in nodes.items()}
        yield FACT_AGE.values({label: now - at for label, at in newest.items() if at is not None})
        sidecars = {label: self.sidecars[label[0]] for label in nodes if label[0] in self.sidecars}
        yield SIDECAR_UP.values({label: float(not state.fault) for label, state in sidecars.items()})
        yield SIDECAR_FAILURES.values({label: state.failures for label, state in sidecars.items()})
        preferred = {country: brain.overview.preferred(country, now) for country in countries}
        yield PREFERRED.values({label: float(preferred[label[1]] is node) for label, node in nodes.items()})

    def _counts(self) -> Iterator[Metric]:
        counts, brain = self.brain.counts, self.brain
        yield PICKS.values({name: counts.by_strategy.get(name, 0) for name in brain.chooser.strategies})
        yield RETRIES.value(counts.retries)
        yield REFUSED.values({reason: float(count) for reason, count in counts.refused.items()})
        yield SUBSTITUTED.value(counts.substituted)
        yield UNVERIFIED.value(counts.unverified)
        yield WRONG_EXITS.value(counts.wrong_exits)
        yield FAILURES.values({blame: float(count) for blame, count in counts.failures.items()})
        yield EJECTIONS.value(counts.ejections)
        countries = sorted({*brain.pool.roster.countries(), *counts.switches})
        yield SWITCHES.values({country: counts.switches.get(country, 0) for country in countries})
        yield LEASES.value(len(brain.leases))
        yield LEASES_ENDED.value(counts.leases_ended)
        yield REFUSALS.values({reason: float(count) for reason, count in self.refusals.items()})
        yield HANDSHAKES.value(self.handshakes())


def _id(candidate: Candidate) -> str:
    return candidate.id


def _newest(candidate: Candidate) -> float | None:
    facts = candidate.state.facts
    return max(
        (fact.at for known in (facts.collected, facts.posted) for fact in known.values()), default=None
    )
