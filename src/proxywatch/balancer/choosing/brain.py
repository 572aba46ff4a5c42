"""The balancer's brain: chooses nodes for the relay, learns from what becomes of them, and can say why.

Everything that it needs of the world is handed in: clocks, dice, and where events and finished decisions go.
All calls return at once; one thread uses it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from proxywatch.balancer.attempt import Choice, Failure, Refusal
from proxywatch.balancer.choosing.affinity import Lease, Leases
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.choose import Chooser
from proxywatch.balancer.choosing.counts import Counts
from proxywatch.balancer.choosing.decision import Decision, document
from proxywatch.balancer.choosing.event import Event, Type
from proxywatch.balancer.choosing.explain import explain
from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.choosing.geography import country_code
from proxywatch.balancer.choosing.lease_desk import LeaseDesk
from proxywatch.balancer.choosing.overview import Overview, best_document
from proxywatch.balancer.choosing.pool import Pool
from proxywatch.balancer.choosing.recorder import Recorder
from proxywatch.balancer.choosing.rule import Rules
from proxywatch.balancer.choosing.selection import Live, Selection
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.choosing.strategy.interface import Dice
from proxywatch.balancer.choosing.strategy.table import OWN, Strategies
from proxywatch.balancer.node import Node
from proxywatch.balancer.request import Request
from proxywatch.errors import ConfigError, Fault

Clock = Callable[[], float]


class PoolBrain:
    """A Brain over a pool of nodes."""

    def __init__(
        self,
        settings: Choosing,
        *,
        clock: Clock,
        wall: Clock,
        dice: Dice,
        strategies: Strategies = OWN,
        name: str = "",
        on_event: Callable[[Event], None] | None = None,
        on_decision: Callable[[Decision], None] | None = None,
    ) -> None:
        """Begin with an empty pool.

        Args:
            settings: All of choosing.
            clock: Monotonic seconds.
            wall: Unix time.
            dice: Randomness.
            strategies: By name.
            name: Begins every id, so that those of several balancers differ.
            on_event: Is told of every change; None to tell nobody.
            on_decision: Is given every decision once nothing more becomes of it.
        """
        self._clock, self._wall = clock, wall
        self._on_event = on_event
        self._draining: set[Candidate] = set()
        self._live: dict[str, Live] = {}
        self.counts = Counts()
        self.pool = Pool(settings, self._emit)
        self.leases = Leases(settings.affinity)
        self.desk = LeaseDesk(self.leases, self.pool, self.counts, self._tell)
        self.recorder = Recorder(settings, name, on_decision)
        self.decisions = self.recorder.decisions
        self.chooser = Chooser(self.pool, self.leases, settings, strategies, dice)
        self.overview = Overview(self.pool, self.chooser, self._switched)
        self.round_robin_counters: dict[str, int] = {}
        self.configure(settings)

    # Settings

    def configure(self, settings: Choosing) -> None:
        """Apply settings; nothing that is open is touched.

        Raises:
            ConfigError: For an unknown strategy.
        """
        balancing = settings.balancing
        for place, strategy in (("strategy", balancing.strategy), *balancing.countries.items()):
            self._known(strategy, f"balancing {place}")
        self.settings = settings
        self.recorder.configure(settings)
        self.chooser.configure(settings)
        self.chooser.country_strategies = dict(balancing.countries)
        self.pool.reconfigure(settings, self._clock())

    def set_rules(self, rules: Rules) -> None:
        """Follow these rules from now on."""
        self.chooser.rules = rules

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self.chooser.rules

    def set_strategy(self, strategy: str, country: str = "") -> None:
        """Choose by a strategy in a country, or in all that have none of their own.

        Raises:
            ConfigError: When it is unknown.
        """
        self._known(strategy, "strategy")
        if country:
            self.chooser.country_strategies[country] = strategy
        else:
            balancing = msgspec.structs.replace(self.settings.balancing, strategy=strategy)
            self.settings = msgspec.structs.replace(self.settings, balancing=balancing)
            self.chooser.configure(self.settings)
            self.pool.settings = self.settings

    def _known(self, strategy: str, place: str) -> None:
        if strategy not in self.chooser.strategies:
            known = ", ".join(self.chooser.strategies)
            raise ConfigError(Fault(place, f"unknown strategy; known are {known}"))

    # Choosing

    def choose(self, request: Request, tried: tuple[str, ...] = ()) -> Choice | Refusal:
        """Choose a node for the request, other than those already tried for it."""
        now = self._clock()
        selection = self.chooser.select(request, tried, now)
        decision = self.recorder.record(request, selection, tried)
        candidate = selection.candidate
        if candidate is None:
            return self._refuse(decision, selection)
        self._commit(selection, decision, now)
        self.pool.load(candidate, now, 1)
        self._live[decision.id] = Live(decision, candidate, request)
        candidate.asked(now)
        retries = max(0, self.settings.balancing.retries - len(tried))
        return Choice(
            decision.id, len(tried) + 1, candidate.node, candidate.node.country, retries, decision.substituted
        )

    def _refuse(self, decision: Decision, selection: Selection) -> Refusal:
        kind: Literal["denied", "no_node"] = "denied" if selection.denied else "no_node"
        self.counts.refused[kind] += 1
        self.recorder.finish(decision)
        return Refusal(decision.id, kind, selection.attempt.reason)

    def _commit(self, selection: Selection, decision: Decision, now: float) -> None:
        """Carry out what a selection implies."""
        candidate, counts, attempt = selection.candidate, self.counts, selection.attempt
        assert candidate is not None  # noqa: S101 - the caller looked
        strategy = selection.strategy
        counts.picks += 1
        if len(decision.attempts) > 1:
            counts.retries += 1
        if decision.substituted:
            counts.substituted += 1
        if decision.unverified and self.settings.exit.verify != "off":
            counts.unverified += 1
        counts.by_strategy[strategy] = counts.by_strategy.get(strategy, 0) + 1
        if attempt.how == "strategy" or attempt.how == "moved":  # noqa: PLR1714 - twice as fast
            known = self.chooser.strategies[strategy]
            if not (known.ranks or known.draws):
                self._advance(selection.scope.country, strategy, attempt.last, attempt.round, candidate.id)
        if selection.owner is not None:
            lease = self.desk.give(selection, candidate, selection.owner, decision.id, now)
            decision.lease = lease.id
        if self._on_event is not None:
            self._tell("decision", candidate, attempt.how, {"decision": decision.id})

    def _advance(self, country: str, strategy: str, last: str, turn: int, node: str) -> None:
        self.chooser.picker.cursors[country, strategy] = node, turn + (node <= last)
        if strategy == "round_robin":
            self.round_robin_counters[country] = self.round_robin_counters.get(country, 0) + 1

    # What became of a choice

    def permits(self, choice: Choice) -> bool:
        """Whether the chosen node may still be used; to be asked between the node's answer and ours."""
        live = self._live.get(choice.decision)
        if live is None or self.pool.roster.get(choice.node.id) is not live.candidate:
            return live is not None
        now = self._clock()
        if now >= live.candidate.due:
            self.pool.refresh(live.candidate, now)
        return live.candidate.standing.kind not in {"wrong_exit", "unverified"}

    def connected(self, choice: Choice, seconds: float) -> None:
        """The node opened the connection after so many seconds, dial and handshakes included."""
        live = self._live.get(choice.decision)
        if live is None:
            return
        attempt = live.decision.last
        attempt.outcome, attempt.seconds = "open", seconds
        if not self.permits(choice):
            self.counts.wrong_exits += 1
            self._tell(
                "wrong_exit", live.candidate, live.candidate.standing.reason, {"decision": choice.decision}
            )
        now = self._clock()
        live.candidate.settled(now, answered=True)
        self.pool.served(live.candidate, now, seconds)

    def failed(self, choice: Choice, failure: Failure) -> None:
        """The attempt failed."""
        live = self._live.pop(choice.decision, None)
        if live is None:
            return
        now, candidate = self._clock(), live.candidate
        attempt = live.decision.last
        attempt.outcome, attempt.reason, attempt.seconds = "failed", failure.reason, failure.seconds
        self.counts.failures[failure.blame] += 1
        candidate.settled(now, answered=failure.blame == "destination")
        self.pool.load(candidate, now, -1)
        blamed = candidate.hop if failure.blame == "hop" and candidate.hop is not None else candidate
        if failure.blame in {"node", "hop"}:
            self.pool.bad(blamed, now, failure.reason, probe=False)
        elif failure.blame == "destination":
            self.pool.answered(candidate, now)
        self.recorder.failed(live.request, live.decision, now)

    def abandoned(self, choice: Choice) -> None:
        """The client left before the node answered."""
        live = self._live.pop(choice.decision, None)
        if live is not None:
            live.decision.last.outcome = "abandoned"
            live.candidate.settled(self._clock(), answered=False)
            self.pool.load(live.candidate, self._clock(), -1)
            self.recorder.finish(live.decision)

    def closed(self, choice: Choice, bytes_in: int, bytes_out: int, seconds: float, reason: str) -> None:
        """A connection that was open has ended."""
        live = self._live.pop(choice.decision, None)
        if live is not None:
            attempt = live.decision.last
            attempt.outcome, attempt.reason, attempt.lasted = "ok", reason, seconds
            self.counts.bytes_in += bytes_in
            self.counts.bytes_out += bytes_out
            self.pool.load(live.candidate, self._clock(), -1)
            self.recorder.finish(live.decision)

    # Leases

    def assign(self, request: Request) -> tuple[Lease, Node] | Refusal:
        """Lease a node to a client that dials itself; it counts as in flight until `release`, or its end.

        Without a session in its wishes each call gives a lease of its own.
        """
        now = self._clock()
        owner = ("lease", request.user, str(self.recorder.number + 1), request.wishes.country)
        wanted = None if request.wishes.session else owner
        selection = self.chooser.select(request, (), now, wanted)
        decision = self.recorder.record(request, selection, ())
        if selection.candidate is None:
            return self._refuse(decision, selection)
        selection.owner = selection.owner or owner
        self._commit(selection, decision, now)
        decision.last.outcome = "leased"
        self.recorder.finish(decision)
        lease = self.leases.get(decision.lease)
        assert lease is not None  # noqa: S101 - it was just given
        self.desk.hold(lease, now)
        return lease, selection.candidate.node

    def release(self, lease: str) -> bool:
        """End a lease; False when there is none of this id."""
        return self.desk.release(lease, self._clock())

    def adopt(self, lease: Lease) -> None:
        """Take over a lease that another balancer gave or moved, unless ours is newer."""
        self.desk.adopt(lease, self._clock())

    def rebalance(self, country: str, *, dry_run: bool = False) -> int:
        """Move leases so that each usable node of a country has its share; how many. Connections stay."""
        return self.desk.rebalance(country_code(country), dry_run=dry_run)

    # The pool

    def set_nodes(self, nodes: Iterable[Node]) -> None:
        """Make these the pool's nodes."""
        self.pool.set_nodes(nodes, self._clock())

    def learn(self, node: str, facts: Mapping[str, Fact]) -> bool:
        """Take facts about a node; False when it is not in the pool."""
        return self.pool.learn(node, facts, self._clock())

    def probed(self, node: str, reason: str = "") -> None:
        """An active check of a node was good, or failed for a reason that is the node's own."""
        candidate = self.pool.roster.get(node)
        if candidate is not None and reason:
            self.pool.bad(candidate, self._clock(), reason, probe=True)
        elif candidate is not None:
            self.pool.good(candidate, self._clock(), probe=True)

    def publish(self, others: Mapping[str, int]) -> None:
        """Connections that other balancers have, by node; a node that is not named has none."""
        now = self._clock()
        for candidate in self.pool.roster:
            connections = others.get(candidate.id, 0)
            if connections != candidate.published:
                self.pool.publish(candidate, now, connections)

    def drain(self, node: str, seconds: float, reason: str = "asked to") -> bool:
        """Keep new requests off a node, its leases for so many seconds excepted; False when it is unknown."""
        candidate = self.pool.roster.get(node)
        if candidate is not None:
            now = self._clock()
            self.pool.drain(candidate, now, now + seconds, reason)
            self._draining.add(candidate)
        return candidate is not None

    def ready(self, node: str) -> bool:
        """Call a drain off; False when the node is not in the pool."""
        candidate = self.pool.roster.get(node)
        if candidate is not None:
            self.pool.undrain(candidate, self._clock())
        return candidate is not None

    def drains(self, node: str) -> bool:
        """Whether a node drains, or has drained."""
        candidate = self.pool.roster.get(node)
        return candidate is not None and candidate.state.drain_until is not None

    def idle(self, node: str) -> bool:
        """Whether a node has neither connections nor leases."""
        candidate = self.pool.roster.get(node)
        return candidate is None or not (candidate.in_flight or self.leases.on(node))

    def tick(self) -> None:
        """Do what time alone brings: returns, stale facts, ends of leases; once a second will do."""
        now = self._clock()
        self.pool.tick(now)
        self.overview.tick(now)
        for candidate in [it for it in self._draining if it.standing.kind != "draining" or self.idle(it.id)]:
            self._draining.discard(candidate)
            if candidate.standing.kind == "draining":
                self.pool.end_drain(candidate, now)
        self.desk.tick(now)
        self.recorder.tick(now)

    def _switched(self, country: str, candidate: Candidate, reason: str) -> None:
        self.counts.switches[country] = self.counts.switches.get(country, 0) + 1
        self._tell("preferred", candidate, reason)

    # Answers

    def best_node(
        self, country: str, *, strict: bool = False, advance: bool = False
    ) -> dict[str, Any] | None:
        """The documented answer of best-node; None when the country has no usable node.

        Args:
            country: As asked; `uk` is taken for `gb` and echoed.
            strict: The plain maximum of the scores.
            advance: Count it as a pick of round robin, as older clients expect; otherwise nothing changes.
        """
        code = country_code(country)
        best = self.overview.best(code, self._clock(), strict=strict)
        if best is None:
            return None
        candidate, strategy, turn = best
        if advance and not strict:
            last = self.chooser.picker.cursors.get((code, strategy), ("", 0))[0]
            self._advance(code, strategy, last, turn, candidate.id)
        return best_document(candidate, strategy, country)

    def stats(self) -> dict[str, Any]:
        """The documented statistics."""
        return self.overview.statistics(self.round_robin_counters)

    def strategies(self) -> list[dict[str, str]]:
        """Name and description of each strategy."""
        known = self.chooser.strategies.values()
        return [{"name": strategy.name, "description": strategy.description} for strategy in known]

    def explain(self, decision: str) -> str | None:
        """A decision in words; None when it is no longer kept."""
        kept = self.decisions.get(decision)
        return explain(document(kept)) if kept else None

    def _emit(self, what: Type, candidate: Candidate, reason: str) -> None:
        self.counts.ejections += what in {"ejected", "exit_drift"}
        self._tell(what, candidate, reason)

    def _tell(
        self,
        what: Type,
        candidate: Candidate | None,
        reason: str,
        detail: dict[str, Any] | None = None,
    ) -> None:
        if self._on_event is not None:
            node, country = (candidate.id, candidate.node.country) if candidate else ("", "")
            self._on_event(Event(what, self._wall(), node, country, reason, detail or {}))
