"""Sessions, requests and failures, from Dante's own log.

Everything goes by the log's own clock. While lines come, it stands at the last one. When all is read, it goes
on from there: the last line was written when the file was last written, so the log's clock is now ahead of
that line by the file's age. It runs on with the monotonic clock, so the window slides while the log is silent,
whatever the time zone, the skew or the age of the log.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from prometheus_client.metrics_core import Metric

from proxywatch import metric
from proxywatch.errors import ParseError, SourceError
from proxywatch.finding import Finding
from proxywatch.metric import Family, Labels
from proxywatch.parse import dante_log, dante_reason
from proxywatch.parse.quantity import Duration
from proxywatch.source.clock import Clock
from proxywatch.source.own_traffic import OwnTraffic
from proxywatch.source.tail import Tail
from proxywatch.state.sessions import Failure, Sessions

SUCCESS_RATE = metric.gauge(
    "proxy_success_rate_percent",
    "Share of requests that succeeded, over the last `sessions.window` of the log; absent when there were none or the log's settings hide some.",
)
SUCCESSFUL = metric.counter(
    "proxy_requests_successful_total",
    "Requests for which Dante opened what the client asked for; absent when its log settings hide them.",
)
FAILED = metric.counter(
    "proxy_requests_failed_total",
    "Requests that ended without that; absent when Dante's log settings hide some.",
)
RATE = metric.gauge(
    "proxy_request_rate_permin",
    "Requests decided in the last 60 seconds of the log; absent when its settings hide some.",
)
AVERAGE = metric.gauge(
    "proxy_avg_connection_duration_seconds",
    "Mean of the last 100 closed sessions, accept to accept; absent before the first.",
)
OPENED = metric.counter(
    "proxy_sessions_opened_total",
    "Sessions that Dante opened, by command and by whose they are.",
    ["command", "origin"],
)
CLOSED = metric.counter(
    "proxy_sessions_closed_total", "Sessions that ended, lost ones included.", ["command", "origin"]
)
DURATION = metric.histogram(
    "proxy_session_duration_seconds", "Sessions from accept to accept, by the log's microseconds."
)
SETUP = metric.histogram(
    "proxy_session_setup_seconds",
    "From a client's accept to its target's answer: SOCKS, DNS and dial of every real session.",
)
RECEIVED = metric.counter(
    "proxy_session_received_bytes_total", "Payload from clients that Dante wrote to targets.", ["service"]
)
SENT = metric.counter(
    "proxy_session_sent_bytes_total", "Payload from targets that Dante wrote to clients.", ["service"]
)
FAILURES = metric.counter(
    "proxy_request_failures_total", "Failed requests by whose fault it was and why.", ["blame", "reason"]
)
LOST = metric.counter(
    "proxy_sessions_lost_total", "Connections whose end will never be logged, by cause.", ["cause"]
)
DNS = metric.counter(
    "dante_dns_failures_total", "Names that Dante could not resolve, for requests and datagrams.", ["kind"]
)
LINES = metric.counter("dante_log_lines_total", "Lines of Dante's log read.")
UNPARSED = metric.counter(
    "dante_log_unparsed_lines_total", "Lines of the log that are none that Dante writes."
)
ROTATIONS = metric.counter("dante_log_rotations_total", "Times that another file took the log's path.")
TRUNCATIONS = metric.counter("dante_log_truncations_total", "Times that the log was cut.")
READ = metric.counter("dante_log_read_bytes_total", "Bytes of the log read.")
LAG = metric.gauge(
    "dante_log_lag_seconds", "How far the reading is behind the log's last write; 0 when all is read."
)

_SLICE = 1 << 16
_BUDGET = 0.5
_POLL = 0.25


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sessions, requests and failures, from Dante's log.

    Attributes:
        enabled: Whether to read the log.
        log: The file that `logoutput` in danted.conf names; `-` for standard input.
        start: Where to begin when there is no checkpoint.
        window: How far back the success rate looks.
        checkpoint: A file that keeps position and counters over a restart; empty for none.
        include_self: Whether requests of our own probes count among the requests.
    """

    enabled: bool = True
    log: str = "/var/log/danted.log"
    start: Literal["end", "beginning"] = "end"
    window: Duration = Duration(300)
    checkpoint: str = ""
    include_self: bool = True


class Status(msgspec.Struct, frozen=True):
    """What the log says."""

    log: str
    lines: int
    unparsed: int
    unparsed_example: str
    lag_seconds: float | None
    successful: int
    failed: int
    success_rate_percent: float | None
    requests_per_minute: int | None
    active: int | None
    recent_failures: list[Failure]


