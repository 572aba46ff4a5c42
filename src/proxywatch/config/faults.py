"""Collects what is wrong with settings: every fault, but a bounded number of bounded texts."""

from collections.abc import Collection

from proxywatch.config.place import Place, shorten
from proxywatch.errors import ConfigError, Fault

_MOST = 50
_LONGEST = 600
_MOST_NAMED = 20


class Faults:
    """The faults found so far.

    Attributes:
        count: How many, those beyond the ones that are kept included.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[Fault] = []

    def add(self, place: Place, message: str) -> None:
        """Note one."""
        self.count += 1
        if len(self._kept) < _MOST:
            self._kept.append(Fault(str(place), message[:_LONGEST]))

    def add_unknown(self, place: Place, what: str, word: str, known: Collection[str]) -> None:
        """Note a word that is none of those known, and say which one may have been meant."""
        full = len(self._kept) >= _MOST  # the comparison is the costly part
        self.add(place, "" if full else f"unknown {what}{_suggestion(word, known)}")

    def raise_any(self) -> None:
        """Raise all of them.

        Raises:
            ConfigError: There is at least one.
        """
        if not self.count:
            return
        more = self.count - len(self._kept)
        kept = [*self._kept, Fault("settings", f"{more} more faults")] if more else self._kept
        raise ConfigError(*kept)


def _suggestion(word: str, known: Collection[str]) -> str:
    import difflib  # noqa: PLC0415 - most settings have no fault

    close = difflib.get_close_matches(shorten(word), known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    named = sorted(known) if len(known) > _MOST_NAMED else list(known)
    more = ", …" if len(named) > _MOST_NAMED else ""
    return f"; known are {', '.join(named[:_MOST_NAMED])}{more}"
