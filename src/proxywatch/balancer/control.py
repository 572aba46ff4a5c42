"""What people and programs may ask of a running balancer: one place for the API, the page and the commands.

Reads are documents, made anew for each question; changes go to the brain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxywatch.balancer.attempt import Refusal
from proxywatch.balancer.choosing.affinity import Lease
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.decision import document
from proxywatch.balancer.choosing.explain import explain
from proxywatch.balancer.choosing.fact import Fact, read
from proxywatch.balancer.choosing.geography import country_code
from proxywatch.balancer.choosing.score import band, factors
from proxywatch.balancer.choosing.state import USABLE
from proxywatch.balancer.discovery.sources import SourceState
from proxywatch.balancer.documents import (
    Assignment,
    AssignRequest,
    BestNode,
    CapDocument,
    CountryInfo,
    DecisionText,
    FactDocument,
    FactorDocument,
    LeaseDocument,
    NodeDocument,
    NodeResources,
    SdGroup,
    SidecarDocument,
    Stats,
    StrategyChoice,
    StrategyInfo,
)
from proxywatch.balancer.facts.sidecar import SidecarState
from proxywatch.balancer.request import Destination, Request, Wishes
from proxywatch.clock import Clock

_SERVES = frozenset({*USABLE, "full", "draining"})
_MOST_DECISIONS = 1000


class UnknownError(Exception):
    """There is nothing of that name; the text says what."""


class NoNodeError(Exception):
    """No node can serve; the text says why."""


@dataclass(frozen=True, slots=True)
class Control:
    """A running balancer.

    Attributes:
        brain: Chooses.
        clock: For ages.
        sidecars: How each node's sidecar answers, by node.
        settings: The settings in force, without secrets, as documents.
        sources: How each source of nodes does, by name.
    """

    brain: PoolBrain
    clock: Clock
    sidecars: Mapping[str, SidecarState] = field(default_factory=dict)
    settings: Callable[[], dict[str, Any]] = dict
    sources: Mapping[str, SourceState] = field(default_factory=dict)

    # The pool

    def stats(self) -> Stats:
        """The statistics."""
        return msgspec.convert(self.brain.stats(), Stats)

    def best_node(self, country: str, *, strict: bool, advance: bool) -> BestNode:
        """A country's best node.

        Raises:
            NoNodeError: None is usable.
        """
        found = self.brain.best_node(country, strict=strict, advance=advance)
        if found is None:
            raise NoNodeError("No healthy nodes available")
        return msgspec.convert(found, BestNode)

    def nodes(self, country: str = "", state: str = "") -> list[NodeDocument]:
        """All nodes, or those of a country or in a state."""
        code = country_code(country) if country else ""
        now = self.clock.monotonic()
        found = sorted(self.brain.pool.roster, key=lambda candidate: candidate.state.position)
        return [
            self._node(candidate, now)
            for candidate in found
            if code in ("", candidate.node.country) and state in ("", candidate.standing.kind)
        ]

    def node(self, node: str) -> NodeDocument:
        """One node.

        Raises:
            UnknownError: There is none of this id.
        """
        return self._node(self._candidate(node), self.clock.monotonic())

    def countries(self) -> list[CountryInfo]:
        """All countries."""
        roster, overview = self.brain.pool.roster, self.brain.overview
        now = self.clock.monotonic()
        answers = []
        for country in sorted(roster.countries()):
            members = roster.members(country)
            preferred = overview.preferred(country, now)
            answers.append(
                CountryInfo(
                    country,
                    len(members),
                    sum(member.standing.kind in USABLE for member in members),
                    self.brain.chooser.strategy_of(country),
                    preferred.id if preferred else "",
                )
            )
        return answers

    def service_discovery(self) -> list[SdGroup]:
        """The sidecars, as Prometheus's HTTP service discovery takes them."""
        groups = []
        for candidate in sorted(self.brain.pool.roster, key=lambda candidate: candidate.id):
            node = candidate.node
            scheme, _, rest = node.sidecar.partition("://")
            if not rest:
                continue
            target, _, path = rest.partition("/")
            labels = {"id": node.id, "country": node.country, "city": node.city, "server": node.server}
            labels["__scheme__"] = scheme
            if path:
                labels["__metrics_path__"] = f"/{path.rstrip('/')}/metrics"
            groups.append(SdGroup([target], {name: value for name, value in labels.items() if value}))
        return groups

    def discovery(self) -> dict[str, SourceState]:
        """All sources of nodes."""
        return dict(self.sources)

    def drain(self, node: str, seconds: float, reason: str) -> None:
        """Send a node no new requests.

        Raises:
            UnknownError: There is none of this id.
        """
        self._candidate(node)
        self.brain.drain(node, seconds, reason)

    def ready(self, node: str) -> None:
        """Call a drain off.

        Raises:
            UnknownError: There is none of this id.
        """
        self._candidate(node)
        self.brain.ready(node)

    def post_facts(self, node: str, values: Mapping[str, object]) -> int:
        """Take facts from a monitor of the operator's own; returns how many.

        Raises:
            UnknownError: There is no node of this id.
            ParseError: A fact is unknown, or has a value that it cannot have; none was taken.
        """
        self._candidate(node)
        now = self.clock.monotonic()
        facts = {name: Fact(read(name, value), now, "operator") for name, value in values.items()}
        self.brain.learn(node, facts)
        return len(facts)

    # Strategies

    def strategies(self) -> list[StrategyInfo]:
        """All strategies."""
        return [StrategyInfo(**known) for known in self.brain.strategies()]

    def strategy(self) -> StrategyChoice:
        """Those in force."""
        chooser = self.brain.chooser
        return StrategyChoice(self.brain.settings.balancing.strategy, dict(chooser.country_strategies))

    def set_strategy(self, strategy: str, country: str = "") -> None:
        """Put a strategy in force.

        Raises:
            ConfigError: It is unknown.
        """
        self.brain.set_strategy(strategy, country_code(country) if country else "")

    # Leases

    def assign(self, wanted: AssignRequest, client: str) -> Assignment:
        """Lease a node to a client that dials itself, or say which one it would be.

        Raises:
            NoNodeError: No node can serve, or a rule denies it.
        """
        request = self._request(wanted, client)
        if wanted.dry_run:
            return self._would_assign(request)
        given = self.brain.assign(request)
        if isinstance(given, Refusal):
            raise NoNodeError(given.reason)
        lease, node = given
        url = f"{node.upstream.scheme}://{_bracketed(node.upstream.host)}:{node.upstream.port}"
        code = country_code(wanted.country) if wanted.country else ""
        substituted = bool(code) and node.country != code
        newest = next(iter(self.brain.decisions), None)
        decision = newest.id if newest is not None and newest.lease == lease.id else ""
        return Assignment(self._lease(lease), node.id, url, node.country, substituted, decision)

    def leases(self) -> list[LeaseDocument]:
        """All leases, the longest idle first."""
        return [self._lease(lease) for lease in self.brain.leases]

    def release(self, lease: str) -> None:
        """End a lease.

        Raises:
            UnknownError: There is none of this id.
        """
        if not self.brain.release(lease):
            raise UnknownError(f"no lease {lease}")

    # Decisions

    def decisions(self, limit: int, country: str = "", node: str = "") -> list[dict[str, Any]]:
        """The last decisions, the newest first; all of them, or those of a country or node."""
        code = country_code(country) if country else ""
        found: list[dict[str, Any]] = []
        for decision in self.brain.decisions:
            if len(found) >= min(limit, _MOST_DECISIONS):
                break
            if code in ("", decision.country) and node in ("", decision.last.node):
                found.append(document(decision))
        return found

    def decision(self, decision: str) -> DecisionText:
        """One decision, explained.

        Raises:
            UnknownError: None of this id is kept.
        """
        kept = self.brain.decisions.get(decision)
        if kept is None:
            raise UnknownError(f"no decision {decision} is kept")
        known = document(kept)
        return DecisionText(known, explain(known))

    # Documents

    def _candidate(self, node: str) -> Candidate:
        candidate = self.brain.pool.roster.get(node)
        if candidate is None:
            raise UnknownError(f"no node {node}")
        return candidate

    def _node(self, candidate: Candidate, now: float) -> NodeDocument:
        node, state, assessment = candidate.node, candidate.state, candidate.assessment
        score = candidate.score
        keep = self.brain.settings.collect.keep
        facts = _facts(candidate, now, keep)
        drain = state.drain_until
        via = (
            node.via if isinstance(node.via, str) else f"{node.via.host}:{node.via.port}" if node.via else ""
        )
        return NodeDocument(
            id=node.id,
            country=node.country,
            city=node.city,
            server=node.server or "unknown",
            slot=node.slot or node.id,
            tags=sorted(node.tags),
            status="running" if candidate.standing.kind in _SERVES else "unhealthy",
            state=candidate.standing.kind,
            reason=candidate.standing.reason,
            health_score=round(score, 1),
            base_score=round(assessment.base(candidate.in_flight), 1),
            band=band(score),
            confidence=assessment.confidence,
            factors=[
                FactorDocument(factor.name, factor.value, round(factor.score, 1), round(factor.cost, 2))
                for factor in factors(assessment, candidate.in_flight)
            ],
            caps=[CapDocument(cap.score, cap.reason) for cap in assessment.caps],
            in_flight=candidate.in_flight,
            connections=int(candidate.connections()),
            max_connections=node.max_connections,
            weight=node.weight,
            latency_ms=round(candidate.latency_ms(now), 1),
            tailscale_ip=node.upstream.host,
            port=node.upstream.port,
            via=via,
            leases=self.brain.leases.on(node.id),
            drain_seconds=max(0.0, round(drain - now, 1)) if drain is not None else None,
            stats=NodeResources(_number(facts, "cpu_percent"), _number(facts, "memory_mb")),
            facts=facts,
            sidecar=self._sidecar(candidate),
        )

    def _sidecar(self, candidate: Candidate) -> SidecarDocument | None:
        node = candidate.node
        if not node.sidecar:
            return None
        state = self.sidecars.get(node.id, SidecarState())
        return SidecarDocument(node.sidecar, state.at, state.fault)

    def _lease(self, lease: Lease) -> LeaseDocument:
        now = self.clock.monotonic()
        ends = self.brain.leases.ends(lease)
        return LeaseDocument(
            lease.id,
            lease.node,
            lease.country,
            lease.owner[0],
            lease.held,
            round(max(0.0, now - lease.used), 1),
            round(max(0.0, ends - now), 1),
        )

    def _request(self, wanted: AssignRequest, client: str) -> Request:
        asked = wanted.country.lower()
        wishes = Wishes(
            country=country_code(asked) if asked else "",
            asked=asked,
            city=wanted.city,
            session=wanted.session,
            ttl=wanted.ttl,
            fallback=wanted.fallback,
        )
        destination = Destination(wanted.destination.lower().rstrip("."), 443) if wanted.destination else None
        return Request(
            self.clock.monotonic(),
            self.clock.now(),
            wanted.client or client,
            wanted.user,
            destination,
            wishes,
        )

    def _would_assign(self, request: Request) -> Assignment:
        selection = self.brain.chooser.select(request, (), self.clock.monotonic())
        if selection.candidate is None:
            raise NoNodeError(selection.attempt.reason)
        node = selection.candidate.node
        url = f"{node.upstream.scheme}://{_bracketed(node.upstream.host)}:{node.upstream.port}"
        code = request.wishes.country
        return Assignment(None, node.id, url, node.country, bool(code) and node.country != code, "")


def _facts(candidate: Candidate, now: float, keep: float) -> dict[str, FactDocument]:
    known = candidate.state.facts
    documents = {}
    for name in sorted({*known.collected, *known.posted}):
        fact = known.get(name, now, keep)
        if fact is not None:
            age = max(0.0, now - fact.at)
            documents[name] = FactDocument(fact.value, round(age, 1), fact.source, age >= keep)
    return documents


def _number(facts: Mapping[str, FactDocument], name: str) -> float | None:
    fact = facts.get(name)
    return float(fact.value) if fact is not None else None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
