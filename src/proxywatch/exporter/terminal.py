"""`proxywatch status`: what the page shows, for a terminal."""

import http.client
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from proxywatch.dante.report import Report
from proxywatch.errors import SourceError
from proxywatch.exporter.status.model import Exit, Figure, Phase, Points, Status, Way
from proxywatch.printable import printable, printable_lines
from proxywatch.quantity import Address

_PATH = "/api/v1/status"
_LIMIT = 8 << 20
_TIMEOUT = 10.0
_TONES = {
    "good": "32", "ok": "32", "fair": "33", "nothing": "33", "warning": "33", "poor": "33", "bad": "31",
    "failing": "31", "unknown": "90", "waiting": "90",
}  # fmt: skip
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_NAME = 20
_MOST = 5

Paint = Callable[[str, str], str]


def fetch(url: str) -> Status:
    """Ask an exporter for its status.

    Args:
        url: Of the exporter: `http://127.0.0.1:9090`, with or without a path, or `unix:/run/proxywatch.sock`.

    Raises:
        SourceError: No answer, or one that is no status.
    """
    try:
        connection, path = _connect(url)
        try:
            connection.request("GET", path, headers={"accept": "application/json"})
            response = connection.getresponse()
            body = response.read(_LIMIT)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise SourceError(
                f"{url} answers {response.status}: {body[:200].decode(errors='replace').strip()}"
            )
        return msgspec.json.decode(body, type=Status)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"{url}: {error}") from error


def local(address: Address) -> str:
    """The URL of an exporter on this machine, by the address that it listens on."""
    if address.path is not None:
        return str(address)
    host = address.host if address.host not in (None, "::", "0.0.0.0") else "127.0.0.1"
    return f"http://[{host}]:{address.port}" if ":" in str(host) else f"http://{host}:{address.port}"


def _connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    if url.startswith("unix:"):
        return _Unix(url.removeprefix("unix:")), _PATH
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:9090")
    path = parts.path.rstrip("/").removesuffix(_PATH) + _PATH
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_TIMEOUT, context=context
        ), path
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT), path


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def render(status: Status, *, colour: bool | None = None) -> str:
    """Render the status as lines of text.

    Args:
        status: As `fetch` returns it.
        colour: Whether to use colours; None uses them on a terminal, unless NO_COLOR is set.
    """
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    paint = _paint if colour else _plain
    return "\n".join(_lines(_escaped(status), paint)) + "\n"


def _escaped(status: Status) -> Status:
    """The same with every text escaped: it comes from clients, or from an exporter that may be hostile."""
    escaped = msgspec.convert(_escape(msgspec.to_builtins(status)), Status)
    return msgspec.structs.replace(escaped, settings_fault=printable_lines(status.settings_fault))


def _escape(value: Any) -> Any:  # noqa: ANN401 - a document
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, dict):
        return {_escape(key): _escape(item) for key, item in value.items()}
    return value


def _paint(tone: str, text: str) -> str:
    return f"\033[{_TONES[tone]}m{text}\033[0m"


def _plain(_: str, text: str) -> str:
    return text


def _lines(status: Status, paint: Paint) -> Iterator[str]:
    yield from _verdict(status, paint)
    yield ""
    yield _row("VPN", _vpn(status, paint))
    yield _row("Exit", _exit(status.exit, paint))
    for figure in status.figures:
        yield _row(figure.title, _figure(figure, status.trends.get(figure.key), paint))
        if figure.key == "latency" and status.phases:
            yield _row("", ", ".join(map(_phase, status.phases)))
    for number, way in enumerate(status.ways):
        yield _row("Round trips" if number == 0 else "", _way(way))
    yield ""
    for collector in status.collectors:
        seen = _ago(status.time, collector.last_success) if collector.last_success else "never"
        mark = paint(collector.state, "●")
        yield f"  {mark} {collector.name:<{_NAME - 2}}{seen:<14}{collector.message}".rstrip()
    if status.failures:
        yield ""
    for failure in status.failures:
        what = " ".join(filter(None, (failure.kind, failure.stage, failure.reason)))
        why = ": ".join(filter(None, (failure.blame, failure.message, failure.target)))
        yield f"  {_ago(status.time, failure.at):<{_NAME}}{paint('bad', what)}  {why}"
    if status.requests is not None:
        yield from _requests(status.requests)


