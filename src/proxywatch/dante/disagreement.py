"""Whether several counts of the same thing go apart, and stay so.

They are not taken at the same instant, and one may lag while much happens at once, so a small difference is
none, and a large one counts only when every comparison over a while shows it.
"""

from collections.abc import Mapping

_FEW = 2


class Disagreement:
    """Compares counts with the first of them that is known."""

    def __init__(self, tolerances: Mapping[str, float], patience: float) -> None:
        """Start in agreement.

        Args:
            tolerances: By source, the most trusted first, what part of the larger count it may be off.
            patience: Seconds for which it may be off by more.
        """
        self._tolerances = dict(tolerances)
        self._patience = patience
        self._since: dict[str, float] = {}
        self.verdicts: dict[str, bool] = {}

    def observe(self, now: float, counts: Mapping[str, int | None]) -> None:
        """Compare.

        Args:
            now: Monotonic seconds.
            counts: By source; None where it is not known.

        `verdicts` then holds, for every known source but the one compared with, whether it has been off for
        longer than the patience.
        """
        known = {name: count for name in self._tolerances if (count := counts.get(name)) is not None}
        reference, *others = known or [""]
        self._since = {
            name: self._since.get(name, now)
            for name in others
            if self._differ(name, known[name], known[reference])
        }
        self.verdicts = {name: now - self._since.get(name, now) > self._patience for name in others}

    def _differ(self, name: str, count: int, reference: int) -> bool:
        return abs(count - reference) > max(_FEW, self._tolerances[name] * max(count, reference))
