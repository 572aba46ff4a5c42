"""`proxywatch log`: what whole logs of Dante's say, without running anything."""

from collections.abc import Iterable, Iterator

import msgspec

from proxywatch.dante.account import DanteAccount
from proxywatch.dante.ledger import Ledger
from proxywatch.dante.reason import REASONS
from proxywatch.dante.report import Destination, by_command, host_port, report_of
from proxywatch.dante.sessions import Sessions
from proxywatch.distribution import Distribution
from proxywatch.source.log import whole

_NAME = 20
_MOST = 25
_SHOWN = 10
_HALF, _NINE_TENTHS = 0.5, 0.9


class Times(msgspec.Struct, frozen=True):
    """A distribution: how many, their mean, and bounds that half and nine tenths are within, in seconds."""

    count: int
    mean: float | None
    half_within: float | None
    nine_tenths_within: float | None


class Failures(msgspec.Struct, frozen=True):
    """Requests that failed for a reason, and whose fault that is."""

    count: int
    blame: str


class Log(msgspec.Struct, frozen=True):
    """What logs say.

    Attributes:
        dante: The server's version; empty until it said so.
        lines, unparsed, unparsed_example: Lines read, those that Dante does not write, and the last of these.
        until: Unix time of the last line, in seconds.
        successful, failed: Requests; None where the log's settings hide some.
        success_rate_percent: Over the whole log; None where either is hidden.
        health_checks: Connections that ended without a byte.
        opened, closed: Sessions by command; empty where these are hidden.
        received_bytes, sent_bytes: From and to clients by service.
        durations, setups: Of sessions.
        open: Connections without an end; None where that cannot be known.
        lost: Connections whose end never came, by cause.
        failures: By reason.
        top_by_bytes, top_by_failures: The heaviest destinations.
        cannot_tell: What the log's settings hide, in words.
    """

    dante: str
    lines: int
    unparsed: int
    unparsed_example: str
    until: float
    successful: int | None
    failed: int | None
    success_rate_percent: float | None
    health_checks: int
    opened: dict[str, int]
    closed: dict[str, int]
    received_bytes: dict[str, int]
    sent_bytes: dict[str, int]
    durations: Times
    setups: Times
    open: int | None
    lost: dict[str, int]
    failures: dict[str, Failures]
    top_by_bytes: list[Destination]
    top_by_failures: list[Destination]
    cannot_tell: list[str]


def read(paths: Iterable[str]) -> Log:
    """Account for logs.

    Args:
        paths: The oldest first; `-` for standard input.

    Raises:
        SourceError: One cannot be read.
    """
    account = DanteAccount(Sessions(lambda _endpoint, _at: False))
    for path in paths:
        for lines in whole.lines(path):
            account.take(lines)
    return _told(account)


def _told(account: DanteAccount) -> Log:
    sessions = account.sessions
    totals, settings = sessions.totals, sessions.settings
    report = report_of(account, sessions.clock, 0)
    good, bad = report.successful, report.failed
    ends = settings.tells_ends
    return Log(
        dante=report.dante,
        lines=report.lines,
        unparsed=report.unparsed,
        unparsed_example=report.unparsed_example,
        until=sessions.clock,
        successful=good,
        failed=bad,
        success_rate_percent=_rate(sessions),
        health_checks=report.health_checks,
        opened=report.opened if good is not None else {},
        closed=by_command(totals.closed) if ends else {},
        received_bytes=dict(totals.received) if ends else {},
        sent_bytes=dict(totals.sent) if ends else {},
        durations=_times(sessions.durations if settings.tells_durations else Distribution(())),
        setups=_times(sessions.setups),
        open=report.active,
        lost={cause: count for cause, count in totals.lost.items() if count},
        failures={reason: Failures(count, REASONS[reason]) for reason, count in report.failures.items()},
        top_by_bytes=report.top_by_bytes,
        top_by_failures=report.top_by_failures,
        cannot_tell=report.cannot_tell,
    )


