"""Requests decided in the last minutes, by the log's own clock: sums per second, never more than the span."""

from collections import deque


class Window:
    """Successes and failures by second.

    Attributes:
        span: The longest that may be asked for, in seconds; what is older is dropped.
    """

    __slots__ = ("_from", "_latest", "_seconds", "_until", "span")

    def __init__(self, span: float) -> None:
        self.span = span
        self._seconds: deque[list[int]] = deque()
        self._latest = [0, 0, 0]
        self._from = self._until = 0.0

    def add(self, time: float, *, successful: bool, count: int = 1) -> None:
        """Count requests.

        Lines that are late by some milliseconds count for the latest second; a clock that went back by more
        than the span starts the window anew.
        """
        if not self._from <= time < self._until:
            self._turn(int(time))
        self._latest[1 if successful else 2] += count

    def _turn(self, second: int) -> None:
        seconds = self._seconds
        if seconds and second < seconds[-1][0] - self.span:
            seconds.clear()
        if not seconds or second > seconds[-1][0]:
            seconds.append([second, 0, 0])
        while seconds[0][0] < second - self.span:
            seconds.popleft()
        self._latest = seconds[-1]
        last = self._latest[0]
        self._from, self._until = last - self.span, last + 1

    def since(self, start: float) -> tuple[int, int]:
        """(successful, failed) requests decided at or after the second in which `start` lies."""
        successful = failed = 0
        first = int(start)
        for second, good, bad in reversed(self._seconds):
            if second < first:
                break
            successful += good
            failed += bad
        return successful, failed

    def save(self) -> list[list[int]]:
        """The sums, for `restore`."""
        return list(self._seconds)

    def restore(self, seconds: list[list[int]]) -> None:
        """Go on from what `save` gave."""
        self._seconds = deque(seconds)
        self._from = self._until = 0.0
