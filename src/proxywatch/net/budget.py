"""The bytes that the clients of one server hold, counted against a limit.

Every client is charged with what it holds: its objects in Python and in OpenSSL, the bytes of a request that
is not complete, the response that it does not read. A charge may be too high, never too low: what has been
sent may have been read meanwhile, and `remeasure` finds out when it matters. Beyond the limit the clients
that cost most are dropped, of equal ones the one that has cost so much for longest.
"""

from typing import Protocol


class Holder(Protocol):
    """A client with a charge."""

    def remeasure(self) -> int:
        """Return the bytes that it holds, exactly."""

    def drop(self) -> None:
        """Close, and call `release`."""


class Budget:
    """Charges by client; the costliest is found without a look at the others.

    Attributes:
        limit: Bytes.
        held: Bytes that are charged now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._charges: dict[Holder, int] = {}
        # By the number of bits of the charge: each class holds charges of 2^n to 2^(n+1).
        self._classes: list[dict[Holder, None]] = [{} for _ in range(64)]

    def __len__(self) -> int:
        return len(self._charges)

    def charge(self, holder: Holder, held: int) -> None:
        """Charge a client with the bytes that it holds now; beyond the limit the costliest are dropped."""
        self._set(holder, held)
        while self.held > self.limit:
            self._relieve()

    def release(self, holder: Holder) -> None:
        """Forget a client that holds nothing any more."""
        before = self._charges.pop(holder, 0)
        self.held -= before
        self._classes[before.bit_length()].pop(holder, None)

    def _set(self, holder: Holder, held: int) -> None:
        before = self._charges.get(holder, 0)
        if before != held:
            self.held += held - before
            self._charges[holder] = held
            if before.bit_length() != held.bit_length():
                self._classes[before.bit_length()].pop(holder, None)
                self._classes[held.bit_length()][holder] = None

    def _relieve(self) -> None:
        costliest = next(holders for holders in reversed(self._classes) if holders)
        holder = next(iter(costliest))
        exact = holder.remeasure()
        if exact >= self._charges[holder]:
            holder.drop()
            self.release(holder)
        else:
            del costliest[holder]  # goes behind the others of its class
            self._set(holder, exact)
            self._classes[exact.bit_length()][holder] = None
