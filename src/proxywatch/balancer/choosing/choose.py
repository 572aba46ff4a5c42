"""Choosing: a request in, a selection out, by rules, affinity, geography and strategy in that order.

An explicit wish beats balancing, a rule beats the wish. Nothing is changed here: what a selection implies (a
lease, a counter, a connection in flight) is for the caller to carry out, so that asking is free of effects.
"""

from collections import Counter
from collections.abc import Iterator

import msgspec

from proxywatch.balancer.choosing import affinity
from proxywatch.balancer.choosing.affinity import Lease, Leases, Owner
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.geography import Regions
from proxywatch.balancer.choosing.pick import Picker, Residual
from proxywatch.balancer.choosing.pool import Pool
from proxywatch.balancer.choosing.roster import EVERYWHERE, Key
from proxywatch.balancer.choosing.rule import Rule, Rules
from proxywatch.balancer.choosing.selection import Ask, Scope, Selection, refusal, single
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.choosing.state import Kind
from proxywatch.balancer.choosing.strategy.interface import Dice
from proxywatch.balancer.choosing.strategy.table import Strategies
from proxywatch.balancer.request import Request

_LEASABLE: frozenset[Kind] = frozenset({"ready", "unseen", "draining"})
_SERVING: frozenset[Kind] = frozenset({"ready", "unseen"})
_COUNTED = 200  # a refusal counts the nodes of a country of this size, not of a larger one


