"""Sessions, requests and failures, from Dante's own log; `followed_log` reads it."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from proxywatch.clock import Clock
from proxywatch.dante import advice, conf, figures, processes
from proxywatch.dante.conf import Rule
from proxywatch.dante.log import DanteLog
from proxywatch.dante.reason import REASONS
from proxywatch.dante.report import Report, report_of
from proxywatch.dante.sessions import Sessions
from proxywatch.errors import SourceError
from proxywatch.exporter.followed_log import FollowedLog
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Labels, Metric
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.quantity import Duration
from proxywatch.source import file, procfs
from proxywatch.source import processes as running
from proxywatch.source.log import lines

log = logging.getLogger(__name__)

SUCCESS_RATE = metric.gauge(
    "proxy_success_rate_percent",
    "Share of requests that succeeded over the last sessions.window of the log. Absent when there were none, "
    "or while Dante's log settings are not known to show both outcomes.",
)
SUCCESSFUL = metric.counter(
    "proxy_requests_successful_total",
    "Requests for which Dante opened what the client asked for. Absent until its log has proven that it "
    "shows them.",
)
FAILED = metric.counter(
    "proxy_requests_failed_total",
    "Requests that ended without that. Absent until Dante's log has proven that it shows all of them.",
)
RATE = metric.gauge(
    "proxy_request_rate_permin",
    "Requests decided in the last 60 seconds of the log. Absent until Dante's log has proven that it shows "
    "all.",
)
OPENED = metric.counter(
    "proxy_sessions_opened_total",
    "Requests that Dante granted; origin self are our own probes. Absent as proxy_requests_successful_total.",
    ["command", "origin"],
)
CLOSED = metric.counter(
    "proxy_sessions_closed_total",
    "Granted requests that ended, those whose end will never be logged included. Absent until Dante's log "
    "has proven that it shows ends.",
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
    "Payload from clients that Dante passed on to targets, by the target's port. Absent as "
    "proxy_sessions_closed_total.",
    ["service"],
)
SENT = metric.counter(
    "proxy_session_sent_bytes_total",
    "Payload from targets that Dante passed on to clients, by the target's port. Absent as "
    "proxy_sessions_closed_total.",
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
SHOWS = metric.gauge(
    "dante_log_shows",
    "Whether Dante's log settings show requests that succeed, all that fail, and the ends of sessions: 1 "
    "when a line has proven it, 0 when it is known that they do not. Absent while nothing is known.",
    ["what"],
)
AMBIGUOUS = metric.counter(
    "dante_log_ambiguous_lines_total",
    "Lines of Dante's log that a name in them lets be read in several ways; they count for nothing else.",
)
LINES = metric.counter(
    "dante_log_lines_total",
    "Lines of Dante's log that were read. Absent until it was read once, as all of dante_log_*.",
)
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

_EXAMINED = 4 << 20
_LARGEST_CONF = 1 << 20
_CONFS = ("/etc/danted.conf", "/etc/sockd.conf", "/etc/dante/sockd.conf")
_NAMES = ("danted", "sockd")
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
        checkpoint_fault: Why the checkpoint could not be written; empty when it could.
        report: What it says.
    """

    log: str
    unread_bytes: int
    lag_seconds: float | None
    checkpoint_fault: str
    report: Report


