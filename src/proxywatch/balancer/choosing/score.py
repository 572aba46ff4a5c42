"""The health score of a node, factor by factor.

`base_score` mixes latency, connections, CPU and memory one after the other, each time keeping a part of the
score so far. Because of this nesting it ranges from 75.40 (everything at its worst) to 100, whatever the
measurements: the effective weights are 20.16 % latency, 21.6 % connections, 18 % CPU, 10 % memory and 30.24 %
    constant. Facts that the
formula does not know (a tunnel that is down, failing requests, stale measurements) therefore put caps on it:

    health_score = min(base_score, every cap)

An `Assessment` is the score with everything but the number of connections worked out, so that a pick is
cheap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from proxywatch.balancer.choosing.fact import Fact, Facts

Band = Literal["excellent", "good", "acceptable", "poor", "critical"]

UNKNOWN_LATENCY = 100.0
EXCELLENT, GOOD, ACCEPTABLE, POOR = 90.0, 80.0, 70.0, 60.0
SLOW_PROXY = 1000.0
SATURATED = 10  # connections from which on more do not change the score
SLOW_SPEED = 5.0
# In assignment a capped score would hardly count, since all others lie between 75 and 100: below `acceptable`
# a node gets this part of its score.
RESERVE: dict[str, float] = {"poor": 1 / 16, "critical": 1 / 64}

_MEASURED = ("cpu_percent", "memory_mb")
_SUCCESS = ((90.0, 59.0), (95.0, 69.0), (99.0, 89.0))
_STALE_CAP = 69.0
_UNMEASURED_CAP = 99.9
_FAILING_CAP = 10.0
_NEVER = float("inf")
_SPEED_INTERVALS = 300.0  # a speed test is hourly, other facts come every thirty seconds


def latency_score(latency_ms: float) -> float:
    """50 to 100: 100 up to 50 ms, half a point less for each further millisecond."""
    return min(100.0, max(50.0, 100 - (latency_ms - 50) * 0.5))


def connection_score(connections: float) -> float:
    """80 to 100: two points less for each of the first ten connections."""
    return max(60.0, 100 - min(20, connections * 2))


def cpu_score(cpu_percent: float) -> float:
    """60 to 100: a point less for each percent; above 100 % (several cores) counts as 100 %."""
    return max(60.0, 100 - min(100.0, max(0.0, cpu_percent)))


def memory_score(memory_mb: float) -> float:
    """70 to 100: a point less for each 10 MB above 300 MB."""
    return max(70.0, 100 - max(0.0, (memory_mb - 300) / 10))


def base_score(latency_ms: float, connections: float, cpu_percent: float, memory_mb: float) -> float:
    """The documented formula, bit for bit; 75.40 to 100."""
    score = 100.0
    score = score * 0.6 + latency_score(latency_ms) * 0.4
    score = score * 0.7 + connection_score(connections) * 0.3
    score = score * 0.8 + cpu_score(cpu_percent) * 0.2
    return score * 0.9 + memory_score(memory_mb) * 0.1


def band(score: float) -> Band:
    """What a score means."""
    if score >= EXCELLENT:
        return "excellent"
    if score >= GOOD:
        return "good"
    if score >= ACCEPTABLE:
        return "acceptable"
    return "poor" if score >= POOR else "critical"


class Cap(msgspec.Struct, frozen=True, gc=False):
    """A bound on the score.

    Attributes:
        score: The most that the score may be.
        reason: Why, for people.
    """

    score: float
    reason: str


class Assessment(msgspec.Struct, frozen=True):
    """A node's score, by connections.

    Attributes:
        latency_ms: What the formula is given: server latency, else proxy latency, else 100.
        latency_source: `server_latency_ms`, `proxy_latency_ms`, or `unknown`.
        cpu_percent: As measured; 0 when unknown.
        memory_mb: As measured; 0 when unknown.
        reported: Connections that the sidecar counts; 0 when unknown or stale.
        caps: Every cap in force, lowest first.
        confidence: Weight of the factors that were measured, 0 to 1; a stale one counts half.
        until: Monotonic time at which the passage of time alone changes the assessment.
        scores: The health score at 0 to 10 connections; more do not change it.
        at_reported: The health score at the reported connections.
    """

    latency_ms: float = UNKNOWN_LATENCY
    latency_source: str = "unknown"
    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    reported: float = 0.0
    caps: tuple[Cap, ...] = ()
    confidence: float = 0.3
    until: float = _NEVER
    scores: tuple[float, ...] = ()
    at_reported: float = 0.0

    def score(self, in_flight: int) -> float:
        """The health score at so many connections in flight; the sidecar's count is the larger of the two."""
        if in_flight <= self.reported:
            return self.at_reported
        return self.scores[min(SATURATED, in_flight)]

    def base(self, in_flight: float) -> float:
        """The score without caps."""
        return base_score(self.latency_ms, max(in_flight, self.reported), self.cpu_percent, self.memory_mb)


