"""The pool: its nodes, what is known of them and how they stand, kept up to date with each fact and result.

Transitions of a node's state are pure (fact, health, state); this is where they are applied, the share of
ejections is kept, and the roster follows. Time comes with each call. A `Snapshot` is the whole pool at one
moment, immutable.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush

import msgspec

from proxywatch.balancer.choosing import health as health_of
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.event import Type
from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.choosing.health import Health
from proxywatch.balancer.choosing.roster import Roster
from proxywatch.balancer.choosing.score import SATURATED, SLOW_PROXY, Conduct, assess
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.choosing.state import Around, Standing, State, good_sign, standing, told_out
from proxywatch.balancer.node import Node

Emit = Callable[[Type, Candidate, str], None]
_NEVER = float("inf")


class Snapshot(msgspec.Struct, frozen=True):
    """The pool at one moment.

    Attributes:
        at: Monotonic seconds.
        states: By node id.
        standings: By node id.
        in_flight: Connections by node id, ours and other balancers'.
        scores: Health scores by node id.
    """

    at: float
    states: dict[str, State]
    standings: dict[str, Standing]
    in_flight: dict[str, int]
    scores: dict[str, float]


class Pool:
    """The living pool."""

    def __init__(self, settings: Choosing, emit: Emit) -> None:
        self.settings = settings
        self.roster = Roster()
        self.uplinks: frozenset[str] = frozenset()
        self._emit = emit
        self._due: list[tuple[float, str]] = []
        self._failing: dict[
            str, set[str]
        ] = {}  # by country: nodes that failed and have shown nothing good since
        self._counted: dict[str, set[str]] = {}  # by country: nodes ejected for failures that we counted
        self._told: dict[str, set[str]] = {}  # by country: nodes that facts put out
        self._behind: dict[str, set[str]] = {}  # by node: those reached through it

    # Membership

    def set_nodes(self, nodes: Iterable[Node], now: float) -> None:
        """Make these the pool's nodes; what is known of one stays, unless its address changed."""
        wanted = {node.id: (position, node) for position, node in enumerate(nodes)}
        first = not len(self.roster)
        for candidate in list(self.roster):
            if candidate.id not in wanted:
                self._remove(candidate)
        for position, node in wanted.values():
            known = self.roster.get(node.id)
            if known is None:
                self._add(State(node, joined=now, position=position), now, slow=not first)
            elif known.node != node:
                self._replace(known, node, position, now)
            elif known.state.position != position:
                known.state = msgspec.structs.replace(known.state, position=position)
        self._connect_hops(now)

    def _add(self, state: State, now: float, *, slow: bool) -> Candidate:
        candidate = Candidate(state)
        if slow:
            self._start_slowly(candidate, now)
        self.roster.add(candidate)
        self.refresh(candidate, now)
        self._emit("joined", candidate, "new in the pool")
        return candidate

    def _replace(self, known: Candidate, node: Node, position: int, now: float) -> None:
        """Describe a node anew. One that is not the same any more begins without what was known of the old one."""
        if any(getattr(known.node, part) != getattr(node, part) for part in ("upstream", "via", "instance")):
            drains, why = known.state.drain_until, known.state.drain_reason
            self._remove(known)
            state = State(node, joined=now, position=position, drain_until=drains, drain_reason=why)
            self._add(state, now, slow=True)
            return
        self._forget(known)
        self.roster.remove(known)
        known.describe(msgspec.structs.replace(known.state, node=node, position=position))
        self.roster.add(known)
        if known.state.health.counted:
            self._counted.setdefault(node.country, set()).add(node.id)
        self.refresh(known, now)

    def _remove(self, candidate: Candidate) -> None:
        self._forget(candidate)
        self.roster.remove(candidate)
        self._emit("left", candidate, "no longer in the pool")

    def _forget(self, candidate: Candidate) -> None:
        for sets in (self._failing, self._counted, self._told):
            sets.get(candidate.node.country, set()).discard(candidate.id)

    def _connect_hops(self, now: float) -> None:
        self._behind = {}
        for candidate in self.roster:
            via = candidate.node.via
            if isinstance(via, str):
                self._behind.setdefault(via, set()).add(candidate.id)
                hop = self.roster.get(via)
                if candidate.hop is not hop:
                    candidate.hop = hop
                    self.refresh(candidate, now)

    # What is learned

    def learn(self, node: str, facts: Mapping[str, Fact], now: float) -> bool:
        """Take facts about a node; False when it is not in the pool."""
        candidate = self.roster.get(node)
        if candidate is None:
            return False
        clamped = {
            name: fact if fact.at <= now else Fact(fact.value, now, fact.source)
            for name, fact in facts.items()
        }
        before, state = candidate.state.facts, candidate.state
        candidate.state = msgspec.structs.replace(state, facts=before.learn(clamped))
        reached = clamped.get("reached")
        if reached is not None and reached.source == "sidecar" and reached.value is False:
            self.bad(candidate, now, "its sidecar gets nothing through it", probe=True)
        elif state.health.ejected and not self._out(candidate, now) and good_sign(candidate.state, clamped):
            self._set_health(candidate, health_of.success(state.health, now, probe=True))
        self.refresh(candidate, now)
        return True

    def served(self, candidate: Candidate, now: float, seconds: float) -> None:
        """Our own traffic opened a connection through the node."""
        slow = (candidate.pace.traffic(now) or 0.0) > SLOW_PROXY
        candidate.pace = candidate.pace.took(now, seconds * 1000)
        candidate.note()
        health = candidate.state.health
        if health.failures or health.ejected:
            self.good(candidate, now, probe=False)
        elif slow != (candidate.pace.traffic_ms > SLOW_PROXY):
            self.refresh(candidate, now)

    def answered(self, candidate: Candidate, now: float) -> None:
        """The node did its part, the destination did not: good, but the time says nothing of the node."""
        health = candidate.state.health
        if health.failures or health.ejected:
            self.good(candidate, now, probe=False)

    def good(self, candidate: Candidate, now: float, *, probe: bool) -> None:
        """A good result."""
        if self.roster.get(candidate.id) is not candidate:
            return
        self._failing.get(candidate.node.country, set()).discard(candidate.id)
        self._set_health(candidate, health_of.success(candidate.state.health, now, probe=probe))
        self.refresh(candidate, now)

    def bad(self, candidate: Candidate, now: float, reason: str, *, probe: bool) -> None:
        """A failure on the node's own account."""
        if self.roster.get(candidate.id) is not candidate:
            return
        settings = self.settings.ejection
        if not probe:
            candidate.pace = candidate.pace.refused(now)
        health = health_of.failure(candidate.state.health, now, probe=probe)
        self._failing.setdefault(candidate.node.country, set()).add(candidate.id)
        self._set_health(candidate, health)
        if health.ejected:
            if now >= health.free_at(settings) and not self._out(candidate, now):
                self._eject(candidate, now, f"failed again: {reason}")
        elif health.failures >= settings.failures:
            self._judge(candidate, now, f"{health.failures} failures in a row, the last: {reason}")
        self.refresh(candidate, now)

    def _judge(self, candidate: Candidate, now: float, reason: str) -> None:
        """Eject, or say why not."""
        country = candidate.node.country
        share = self.settings.ejection.share
        told = len(self._told.get(country, ()))
        serving = self.roster.size(country) - told
        if health_of.failing_together(serving, lambda: self._failing_now(country, now)):
            self._withhold(
                candidate, "more than half of the country fail together: target or uplink is to blame"
            )
            self._release(country, now)
        elif len(self._counted.get(country, ())) >= health_of.most_ejected(serving, share):
            self._withhold(candidate, f"not ejected: share ({share:g} of {serving} nodes)")
        else:
            self._eject(candidate, now, reason)

    def _failing_now(self, country: str, now: float) -> int:
        out = 0
        for node in list(self._failing.get(country, ())):
            candidate = self.roster.get(node)
            if candidate is not None and health_of.fails_now(candidate.state.health, now):
                out += node not in self._told.get(country, ())
            else:
                self._failing[country].discard(node)
        return out

    def _eject(self, candidate: Candidate, now: float, reason: str) -> None:
        health = health_of.eject(candidate.state.health, now, reason, self.settings.ejection)
        self._set_health(candidate, health)
        self._emit(
            "ejected", candidate, f"{reason}; for {health.free_at(self.settings.ejection) - now:.0f} s"
        )

    def _withhold(self, candidate: Candidate, reason: str) -> None:
        if candidate.state.health.withheld != reason:
            self._set_health(candidate, health_of.withhold(candidate.state.health, reason))
            self._emit("withheld", candidate, reason)

    def _release(self, country: str, now: float) -> None:
        """Take back the ejections of nodes that failed together with the others."""
        for node in list(self._counted.get(country, ())):
            candidate = self.roster.get(node)
            if candidate is not None and now - candidate.state.health.since <= health_of.TOGETHER:
                self._set_health(candidate, health_of.returned(candidate.state.health))
                self._emit("returned", candidate, "more than half of the country fail together")
                self.refresh(candidate, now)

    def _set_health(self, candidate: Candidate, health: Health) -> None:
        candidate.state = msgspec.structs.replace(candidate.state, health=health)
        counted = self._counted.setdefault(candidate.node.country, set())
        (counted.add if health.ejected and health.counted else counted.discard)(candidate.id)

    # Load

    def load(self, candidate: Candidate, now: float, change: int) -> None:
        """So many connections of ours more, or fewer."""
        candidate.own += change
        before = candidate.in_flight
        candidate.in_flight = load = before + change
        if before < SATURATED or load < SATURATED:
            candidate.weigh()
        if candidate.node.max_connections or candidate.state.health.ejected:
            self.refresh(candidate, now)

    def publish(self, candidate: Candidate, now: float, connections: int) -> None:
        """How many connections other balancers have through the node."""
        candidate.published = connections
        candidate.in_flight = candidate.own + connections
        candidate.weigh()
        if candidate.node.max_connections:
            self.refresh(candidate, now)

    # Drain

    def drain(self, candidate: Candidate, now: float, deadline: float, reason: str) -> None:
        """No new requests; leases stay until the deadline."""
        candidate.state = msgspec.structs.replace(candidate.state, drain_until=deadline, drain_reason=reason)
        self.refresh(candidate, now)
        self._emit("draining", candidate, f"{reason}; until {deadline - now:.0f} s from now")

    def end_drain(self, candidate: Candidate, now: float) -> None:
        """Nothing is left on a draining node."""
        candidate.state = msgspec.structs.replace(candidate.state, drain_until=now)
        self.refresh(candidate, now)

    def undrain(self, candidate: Candidate, now: float) -> None:
        """Back in service, slowly."""
        if candidate.state.drain_until is not None:
            candidate.state = msgspec.structs.replace(candidate.state, drain_until=None, drain_reason="")
            self._start_slowly(candidate, now)
            self.refresh(candidate, now)
            self._emit("undrained", candidate, "made ready")

    # Standing

    def refresh(self, candidate: Candidate, now: float) -> None:
        """Work out again how a node stands and what its score is; of one that has left nothing is to be known."""
        if self.roster.get(candidate.id) is not candidate:
            return
        self._follow_told(candidate, now)
        health = candidate.state.health
        ejected = health.ejected and candidate.id not in self._told[candidate.node.country]
        if ejected and health_of.may_return(health, now, self.settings.ejection):
            self._set_health(candidate, health_of.returned(health))
            self._start_slowly(candidate, now)
            self._emit("returned", candidate, f"{health.successes} good results")
        self._stand(candidate, now)
        self._assess(candidate, now)
        self._queue(candidate)

    def next_due(self) -> float:
        """Before this moment no node has to be looked at again."""
        return self._due[0][0] if self._due else _NEVER

    def tick(self, now: float) -> None:
        """Look at every node whose time has come; to be called once a second or so."""
        while self._due and self._due[0][0] <= now:
            _, node = heappop(self._due)
            candidate = self.roster.get(node)
            if candidate is None:
                continue
            candidate.queued = _NEVER
            if now >= candidate.due:
                self.refresh(candidate, now)
            else:
                self._queue(candidate)

    def reconfigure(self, settings: Choosing, now: float) -> None:
        """Apply other settings."""
        self.settings = settings
        for candidate in self.roster:
            self.refresh(candidate, now)

    def snapshot(self, now: float) -> Snapshot:
        """The pool as it is."""
        everyone = list(self.roster)
        return Snapshot(
            now,
            {it.id: it.state for it in everyone},
            {it.id: it.standing for it in everyone},
            {it.id: it.in_flight for it in everyone},
            {it.id: it.score for it in everyone},
        )

    def _out(self, candidate: Candidate, now: float) -> tuple[str, str] | None:
        return told_out(candidate.state, now, self.settings, self.uplinks)

    def _follow_told(self, candidate: Candidate, now: float) -> None:
        """Note that facts put the node out, or no longer do."""
        told = self._told.setdefault(candidate.node.country, set())
        out = self._out(candidate, now)
        if out and candidate.id not in told:
            told.add(candidate.id)
            health = health_of.told_down(candidate.state.health, now, out[1], self.settings.ejection)
            self._set_health(candidate, health)
            self._emit("exit_drift" if out[0] == "wrong_exit" else "ejected", candidate, out[1])
        elif not out and candidate.id in told:
            told.discard(candidate.id)
            self._emit("exit_right", candidate, "nothing told against it any more")

    def _stand(self, candidate: Candidate, now: float) -> None:
        hop = candidate.hop
        through = ""
        if hop is not None and hop.standing.kind not in {"ready", "unseen", "full", "draining"}:
            through = f"{hop.id}, through which it is reached, is out"
        load = int(candidate.connections())
        new = standing(candidate.state, Around(now, self.settings, self.uplinks, load, through))
        if new.kind == "trial" and candidate.own:
            new = Standing("ejected", "on trial with one request at a time", new.due, new.verified)
        old = candidate.standing
        candidate.standing = new
        if new.kind == old.kind:
            return
        self.roster.displace(candidate, old.kind)
        self.roster.place(candidate, new.kind)
        if new.kind == "drained":
            self._emit(
                "drained",
                candidate,
                "nothing is left on it" if not candidate.in_flight else "its deadline has come",
            )
        for node in self._behind.get(candidate.id, ()):
            behind = self.roster.get(node)
            if behind is not None and behind is not candidate:
                self.refresh(behind, now)

    def _assess(self, candidate: Candidate, now: float) -> None:
        keep, facts = self.settings.collect.keep, candidate.state.facts
        stands = candidate.standing
        down = stands.reason if stands.kind in {"ejected", "down", "wrong_exit", "trial"} else ""
        conduct = Conduct(down, candidate.state.health.withheld, candidate.pace.traffic(now))
        candidate.assessment = assessment = assess(facts, conduct, now, keep)
        candidate.due = min(stands.due, assessment.until)
        latency = facts.smoothed(assessment.latency_source, now, keep)
        candidate.measured_ms = assessment.latency_ms if latency is None else latency
        candidate.weigh()
        candidate.note()

    def _queue(self, candidate: Candidate) -> None:
        if candidate.due < candidate.queued:
            candidate.queued = candidate.due
            heappush(self._due, (candidate.due, candidate.id))

    def _start_slowly(self, candidate: Candidate, now: float) -> None:
        candidate.ramp = float(self.settings.balancing.slow_start)
        candidate.ramp_end = now + candidate.ramp