def _rate(ledger: Ledger) -> float | None:
    totals = ledger.totals
    decided = totals.successful + totals.failed
    return 100 * totals.successful / decided if decided and ledger.settings.tells_rate else None


def _times(distribution: Distribution) -> Times:
    count = distribution.count
    return Times(
        count,
        distribution.sum / count if count else None,
        _within(distribution, _HALF),
        _within(distribution, _NINE_TENTHS),
    )


def _within(distribution: Distribution, share: float) -> float | None:
    """The least bound of a bucket that a share of all is within; None without any, or beyond the last."""
    count = distribution.count
    bounds = (bound for bound, total, _ in distribution.cumulative() if count and total >= share * count)
    bound = next(bounds, None)
    return None if bound == float("inf") else bound


def encoded(log: Log) -> str:
    """As JSON."""
    return msgspec.json.format(msgspec.json.encode(log)).decode()


def text(log: Log) -> str:
    """For a terminal."""
    return "\n".join(_lines(log)) + "\n"


def _lines(log: Log) -> Iterator[str]:
    yield _row("lines", f"{log.lines:,}" + (f", Dante {log.dante}" if log.dante else ""))
    if log.unparsed:
        yield _row("", f"{log.unparsed:,} are none of Dante's, such as {log.unparsed_example[:100]!r}")
    yield _row("requests", _requests(log))
    yield _row("health checks", f"{log.health_checks:,} connections without a byte, which are no requests")
    for command, count in log.opened.items():
        if count:
            closed = f", {log.closed[command]:,} closed" if log.closed else ""
            yield _row(command, f"{count:,} opened{closed}")
    if log.open is not None:
        yield _row("open at the end", f"{log.open:,} connections")
    if log.lost:
        yield _row("without an end", ", ".join(f"{count:,} {cause}" for cause, count in log.lost.items()))
    for service, received in log.received_bytes.items():
        if received or log.sent_bytes[service]:
            yield _row(service, f"{_size(received)} from clients, {_size(log.sent_bytes[service])} to them")
    yield _row("duration", _spread(log.durations))
    yield _row("set-up", _spread(log.setups))
    yield from _table("failed", ((n.count, f"{why} ({n.blame})") for why, n in log.failures.items()))
    yield from _table("most bytes", map(_heavy, log.top_by_bytes[:_SHOWN]))
    yield from _table("most failures", map(_heavy, log.top_by_failures[:_SHOWN]))
    for missing in log.cannot_tell:
        yield _row("not logged", missing)


def _heavy(one: Destination) -> tuple[int, str]:
    return one.weight, host_port(one.destination)


def _requests(log: Log) -> str:
    if log.successful is None:
        failed = "some" if log.failed is None else f"{log.failed:,}"
        return f"{failed} failed; those that succeeded are not logged"
    if log.failed is None:
        return f"{log.successful:,} succeeded; not all that failed are logged"
    rate = "" if log.success_rate_percent is None else f" ({log.success_rate_percent:.1f} % succeeded)"
    return f"{log.successful:,} succeeded, {log.failed:,} failed{rate}"


def _spread(times: Times) -> str:
    if times.mean is None:
        return "not known"
    bounds = ((times.half_within, "half"), (times.nine_tenths_within, "nine tenths"))
    within = ", ".join(f"{share} within {bound:g} s" for bound, share in bounds if bound is not None)
    return f"{times.mean:.3f} s in the mean of {times.count:,}" + (f"; {within}" if within else "")


def _table(title: str, rows: Iterable[tuple[int, str]]) -> Iterator[str]:
    for number, (count, what) in enumerate(sorted(rows, reverse=True)[:_MOST]):
        yield _row("" if number else title, f"{count:>14,}  {what}")


def _row(title: str, words: str) -> str:
    return f"{title:<{_NAME}}{words}".rstrip()


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - decimal units
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:,.4g} GB"
