"""The series of what the balancer measures by itself: `balancer_probe_*`, `balancer_exit_*`, `balancer_speed_*`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from proxywatch.balancer.measuring import Measuring
from proxywatch.balancer.node import Node
from proxywatch.metrics.family import Family, Labels, counter, gauge

_NODE = ["node", "country"]

PROBE_UP = gauge(
    "balancer_probe_up",
    "1 when the last round of probes through the node was answered; absent without one.",
    _NODE,
)
PROBE_ROUNDS = counter("balancer_probe_rounds_total", "Rounds of probes through the node.", _NODE)
PROBE_FAILURES = counter(
    "balancer_probe_failures_total", "Rounds in which no target was reached through the node.", _NODE
)
UPLINK = gauge(
    "balancer_uplink_up",
    "Whether our own uplink reaches a target directly; absent unless `probe.guard` is set.",
)
EXIT_SEEN = gauge(
    "balancer_exit_seen",
    "1 when two services said the same of the node's exit in the last look; absent without one.",
    _NODE,
)
EXIT_LOOKS = counter("balancer_exit_looks_total", "Looks at the node's exit.", _NODE)
EXIT_FAILURES = counter("balancer_exit_look_failures_total", "Looks that showed nothing.", _NODE)
SPEED = gauge(
    "balancer_speed_test_mbps",
    "The last speed test through the node in 10^6 bits per second: `download`, set-up included; `goodput`, from the "
    "first byte on over two seconds or more. Absent when there is none, or it failed.",
    [*_NODE, "figure"],
)
RTT_BOUND = gauge(
    "balancer_speed_test_rtt_bound",
    "1 when the last test measured the round trip rather than the line.",
    _NODE,
)
LOOPBACK = gauge(
    "balancer_node_reaches_loopback",
    "1 when the node connects clients to its own loopback, which its rules should block; absent until it was asked.",
    _NODE,
)
PRESSURE = gauge(
    "balancer_node_pressure",
    "1 while CPU of the node's pod is above 80 % for five minutes, or its memory above 500 MB; else 0.",
    [*_NODE, "kind"],
)
TESTS = counter("balancer_speed_tests_total", "Speed tests made.")
TEST_FAILURES = counter("balancer_speed_test_failures_total", "Speed tests that failed.")
TESTS_SKIPPED = counter("balancer_speed_tests_skipped_total", "Speed tests that the budget did not allow.")
BYTES = counter("balancer_speed_test_bytes_total", "Bytes of body that speed tests received.")
SPENT = gauge("balancer_speed_test_budget_spent_bytes", "Bytes that speed tests spent in the last 24 hours.")
LEFT = gauge(
    "balancer_speed_test_budget_left_bytes", "Bytes that they may still spend; absent without a limit."
)
LIMIT = gauge("balancer_speed_test_budget_bytes", "Bytes that they may spend in any 24 hours; 0 is no limit.")
FAMILIES: Sequence[Family] = (
    PROBE_UP, PROBE_ROUNDS, PROBE_FAILURES, UPLINK, EXIT_SEEN, EXIT_LOOKS, EXIT_FAILURES, LOOPBACK, PRESSURE, SPEED,
    RTT_BOUND, TESTS, TEST_FAILURES, TESTS_SKIPPED, BYTES, SPENT, LEFT, LIMIT,
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class MeasuringMetrics:
    """Publishes them.

    Attributes:
        measuring: What was measured.
        nodes: The pool's nodes.
    """

    measuring: Measuring
    nodes: Callable[[], Sequence[Node]]
    name: str = "measuring"

    def describe(self) -> Sequence[Family]:
        """Every family."""
        return FAMILIES

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        labels = {node.id: (node.id, node.country) for node in self.nodes()}
        probes, exits, speed = self.measuring.probes, self.measuring.exits, self.measuring.speed
        probed = {labels[it]: state for it, state in probes.states.items() if it in labels}
        yield PROBE_UP.values({it: float(not state.fault) for it, state in probed.items()})
        yield PROBE_ROUNDS.values({it: state.rounds for it, state in probed.items()})
        yield PROBE_FAILURES.values({it: state.failures for it, state in probed.items()})
        yield UPLINK.value(None if probes.uplink is None else float(probes.uplink))
        seen = {labels[it]: state for it, state in exits.states.items() if it in labels}
        yield EXIT_SEEN.values({it: float(not state.fault) for it, state in seen.items()})
        yield EXIT_LOOKS.values({it: state.looks for it, state in seen.items()})
        yield EXIT_FAILURES.values({it: state.failures for it, state in seen.items()})
        reached = self.measuring.loopback.reached
        yield LOOPBACK.values({labels[it]: float(value) for it, value in reached.items() if it in labels})
        pressed: dict[Labels, float] = {
            (*labels[it], kind): float(kind in kinds)
            for it, kinds in self.measuring.pressure.now.items()
            for kind in ("cpu", "memory")
            if it in labels
        }
        yield PRESSURE.values(pressed)
        latest = {label: result for it, label in labels.items() if (result := speed.latest(it)) is not None}
        figures: dict[Labels, float] = {
            (*label, name): value
            for label, result in latest.items()
            for name, value in (("download", result.download_mbps), ("goodput", result.goodput_mbps))
            if value is not None
        }
        yield SPEED.values(figures)
        yield RTT_BOUND.values(
            {label: float(result.rtt_bound) for label, result in latest.items() if result.ok}
        )
        yield TESTS.value(speed.tests)
        yield TEST_FAILURES.value(speed.failures)
        yield TESTS_SKIPPED.value(speed.skipped)
        yield BYTES.value(speed.budget.total)
        budget = speed.budget_state()
        yield SPENT.value(budget.spent_bytes)
        yield LEFT.value(budget.left_bytes)
        yield LIMIT.value(budget.limit_bytes)
