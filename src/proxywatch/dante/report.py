"""What a log says, as the status page, the API and `proxywatch log` show it."""

from collections.abc import Mapping

import msgspec

from proxywatch.dante import figures
from proxywatch.dante.log import DanteLog
from proxywatch.dante.reason import REASONS
from proxywatch.dante.sketch import TopKeys
from proxywatch.dante.totals import Failure
from proxywatch.distribution import Distribution

_TOP = 20


class Destination(msgspec.Struct, frozen=True):
    """One of those that clients ask for most.

    Attributes:
        target: `HOST:PORT`.
        weight: Bytes both ways, or failed requests.
        error: How much more that may be; 0 while there are few destinations.
    """

    target: str
    weight: int
    error: int


class Cause(msgspec.Struct, frozen=True):
    """Why requests failed, and how often.

    Attributes:
        reason: As in `proxy_request_failures_total`.
        blame: Whose fault: `client`, `policy`, `proxy`, `tunnel` or `destination`.
        count: Of requests.
    """

    reason: str
    blame: str
    count: int


class Times(msgspec.Struct, frozen=True):
    """A distribution: how many, their mean, and the bounds of the buckets that half and 90 % are within.

    All but the count are in seconds; None without any, or beyond the last bound.
    """

    count: int
    mean: float | None
    p50: float | None
    p90: float | None


class Report(msgspec.Struct, frozen=True):
    """What a log says, and what it cannot.

    Attributes:
        dante: The server's version; empty until it said so.
        lines, unparsed, unparsed_example: Lines read, those that Dante does not write, and the last of these.
        ambiguous: Lines of Dante's that a name lets be read in several ways; they count for nothing.
        log_time: Now by the log's own clock, in seconds.
        successful, failed: Requests; None where it is not proven that the log shows them all.
        success_rate_percent: Of the last requests, or of all; None where either is hidden.
        requests_per_minute, mean_duration_seconds: As the metrics.
        active: Connections accepted and not ended; None where that is not known.
        health_checks: Connections that ended without a byte.
        opened, closed: Sessions by command; empty where they are not known.
        received_bytes, sent_bytes: From and to clients, by service; empty where they are not known.
        durations, setups: Of sessions.
        lost: Connections whose end never came, by cause.
        causes: Why requests failed, the most frequent first.
        recent_failures: The last ones, the latest last.
        most_bytes, most_failures: The heaviest destinations, 20 at most.
        cannot_tell: What the log does not show, in words.
    """

    dante: str
    lines: int
    unparsed: int
    unparsed_example: str
    ambiguous: int
    log_time: float
    successful: int | None
    failed: int | None
    success_rate_percent: float | None
    requests_per_minute: int | None
    mean_duration_seconds: float | None
    active: int | None
    health_checks: int
    opened: dict[str, int]
    closed: dict[str, int]
    received_bytes: dict[str, int]
    sent_bytes: dict[str, int]
    durations: Times
    setups: Times
    lost: dict[str, int]
    causes: list[Cause]
    recent_failures: list[Failure]
    most_bytes: list[Destination]
    most_failures: list[Destination]
    cannot_tell: list[str]


def report_of(log: DanteLog, now: float, window: float | None, *, silent: bool = False) -> Report:
    """The report at a time.

    Args:
        log: Read so far.
        now: By the log's own clock, in seconds.
        window: How far back the success rate looks, in seconds; None for all of the log.
        silent: Whether it is known otherwise that requests succeed and leave no line.
    """
    sessions = log.sessions
    counting, totals, settings = sessions.counting, sessions.totals, sessions.settings
    successes = settings.shows_successes and not silent
    ends = settings.shows_ends
    hidden = settings.cannot_tell()
    if silent and not settings.hides_successes:
        hidden = ["requests that succeed: our own probes do, and leave no line", *hidden]
    return Report(
        dante=sessions.version,
        lines=log.lines,
        unparsed=log.unparsed,
        unparsed_example=_text(log.example),
        ambiguous=totals.ambiguous,
        log_time=now,
        successful=totals.successful if successes else None,
        failed=totals.failed if settings.shows_failures else None,
        success_rate_percent=_success_rate(log, now, window) if not silent else None,
        requests_per_minute=figures.request_rate(sessions, now) if not silent else None,
        mean_duration_seconds=figures.mean_duration(sessions),
        active=figures.active(sessions),
        health_checks=totals.probes,
        opened=by_command(totals.opened) if successes else {},
        closed=by_command(totals.closed) if ends else {},
        received_bytes=dict(totals.received) if ends else {},
        sent_bytes=dict(totals.sent) if ends else {},
        durations=_times(counting.durations if settings.shows_durations else Distribution(())),
        setups=_times(counting.setups),
        lost={cause: count for cause, count in totals.lost.items() if count},
        causes=_causes(totals.failures),
        recent_failures=counting.recent(),
        most_bytes=_destinations(counting.by_bytes),
        most_failures=_destinations(counting.by_failures),
        cannot_tell=hidden,
    )


def host_port(destination: str) -> str:
    """`HOST:PORT` of a destination as the log writes it."""
    host, dot, port = destination.rpartition(".")
    if not dot or not port.isdecimal():
        return destination
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def by_command(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Sessions by command, whosever they are, out of those by (command, origin)."""
    commands = dict.fromkeys((command for command, _ in counts), 0)
    for (command, _), count in counts.items():
        commands[command] += count
    return commands


def _success_rate(log: DanteLog, now: float, window: float | None) -> float | None:
    if window is None:
        return figures.success_rate_of_all(log.sessions)
    return figures.success_rate(log.sessions, now, window)


def _causes(failures: Mapping[str, int]) -> list[Cause]:
    causes = [Cause(reason, REASONS[reason], count) for reason, count in failures.items() if count]
    return sorted(causes, key=lambda cause: cause.count, reverse=True)


def _times(distribution: Distribution) -> Times:
    count = distribution.count
    mean = distribution.sum / count if count else None
    return Times(count, mean, _quantile(distribution, 0.5), _quantile(distribution, 0.9))


def _quantile(distribution: Distribution, share: float) -> float | None:
    """The least bound of a bucket that a share of all is within; None without any, or beyond the last."""
    count = distribution.count
    bounds = (bound for bound, total, _ in distribution.cumulative() if count and total >= share * count)
    bound = next(bounds, None)
    return None if bound == float("inf") else bound


def _destinations(sketch: TopKeys) -> list[Destination]:
    return [Destination(host_port(_text(key)), weight, sketch.error) for key, weight in sketch.top(_TOP)]


def _text(text: bytes) -> str:
    return text.decode(errors="backslashreplace")
