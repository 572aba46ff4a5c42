"""Which resolvers to ask, in which order. Pure: times are handed in."""

from collections.abc import Sequence
from dataclasses import dataclass

_FAILURES = 3
_BASE, _MOST = 1.0, 60.0


@dataclass(slots=True)
class _Record:
    failures: int = 0
    pauses: int = 0
    paused_until: float = 0.0
    trying: bool = False
    answers: int = 0
    failed: int = 0


class Health:
    """Counts failures in a row, and pauses a resolver after three, for a time that doubles up to a minute.

    At the end of a pause the next query tries it, and one answer makes it good again. When all are paused,
    they are all asked: a guess is better than no answer.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """All are good at first; their order is the order of preference."""
        self._records = {name: _Record() for name in names}

    def order(self, now: float) -> list[str]:
        """Whom to ask, first to last: the good ones, then the paused ones, that end soonest first."""
        good = [name for name, record in self._records.items() if record.paused_until <= now]
        paused = [name for name, record in self._records.items() if record.paused_until > now]
        return good + sorted(paused, key=lambda name: self._records[name].paused_until)

    def began(self, name: str, now: float) -> None:
        """A query is about to be sent; only one of them tries a resolver whose pause has just ended."""
        record = self._records[name]
        if record.pauses and record.paused_until <= now:
            record.paused_until = now + _pause(record.pauses)
            record.trying = True

    def answered(self, name: str) -> None:
        """It is good."""
        record = self._records[name]
        record.failures = record.pauses = 0
        record.paused_until = 0.0
        record.trying = False
        record.answers += 1

    def failed(self, name: str, now: float) -> None:
        """Once more; the third in a row pauses it, and then every one that ends a try after a pause."""
        record = self._records[name]
        record.failures += 1
        record.failed += 1
        tried = not record.pauses or record.trying
        if record.failures >= _FAILURES and tried:
            record.trying = False
            record.pauses += 1
            record.paused_until = now + _pause(record.pauses)

    def up(self, name: str, now: float) -> bool:
        """Whether it is not paused."""
        return self._records[name].paused_until <= now

    def counts(self, name: str) -> tuple[int, int]:
        """Answers and failures so far."""
        return self._records[name].answers, self._records[name].failed


def _pause(pauses: int) -> float:
    return min(_BASE * 2.0 ** min(pauses - 1, 16), _MOST)
