"""Counts requests and sessions as they begin, fail and end; `sessions` says when they do."""

from collections import deque
from math import isfinite, nan

from proxywatch.dante import reason as dante_reason
from proxywatch.dante.associations import Association
from proxywatch.dante.connections import ENDED, FAILED, GRANTED, Connection
from proxywatch.dante.records import Closed, Datagram
from proxywatch.dante.sketch import TopKeys
from proxywatch.dante.totals import Failure, SavedCounting, Totals
from proxywatch.dante.window import Window
from proxywatch.distribution import Distribution
from proxywatch.errors import ParseError

SERVICES = {b"80": "http", b"443": "https", b"53": "dns"}  # by the target's port
DURATION_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)
SETUP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LONGEST_SETUP = 1800.0  # seconds; more is a clock that was changed meanwhile
SAID_WITHIN = 2.0  # seconds that a duration by the stamps and the one that the log says may differ

_SKETCH = 512
_RECENT = 50
_UNIX = 1e9  # a stamp below is none of Unix time: syslog's, which begins anew with the year
_YEAR = 31_622_400.0
_LONG = 31 * 86400.0


class Counting:
    """What a log's records came to.

    Attributes:
        totals: The counters.
        durations: Sessions from accept to accept, in seconds.
        setups: From accept to connect, in seconds.
        last_durations: Of the last 100 sessions.
        window: Requests by second.
        by_bytes, by_failures: The heaviest destinations.
    """

    def __init__(self, *, span: float, include_own: bool) -> None:
        """Start at zero.

        Args:
            span: How far back the window must reach, in seconds.
            include_own: Whether requests of our own count among the requests.
        """
        self.totals = Totals()
        self.durations = Distribution(DURATION_BOUNDS)
        self.setups = Distribution(SETUP_BOUNDS)
        self.last_durations: deque[float] = deque(maxlen=100)
        self.window = Window(span)
        self.by_bytes = TopKeys(_SKETCH)
        self.by_failures = TopKeys(_SKETCH)
        self._recent: deque[tuple[Closed, str]] = deque(maxlen=_RECENT)
        self._include_own = include_own

    def grant(self, connection: Connection, command: str, time: float) -> None:
        """Count a request that was granted."""
        connection.outcome = GRANTED
        connection.command = command
        self.totals.opened[command, connection.origin] += 1
        if self._include_own or connection.origin == "client":
            self.totals.successful += 1
            self.window.add(time, successful=True)

    def grant_all(self, time: float, setups: list[float]) -> None:
        """Count clients' CONNECTs that were granted in one second.

        Args:
            time: That second, in seconds.
            setups: From accept to connect of each, in seconds.
        """
        count = len(setups)
        self.totals.opened["connect", "client"] += count
        self.totals.successful += count
        self.window.add(time, successful=True, count=count)
        self.setups.observe_all(setups)

    def end_all(self, durations: list[float]) -> None:
        """Count clients' CONNECTs that ended, by their durations in seconds."""
        self.totals.closed["connect", "client"] += len(durations)
        self.durations.observe_all(durations)

    def set_up(self, connection: Connection, time: float) -> None:
        """Note how long a request took, where its begin was seen."""
        if connection.accepted >= 0:
            elapsed = _elapsed(connection.accepted, time)
            if elapsed <= LONGEST_SETUP:
                self.setups.observe(elapsed)

    def fail(self, connection: Connection, reason: str, record: Closed) -> None:
        """Count a request that failed."""
        connection.outcome = FAILED
        if connection.origin == "self" and not self._include_own:
            return
        self.totals.failures[reason] += 1
        target = record.target
        if reason in self.totals.dns:
            self.totals.dns[reason] += 1
            target = target or dante_reason.unresolved_name(record.reason)
        self.window.add(record.time, successful=False)
        if target:
            self.by_failures.add(target, 1)
        self._recent.append((record, reason))

    def end(self, connection: Connection, service: str, received: int, sent: int) -> None:
        """Count a session that ended."""
        connection.outcome = ENDED
        if not connection.lost:
            self.totals.closed[connection.command, connection.origin] += 1
        self.move(service, received, sent)

    def move(self, service: str, received: int, sent: int) -> None:
        """Count bytes."""
        self.totals.received[service] += received
        self.totals.sent[service] += sent

    def lasted(self, connection: Connection, time: float, said: int) -> None:
        """Note how long a session was, if it was one and its begin was seen.

        Args:
            connection: That ended.
            time: When, in seconds.
            said: Its duration in whole seconds, as the log says; -1 where it says none.
        """
        if connection.outcome == ENDED and connection.accepted >= 0:
            duration = _elapsed(connection.accepted, time)
            if said >= 0 and not abs(duration - said) <= SAID_WITHIN:
                duration = float(said)  # the clock was changed meanwhile
            if isfinite(duration):
                self.durations.observe(duration)
                self.last_durations.append(duration)

    def lose(self, connection: Connection) -> None:
        """Count a connection whose end will never be logged."""
        self.totals.lost[connection.cause] += 1
        if connection.outcome == GRANTED:
            self.totals.closed[connection.command, connection.origin] += 1
            connection.lost = True

    def lose_association(self, association: Association) -> None:
        """Count an association whose end will never be logged as closed; its connection counts as lost."""
        if not association.lost:
            association.lost = True
            self.totals.closed["udpassociate", "client"] += 1

    def blocked(self, record: Datagram) -> None:
        """Count a datagram that was not forwarded."""
        self.totals.blocked_datagrams += 1
        kind = dante_reason.of_resolver(record.reason)
        if kind is not None:
            self.totals.dns[kind] += 1

    def recent(self) -> list[Failure]:
        """The last failures, the latest last."""
        return [Failure.of(record, reason) for record, reason in self._recent]

    def save(self) -> SavedCounting:
        """Everything, for `restore`; shares its parts, so encode it at once."""
        return SavedCounting(
            totals=self.totals,
            durations=(self.durations.counts, self.durations.sum),
            setups=(self.setups.counts, self.setups.sum),
            last_durations=list(self.last_durations),
            window=self.window.save(),
            by_bytes=self.by_bytes.save(),
            by_failures=self.by_failures.save(),
            recent=list(self._recent),
        )

    def restore(self, saved: SavedCounting) -> None:
        """Go on from what `save` gave.

        Raises:
            ParseError: It is of a version with other buckets.
        """
        for distribution, (counts, _) in ((self.durations, saved.durations), (self.setups, saved.setups)):
            if len(counts) != len(distribution.bounds):
                raise ParseError("its histograms have other buckets")
        self.totals = saved.totals.completed()
        self.durations.counts, self.durations.sum = saved.durations
        self.setups.counts, self.setups.sum = saved.setups
        self.last_durations.extend(saved.last_durations)
        self.window.restore(saved.window)
        self.by_bytes.restore(saved.by_bytes)
        self.by_failures.restore(saved.by_failures)
        self._recent.extend(
            (record, reason) for record, reason in saved.recent if reason in dante_reason.REASONS
        )


def service_of(target: bytes) -> str:
    """By the port of a target's endpoint."""
    return SERVICES.get(target[target.rfind(b".") + 1 :], "other")


def reason_of(record: Closed) -> str | None:
    """Why a request failed that ended like this; None when it was granted."""
    if not record.passed:
        return dante_reason.of_refusal(record.reason)
    moved = record.moved
    if moved and (moved.received or moved.sent or moved.returned):
        return None
    return dante_reason.of_dial(record.reason)


def _elapsed(since: float, until: float) -> float:
    """Seconds; NaN when the clock was set back meanwhile."""
    if until >= since - 1:
        return max(0.0, until - since)
    into_the_new_year = until - since + _YEAR
    return into_the_new_year if since < _UNIX and into_the_new_year < _LONG else nan
