"""Nodes whose pod or container is under pressure: CPU above 80 % for five minutes, or memory above 500 MB. Pure."""

from typing import Literal, NamedTuple

Kind = Literal["cpu", "memory"]
CPU_PERCENT = 80.0
CPU_SECONDS = 300.0
MEMORY_MB = 500.0


class Change(NamedTuple):
    """A pressure that began or ended.

    Attributes:
        kind: Of what.
        began: Whether it began.
        reason: In a sentence.
    """

    kind: Kind
    began: bool
    reason: str


class Pressure:
    """Follows nodes.

    Attributes:
        now: By node, what is under pressure.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.now: dict[str, frozenset[Kind]] = {}
        self._since: dict[str, float] = {}

    def look(self, node: str, cpu: float | None, memory: float | None, now: float) -> list[Change]:
        """Take a node's figures, fresh ones only; what has changed.

        Args:
            node: Its id.
            cpu: Percent of a core; None when unknown, which ends it.
            memory: In MB; the same.
            now: Monotonic seconds.
        """
        busy = cpu is not None and cpu > CPU_PERCENT
        if not busy:
            self._since.pop(node, None)
        since = self._since.setdefault(node, now) if busy else now
        found: dict[Kind, str] = {}
        if busy and now - since >= CPU_SECONDS:
            found["cpu"] = f"CPU {cpu:.0f} %, above {CPU_PERCENT:.0f} % for {(now - since) / 60:.0f} minutes"
        if memory is not None and memory > MEMORY_MB:
            found["memory"] = f"memory {memory:.0f} MB, above {MEMORY_MB:.0f} MB"
        before = self.now.get(node, frozenset())
        self.now[node] = frozenset(found)
        begun = [Change(kind, began=True, reason=why) for kind, why in found.items() if kind not in before]
        over = [
            Change(kind, began=False, reason=f"{kind} is in order again")
            for kind in before
            if kind not in found
        ]
        return begun + over

    def forget(self, nodes: frozenset[str]) -> None:
        """Forget all but these."""
        for name in self.now.keys() - nodes:
            del self.now[name]
            self._since.pop(name, None)
