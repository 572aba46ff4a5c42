"""How much one client may ask: queries a second, and queries in flight. Times are handed in."""

from collections import Counter, OrderedDict
from typing import Literal

Verdict = Literal["answer", "truncate", "drop"]
_REMEMBERED = 10_000


class Rate:
    """A bucket of tokens per client, filled at a steady rate up to one second's worth.

    A client over its rate gets every other reply truncated, and else none. A real one then asks by TCP; one
    whose address was forged receives less than was sent in its name.
    """

    def __init__(self, per_second: float) -> None:
        """Set the rate; 0 sets none."""
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._over = 0

    def admit(self, client: str, now: float) -> Verdict:
        """Count a query and judge it."""
        if not self._per_second:
            return "answer"
        tokens, before = self._buckets.get(client, (self._per_second, now))
        tokens = min(self._per_second, tokens + (now - before) * self._per_second)
        self._buckets[client] = (max(0.0, tokens - 1), now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        if tokens >= 1:
            return "answer"
        self._over += 1
        return "truncate" if self._over % 2 else "drop"


class InFlight:
    """Queries that wait for an upstream, bounded for each client and in all."""

    def __init__(self, per_client: int, total: int) -> None:
        self._per_client = per_client
        self._most = total
        self._clients: Counter[str] = Counter()
        self.total = 0

    def enter(self, client: str, *, local: bool = False) -> bool:
        """Whether there is room for another; if so, it is counted until `leave`.

        This machine's programs share one address, so only the bound of all is theirs.
        """
        if self.total >= self._most or (not local and self._clients[client] >= self._per_client):
            return False
        self._clients[client] += 1
        self.total += 1
        return True

    def leave(self, client: str) -> None:
        """One is done."""
        self.total -= 1
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]
