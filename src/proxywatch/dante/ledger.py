"""What one log's account holds, and the figures that it gives; `sessions` says how records change it."""

from collections import deque
from collections.abc import Callable

from proxywatch.dante.associations import Associations
from proxywatch.dante.connections import GRANTED, Connection, Connections
from proxywatch.dante.line import Closed
from proxywatch.dante.settings import LogSettings
from proxywatch.dante.sketch import TopKeys
from proxywatch.dante.totals import Failure, Saved, Totals
from proxywatch.dante.window import Window
from proxywatch.distribution import Distribution

DURATION_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)
SETUP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_SKETCH = 512
_RECENT = 50


class Ledger:
    """The account of one log.

    Attributes:
        totals: The counters.
        settings: What the log's settings let it tell.
        clock: The latest time of the log, in seconds; 0 before the first record.
        version: Of Dante, once it said so.
        durations: Sessions from accept to accept, in seconds.
        setups: From accept to connect, in seconds.
        last_durations: Of the last 100 sessions.
        window: Requests by second.
        by_bytes, by_failures: The heaviest destinations.
        table: Connections.
        connections: Those of them that are accepted and not ended, by the client's endpoint and the proxy's.
        associations: Those by UDP.
    """

    def __init__(
        self,
        is_own: Callable[[bytes, float], bool],
        *,
        own_begins: Callable[[], tuple[bytes, ...]] = lambda: (b"",),
        span: float = 300.0,
        include_own: bool = True,
        capacity: int = 65536,
    ) -> None:
        """Start empty.

        Args:
            is_own: Whether a client's endpoint was one of our own probes' at a time.
            own_begins: How such endpoints begin.
            span: How far back the window must reach, in seconds.
            include_own: Whether requests of our own count among the requests.
            capacity: The most connections that are remembered.
        """
        self.totals = Totals()
        self.settings = LogSettings()
        self.clock = 0.0
        self.version = ""
        self.durations = Distribution(DURATION_BOUNDS)
        self.setups = Distribution(SETUP_BOUNDS)
        self.last_durations: deque[float] = deque(maxlen=100)
        self.window = Window(span)
        self.by_bytes = TopKeys(_SKETCH)
        self.by_failures = TopKeys(_SKETCH)
        self._recent: deque[tuple[Closed, str]] = deque(maxlen=_RECENT)
        self._is_own = is_own
        self._own_begins = own_begins
        self._include_own = include_own
        self.table = Connections(capacity, self._lost)
        self.connections = self.table.last
        self.associations = Associations(capacity)
        self._mother = b""
        self._ending = False

    def _lost(self, connection: Connection) -> None:
        self.totals.lost[connection.cause] += 1
        if connection.outcome == GRANTED:
            self.totals.closed[connection.command, connection.origin] += 1
            connection.lost = True

    def recent(self) -> list[Failure]:
        """The last failures, the latest last."""
        return [Failure.of(record, reason) for record, reason in self._recent]

    def success_rate(self, now: float, window: float) -> float | None:
        """Percent of the requests of the last seconds; None without any, or where outcomes are hidden."""
        if not self.settings.tells_rate:
            return None
        successful, failed = self.window.since(now - window)
        return 100 * successful / (successful + failed) if successful + failed else None

    def request_rate(self, now: float) -> int | None:
        """Requests decided in the last 60 seconds; None where outcomes are hidden."""
        if not (self.settings.tells_failures and self.settings.tells_successes):
            return None
        return sum(self.window.since(now - 60))

    def mean_duration(self) -> float | None:
        """Of the last 100 sessions, in seconds; None before the first."""
        last = self.last_durations
        return sum(last) / len(last) if last and self.settings.tells_durations else None

    def active(self) -> int | None:
        """Connections accepted and not ended; None where begins or ends are hidden."""
        return len(self.connections) if self.settings.tells_active else None

    def save(self) -> Saved:
        """Everything, for `restore`; shares its parts with the account, so encode it at once."""
        return Saved(
            totals=self.totals,
            settings=self.settings,
            clock=self.clock,
            version=self.version,
            mother=self._mother,
            ending=self._ending,
            connections=self.table.save(),
            associations=self.associations.save(),
            durations=(self.durations.counts, self.durations.sum),
            setups=(self.setups.counts, self.setups.sum),
            last_durations=list(self.last_durations),
            window=self.window.save(),
            by_bytes=self.by_bytes.save(),
            by_failures=self.by_failures.save(),
            recent=list(self._recent),
        )

    def restore(self, saved: Saved) -> None:
        """Go on from what `save` gave."""
        self.totals, self.settings, self.clock = saved.totals, saved.settings, saved.clock
        self.version, self._mother, self._ending = saved.version, saved.mother, saved.ending
        self.table.restore(saved.connections)
        self.connections = self.table.last
        self.associations.restore(saved.associations)
        self.durations.counts, self.durations.sum = saved.durations
        self.setups.counts, self.setups.sum = saved.setups
        self.last_durations.extend(saved.last_durations)
        self.window.restore(saved.window)
        self.by_bytes.restore(saved.by_bytes)
        self.by_failures.restore(saved.by_failures)
        self._recent.extend(saved.recent)
