"""One pick: the usable candidates of a place, or a sample of them, shown to a strategy.

Nothing here looks at every node of a large pool, unless a request asks for more than a place.
"""

from collections.abc import Callable, Sequence

from proxywatch.balancer.candidate import Candidate
from proxywatch.balancer.decision import Attempt
from proxywatch.balancer.pool import Pool
from proxywatch.balancer.roster import Group, Tiers
from proxywatch.balancer.selection import Scope, Selection, single
from proxywatch.balancer.settings import Choosing
from proxywatch.balancer.strategy.interface import FEW, Dice, Strategy, Turn
from proxywatch.balancer.strategy.table import OWN

Residual = Callable[[Candidate], bool] | None
Cursors = dict[tuple[str, str], tuple[str, int]]
_TRIES = 8


class Picker:
    """Picks from tiers of candidates."""

    def __init__(self, pool: Pool, dice: Dice) -> None:
        self.pool = pool
        self.cursors: Cursors = {}
        self._dice = dice
        self._tape = Tape(dice)
        self._turn = Turn(0.0, self._tape)

    @property
    def settings(self) -> Choosing:
        """All of choosing."""
        return self.pool.settings

    def pick(
        self, tiers: Tiers, residual: Residual, strategy: Strategy, scope: Scope, tried: tuple[str, ...], now: float
    ) -> Selection | None:
        """Choose among the usable candidates of a place: on trial if that is safe, ready, unseen, on trial."""
        if len(tiers.trial) and not tried and self.settings.balancing.retries and len(tiers.ready):
            for candidate in self.all(tiers.trial, tried, now, residual):
                if not candidate.state.health.probed(now):
                    return single("trial", candidate, scope, strategy.name, len(tiers), now)
        for group in (tiers.ready, tiers.unseen, tiers.trial):
            if not len(group):
                continue
            if not self.settings.balancing.enabled:
                usable = self.all(group, tried, now, residual)
                if usable:
                    first = min(usable, key=lambda it: it.state.position)
                    return single("first", first, scope, strategy.name, len(usable), now)
                continue
            count = len(group)
            found = self.sample(group.candidates, strategy, tried, now, residual)
            if found:
                heaviest = group.heaviest if strategy.sample == 0 else 1.0
                return self.run(strategy, scope, found, count, now, heaviest)
        return None

    def all(self, group: Group, tried: tuple[str, ...], now: float, residual: Residual) -> list[Candidate]:
        """Every candidate of a group that may serve."""
        return [
            it for it in list(group.candidates)
            if it.id not in tried and (now < it.due or self._still(it, now)) and (residual is None or residual(it))
        ]  # fmt: skip

    def _still(self, candidate: Candidate, now: float) -> bool:
        """Whether a candidate that is due to be looked at again stands as it did."""
        before = candidate.standing.kind
        self.pool.refresh(candidate, now)
        return candidate.standing.kind == before

    def sample(
        self, candidates: list[Candidate], strategy: Strategy, tried: tuple[str, ...], now: float, residual: Residual
    ) -> Sequence[Candidate]:
        """Those that the strategy is shown: all of a few, else a random sample, or all in order if it asks so."""
        many = len(candidates)
        if many > FEW and strategy.sample and residual is None:
            found = self._draw(candidates, strategy.sample, tried, now)
            if found:
                return found
        kept = [
            it for it in list(candidates)
            if it.id not in tried and (now < it.due or self._still(it, now)) and (residual is None or residual(it))
        ] if residual or many <= FEW or tried or strategy.sample else candidates  # fmt: skip
        if len(kept) > FEW and strategy.sample:
            return self._draw(kept, strategy.sample, tried, now) or kept[:FEW]
        return kept

    def _draw(
        self, candidates: list[Candidate], wanted: int, tried: tuple[str, ...], now: float
    ) -> list[Candidate]:
        """Distinct ones at random; fewer when some turn out to be unusable."""
        found: list[Candidate] = []
        dice = self._dice.random
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

    def run(
        self, strategy: Strategy, scope: Scope, found: Sequence[Candidate], usable: int, now: float,
        heaviest: float = 1.0,
    ) -> Selection:  # fmt: skip
        """Let the strategy choose among the found ones, of so many usable."""
        turn = self._turn
        turn.now, turn.bias, turn.heaviest = now, self.settings.balancing.bias, heaviest
        turn.last, turn.round = self.cursors.get((scope.country, strategy.name), ("", 0))
        self._tape.drawn.clear()
        notes: tuple[str, ...] = ()
        name = strategy.name
        if name in OWN:
            candidate = strategy.assign(found, turn)
            if len(found) > FEW and now >= candidate.due:
                candidate = self._standing_one(strategy, found, turn, candidate)
        else:
            candidate, notes = _foreign(strategy, found, turn)
        draw = tuple(self._tape.drawn) if strategy.draws else ()
        shown = found if len(found) <= FEW else (candidate,)
        attempt = Attempt(
            "strategy", tuple([it.seen() for it in shown]), usable, draw, candidate.id, now, turn.last, turn.round
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


def _foreign(strategy: Strategy, found: Sequence[Candidate], turn: Turn) -> tuple[Candidate, tuple[str, ...]]:
    """Ask a strategy of a third party; health_score chooses where that fails."""
    try:
        candidate = strategy.assign(tuple(found), turn)
        if any(candidate is known for known in found):
            return candidate, ()
        wrong = "answered with none of the candidates"
    except Exception as error:  # noqa: BLE001 - not ours, and may raise anything
        wrong = f"raised {type(error).__name__}"
    return OWN["health_score"].assign(found, turn), (f"Strategy {strategy.name} {wrong}; health_score chose.",)
