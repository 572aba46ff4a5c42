"""Bytes that may still be spent on speed tests: so many in any 24 hours. Pure; time comes with each call.

What a test may cost at the most is reserved before it begins, and what it did not cost is given back after it: at no
moment is more spent and promised than the budget.
"""

from collections import deque

DAY = 86_400.0
_SLOT = 300.0  # seconds; what was spent counts until 24 hours after the end of its slot


class Budget:
    """A budget of bytes.

    Attributes:
        limit: Bytes in any 24 hours; 0 is no limit.
        reserved: Bytes promised to tests that run.
        total: Bytes spent since the start.
    """

    def __init__(self, limit: int) -> None:
        """Begin with nothing spent."""
        self.limit = limit
        self.reserved = 0
        self.total = 0
        self._slots: deque[tuple[float, int]] = deque()
        self._spent = 0

    def spent(self, now: float) -> int:
        """Bytes spent in the last 24 hours."""
        while self._slots and self._slots[0][0] + DAY <= now:
            self._spent -= self._slots.popleft()[1]
        return self._spent

    def left(self, now: float) -> float:
        """Bytes that may be reserved now; infinite without a limit."""
        if not self.limit:
            return float("inf")
        return max(0, self.limit - self.spent(now) - self.reserved)

    def reserve(self, size: int, now: float) -> bool:
        """Promise bytes to a test; False when they are not there."""
        if size > self.left(now):
            return False
        self.reserved += size
        return True

    def settle(self, reserved: int, spent: int, now: float) -> None:
        """A test is over: of what was promised to it, so much was spent."""
        self.reserved -= reserved
        self.total += spent
        self._spent += spent
        end = (now // _SLOT + 1) * _SLOT
        if self._slots and self._slots[-1][0] == end:
            self._slots[-1] = (end, self._slots[-1][1] + spent)
        else:
            self._slots.append((end, spent))

    def frees_in(self, now: float) -> float:
        """Seconds until more is left; 0 when nothing is spent."""
        self.spent(now)
        return self._slots[0][0] + DAY - now if self._slots else 0.0
