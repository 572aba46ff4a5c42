"""Choosing: a request in, a selection out. Rules, then affinity, then geography, then the strategy, in that order.

An explicit wish beats balancing, a rule beats the wish. Nothing is changed here: what a selection implies (a lease,
a counter, a connection in flight) is for the caller to carry out, so that asking is free of effects.
"""

from collections.abc import Iterator

import msgspec

from proxywatch.balancer import affinity
from proxywatch.balancer.affinity import Lease, Leases, Owner
from proxywatch.balancer.candidate import Candidate
from proxywatch.balancer.decision import Attempt
from proxywatch.balancer.geography import Regions
from proxywatch.balancer.pick import Picker, Residual
from proxywatch.balancer.pool import Pool
from proxywatch.balancer.request import Request
from proxywatch.balancer.roster import EVERYWHERE, Key
from proxywatch.balancer.rule import Rule, Rules
from proxywatch.balancer.selection import Scope, Selection, refusal
from proxywatch.balancer.settings import Choosing
from proxywatch.balancer.state import Kind
from proxywatch.balancer.strategy.interface import Dice, Strategy
from proxywatch.balancer.strategy.table import Strategies

_LEASABLE: frozenset[Kind] = frozenset({"ready", "unseen", "draining"})
_SERVING: frozenset[Kind] = frozenset({"ready", "unseen"})