class SessionsCollector:
    """A watching collector."""

    name = "sessions"
    timeout = 30.0

    def __init__(self, settings: Settings, tail: Tail, clock: Clock, own: OwnTraffic) -> None:
        self._settings = settings
        self._tail = tail
        self._clock = clock
        self._own = own
        self._sessions = Sessions(
            self._is_own, span=max(60.0, settings.window), include_own=settings.include_self
        )
        self._lines = 0
        self._unparsed = 0
        self._example = b""
        self._anchor: tuple[float, float] | None = None

    def _is_own(self, endpoint: bytes, at: float) -> bool:
        address, _, port = endpoint.rpartition(b".")
        return self._own.includes(
            address.decode().removeprefix("::ffff:"), int(port), at if at > 1e9 else self._clock.now()
        )

    def describe(self) -> Sequence[Family]:
        """Part A's five, sessions, failures, and the log itself."""
        return (
            SUCCESS_RATE, SUCCESSFUL, FAILED, RATE, AVERAGE, OPENED, CLOSED, DURATION, SETUP, RECEIVED, SENT,
            FAILURES, LOST, DNS, LINES, UNPARSED, ROTATIONS, TRUNCATIONS, READ, LAG,
        )  # fmt: skip

    async def due(self) -> None:
        """At once while there is more to read, else a few times a second."""
        delay = 0.0 if self._tail.behind else _POLL
        await self._clock.sleep_until(self._clock.monotonic() + delay)

    async def update(self) -> None:
        """Read what was appended, in slices that yield to the loop.

        Raises:
            SourceError: The log is absent or may not be read.
        """
        end = self._clock.monotonic() + _BUDGET
        while self._clock.monotonic() < end:
            lines = self._tail.read(_SLICE)
            if lines:
                self._take(lines)
            elif not self._tail.behind:
                break
            await asyncio.sleep(0)
        self._carry()

    def _take(self, lines: bytes) -> None:
        for line in lines.split(b"\n")[:-1]:
            self._lines += 1
            try:
                record = dante_log.parse(line)
            except ParseError:
                self._unparsed += 1
                self._example = line[:500]
            else:
                if record is not None:
                    self._sessions.add(record)
        self._anchor = None

    def _carry(self) -> None:
        if self._anchor is None and not self._tail.behind and self._sessions.clock:
            written = self._tail.written_at()
            age = max(0.0, self._clock.now() - written) if written else 0.0
            self._anchor = (self._sessions.clock + age, self._clock.monotonic())

    def _now(self) -> float:
        if self._anchor is None:
            return self._sessions.clock
        log, monotonic = self._anchor
        return log + self._clock.monotonic() - monotonic

    def _requests(self, span: float) -> tuple[int, int] | None:
        return self._sessions.window.since(self._now() - span) if self._sessions.settings.tells_rate else None

    def _success_rate(self) -> float | None:
        requests = self._requests(self._settings.window)
        return 100 * requests[0] / sum(requests) if requests and sum(requests) else None

    def _rate(self) -> int | None:
        if not self._sessions.settings.tells_failures or not self._sessions.settings.tells_successes:
            return None
        return sum(self._sessions.window.since(self._now() - 60))

    def _lag(self) -> float | None:
        if not self._tail.behind:
            return 0.0 if self._lines else None
        written = self._tail.written_at()
        return max(0.0, written - self._sessions.clock) if written else None

    def active(self) -> int | None:
        """Connections accepted and not ended; None when the log's settings cannot tell."""
        return self._sessions.open if self._sessions.settings.tells_active else None

    def collect(self) -> Iterator[Metric]:
        """Everything that the log's settings can tell."""
        account, settings = self._sessions, self._sessions.settings
        totals = account.totals
        known = settings.tells_failures
        yield SUCCESS_RATE.value(self._success_rate())
        yield SUCCESSFUL.value(totals.successful if settings.tells_successes else None)
        yield FAILED.value(sum(totals.failures.values()) if known else None)
        yield RATE.value(self._rate())
        last = account.last_durations
        yield AVERAGE.value(sum(last) / len(last) if last and known else None)
        yield OPENED.values(_series(totals.opened) if settings.tells_successes else {})
        yield CLOSED.values(_series(totals.closed) if known else {})
        yield DURATION.distributions({(): account.durations} if known else {})
        yield SETUP.distributions({} if settings.connect is False else {(): account.setups})
        yield RECEIVED.values(_series(totals.received) if known else {})
        yield SENT.values(_series(totals.sent) if known else {})
        yield FAILURES.values(
            {(dante_reason.REASONS[reason], reason): count for reason, count in totals.failures.items()}
        )
        yield LOST.values(_series(totals.lost))
        yield DNS.values({kind.removeprefix("dns_"): count for kind, count in totals.dns.items()})
        yield LINES.value(self._lines)
        yield UNPARSED.value(self._unparsed)
        yield ROTATIONS.value(self._tail.rotations)
        yield TRUNCATIONS.value(self._tail.truncations)
        yield READ.value(self._tail.read_bytes)
        yield LAG.value(self._lag())

    async def examine(self) -> Sequence[Finding]:
        """Is the log there, and may it be read?"""
        tail = Tail(self._settings.log, from_end=False)
        try:
            tail.read(1)
        except SourceError as error:
            return [
                Finding.fault(
                    str(error), f"Let Dante write it: `logoutput: {self._settings.log}` in danted.conf."
                )
            ]
        finally:
            tail.close()
        return [Finding.ok(f"{self._settings.log} can be read")]

    def status(self) -> Status:
        """The counts, the window and the last failures."""
        totals = self._sessions.totals
        return Status(
            self._settings.log, self._lines, self._unparsed, self._example.decode(errors="backslashreplace"),
            self._lag(), totals.successful, sum(totals.failures.values()), self._success_rate(), self._rate(),
            self.active(), list(self._sessions.recent),
        )  # fmt: skip


def _series(counts: Mapping[str, int] | Mapping[tuple[str, str], int]) -> dict[Labels, float]:
    return dict(counts.items())


def build(settings: Settings, clock: Clock, own: OwnTraffic) -> SessionsCollector:
    """The collector on the real log."""
    return SessionsCollector(settings, Tail(settings.log, from_end=settings.start == "end"), clock, own)
