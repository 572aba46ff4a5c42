"""What the titles of all of Dante's children say together."""

from collections import Counter
from dataclasses import dataclass, field

from proxywatch.dante.title import CHILDREN, Title

UNKNOWN = "unknown"
KINDS = (*CHILDREN, UNKNOWN)
SLOTTED = ("negotiate", "request", "io")


@dataclass(slots=True)
class Tally:
    """One reading.

    Attributes:
        processes: The server's children by kind; `unknown`, whose title is cut before it.
        used: Slots in use by kind, orphans' included.
        free: Slots to be had by kind.
        orphans: Children without a mother.
    """

    processes: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    free: Counter[str] = field(default_factory=Counter)
    orphans: int = 0
    _cut: set[str] = field(default_factory=set)

    def child(self, title: Title | None) -> None:
        """Count a child of the server."""
        kind = title.child if title else UNKNOWN
        self.processes[kind] += 1
        if title is None or title.used is None or title.slots is None:
            self._cut.add(kind)
        else:
            self.used[kind] += title.used
            self.free[kind] += title.slots - title.used

    def orphan(self, title: Title) -> None:
        """Count one that its mother left: what it drains is served, what it has free is lost."""
        self.orphans += 1
        if title.used is None:
            self._cut.add(title.child)
        else:
            self.used[title.child] += title.used

    def slots(self, *kinds: str) -> int | None:
        """Used slots of these kinds; None when a title that matters is cut."""
        if self._cut & {*kinds, UNKNOWN}:
            return None
        return sum(self.used[kind] for kind in kinds)
