"""How many bytes may still be spent today."""

_DAY = 86400.0


class Budget:
    """A number of bytes per day in UTC; 0 is no limit."""

    def __init__(self, per_day: int) -> None:
        """Start with nothing spent.

        Args:
            per_day: Bytes.
        """
        self._per_day = per_day
        self._day = 0
        self._spent = 0

    def left(self, now: float) -> float:
        """Bytes left at Unix time `now`; infinite without a limit."""
        self._turn(now)
        return max(0, self._per_day - self._spent) if self._per_day else float("inf")

    def spend(self, size: int, now: float) -> None:
        """Note bytes as spent at Unix time `now`."""
        self._turn(now)
        self._spent += size

    def _turn(self, now: float) -> None:
        day = int(now // _DAY)
        if day != self._day:
            self._day, self._spent = day, 0
