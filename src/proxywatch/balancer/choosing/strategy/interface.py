"""What a strategy is.

A strategy is handed candidates in the order of their ids and answers with one of them. It is pure: time and
dice come with the turn, and it keeps nothing between picks. Up to FEW candidates it sees all of them. Above
that, `sample` says how many are drawn for it at random: two for a strategy that compares (power of two
choices: nearly as even as comparing all, at a cost that does not grow with the pool), more for one that draws
    in proportion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from proxywatch.balancer.choosing.candidate import Candidate

FEW = 16


class Dice(Protocol):
    """A source of randomness; random.Random is one."""

    def random(self) -> float:
        """A number from 0 up to 1."""


@dataclass(slots=True)
class Turn:
    """The circumstances of one pick.

    Args:
        now: Monotonic seconds.
        dice: Randomness.
        bias: How strongly connections in flight count against a node; 0 for not at all.
        last: Id of the node that this strategy last chose for the country; empty at first.
        round: How often round robin has begun anew there.
        heaviest: The greatest weight among all candidates, where the strategy sees all of them.
    """

    now: float
    dice: Dice
    bias: float = 1.0
    last: str = ""
    round: int = 0
    heaviest: float = 1.0


class Strategy(Protocol):
    """One way to choose.

    Attributes:
        name: As settings and wishes spell it.
        description: One sentence for people.
        sample: How many candidates it wants of a pool of more than FEW; 0 for all of them, which only a
            strategy that does not look at each can afford.
        ranks: Whether it prefers a node whoever asks; then best-node damps changes of that preference.
        draws: Whether it uses the dice, so that decisions record what was drawn.
    """

    name: str
    description: str
    sample: int
    ranks: bool
    draws: bool

    def assign(self, candidates: Sequence[Candidate], turn: Turn, /) -> Candidate:
        """The candidate that serves; `candidates` is never empty."""
