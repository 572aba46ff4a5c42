"""Sessions, requests and failures, from Dante's own log.

Everything goes by the log's own clock. While lines wait to be read it stands at the last one. Once all is
read it runs on from there: that line is as old as the file's last write, and from then on the monotonic clock
counts. So the windows slide while the log is silent, whatever the time zone, the skew or the age of the log.

One update reads for half a second at most, in slices of three milliseconds after each of which the loop is
free; while more waits, the next update is due at once. So `timeout` bounds one update, not a backlog.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from proxywatch.clock import Clock
from proxywatch.dante import advice, conf
from proxywatch.dante.account import DanteAccount
from proxywatch.dante.conf import Rule
from proxywatch.dante.reason import REASONS
from proxywatch.dante.report import Report, report_of
from proxywatch.dante.sessions import Sessions
from proxywatch.errors import ParseError, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Labels, Metric
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.quantity import Duration
from proxywatch.source import checkpoint, file
from proxywatch.source.log import lines
from proxywatch.source.log.lines import Lines
from proxywatch.source.log.logfile import Place
from proxywatch.source.log.splitter import CHUNK

log = logging.getLogger(__name__)

SUCCESS_RATE = metric.gauge(
    "proxy_success_rate_percent",
    "Share of requests that succeeded over the last sessions.window of the log. Absent when there were none, "
    "or while Dante's log settings are not known to show both outcomes.",
)
SUCCESSFUL = metric.counter(
    "proxy_requests_successful_total",
    "Requests for which Dante opened what the client asked for. Absent when its log settings hide them.",
)
FAILED = metric.counter(
    "proxy_requests_failed_total",
    "Requests that ended without that. Absent when Dante's log settings do not show all of them.",
)
RATE = metric.gauge(
    "proxy_request_rate_permin",
    "Requests decided in the last 60 seconds of the log. Absent when Dante's log settings do not show all.",
)
OPENED = metric.counter(
    "proxy_sessions_opened_total",
    "Requests that Dante granted; origin self are our own probes.",
    ["command", "origin"],
)
CLOSED = metric.counter(
    "proxy_sessions_closed_total",
    "Granted requests that ended, those whose end will never be logged included.",
    ["command", "origin"],
)
DURATION = metric.histogram(
    "proxy_session_duration_seconds", "Sessions that were seen from their begin, from accept to accept."
)
SETUP = metric.histogram(
    "proxy_session_setup_seconds",
    "From a client's accept to its target's answer: SOCKS, name resolution and dial of every real session.",
)
RECEIVED = metric.counter(
    "proxy_session_received_bytes_total",
    "Payload from clients that Dante passed on to targets, by the target's port.",
    ["service"],
)
SENT = metric.counter(
    "proxy_session_sent_bytes_total",
    "Payload from targets that Dante passed on to clients, by the target's port.",
    ["service"],
)
FAILURES = metric.counter(
    "proxy_request_failures_total", "Failed requests by whose fault it was and why.", ["blame", "reason"]
)
LOST = metric.counter(
    "proxy_sessions_lost_total",
    "Connections whose end will never be logged: child_died, server_killed, port_reused, unlogged under the "
    "settings of then, or evicted because too many were open.",
    ["cause"],
)
DNS = metric.counter(
    "dante_dns_failures_total", "Names that Dante could not resolve, for requests and datagrams.", ["kind"]
)
LINES = metric.counter("dante_log_lines_total", "Lines of Dante's log that were read.")
UNPARSED = metric.counter("dante_log_unparsed_lines_total", "Lines in the log that Dante does not write.")
ROTATIONS = metric.counter("dante_log_rotations_total", "Times that another file took the log's path.")
TRUNCATIONS = metric.counter("dante_log_truncations_total", "Times that the log was cut.")
GAPS = metric.counter(
    "dante_log_gaps_total",
    "Files of the log that were not found again, or not read to their end, so that lines may be missing.",
)
READ = metric.counter("dante_log_read_bytes_total", "Bytes of the log that were read.")
LAG = metric.gauge(
    "dante_log_lag_seconds",
    "From the last line read to the log's last write; 0 when all is read. Absent while there is no log.",
)

_SLICE = 0.003
_REST = 0.7  # of what a slice took: who leaves a busy machine some of his share is let in at once later
_BUDGET = 0.5
_PAUSE = 0.25  # a connection writes four lines in a burst, and each look costs a third of a millisecond
_LOOK = 1.0
_SAVE = 5.0
_EXAMINED = 4 << 20
_CONFS = ("/etc/danted.conf", "/etc/sockd.conf", "/etc/dante/sockd.conf")
_Resumed = tuple[list[Place], list[Place], float]  # places, what else is known, and since when
_UNIX = 1e9  # a stamp below is no Unix time: syslog's, which has no year


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sessions, requests and failures, from Dante's log.

    Attributes:
        enabled: Whether to read the log.
        log: The file or FIFO that `logoutput` in danted.conf names; `-` for standard input.
        start: Where to begin in a log that is there already, when there is no checkpoint.
        window: How far back the success rate looks.
        checkpoint: A file that keeps the place in the log and the counters over a restart; empty for none.
            Our own probes are noted in a file of that name with `.own` appended.
        include_self: Whether requests of our own probes count among the requests.
    """

    enabled: bool = True
    log: str = "/var/log/danted.log"
    start: Literal["end", "beginning"] = "end"
    window: Duration = Duration(300)
    checkpoint: str = ""
    include_self: bool = True


