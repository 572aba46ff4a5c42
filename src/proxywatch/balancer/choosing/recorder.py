"""Records decisions: a first attempt begins one, a retry goes on with it, its end hands it out."""

from collections import OrderedDict
from collections.abc import Callable

from proxywatch.balancer.choosing.decision import Decision, Ring
from proxywatch.balancer.choosing.selection import Selection
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.request import Request

_MOST_RETRYING = 1000
_RETRY_WITHIN = 30.0


class Recorder:
    """Keeps the newest decisions."""

    def __init__(self, settings: Choosing, name: str, finished: Callable[[Decision], None] | None) -> None:
        self.decisions = Ring(settings.decisions)
        self.number = 0
        self._name = name
        self._finished = finished
        self._retrying: OrderedDict[int, tuple[Request, Decision, float]] = OrderedDict()
        self.configure(settings)

    def configure(self, settings: Choosing) -> None:
        """Apply settings; how many decisions are kept does not change."""
        self._bias = settings.balancing.bias
        self._destinations = settings.destinations

    def record(self, request: Request, selection: Selection, tried: tuple[str, ...]) -> Decision:
        """The decision that a selection belongs to."""
        if tried and (failed := self._retrying.pop(id(request), None)):
            decision = failed[1]
            decision.attempts.append(selection.attempt)
            decision.rule = selection.scope.rule
            decision.strategy = selection.strategy or decision.strategy
        else:
            decision = self._begin(request, selection)
        if selection.notes:
            decision.notes += selection.notes
        if selection.candidate is not None:
            country = selection.scope.country
            decision.route = route = selection.candidate.node.country
            decision.substituted = route != country != ""
            decision.unverified = not selection.candidate.standing.verified
        return decision

    def _begin(self, request: Request, selection: Selection) -> Decision:
        self.number += 1
        scope = selection.scope
        decision = Decision(
            self._name + str(self.number), request.time, scope.country, scope.asked,
            request.wishes.session != "", scope.rule, selection.strategy, self._bias, [selection.attempt],
        )  # fmt: skip
        if self._destinations and request.destination is not None:
            decision.destination = str(request.destination)
        self.decisions.add(decision)
        return decision

    def failed(self, request: Request, decision: Decision, now: float) -> None:
        """An attempt failed; the request may come back for another node."""
        self._retrying[id(request)] = request, decision, now
        if len(self._retrying) > _MOST_RETRYING:
            self.finish(self._retrying.popitem(last=False)[1][1])

    def finish(self, decision: Decision) -> None:
        """Nothing more becomes of it."""
        self.decisions.trim()
        if self._finished is not None:
            self._finished(decision)

    def tick(self, now: float) -> None:
        """Finish those that nobody came back for."""
        while self._retrying:
            _, decision, since = next(iter(self._retrying.values()))
            if now - since < _RETRY_WITHIN:
                break
            self._retrying.popitem(last=False)
            self.finish(decision)