@dataclass(frozen=True, slots=True)
class Conduct:
    """What our own traffic and checks say of a node, beside its facts.

    Args:
        down: Why the node is out, or empty.
        failing: Why it should be out but is not, or empty.
        traffic_ms: Smoothed time to a connection through it, in milliseconds; None without traffic lately.
    """

    down: str = ""
    failing: str = ""
    traffic_ms: float | None = None


def assess(facts: Facts, conduct: Conduct, now: float, keep: float) -> Assessment:
    """Work out a node's score.

    Args:
        facts: What is known of it.
        conduct: What our own traffic says.
        now: Monotonic seconds.
        keep: Seconds after which a fact is stale.
    """
    source, latency = _latency(facts, now, keep)
    cpu = facts.get("cpu_percent", now, keep)
    memory = facts.get("memory_mb", now, keep)
    reported = facts.get("connections", now, keep)
    fresh = reported is not None and now - reported.at < keep
    caps = tuple(sorted(_caps(facts, conduct, now, keep), key=lambda cap: cap.score))
    known = sum(w * _known(f, now, keep) for w, f in ((0.4, latency), (0.2, cpu), (0.1, memory)))
    return assessment(
        UNKNOWN_LATENCY if latency is None else float(latency.value),
        0.0 if cpu is None else float(cpu.value),
        0.0 if memory is None else float(memory.value),
        float(reported.value) if reported is not None and fresh else 0.0,
        caps,
        latency_source=source,
        confidence=round(0.3 + known, 2),
        until=_until(facts, now, keep),
    )


def assessment(
    latency_ms: float,
    cpu_percent: float,
    memory_mb: float,
    reported: float,
    caps: tuple[Cap, ...],
    *,
    latency_source: str,
    confidence: float,
    until: float = _NEVER,
) -> Assessment:
    """An assessment with its scores worked out."""
    cap = min((cap.score for cap in caps), default=100.0)

    def score(connections: float) -> float:
        return min(cap, base_score(latency_ms, connections, cpu_percent, memory_mb))

    scores = tuple(score(connections) for connections in range(SATURATED + 1))
    return Assessment(
        latency_ms, latency_source, cpu_percent, memory_mb, reported, caps, confidence, until, scores,
        score(reported),
    )  # fmt: skip


UNKNOWN = assessment(UNKNOWN_LATENCY, 0.0, 0.0, 0.0, (), latency_source="unknown", confidence=0.3)


def _latency(facts: Facts, now: float, keep: float) -> tuple[str, Fact | None]:
    """Server latency if measured, else proxy latency; a fresh one of either before a stale one."""
    found = [(name, facts.get(name, now, keep)) for name in ("server_latency_ms", "proxy_latency_ms")]
    for name, fact in found:
        if fact is not None and now - fact.at < keep:
            return name, fact
    return next(((name, fact) for name, fact in found if fact is not None), ("unknown", None))


def _known(fact: Fact | None, now: float, keep: float) -> float:
    return 0.0 if fact is None else 1.0 if now - fact.at < keep else 0.5


