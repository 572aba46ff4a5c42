"""Replay: what another strategy would have made of the requests in a journal.

A replay sees the candidates as they were recorded: of a small pool all of them, of a large one the sample.
Its own choices change how many connections are in flight, so each candidate's number is corrected by what was
chosen differently before. Requests that a lease, a wish or a rule decided stay where they were. With the
strategy and bias of the journal, every choice is the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

import msgspec

from proxywatch.balancer.choosing.candidate import Candidate, Seen
from proxywatch.balancer.choosing.measures import jain, percentile
from proxywatch.balancer.choosing.pace import Pace
from proxywatch.balancer.choosing.preference import Preferred, best_of, prefer
from proxywatch.balancer.choosing.score import Cap, assessment
from proxywatch.balancer.choosing.settings import Balancing
from proxywatch.balancer.choosing.strategy.interface import Dice, Turn
from proxywatch.balancer.choosing.strategy.table import OWN, Strategies
from proxywatch.balancer.node import Node, Upstream

_NOWHERE = Upstream("socks5", "", 0)


class Outcome(msgspec.Struct, frozen=True):
    """What a series of choices amounts to.

    Attributes:
        name: Of the strategy, and its bias.
        picks: How many choices it made.
        same: How many of them are those of the journal.
        peak: Most connections in flight on one node.
        fairness: Jain's index of the picks per node, 1 when all are equal; by weight.
        switches: Changes of the best node per hour, damped by the incumbent's margin.
        p50: Median of the chosen nodes' latency in milliseconds.
        p99: Its 99th percentile.
    """

    name: str
    picks: int
    same: int
    peak: int
    fairness: float
    switches: float
    p50: float
    p99: float


def replay(
    records: Iterable[Mapping[str, Any]],
    dice: Dice,
    *,
    strategy: str = "",
    bias: float | None = None,
    strategies: Strategies = OWN,
) -> Outcome:
    """Choose again.

    Args:
        records: Decisions as a journal holds them; of two with one id the later one counts.
        dice: For strategies that draw more, or differently, than was recorded.
        strategy: Name of another strategy; empty for that of each record.
        bias: Another bias; None for that of each record.
        strategies: By name.
    """
    by_id = {record["id"]: record for record in records}
    attempts = sorted(
        ((attempt["now"], number, record, attempt) for number, record in enumerate(by_id.values())
         for attempt in record["attempts"] if attempt["node"]),
        key=lambda it: (it[0], it[1]),
    )  # fmt: skip
    run = _Run(strategies, dice)
    for now, _, record, attempt in attempts:
        whole = {**record, **attempt} if "candidates" in attempt else {**attempt, **_of_last(record)}
        run.attempt(now, whole, strategy or record["strategy"], record["bias"] if bias is None else bias)
    name = strategy or "as recorded"
    return run.outcome(name if bias is None else f"{name}, bias {bias:g}")


def recorded(records: Iterable[Mapping[str, Any]]) -> Outcome:
    """What the journal's own choices amounted to."""
    by_id = {record["id"]: record for record in records}
    run = _Run(OWN, _NoDice())
    attempts = [
        (it["now"], record, it) for record in by_id.values() for it in record["attempts"] if it["node"]
    ]
    for now, record, attempt in sorted(attempts, key=lambda it: it[0]):
        whole = {**record, **attempt} if "candidates" in attempt else {**attempt, **_of_last(record)}
        run.keep(now, whole, attempt["node"])
    return run.outcome("the journal")


def _of_last(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("country", "candidates", "draw", "usable")}


class _NoDice:
    def random(self) -> float:
        return 0.5


class _Drawn:
    """The recorded draws first, then dice of our own."""

    def __init__(self, recorded_draws: Iterable[float], dice: Dice) -> None:
        self._recorded, self._dice = list(recorded_draws), dice

    def random(self) -> float:
        return self._recorded.pop(0) if self._recorded else self._dice.random()