class Chooser:
    """Chooses from a pool."""

    def __init__(
        self, pool: Pool, leases: Leases, settings: Choosing, strategies: Strategies, dice: Dice
    ) -> None:
        self.pool = pool
        self.leases = leases
        self.rules = Rules()
        self.strategies = strategies
        self.picker = Picker(pool, dice)
        self.country_strategies: dict[str, str] = {}
        self.configure(settings)

    def configure(self, settings: Choosing) -> None:
        """Apply settings."""
        self.settings = settings
        self.regions = Regions(settings.geography.regions)
        self.leases.settings = settings.affinity

    def strategy_of(self, country: str) -> str:
        """The name of a country's strategy."""
        return self.country_strategies.get(country) or self.settings.balancing.strategy

    # Rules

    def scope(self, request: Request) -> Scope | Rule:
        """What the request may get: the wishes, unless a rule says otherwise; the rule itself if it denies."""
        wishes = request.wishes
        fallback = wishes.fallback or self.settings.geography.fallback
        asked = wishes.asked or wishes.country
        rule = self.rules.first(request) if self.rules else None
        if rule is None:
            return Scope(
                wishes.country, asked, wishes.city, wishes.server, "", wishes.node, wishes.strategy, fallback
            )
        action = rule.action
        if action.deny:
            return rule
        strategy = action.strategy or wishes.strategy
        if action.node:
            named = self.pool.roster.get(action.node)
            country = named.node.country if named else wishes.country
            return Scope(
                country, asked, node=action.node, strategy=strategy, fallback=action.fallback or "none",
                rule=rule.name,
            )  # fmt: skip
        placed = bool(action.country or action.city)
        return Scope(
            country=action.country or wishes.country,
            asked=asked,
            city=action.city or ("" if placed else wishes.city),
            server="" if placed else wishes.server,
            tag=action.tag,
            node="" if placed or action.tag else wishes.node,
            strategy=strategy,
            fallback=action.fallback or fallback,
            rule=rule.name,
        )

    # The whole way

    def select(
        self, request: Request, tried: tuple[str, ...], now: float, whose: Owner | None = None
    ) -> Selection:
        """Choose for a request.

        Args:
            request: What the client asks.
            tried: Nodes that failed for it.
            now: Monotonic seconds.
            whose: Owner of a lease that is wanted in any case.
        """
        scope = self.scope(request)
        if isinstance(scope, Rule):
            return refusal(Scope(rule=scope.name), now, f"forbidden by rule {scope.name!r}", denied=True)
        name = scope.strategy or self.strategy_of(scope.country)
        strategy = self.strategies.get(name)
        if strategy is None:
            return refusal(scope, now, f"unknown strategy {name!r}", denied=True)
        if request.countries and scope.country and scope.country not in request.countries:
            return refusal(scope, now, f"the user may not use {scope.asked or scope.country}", denied=True)
        if scope.node:
            selection = self._named(request, scope, strategy, tried, now)
            if selection is not None:
                return selection
        elif whose is not None or request.wishes.session or self.settings.affinity.key != "session":
            owner = whose or affinity.owner(request, scope.country, self.settings.affinity)
            if owner is not None:
                return self._leased(request, scope, strategy, tried, now, owner)
        return self._balanced(request, scope, strategy, tried, now)

    def _named(
        self, request: Request, scope: Scope, strategy: Strategy, tried: tuple[str, ...], now: float
    ) -> Selection | None:
        """The node that was asked for; None when it is unfit and a fallback is allowed."""
        candidate = self.pool.roster.get(scope.node)
        if candidate is not None and now >= candidate.due:
            self.pool.refresh(candidate, now)
        if candidate is None:
            why = "is not in the pool"
        elif not _fits(candidate, scope, request):
            why = f"is in {candidate.node.country}" if scope.country else "may not be used"
        elif candidate.id in tried:
            why = "was tried"
        elif candidate.standing.kind in _SERVING:
            attempt = Attempt("node", (candidate.seen(),), 1, (), candidate.id, now)
            return Selection(candidate, attempt, scope, strategy.name)
        else:
            why = f"is not usable: {candidate.standing.reason}"
        if scope.fallback == "none":
            return refusal(scope, now, f"node {scope.node} {why}")
        return None

    # Affinity

    def _leased(
        self, request: Request, scope: Scope, strategy: Strategy, tried: tuple[str, ...], now: float, owner: Owner
    ) -> Selection:
        lease = self.leases.find(owner, now)
        if lease is None:
            selection = self._balanced(request, scope, strategy, tried, now)
            selection.owner, selection.ttl = owner, request.wishes.ttl
            return selection
        candidate = self.pool.roster.get(lease.node)
        if candidate is not None and now >= candidate.due:
            self.pool.refresh(candidate, now)
        why = self._unfit(candidate, scope, request, tried)
        if candidate is not None and not why:
            attempt = Attempt("lease", (candidate.seen(),), 1, (), candidate.id, now)
            return Selection(candidate, attempt, scope, strategy.name, owner, lease, request.wishes.ttl)
        full = candidate is not None and candidate.standing.kind == "full"
        selection = self._moved(request, scope, strategy, tried, now, lease)
        selection.owner, selection.lease, selection.keep_lease = owner, lease, full
        selection.ttl = request.wishes.ttl
        selection.notes = (f"Its lease was on {lease.node}, which {why}.", *selection.notes)
        return selection

    def _unfit(
        self, candidate: Candidate | None, scope: Scope, request: Request, tried: tuple[str, ...]
    ) -> str:
        """Why a lease cannot stay where it is, or empty."""
        if candidate is None:
            return "has left the pool"
        if candidate.id in tried:
            return "failed"
        if candidate.standing.kind not in _LEASABLE:
            return f"is not usable: {candidate.standing.reason}"
        if _fits(candidate, scope, request):
            return ""
        allowed = msgspec.structs.replace(scope, country="", city="", server="")
        home = self.pool.roster.tiers((scope.country, "", ""))
        if scope.fallback != "none" and _fits(candidate, allowed, request):
            if not len(home.ready) and not len(home.unseen):
                return ""
            return "stood in for a country that is back" if candidate.node.country != scope.country else ""
        return "is not what is asked for"

    def _moved(
        self, request: Request, scope: Scope, strategy: Strategy, tried: tuple[str, ...], now: float, lease: Lease
    ) -> Selection:
        """On the node whose exit is most like the one before."""
        near = []
        if not scope.country or lease.country == scope.country:
            tiers = self.pool.roster.tiers((scope.country or lease.country, "", ""))
            group = tiers.ready if len(tiers.ready) else tiers.unseen
            near = self.picker.all(group, tried, now, lambda it: _fits(it, scope, request))
        alike, what = affinity.nearest(lease, near)
        if not near or what == "country":
            selection = self._balanced(request, scope, strategy, tried, now)
            selection.attempt.how = "moved" if selection.candidate else "none"
            return selection
        selection = self.picker.run(strategy, scope, self.picker.sample(alike, strategy, tried, now, None), len(alike), now)
        selection.attempt.how = "moved"
        selection.notes += (f"It moved to one of the same {what}.",)
        return selection

    # Geography

    def _balanced(
        self, request: Request, scope: Scope, strategy: Strategy, tried: tuple[str, ...], now: float
    ) -> Selection:
        if not scope.city and not scope.server and not scope.tag and not request.countries:
            # The usual case: a country, or any, and nothing else.
            tiers = self.pool.roster.tiers((scope.country, "", ""))
            selection = self.picker.pick(tiers, None, strategy, scope, tried, now)
            if selection is not None:
                return selection
        for key, residual in self._ladder(scope, request):
            selection = self.picker.pick(self.pool.roster.tiers(key), residual, strategy, scope, tried, now)
            if selection is not None:
                return selection
        return refusal(scope, now, self._nobody(scope, tried))

    def _ladder(self, scope: Scope, request: Request) -> Iterator[tuple[Key, Residual]]:
        """Where to look, in order, and what a node there must fulfil."""
        yield _narrowest(scope), lambda it: _fits(it, scope, request)
        if scope.fallback == "none":
            return
        wider = msgspec.structs.replace(scope, country="", city="", server="")
        places = [scope.country, *self.regions.neighbours(scope.country)] if scope.country else []
        for place in places:
            yield (place, "", ""), lambda it: _fits(it, wider, request)
        if scope.fallback == "any" or not scope.country:
            yield EVERYWHERE, lambda it: _fits(it, wider, request)

    def _nobody(self, scope: Scope, tried: tuple[str, ...]) -> str:
        where = f" in {scope.asked or scope.country}" if scope.country else ""
        if tried:
            return f"no other usable node{where}: tried {', '.join(tried)}"
        kinds: dict[str, int] = {}
        for candidate in self.pool.roster.members(scope.country) if scope.country else ():
            kind = candidate.standing.kind
            kinds[kind] = kinds.get(kind, 0) + 1
        told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(kinds.items()))
        return f"No healthy nodes available{where}" + (f": {told}" if told else "")


def _narrowest(scope: Scope) -> Key:
    for what, value in (("tag", scope.tag), ("server", scope.server), ("city", scope.city)):
        if value:
            return scope.country, what, value
    return scope.country, "", ""


def _fits(candidate: Candidate, scope: Scope, request: Request) -> bool:
    """Whether a node is where the scope says, and allowed to the user."""
    node = candidate.node
    return (
        (not scope.country or node.country == scope.country)
        and (not scope.city or node.city == scope.city)
        and (not scope.server or node.server == scope.server)
        and (not scope.tag or scope.tag in node.tags)
        and (not request.countries or node.country in request.countries)
    )