def _caps(facts: Facts, conduct: Conduct, now: float, keep: float) -> Iterator[Cap]:
    if conduct.down:
        yield Cap(0.0, conduct.down)
    if conduct.failing:
        yield Cap(_FAILING_CAP, conduct.failing)
    rate = facts.get("success_rate_percent", now, keep)
    success = None if rate is None or _overtaken(rate, conduct, now, keep) else float(rate.value)
    for bound, most in _SUCCESS:
        if success is not None and success < bound:
            yield Cap(most, f"success rate {success:.4g} % is below {bound:g} %")
            break
    if stale := _stale(facts, conduct, now, keep):
        yield Cap(_STALE_CAP, f"stale: {', '.join(stale)} not measured for {keep:g} s")
    proxy = facts.get("proxy_latency_ms", now, keep)
    measured = float(proxy.value) if proxy is not None and now - proxy.at < keep else 0.0
    slowest = max(measured, conduct.traffic_ms or 0.0)
    if slowest > SLOW_PROXY:
        yield Cap(69.0, f"proxy latency {slowest:.0f} ms is above {SLOW_PROXY:g} ms")
    speed = facts.get("speed_mbps", now, keep * _SPEED_INTERVALS)
    if speed is not None and now - speed.at < keep * _SPEED_INTERVALS and float(speed.value) < SLOW_SPEED:
        yield Cap(79.0, f"speed {float(speed.value):.3g} Mbps is below {SLOW_SPEED:g} Mbps")
    unmeasured = [name for name in _MEASURED if facts.get(name, now, keep) is None]
    if unmeasured:
        yield Cap(_UNMEASURED_CAP, f"never measured: {', '.join(unmeasured)}")


def _overtaken(fact: Fact, conduct: Conduct, now: float, keep: float) -> bool:
    """Whether a fact is old because nobody probes a node that serves: its traffic says more."""
    return fact.source == "probe" and now - fact.at >= keep and conduct.traffic_ms is not None


def _stale(facts: Facts, conduct: Conduct, now: float, keep: float) -> list[str]:
    """The facts of the score that were known and are too old."""
    names = ["connections", "cpu_percent", "memory_mb", "success_rate_percent"]
    source, _ = _latency(facts, now, keep)
    found = {name: facts.get(name, now, keep) for name in [source, *names]}
    return [
        name
        for name, fact in found.items()
        if fact is not None and now - fact.at >= keep and not _overtaken(fact, conduct, now, keep)
    ]


def _until(facts: Facts, now: float, keep: float) -> float:
    """The next moment at which a fact goes stale."""
    ends = [
        fact.at + (keep * _SPEED_INTERVALS if name == "speed_mbps" else keep)
        for known in (facts.posted, facts.collected)
        for name, fact in known.items()
    ]
    return min((end for end in ends if end > now), default=_NEVER)


@dataclass(frozen=True, slots=True)
class Factor:
    """A line of the explanation of a score.

    Args:
        name: Of the fact.
        value: As measured, with its unit; `unknown` otherwise.
        score: What the formula makes of it, 0 to 100.
        cost: Points that it takes off the node's score.
    """

    name: str
    value: str
    score: float
    cost: float


def factors(assessment: Assessment, in_flight: float) -> tuple[Factor, ...]:
    """The score explained; 100 less all costs is the base score."""
    connections = max(in_flight, assessment.reported)
    latency, cpu, memory = assessment.latency_ms, assessment.cpu_percent, assessment.memory_mb
    lines = (
        (f"latency ({assessment.latency_source})", f"{latency:.4g} ms", latency_score(latency), 0.2016),
        ("connections", f"{connections:g}", connection_score(connections), 0.216),
        ("cpu", f"{cpu:.4g} %", cpu_score(cpu), 0.18),
        ("memory", f"{memory:.4g} MB", memory_score(memory), 0.1),
    )
    return tuple(Factor(name, value, score, (100 - score) * weight) for name, value, score, weight in lines)