class Status(msgspec.Struct, frozen=True):
    """What the log says, and how far it was read.

    Attributes:
        log: Its path.
        unread_bytes: What waits to be read.
        lag_seconds: As the metric.
        report: What it says.
    """

    log: str
    unread_bytes: int
    lag_seconds: float | None
    report: Report


class SessionsCollector:
    """A watching collector: follows the log as it grows."""

    name = "sessions"
    timeout = 10.0

    def __init__(self, settings: Settings, clock: Clock, own: OwnTraffic) -> None:
        """Touch nothing yet."""
        self._settings = settings
        self._clock = clock
        self._own = own
        self._account = DanteAccount(
            Sessions(
                self._is_own,
                own_begins=own.begins,
                span=max(60.0, settings.window),
                include_own=settings.include_self,
            )
        )
        self._lines: Lines | None = None
        self._at_end = settings.start == "end"
        self._more = True
        self._updated = 0.0
        self._saved = float("-inf")
        self._base = (0, 0, 0, 0)
        self._resumed: _Resumed | None = None

    def _is_own(self, endpoint: bytes, at: float) -> bool:
        return self._own.includes(endpoint, at if at > _UNIX else self._clock.now())

    def describe(self) -> Sequence[Family]:
        """Requests, sessions, failures, and the log itself."""
        return (
            SUCCESS_RATE, SUCCESSFUL, FAILED, RATE, OPENED, CLOSED, DURATION, SETUP, RECEIVED, SENT,
            FAILURES, LOST, DNS, LINES, UNPARSED, ROTATIONS, TRUNCATIONS, GAPS, READ, LAG,
        )  # fmt: skip

    # Reading

    async def due(self) -> None:
        """At once while there is more, else when the log's directory changes, a second later in any case."""
        if self._more:
            return
        await self._clock.sleep_until(self._updated + _PAUSE)
        if self._lines is not None:
            await self._lines.changed(_LOOK)
        else:
            await self._clock.sleep_until(self._updated + _LOOK)

    async def update(self) -> None:
        """Read what was appended.

        Raises:
            SourceError: The log is absent or may not be read, or the checkpoint cannot be written.
        """
        self._more = False
        try:
            await self._read(self._follow())
        finally:
            self._updated = self._clock.monotonic()
        if self._updated - self._saved >= _SAVE:
            await self._save()

    def _follow(self) -> Lines:
        if self._lines is None:
            if self._resumed is None:
                self._resumed = self._restore()
            places, known, since = self._resumed
            try:
                self._lines = lines.follow(
                    self._settings.log,
                    self._clock.monotonic,
                    at_end=self._at_end,
                    places=places,
                    known=known,
                    since=since,
                )
            except SourceError as error:
                # A log that appears later is read from its first line on.
                self._at_end = self._at_end and not error.temporary
                raise
        return self._lines

    async def _read(self, source: Lines) -> None:
        begin = slice_begin = self._clock.monotonic()
        while (chunk := source.read(CHUNK)) or source.more:
            self._account.take(chunk)
            now = self._clock.monotonic()
            if now - begin >= _BUDGET:
                self._more = True
                return
            if now - slice_begin >= _SLICE:
                await asyncio.sleep((now - slice_begin) * _REST)
                slice_begin = self._clock.monotonic()
        written = source.written_at()
        age = 0.0 if written is None else self._clock.now() - written
        self._account.caught_up(age, self._clock.monotonic())

    # The checkpoint

    def _restore(self) -> _Resumed:
        path = self._settings.checkpoint
        if not path:
            return [], [], 0.0
        content = checkpoint.read(path)
        try:
            self._own.keep(f"{path}.own", self._clock.now())
        except SourceError as error:
            log.warning("our own probes are not kept for the next run", extra={"reason": str(error)})
        if content is None:
            return [], [], 0.0
        try:
            saved = self._account.restore(content)
        except ParseError as error:
            log.warning("checkpoint is not used", extra={"path": path, "reason": str(error)})
            return [], [], 0.0
        self._base = (saved.read_bytes, saved.rotations, saved.truncations, saved.gaps)
        places, known = ([Place(*place) for place in some] for some in (saved.places, saved.known))
        return places, known, saved.taken

    async def _save(self) -> None:
        self._saved = self._clock.monotonic()
        if not self._settings.checkpoint or self._lines is None:
            return
        read_bytes, rotations, truncations, gaps = self._reading()
        content = self._account.save(
            self._lines.places(),
            self._lines.known(),
            taken=self._lines.seen(),
            read_bytes=read_bytes,
            rotations=rotations,
            truncations=truncations,
            gaps=gaps,
        )
        await asyncio.to_thread(checkpoint.write, self._settings.checkpoint, content)

    def _reading(self) -> tuple[int, int, int, int]:
        source = self._lines
        now = (
            (source.read_bytes, source.rotations, source.truncations, source.gaps) if source else (0, 0, 0, 0)
        )
        return tuple(map(sum, zip(self._base, now, strict=True)))  # type: ignore[return-value]

    async def close(self) -> None:
        """Keep the place and the counters, and let go of the log."""
        try:
            await self._save()
        finally:
            if self._lines is not None:
                self._lines.close()
                self._lines = None

    # Figures

    def _now(self) -> float:
        return self._account.now(self._clock.monotonic())

    def _lag(self) -> float | None:
        if self._lines is None:
            return None
        written, clock = self._lines.written_at(), self._account.sessions.clock
        return 0.0 if not self._more or written is None or clock < _UNIX else max(0.0, written - clock)

    def active(self) -> int | None:
        """Connections accepted and not ended; None when the log's settings cannot tell."""
        return self._account.sessions.active()

    def mean_duration(self) -> float | None:
        """Mean of the last 100 closed sessions, in seconds; None when the log does not tell."""
        return self._account.sessions.mean_duration()

    def ended(self) -> tuple[int, int | None] | None:
        """Connections that ended and their payload; None until the log is known to show every end."""
        account = self._account.sessions
        return account.totals.ended() if account.settings.disconnect else None

    def collect(self) -> Iterator[Metric]:
        """What the log's settings can tell, and how the log is read."""
        sessions = self._account.sessions
        totals, settings = sessions.totals, sessions.settings
        now, ends = self._now(), settings.tells_ends
        yield SUCCESS_RATE.value(sessions.success_rate(now, self._settings.window))
        yield SUCCESSFUL.value(totals.successful if settings.tells_successes else None)
        yield FAILED.value(totals.failed if settings.tells_failures else None)
        yield RATE.value(sessions.request_rate(now))
        yield OPENED.values(_series(totals.opened if settings.tells_successes else {}))
        yield CLOSED.values(_series(totals.closed if ends else {}))
        yield DURATION.distributions({(): sessions.durations} if settings.tells_durations else {})
        yield SETUP.distributions({(): sessions.setups} if settings.connect is not False else {})
        yield RECEIVED.values(_series(totals.received if ends else {}))
        yield SENT.values(_series(totals.sent if ends else {}))
        shown = settings.shows
        yield FAILURES.values(
            {(REASONS[reason], reason): n for reason, n in totals.failures.items() if shown(reason)}
        )
        yield LOST.values(_series(totals.lost))
        yield DNS.values({kind.removeprefix("dns_"): n for kind, n in totals.dns.items() if shown(kind)})
        yield LINES.value(self._account.lines)
        yield UNPARSED.value(self._account.unparsed)
        for family, value in zip((READ, ROTATIONS, TRUNCATIONS, GAPS), self._reading(), strict=True):
            yield family.value(value)
        yield LAG.value(self._lag())

    async def examine(self) -> Sequence[Finding]:
        """Read the end of the log; say what its settings hide, and where to change them."""
        path = self._settings.log
        if path == lines.STANDARD_INPUT:
            return [Finding.ok("the log comes by standard input")]
        try:
            content = lines.last(path, _EXAMINED)
        except SourceError as error:
            return [Finding.fault(str(error), advice.of_absence(path, permitted=error.temporary))]
        account = DanteAccount(Sessions(lambda _endpoint, _at: False))
        account.take(content)
        if not account.lines:
            return [Finding.ok(f"{path} is there; nothing is written in it yet")]
        found, rules = _rules()
        return advice.of_account(path, account, found, rules)

    def status(self) -> Status:
        """The counts, the windows, what failed last and most, and what cannot be known."""
        unread = self._lines.unread() if self._lines else 0
        report = report_of(self._account, self._now(), self._settings.window)
        return Status(self._settings.log, unread, self._lag(), report)


def _rules() -> tuple[str, list[Rule]]:
    """The rules of danted.conf and its path, where it is at hand."""
    for path in _CONFS:
        with suppress(SourceError):
            return path, conf.rules(file.read(path))
    return "", []


def _series(counts: Mapping[str, int] | Mapping[tuple[str, str], int]) -> dict[Labels, float]:
    return dict(counts.items())


def build(settings: Settings, clock: Clock, own: OwnTraffic) -> SessionsCollector:
    """The collector of a log; it is opened by the first update."""
    return SessionsCollector(settings, clock, own)
