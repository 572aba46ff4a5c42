"""`proxywatch log`: what whole logs of Dante's say, without running anything."""

from collections.abc import Iterable, Iterator

import msgspec

from proxywatch.dante.log import DanteLog
from proxywatch.dante.report import Destination, Report, Times, report_of
from proxywatch.dante.sessions import Sessions
from proxywatch.source.log import whole

_NAME = 20
_MOST = 25
_SHOWN = 10


def read(paths: Iterable[str]) -> Report:
    """Counts what logs say.

    Args:
        paths: The oldest first; `-` for standard input.

    Raises:
        SourceError: One cannot be read.
    """
    log = DanteLog(Sessions(lambda _endpoint, _at: False))
    for path in paths:
        for lines in whole.lines(path):
            log.take(lines)
    return report_of(log, log.sessions.clock, None)


def encoded(report: Report) -> str:
    """As JSON."""
    return msgspec.json.format(msgspec.json.encode(report)).decode()


def text(report: Report) -> str:
    """For a terminal; what came from the log is escaped."""
    return "\n".join(_printable(line) for line in _lines(report)) + "\n"


def _printable(line: str) -> str:
    """A line without characters that a terminal would act on."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in line)


def _lines(report: Report) -> Iterator[str]:
    yield _row("lines", f"{report.lines:,}" + (f", Dante {report.dante}" if report.dante else ""))
    if report.unparsed:
        example = f", such as {report.unparsed_example[:100]!r}" if report.unparsed_example else ""
        yield _row("", f"{report.unparsed:,} are none of Dante's{example}")
    if report.ambiguous:
        yield _row("", f"{report.ambiguous:,} could be read in several ways and count for nothing")
    yield _row("requests", _requests(report))
    yield _row("health checks", f"{report.health_checks:,} connections without a byte, which are no requests")
    for command, count in report.opened.items():
        if count:
            closed = f", {report.closed[command]:,} closed" if report.closed else ""
            yield _row(command, f"{count:,} opened{closed}")
    if report.active is not None:
        yield _row("open at the end", f"{report.active:,} connections")
    if report.lost:
        yield _row("without an end", ", ".join(f"{count:,} {cause}" for cause, count in report.lost.items()))
    for service, received in report.received_bytes.items():
        if received or report.sent_bytes[service]:
            yield _row(
                service, f"{_size(received)} from clients, {_size(report.sent_bytes[service])} to them"
            )
    yield _row("duration", _spread(report.durations))
    yield _row("set-up", _spread(report.setups))
    yield from _table("failed", ((it.count, f"{it.reason} ({it.blame})") for it in report.causes))
    yield from _table("most bytes", map(_heavy, report.most_bytes[:_SHOWN]))
    yield from _table("most failures", map(_heavy, report.most_failures[:_SHOWN]))
    for missing in report.cannot_tell:
        yield _row("not logged", missing)


def _heavy(one: Destination) -> tuple[int, str]:
    return one.weight, one.target


def _requests(report: Report) -> str:
    if report.successful is None:
        failed = "some" if report.failed is None else f"{report.failed:,}"
        return f"{failed} failed; those that succeeded are not logged"
    if report.failed is None:
        return f"{report.successful:,} succeeded; not all that failed are logged"
    rate = "" if report.success_rate_percent is None else f" ({report.success_rate_percent:.1f} % succeeded)"
    return f"{report.successful:,} succeeded, {report.failed:,} failed{rate}"


def _spread(times: Times) -> str:
    if times.mean is None:
        return "not known"
    bounds = ((times.p50, "p50"), (times.p90, "p90"))
    within = ", ".join(f"{name} {bound:g} s" for bound, name in bounds if bound is not None)
    return f"mean {times.mean:.3f} s of {times.count:,}" + (f"; {within}" if within else "")


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
