"""One pick: the usable candidates of a place, or a sample of them, shown to a strategy.

Nothing here looks at every node of a large pool, unless a request asks for more than a place.
"""

from collections.abc import Callable, Sequence

from proxywatch.balancer.choosing.candidate import Candidate, Seen
from proxywatch.balancer.choosing.decision import Attempt
from proxywatch.balancer.choosing.pool import Pool
from proxywatch.balancer.choosing.roster import Tiers
from proxywatch.balancer.choosing.selection import Ask, Selection, single
from proxywatch.balancer.choosing.settings import Balancing
from proxywatch.balancer.choosing.strategy.interface import FEW, Dice, Strategy, Turn
from proxywatch.balancer.choosing.strategy.table import OWN

Residual = Callable[[Candidate], bool] | None
Cursors = dict[tuple[str, str], tuple[str, int]]
_TRIES = 8


class Picker:
    """Picks from tiers of candidates."""

    def __init__(self, pool: Pool, dice: Dice) -> None:
        self.pool = pool
        self.cursors: Cursors = {}
        self._random = dice.random
        self._balancing = pool.settings.balancing
        self._tape = Tape(dice)
        self._turn = Turn(0.0, self._tape)

    def configure(self, balancing: Balancing) -> None:
        """Apply settings."""
        self._balancing = balancing

    def pick(self, tiers: Tiers, residual: Residual, ask: Ask) -> Selection | None:
        """Choose among the usable candidates of a place.

        One on trial goes first, where nothing else would show that it works again; then those that are ready,
        those whose exit was never seen, and those on trial.
        """
        ready = tiers.ready
        if tiers.trial.candidates and ready.candidates and not ask.tried:
            for candidate in self.all(tiers.trial.candidates, residual, ask):
                if self._may_risk(candidate, ask.now):
                    return single("trial", candidate, ask, len(tiers))
        for group in (ready, tiers.unseen, tiers.trial):
            if not group.candidates:
                continue
            if not self._balancing.enabled:
                usable = self.all(group.candidates, residual, ask)
                if usable:
                    return single("first", min(usable, key=lambda it: it.state.position), ask, len(usable))
                continue
            count = len(group.candidates)
            found = self.sample(group.candidates, residual, ask)
            if found:
                count = count if count > FEW else len(found)
                found = _answering(found, ask.now)
                return self.run(found, count, ask, group.heaviest if ask.strategy.sample == 0 else 1.0)
        return None

    def _may_risk(self, candidate: Candidate, now: float) -> bool:
        """Whether a client's request may find out if a node works again.

        Where no check does, and another node can be tried for the request; without retries only when the node
        has been out for long.
        """
        health = candidate.state.health
        if health.probed(now):
            return False
        return self._balancing.retries > 0 or now - health.since >= self.pool.settings.ejection.max

    def all(self, candidates: list[Candidate], residual: Residual, ask: Ask) -> list[Candidate]:
        """Every one that may serve."""
        tried, now = ask.tried, ask.now
        return [
            it
            for it in list(candidates)
            if it.id not in tried
            and (now < it.due or self._still(it, now))
            and (residual is None or residual(it))
        ]

    def _still(self, candidate: Candidate, now: float) -> bool:
        """Whether a candidate that is due to be looked at again stands as it did."""
        before = candidate.standing.kind
        self.pool.refresh(candidate, now)
        return candidate.standing.kind == before

    def sample(self, candidates: list[Candidate], residual: Residual, ask: Ask) -> Sequence[Candidate]:
        """What the strategy is shown: all of a few, of many a random sample, or all if it asks for that."""
        many, wanted, tried = len(candidates), ask.strategy.sample, ask.tried
        if many <= FEW:
            return self.all(candidates, residual, ask)
        if not wanted:
            return candidates if residual is None and not tried else self.all(candidates, residual, ask)
        if residual is not None:
            kept = self.all(candidates, residual, ask)
            return self._draw(kept, wanted, ask) if len(kept) > FEW else kept
        if wanted == 2 and not tried:  # noqa: PLR2004 - the usual case
            dice, now = self._random, ask.now
            at = int(dice() * many)
            one = candidates[at]
            other = candidates[(at + 1 + int(dice() * (many - 1))) % many]
            if now < self.pool.next_due() or (now < one.due and now < other.due):
                return one, other
        return self._draw(candidates, wanted, ask) or self.all(candidates, None, ask)[:FEW]

    def _draw(self, candidates: list[Candidate], wanted: int, ask: Ask) -> list[Candidate]:
        """Distinct ones at random; fewer when some turn out to be unusable."""
        tried, now = ask.tried, ask.now
        found: list[Candidate] = []
        dice = self._random
        for _ in range(wanted + _TRIES):
            candidate = candidates[int(dice() * len(candidates))]
            if candidate in found or candidate.id in tried:
                continue
            if now >= candidate.due and not self._still(candidate, now):
                if not candidates:
                    break
                continue
            found.append(candidate)
            if len(found) == wanted:
                break
        return found

    def run(self, found: Sequence[Candidate], usable: int, ask: Ask, heaviest: float = 1.0) -> Selection:
        """Let the strategy choose among the found ones, of so many usable."""
        scope, strategy, now = ask.scope, ask.strategy, ask.now
        if strategy.sample == 0 and len(found) <= FEW:
            heaviest = max(it.weight for it in found)
        turn, name = self._turn, strategy.name
        turn.now, turn.bias, turn.heaviest, turn.last, turn.round = now, self._balancing.bias, heaviest, "", 0
        if not (strategy.ranks or strategy.draws):
            turn.last, turn.round = self.cursors.get((scope.country, name), ("", 0))
        notes: tuple[str, ...] = ()
        if strategy.draws:
            self._tape.drawn.clear()
        if name in OWN:
            candidate = strategy.assign(found, turn)
            if len(found) > FEW and now >= candidate.due:
                candidate = self._standing_one(strategy, found, turn, candidate)
        else:
            candidate, notes = _foreign(strategy, found, turn)
        draw = tuple(self._tape.drawn) if strategy.draws else ()
        shown = found if len(found) <= FEW else (candidate,)
        if len(shown) == 2:  # noqa: PLR2004 - the usual case
            one, other = shown
            considered: tuple[Seen, ...] = one.seen, other.seen
            loads: tuple[int, ...] = one.in_flight, other.in_flight
        else:
            considered, loads = tuple([it.seen for it in shown]), tuple([it.in_flight for it in shown])
        attempt = Attempt(
            "strategy", considered, loads, usable, draw, candidate.id, now, turn.last, turn.round
        )
        return Selection(candidate, attempt, scope, name, notes=notes)

    def _standing_one(
        self, strategy: Strategy, found: Sequence[Candidate], turn: Turn, candidate: Candidate
    ) -> Candidate:
        """Of a strategy that sees everyone: the first one from here on that still stands as it did."""
        for _ in range(_TRIES):
            if turn.now < candidate.due or self._still(candidate, turn.now) or not found:
                break
            turn.last = candidate.id
            candidate = strategy.assign(found, turn)
        return candidate


class Tape:
    """Dice that remember what they showed."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.drawn: list[float] = []

    def random(self) -> float:
        """A number from 0 up to 1."""
        number = self._dice.random()
        self.drawn.append(number)
        return number


def _answering(found: Sequence[Candidate], now: float) -> Sequence[Candidate]:
    """Without those that hang, as long as others are there."""
    for candidate in found:
        if candidate.waiting:
            break
    else:
        return found
    if len(found) > FEW:
        return found
    return [it for it in found if not (it.waiting and it.hangs(now))] or found


def _foreign(strategy: Strategy, found: Sequence[Candidate], turn: Turn) -> tuple[Candidate, tuple[str, ...]]:
    """Ask a strategy of a third party; health_score chooses where that fails."""
    try:
        candidate = strategy.assign(tuple(found), turn)
        if any(candidate is known for known in found):
            return candidate, ()
        wrong = "answered with none of the candidates"
    except Exception as error:  # noqa: BLE001 - not ours, and may raise anything
        wrong = f"raised {type(error).__name__}"
    return OWN["health_score"].assign(found, turn), (
        f"Strategy {strategy.name} {wrong}; health_score chose.",
    )
