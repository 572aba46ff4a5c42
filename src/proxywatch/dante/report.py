"""What a log says, as the status page and the API show it."""

from collections.abc import Mapping

import msgspec

from proxywatch.dante.account import DanteAccount
from proxywatch.dante.sketch import TopKeys
from proxywatch.dante.totals import Failure

_TOP = 20


class Destination(msgspec.Struct, frozen=True):
    """A target as the log writes it, `ADDRESS.PORT`, and its weight, which is too low by `error` at most."""

    destination: str
    weight: int
    error: int


class Report(msgspec.Struct, frozen=True):
    """What the log says, and what it cannot.

    Attributes:
        dante: Its version; empty until it said so.
        lines, unparsed, unparsed_example: Lines read, those that are none of Dante's, and the last of these.
        log_time: Now by the log's own clock, in seconds.
        successful, failed: Requests; None where the log's settings hide some.
        success_rate_percent, requests_per_minute, mean_duration_seconds: As the metrics.
        active: Connections accepted and not ended.
        health_checks: Connections that ended without a byte.
        opened: Sessions by command.
        failures: Failed requests by reason.
        recent_failures: The last ones.
        top_by_bytes, top_by_failures: The heaviest destinations.
        cannot_tell: What the log's settings hide, in words.
    """

    dante: str
    lines: int
    unparsed: int
    unparsed_example: str
    log_time: float
    successful: int | None
    failed: int | None
    success_rate_percent: float | None
    requests_per_minute: int | None
    mean_duration_seconds: float | None
    active: int | None
    health_checks: int
    opened: dict[str, int]
    failures: dict[str, int]
    recent_failures: list[Failure]
    top_by_bytes: list[Destination]
    top_by_failures: list[Destination]
    cannot_tell: list[str]


def report_of(account: DanteAccount, now: float, window: float) -> Report:
    """The report at a time of the log's clock, in seconds; the success rate is that of the last `window`."""
    sessions = account.sessions
    totals, settings = sessions.totals, sessions.settings
    return Report(
        dante=sessions.version,
        lines=account.lines,
        unparsed=account.unparsed,
        unparsed_example=_text(account.example),
        log_time=now,
        successful=totals.successful if settings.tells_successes else None,
        failed=totals.failed if settings.tells_failures else None,
        success_rate_percent=sessions.success_rate(now, window),
        requests_per_minute=sessions.request_rate(now),
        mean_duration_seconds=sessions.mean_duration(),
        active=sessions.active(),
        health_checks=totals.probes,
        opened=by_command(totals.opened),
        failures={reason: count for reason, count in totals.failures.items() if count},
        recent_failures=sessions.recent(),
        top_by_bytes=_destinations(sessions.by_bytes),
        top_by_failures=_destinations(sessions.by_failures),
        cannot_tell=settings.cannot_tell(),
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


def _destinations(sketch: TopKeys) -> list[Destination]:
    return [Destination(_text(key), weight, sketch.error) for key, weight in sketch.top(_TOP)]


def _text(text: bytes) -> str:
    return text.decode(errors="backslashreplace")
