"""A bucket of tokens: how often something may be asked for."""

from collections.abc import Callable


class Bucket:
    """`burst` tokens at most, one more every `interval` seconds.

    Args:
        interval: Seconds, above 0.
        burst: Tokens that may be taken at once, at least one.
        now: Seconds of a clock that never steps.
    """

    def __init__(self, interval: float, burst: int, now: Callable[[], float]) -> None:
        self._interval = interval
        self._burst = max(burst, 1)
        self._now = now
        self._tokens = float(self._burst)
        self._at = now()

    def take(self) -> bool:
        """Take a token; returns whether there was one left."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._interval)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
