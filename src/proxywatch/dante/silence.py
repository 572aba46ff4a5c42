"""Whether a log shows the requests that succeed, by our own probes: we know of those that they did.

The commonest danted.conf has `log: error` or no `log:` at all. Then nothing is written of a request that
succeeds, and a log without a line looks like a proxy without a client. Our own probes tell the two apart:
when some of them have succeeded and the log, read to its end some seconds later, has no line that could be
theirs, it shows none.
"""

from collections import deque

from proxywatch.dante.sessions import Sessions

_ENOUGH = 3
_LATE = 5.0  # seconds after which a line must have come


class Silence:
    """Compares our successes with the lines that came.

    Attributes:
        proven: Whether requests succeed and leave no line.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.proven = False
        self._sessions = sessions
        self._settings = sessions.settings
        self._before: int | None = None
        self._seen: deque[tuple[float, int]] = deque(maxlen=256)

    def caught_up(self, succeeded: int, monotonic: float) -> None:
        """Note that the log was read to its end.

        Args:
            succeeded: How many of our probes have succeeded so far.
            monotonic: Now, in seconds.
        """
        settings = self._sessions.settings
        if settings is not self._settings or settings.shows_requests:
            self._settings, self._before, self.proven = settings, None, False
            self._seen.clear()
        if settings.shows_requests:
            return
        if self._before is None:
            self._before = succeeded
        if not self._seen or succeeded != self._seen[-1][1]:
            self._seen.append((monotonic, succeeded))
        while len(self._seen) > 1 and self._seen[1][0] <= monotonic - _LATE:
            self._seen.popleft()
        at, count = self._seen[0]
        if at <= monotonic - _LATE and count - self._before >= _ENOUGH:
            self.proven = True