class SessionsCollector:
    """A watching collector: follows the log as it grows."""

    name = "sessions"
    timeout = 10.0

    def __init__(
        self, settings: Settings, clock: Clock, own: OwnTraffic, succeeded: Callable[[], int] = lambda: 0
    ) -> None:
        """Touch nothing yet."""
        self._settings = settings
        self._clock = clock
        self._own = own
        self._log = DanteLog(
            Sessions(
                self._is_own,
                own_begins=own.begins,
                span=max(60.0, settings.window),
                include_own=settings.include_self,
            )
        )
        self._followed = FollowedLog(
            settings.log,
            clock,
            self._log,
            at_end=settings.start == "end",
            checkpoint=settings.checkpoint,
            succeeded=succeeded,
        )
        self._kept = False

    def _is_own(self, endpoint: bytes, at: float) -> bool:
        return self._own.includes(endpoint, at if at > _UNIX else self._clock.now())

    def describe(self) -> Sequence[Family]:
        """Requests, sessions, failures, and the log itself."""
        return (
            SUCCESS_RATE, SUCCESSFUL, FAILED, RATE, OPENED, CLOSED, DURATION, SETUP, RECEIVED, SENT,
            FAILURES, LOST, DNS, SHOWS, LINES, UNPARSED, AMBIGUOUS, ROTATIONS, TRUNCATIONS, GAPS, READ, LAG,
        )  # fmt: skip

    async def due(self) -> None:
        """At once while there is more, else when the log's directory changes, a second later in any case."""
        await self._followed.changed()

    async def update(self) -> None:
        """Read what was appended.

        Raises:
            SourceError: The log is absent or may not be read, or the checkpoint may not be read.
        """
        if not self._kept and self._settings.checkpoint:
            self._keep_own()
        await self._followed.read()

    def _keep_own(self) -> None:
        self._kept = True
        try:
            self._own.keep(f"{self._settings.checkpoint}.own", self._clock.now())
        except SourceError as error:
            log.warning("our own probes are not kept for the next run", extra={"reason": str(error)})

    async def close(self) -> None:
        """Keep position and totals, and let go of the log."""
        await self._followed.close()

    # Figures

    def active(self) -> int | None:
        """Connections accepted and not ended; None when the log's settings cannot tell."""
        return figures.active(self._log.sessions)

    def mean_duration(self) -> float | None:
        """Mean of the last 100 closed sessions, in seconds; None when the log does not tell."""
        return figures.mean_duration(self._log.sessions)

    def ended(self) -> tuple[int, int | None] | None:
        """Connections that ended and their payload; None until the log is known to show every end."""
        sessions = self._log.sessions
        return sessions.totals.ended() if sessions.settings.shows_ends else None

    def collect(self) -> Iterator[Metric]:
        """What the log has proven that it shows, and how it is read."""
        yield from self._requests()
        yield from self._sessions()
        if self._followed.was_read:
            yield from self._reading()

    def _requests(self) -> Iterator[Metric]:
        sessions, silent = self._log.sessions, self._followed.silence.proven
        totals, settings, now = sessions.totals, sessions.settings, self._followed.now()
        successes = settings.shows_successes and not silent
        yield SUCCESS_RATE.value(
            None if silent else figures.success_rate(sessions, now, self._settings.window)
        )
        yield SUCCESSFUL.value(totals.successful if successes else None)
        yield FAILED.value(totals.failed if settings.shows_failures else None)
        yield RATE.value(None if silent else figures.request_rate(sessions, now))
        shown = settings.shows
        yield FAILURES.values(
            {(REASONS[reason], reason): n for reason, n in totals.failures.items() if shown(reason)}
        )
        yield DNS.values({kind.removeprefix("dns_"): n for kind, n in totals.dns.items() if shown(kind)})
        yield SHOWS.values({what: shows for what, shows in self._shows().items() if shows is not None})

    def _shows(self) -> dict[str, bool | None]:
        settings, silent = self._log.sessions.settings, self._followed.silence.proven
        return {
            "successes": _known(settings.shows_successes and not silent, settings.hides_successes or silent),
            "failures": _known(settings.shows_failures, settings.hides_failures),
            "ends": _known(settings.shows_ends, settings.hides_ends),
        }

    def _sessions(self) -> Iterator[Metric]:
        sessions = self._log.sessions
        totals, settings, counting = sessions.totals, sessions.settings, sessions.counting
        successes, ends = settings.shows_successes and not self._followed.silence.proven, settings.shows_ends
        yield OPENED.values(_series(totals.opened if successes else {}))
        yield CLOSED.values(_series(totals.closed if ends else {}))
        yield DURATION.distributions({(): counting.durations} if settings.shows_durations else {})
        yield SETUP.distributions({(): counting.setups} if settings.connect else {})
        yield RECEIVED.values(_series(totals.received if ends else {}))
        yield SENT.values(_series(totals.sent if ends else {}))
        yield LOST.values(_series(totals.lost if successes or ends else {}))

    def _reading(self) -> Iterator[Metric]:
        progress = self._followed.progress
        yield LINES.value(self._log.lines)
        yield UNPARSED.value(self._log.unparsed)
        yield AMBIGUOUS.value(self._log.sessions.totals.ambiguous)
        yield READ.value(progress.read_bytes)
        yield ROTATIONS.value(progress.rotations)
        yield TRUNCATIONS.value(progress.truncations)
        yield GAPS.value(progress.gaps)
        yield LAG.value(self._followed.lag())

    async def examine(self) -> Sequence[Finding]:
        """Read the end of the log; say what its settings hide, and where to change them."""
        path = self._settings.log
        if path == lines.STANDARD_INPUT:
            return [Finding.ok("the log comes by standard input")]
        try:
            content = lines.last(path, _EXAMINED)
        except SourceError as error:
            return [Finding.fault(str(error), advice.of_absence(path, permitted=error.temporary))]
        log = DanteLog(Sessions(lambda _endpoint, _at: False))
        log.take(content)
        return advice.of_log(path, log, *await _rules(path))

    def status(self) -> Status:
        """The counts, the windows, what failed last and most, and what cannot be known."""
        followed = self._followed
        report = report_of(self._log, followed.now(), self._settings.window, silent=followed.silence.proven)
        return Status(
            self._settings.log, followed.unread(), followed.lag(), followed.checkpoint_fault, report
        )


def _known(shown: bool, hidden: bool) -> bool | None:  # noqa: FBT001 - a truth table
    if shown:
        return True
    return False if hidden else None


async def _rules(log: str) -> tuple[str, list[Rule]]:
    """A danted.conf and its rules.

    That which a running Dante was started with, of several the one that names our log; else a usual one.
    """
    found = []
    for path, where in [*await _started_with(), *((path, path) for path in _CONFS)]:
        with suppress(SourceError):
            found.append((path, file.read(where, _LARGEST_CONF)))
    for path, content in sorted(found, key=lambda it: log not in conf.outputs(it[1])):
        return path, conf.rules(content)
    return "", []


async def _started_with() -> list[tuple[str, str]]:
    """For each Dante that is found: (the path after its `-f`, where it is for us)."""
    found = []
    with suppress(SourceError):
        for process in await running.named(_NAMES):
            path = processes.conf_path(procfs.command_line(process.pid))
            if path:
                beside = "root" if path.startswith("/") else "cwd"
                found.append((path, f"/proc/{process.pid}/{beside}/{path}"))
    return found


def _series(counts: Mapping[str, int] | Mapping[tuple[str, str], int]) -> dict[Labels, float]:
    return dict(counts.items())


def build(
    settings: Settings, clock: Clock, own: OwnTraffic, succeeded: Callable[[], int] = lambda: 0
) -> SessionsCollector:
    """The collector of a log; it is opened by the first update.

    Args:
        settings: Its section.
        clock: Both clocks of the machine.
        own: The connections of our own probes.
        succeeded: Returns how many of our own probes have succeeded.
    """
    return SessionsCollector(settings, clock, own, succeeded)