def _verdict(status: Status, paint: Paint) -> Iterator[str]:
    verdict = status.verdict
    yield f"{paint(verdict.level, '● ' + verdict.message)}  {status.name}"
    if verdict.detail:
        yield f"  {verdict.detail}"
    if verdict.advice:
        yield f"  → {verdict.advice}"
    if status.settings_fault:
        yield ""
        yield "  " + paint(
            "bad", "The settings that were read last were refused; the ones before are in force:"
        )
        yield from (f"    {line}" for line in status.settings_fault.splitlines()[:_MOST])


def _requests(requests: Report) -> Iterator[str]:
    causes = ((cause.count, f"{cause.blame}: {cause.reason}") for cause in requests.causes)
    yield from _ranks("Why requests fail", causes)
    yield from _ranks("Most failures", ((it.weight, it.target) for it in requests.most_failures))
    yield from _ranks("Most bytes", ((it.weight, it.target) for it in requests.most_bytes))
    hidden = ", ".join(requests.cannot_tell)
    if hidden or requests.unparsed:
        yield ""
    if hidden:
        yield f"  The log does not show {hidden}: see `proxywatch check`"
    if requests.unparsed:
        yield f"  {requests.unparsed:,} lines of the log are not Dante's: {requests.unparsed_example!r}"


def _ranks(title: str, ranks: Iterable[tuple[int, str]]) -> Iterator[str]:
    shown = list(ranks)[:_MOST]
    if shown:
        yield ""
        yield f"  {title}"
    for weight, name in shown:
        yield f"  {weight:>{_NAME - 2},}  {name}"


def _row(title: str, text: str) -> str:
    return f"  {title:<{_NAME}}{text}".rstrip()


def _vpn(status: Status, paint: Paint) -> str:
    vpn = status.vpn
    state = (
        paint("unknown", "not watched")
        if vpn.up is None
        else paint("good" if vpn.up else "bad", vpn.state or "")
    )
    handshake = f", last handshake {_ago(status.time, vpn.last_handshake)}" if vpn.last_handshake else ""
    return f"{state}  {vpn.message}{handshake}"


def _exit(exit_: Exit | None, paint: Paint) -> str:
    if exit_ is None:
        return paint("unknown", "not known")
    place = ", ".join(filter(None, (exit_.city, exit_.country)))
    checks = (
        paint("good" if ok else "bad", f"{'✓' if ok else '✗'} {name}") for name, ok in exit_.checks.items()
    )
    return "  ".join(filter(None, (place, exit_.ip, exit_.server, *checks)))


def _figure(figure: Figure, points: Points | None, paint: Paint) -> str:
    if figure.value is None:
        return paint("unknown", f"-  {figure.reason}")
    text = f"{_number(figure.value)} {figure.unit}".strip()
    line = _sparkline(points.values[-_WIDTH:]) if points else ""
    return f"{paint(figure.grade, text)}{' ' * (16 - len(text))}{line}".rstrip()


def _phase(phase: Phase) -> str:
    return f"{phase.name.replace('_', ' ')} {phase.seconds * 1000:.1f} ms"


def _way(way: Way) -> str:
    lost = f", {way.lost * 100:.2g} % sent again" if way.lost else ""
    return f"{way.title.lower()} {way.seconds * 1000:.1f} ms{lost}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - where digits stop to matter


def _sparkline(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    half = (high / 2 - low / 2) or 1.0  # the whole may be more than a float holds
    steps = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[round((value / 2 - low / 2) / half * steps)] for value in values
    )


def _ago(now: float, at: float) -> str:
    seconds = max(now - at, 0.0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