class _Run:
    def __init__(self, strategies: Strategies, dice: Dice) -> None:
        self._strategies, self._dice = strategies, dice
        self._more: Counter[str] = Counter()  # in flight here less in flight in the journal, by node
        self._in_flight: Counter[str] = Counter()
        self._ends: list[tuple[float, int, str, str]] = []
        self._picks: Counter[str] = Counter()
        self._weights: dict[str, float] = {}
        self._latencies: list[float] = []
        self._cursors: dict[tuple[str, str], tuple[str, int]] = {}
        self._preferred: dict[str, Preferred] = {}
        self._times: list[float] = []
        self._number = self._same = self._peak = self._switches = 0

    def attempt(self, now: float, record: Mapping[str, Any], name: str, bias: float) -> None:
        self._close(now)
        chosen = str(record["node"])
        if record["how"] in {"strategy", "moved"} and record["candidates"]:
            chosen = self._choose(now, record, name, bias)
        self._count(now, record, chosen)

    def keep(self, now: float, record: Mapping[str, Any], chosen: str) -> None:
        self._close(now)
        self._count(now, record, chosen)

    def _choose(self, now: float, record: Mapping[str, Any], name: str, bias: float) -> str:
        strategy, country = self._strategies[name], record["country"]
        candidates = [self._candidate(told, now) for told in record["candidates"]]
        same = name == record.get("strategy", name)
        last = (record["last"], record["round"]) if same else self._cursors.get((country, name), ("", 0))
        dice = _Drawn(record["draw"] if same else (), self._dice)
        heaviest = max(candidate.weight for candidate in candidates)
        if strategy.sample == 0:
            candidates.sort(key=lambda candidate: candidate.id)
        candidate = strategy.assign(candidates, Turn(now, dice, bias, last[0], last[1], heaviest))
        self._cursors[country, name] = candidate.id, last[1] + (candidate.id <= last[0])
        return candidate.id

    def _candidate(self, told: Mapping[str, Any], now: float) -> Candidate:
        candidate = rebuilt(told, now)
        candidate.in_flight = max(0, candidate.in_flight + self._more[candidate.id])
        candidate.weigh()
        return candidate

    def _count(self, now: float, record: Mapping[str, Any], chosen: str) -> None:
        original = str(record["node"])
        self._number += 1
        self._times.append(now)
        self._same += chosen == original
        self._picks[chosen] += 1
        self._more[chosen] += 1
        self._more[original] -= 1
        self._in_flight[chosen] += 1
        self._peak = max(self._peak, self._in_flight[chosen])
        end = now + (record["seconds"] or 0.0) + (record["lasted"] or 0.0)
        heappush(self._ends, (end, self._number, chosen, original))
        for told in record["candidates"]:
            self._weights[told["node"]] = told["weight"]
            if told["node"] == chosen:
                self._latencies.append(told["latency_ms"])
        self._follow(now, record)

    def _follow(self, now: float, record: Mapping[str, Any]) -> None:
        """The best node, as best-node would have shown it."""
        candidates = {told["node"]: self._candidate(told, now) for told in record["candidates"]}
        if len(candidates) < record["usable"] or len(candidates) < 2:  # noqa: PLR2004 - nothing to compare
            return
        current = self._preferred.get(record["country"])
        incumbent = candidates.get(current.node) if current else None
        best = best_of(candidates.values(), now)
        assert best is not None  # noqa: S101 - there are two at least
        settings = Balancing()
        new = prefer(current, incumbent, best, now=now, margin=settings.margin, hold=settings.hold)
        self._switches += current is not None and new.node != current.node
        self._preferred[record["country"]] = new

    def _close(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, _, chosen, original = heappop(self._ends)
            self._in_flight[chosen] -= 1
            self._more[chosen] -= 1
            self._more[original] += 1

    def outcome(self, name: str) -> Outcome:
        hours = (max(self._times) - min(self._times)) / 3600 if self._times else 0.0
        shares = [self._picks[node] / weight for node, weight in self._weights.items()]
        return Outcome(
            name, self._number, self._same, self._peak, jain(shares),
            self._switches / hours if hours else 0.0,
            percentile(self._latencies, 50), percentile(self._latencies, 99),
        )  # fmt: skip


def rebuilt(told: Mapping[str, Any], now: float) -> Candidate:
    """A candidate with the numbers of a record."""
    given = told["factors"]
    caps = tuple(Cap(cap["score"], cap["reason"]) for cap in told["caps"])
    assessed = assessment(
        given["latency_ms"], given["cpu_percent"], given["memory_mb"], given["connections"], caps,
        latency_source=given["latency_source"], confidence=told["confidence"],
    )  # fmt: skip
    node = Node(told["node"], told["country"], _NOWHERE, weight=told["weight"])
    pace = Pace(peak_ms=told["peak_ms"], peak_at=now)
    return Seen(node, assessed, pace, told["latency_ms"], told["ramp"], told["ramp_end"]).candidate(
        told["in_flight"]
    )


def report(outcomes: Iterable[Outcome]) -> str:
    """The outcomes side by side."""
    columns: defaultdict[str, list[str]] = defaultdict(list)
    for it in outcomes:
        columns[""].append(it.name)
        columns["picks"].append(str(it.picks))
        columns["the same"].append(str(it.same))
        columns["peak in flight"].append(str(it.peak))
        columns["Jain's index"].append(f"{it.fairness:.3f}")
        columns["switches/h"].append(f"{it.switches:.1f}")
        columns["latency p50"].append(f"{it.p50:.0f} ms")
        columns["p99"].append(f"{it.p99:.0f} ms")
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    return (
        "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
        + "\n"
    )