class Chooser:
    """Chooses from a pool."""

    def __init__(
        self, pool: Pool, leases: Leases, settings: Choosing, strategies: Strategies, dice: Dice
    ) -> None:
        self.pool = pool
        self.leases = leases
        self._rules, self._ruled = Rules(), False
        self.strategies = strategies
        self.picker = Picker(pool, dice)
        self.country_strategies: dict[str, str] = {}
        self.configure(settings)

    def configure(self, settings: Choosing) -> None:
        """Apply settings."""
        self.settings = settings
        self.regions = Regions(settings.geography.regions)
        self.leases.settings = settings.affinity
        self.picker.configure(settings.balancing)
        self._usual = settings.balancing.strategy

    def strategy_of(self, country: str) -> str:
        """The name of a country's strategy."""
        return self.country_strategies.get(country) or self._usual

    # Rules

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules, self._ruled = rules, bool(rules)

    def scope(self, request: Request) -> Scope | Rule:
        """What the request may get: its wishes, unless a rule says otherwise; the rule if it denies."""
        wishes = request.wishes
        fallback = wishes.fallback or self.settings.geography.fallback
        asked = wishes.asked or wishes.country
        rule = self._rules.first(request) if self._ruled else None
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
        name = scope.strategy or self.country_strategies.get(scope.country) or self._usual
        strategy = self.strategies.get(name)
        if strategy is None:
            return refusal(scope, now, f"unknown strategy {name!r}", denied=True)
        if request.countries and scope.country and scope.country not in request.countries:
            return refusal(scope, now, f"the user may not use {scope.asked or scope.country}", denied=True)
        ask = Ask(scope, strategy, tried, now)
        if scope.node:
            selection = self._named(request, ask)
            if selection is not None:
                return selection
        elif whose is not None or request.wishes.session or self.settings.affinity.key != "session":
            owner = whose or affinity.owner(request, scope.country, self.settings.affinity)
            if owner is not None:
                return self._leased(request, ask, owner)
        return self._balanced(request, ask)

    def _named(self, request: Request, ask: Ask) -> Selection | None:
        """The node that was asked for; None when it is unfit and a fallback is allowed."""
        scope = ask.scope
        candidate = self._looked_up(scope.node, ask.now)
        why = _misfit(candidate, ask, request)
        if candidate is not None and not why:
            if candidate.standing.kind in _SERVING:
                return single("node", candidate, ask)
            why = f"is not usable: {candidate.standing.reason}"
        if scope.fallback == "none":
            return refusal(scope, ask.now, f"node {scope.node} {why}")
        return None

    def _looked_up(self, node: str, now: float) -> Candidate | None:
        candidate = self.pool.roster.get(node)
        if candidate is not None and now >= candidate.due:
            self.pool.refresh(candidate, now)
        return candidate

    # Affinity

    def _leased(self, request: Request, ask: Ask, owner: Owner) -> Selection:
        lease = self.leases.find(owner, ask.now)
        if lease is None:
            selection = self._balanced(request, ask)
        else:
            candidate = self._looked_up(lease.node, ask.now)
            why = self._unfit(candidate, request, ask)
            if candidate is not None and not why:
                selection = single("lease", candidate, ask)
            else:
                selection = self._moved(request, ask, lease)
                selection.keep_lease = candidate is not None and candidate.standing.kind == "full"
                selection.notes = (f"Its lease was on {lease.node}, which {why}.", *selection.notes)
        selection.owner, selection.lease, selection.ttl = owner, lease, request.wishes.ttl
        return selection

    def _unfit(self, candidate: Candidate | None, request: Request, ask: Ask) -> str:
        """Why a lease cannot stay where it is, or empty."""
        scope = ask.scope
        why = _misfit(candidate, ask, request)
        if candidate is None:
            return why
        if candidate.standing.kind not in _LEASABLE:
            return f"is not usable: {candidate.standing.reason}"
        if why and candidate.id not in ask.tried and scope.fallback != "none":
            home = self.pool.roster.tiers(_narrowest(scope))
            if home.ready.candidates or home.unseen.candidates:
                return "stood in for one that is back"
            return "" if fits(candidate, _wider(scope), request) else why
        return why

    def _moved(self, request: Request, ask: Ask, lease: Lease) -> Selection:
        """On the node whose exit is most like the one before."""
        scope, near = ask.scope, []
        if not scope.country or lease.country == scope.country:
            tiers = self.pool.roster.tiers((scope.country or lease.country, "", ""))
            group = tiers.ready if tiers.ready.candidates else tiers.unseen
            near = self.picker.all(group.candidates, lambda it: fits(it, scope, request), ask)
        alike, what = affinity.nearest(lease, near)
        if not alike or what == "country":
            selection = self._balanced(request, ask)
        else:
            selection = self.picker.run(self.picker.sample(alike, None, ask), len(alike), ask)
            selection.notes += (f"It moved to one of the same {what}.",)
        if selection.attempt.how == "strategy":
            selection.attempt.how = "moved"
        return selection

    # Geography

    def _balanced(self, request: Request, ask: Ask) -> Selection:
        scope = ask.scope
        if not (scope.city or scope.server or scope.tag or request.countries):
            # The usual case: a country, or any, and nothing else.
            tiers = self.pool.roster.tiers((scope.country, "", ""))
            selection = self.picker.pick(tiers, None, ask)
            if selection is not None:
                return selection
        for key, residual in self._ladder(scope, request):
            selection = self.picker.pick(self.pool.roster.tiers(key), residual, ask)
            if selection is not None:
                return selection
        return refusal(scope, ask.now, self._nobody(scope, ask.tried))

    def _ladder(self, scope: Scope, request: Request) -> Iterator[tuple[Key, Residual]]:
        """Where to look, in order, and what a node there must fulfil."""
        yield _narrowest(scope), lambda it: fits(it, scope, request)
        if scope.fallback == "none":
            return
        wider = _wider(scope)
        places = [scope.country, *self.regions.neighbours(scope.country)] if scope.country else []
        for place in places:
            yield (place, "", ""), lambda it: fits(it, wider, request)
        if scope.fallback == "any" or not scope.country:
            yield EVERYWHERE, lambda it: fits(it, wider, request)

    def _nobody(self, scope: Scope, tried: tuple[str, ...]) -> str:
        where = f" in {scope.asked or scope.country}" if scope.country else ""
        if tried:
            return f"no other usable node{where}: tried {', '.join(tried)}"
        small = scope.country and self.pool.roster.size(scope.country) <= _COUNTED
        kinds = Counter(it.standing.kind for it in (self.pool.roster.members(scope.country) if small else ()))
        told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(kinds.items()))
        return f"No healthy nodes available{where}" + (f": {told}" if told else "")


def _wider(scope: Scope) -> Scope:
    """Anywhere; what a rule restricts by tag stays restricted."""
    return msgspec.structs.replace(scope, country="", city="", server="", node="")


def _misfit(candidate: Candidate | None, ask: Ask, request: Request) -> str:
    """Why a node is not what is asked for, however it stands; or empty."""
    if candidate is None:
        return "is not in the pool"
    if candidate.id in ask.tried:
        return "failed"
    if fits(candidate, ask.scope, request):
        return ""
    return f"is in {candidate.node.country}" if ask.scope.country else "may not be used"


def _narrowest(scope: Scope) -> Key:
    for what, value in (("tag", scope.tag), ("server", scope.server), ("city", scope.city)):
        if value:
            return scope.country, what, value
    return scope.country, "", ""


def fits(candidate: Candidate, scope: Scope, request: Request) -> bool:
    """Whether a node is where the scope says, and allowed to the user."""
    node = candidate.node
    return (
        (not scope.country or node.country == scope.country)
        and (not scope.city or node.city == scope.city)
        and (not scope.server or node.server == scope.server)
        and (not scope.tag or scope.tag in node.tags)
        and (not request.countries or node.country in request.countries)
    )
