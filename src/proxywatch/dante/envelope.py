r"""What a collecting program puts around a line of Dante's, taken off again.

Dante writes to its own file, or to standard error, lines that begin with a head of its own:

    Nov 21 12:04:52 (1795262692.980816) danted[7327]: info: ...

What comes another way has something around it, or another head:

    syslog           <30>Nov 21 12:04:52 HOST danted[7327]: info: ...     also RFC 5424, busybox, journalctl
    two heads        Nov 21 12:04:52 HOST danted[1]: Nov 21 12:04:52 (1795262692.980816) danted[7]: info: ...
    container logs   2026-11-21T12:04:52.98Z stderr F ...                 also docker, compose, kubectl
    supervisors      2026-11-21 12:04:52 ERR [DANTE] ...                  also TAI64N
    JSON             {"log": "...\n", "stream": "stderr", "time": "..."}  also journalctl -o json

`unwrap` gives the line as it would stand in Dante's own file. Dante's own time is used where the line has it,
else that of the envelope. A stamp without a year or a time zone gives seconds since the start of a leap year,
of which only differences mean anything; they are below 1e9, which no Unix time is.

An envelope that is not listed here is refused as a whole: half of a line that was read wrong is worse than
none.
"""

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec

from proxywatch.errors import ParseError

OWN_HEAD: Final = (
    rb"(?:[A-Z].{15}|<no localtime available> )\((\d{1,11}\.\d{1,9})\) [^\s\[]{1,64}+\[(\d{1,10})\]: "
)
_LEVELS = 4  # kubectl's prefix, a time, a syslog head, Dante's own head
_LONGEST_JSON = 1 << 15

_CLOCK = rb"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ISO = rb"\d{4}-\d\d-\d\dT" + _CLOCK + rb"(?:Z|[+-]\d\d:?\d\d)"
_MONTHLY = rb"[A-Z][a-z]{2} [ \d]\d " + _CLOCK
_FULL = rb"[A-Z][a-z]{2} \d{4}-\d\d-\d\d " + _CLOCK + rb" [A-Z][A-Z\d+-]{1,7}"
_UNIX = rb"\d{1,11}\.\d{1,9}"
_SINCE_BOOT = rb"\[ {0,16}\d{1,9}\.\d{1,9}(?: <[ \d.]{1,16}>)?\]"
_WORD = rb"[^\s\[\](){}<>\"'=|]{1,255}"

_own = re.compile(OWN_HEAD, re.DOTALL).match
_any_own = re.compile(rb"^" + OWN_HEAD, re.MULTILINE).search
_agent = re.compile(
    rb"(?:"
    rb"" + _ISO + rb" (?:std(?:out|err) [FP] )?"  # containerd, CRI-O, docker logs -t
    rb"|\[(?:pod/)?[\w.-]{1,253}/[\w.-]{1,253}(?:/[\w.-]{1,253})?\] "  # kubectl logs --prefix
    rb"|[\w.-]{1,253} {1,64}\| {1,2}"  # docker compose
    rb"|\d{4}[-/]\d\d[-/]\d\d " + _CLOCK + rb" (?:[A-Z]{3,8} )?(?:\[[\w.-]{1,64}\] )?"  # supervisors
    rb"|@[0-9a-f]{24} "  # TAI64N of daemontools and s6
    rb")"
).match  # fmt: skip
_syslog = re.compile(
    rb"(?:<\d{1,3}>)?(?:1 )?(" + rb"|".join((_MONTHLY, _ISO, _FULL, _UNIX, _SINCE_BOOT)) + rb") "
    rb"(?:" + _WORD + rb" ){0,3}?"
    rb"(?:" + _WORD + rb"(?:\[(\d{1,10})\])?: |" + _WORD + rb" (\d{1,10}|-) \S{1,32} "
    rb"(?:-|(?:\[[^\]]{0,512}\]){1,4}) (?:\xef\xbb\xbf)?)"
).match  # fmt: skip
_message = re.compile(rb"[a-z]{1,16}: ").match
_noise = re.compile(rb"TCP_INFO:|tcpi_\w{1,64} {0,64}:|$").match


class _Docker(msgspec.Struct):
    log: str
    stream: str
    time: str


class _Journal(msgspec.Struct):
    message: str | list[int] = msgspec.field(name="MESSAGE")
    realtime: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    source_realtime: str = msgspec.field(name="_SOURCE_REALTIME_TIMESTAMP", default="")
    syslog_pid: str = msgspec.field(name="SYSLOG_PID", default="")
    pid: str = msgspec.field(name="_PID", default="")


_docker = msgspec.json.Decoder(_Docker).decode
_journal = msgspec.json.Decoder(_Journal).decode


def unwrap(line: bytes) -> bytes:
    """Returns a line as Dante would have written it to a file of its own.

    Args:
        line: Without its newline.

    Raises:
        ParseError: The envelope is not known, or there is no line of Dante's in it.
    """
    for _ in range(_LEVELS):
        if _own(line):
            return line
        if line.startswith(b"{"):
            line, stamp, pid = _out_of_json(line)
            if stamp and _message(line):
                return _own_form(stamp, pid, line)
            continue
        agent = _agent(line)
        syslog = _syslog(line)
        if syslog is not None:
            rest = line[syslog.end() :]
            pid = syslog[2] or syslog[3] or b""
            if pid.isdigit() and _message(rest):
                return _own_form(syslog[1], pid, rest)
            if _own(rest) or _noise(rest):
                return rest
        if agent is None:
            break
        line = line[agent.end() :]
    if _own(line) or _noise(line):
        return line
    raise ParseError("no line of Dante's")


def unwrap_all(chunk: bytes) -> bytes:
    """Returns complete lines as Dante would have written them; those that it did not write, as they are."""
    if b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n")
    if _any_own(chunk):
        return chunk
    lines = chunk.split(b"\n")
    for number, line in enumerate(lines):
        if line and not _own(line):
            try:
                lines[number] = unwrap(line)
            except ParseError:
                continue
    return b"\n".join(lines)


def _out_of_json(line: bytes) -> tuple[bytes, bytes, bytes]:
    """(line, stamp, pid) of docker's json-file or of `journalctl -o json`.

    The first has no stamp of its own.
    """
    if len(line) > _LONGEST_JSON:
        raise ParseError("a JSON line that is longer than any of Dante's")
    try:
        if line.startswith(b'{"log":'):
            return _first_line(_docker(line).log.encode()), b"", b""
        entry = _journal(line)
        message = entry.message.encode() if isinstance(entry.message, str) else bytes(entry.message)
        micros = int((entry.source_realtime or entry.realtime)[:20])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ParseError("JSON that is neither docker's nor journalctl's") from error
    stamp = b"%d.%06d" % divmod(micros, 1_000_000)
    pid = (entry.syslog_pid or entry.pid).encode()
    return _first_line(message), stamp if pid.isdigit() else b"", pid


def _first_line(text: bytes) -> bytes:
    return text.partition(b"\n")[0].removesuffix(b"\r")  # what follows are fields of TCP_INFO


def _own_form(stamp: bytes, pid: bytes, rest: bytes) -> bytes:
    return b"Jan  1 00:00:00 (%s) danted[%s]: %s" % (_seconds(stamp), pid[:10], rest)


@lru_cache(maxsize=64)  # those of syslog are the same for all lines of a second
def _seconds(stamp: bytes) -> bytes:
    """Unix time where the stamp allows it, else seconds since the start of a leap year, or since the boot."""
    text = stamp.decode(errors="replace").strip("[] ").replace(",", ".")
    try:
        if text[0].isdigit() and "T" not in text:
            seconds = float(text.partition(" <")[0])
        elif text[0].isdigit():
            seconds = datetime.fromisoformat(text).timestamp()
        else:
            seconds = _without_zone(text)
    except (ValueError, OverflowError):
        raise ParseError("a stamp that is no time") from None
    if not 0 <= seconds < 1e11:  # noqa: PLR2004 - eleven digits
        raise ParseError("a stamp that is no time")
    return b"%.6f" % seconds


def _without_zone(text: str) -> float:
    day, _, fraction = text.partition(".")
    zone = ""
    if day[4:5].isdigit() and day[3] == " " and "-" in day[:9]:  # Sat 2026-11-21 12:04:52 UTC
        if fraction:
            fraction, _, zone = fraction.partition(" ")
        else:
            day, _, zone = day.rpartition(" ")
        parts = datetime.strptime(day[4:], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the zone is judged below
        if zone not in {"UTC", "GMT"}:  # the others are ambiguous
            parts = parts.replace(year=2000)
    else:
        parts = datetime.strptime(f"2000 {day}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - differences only
    since = 0 if parts.year != 2000 else timegm((2000, 1, 1, 0, 0, 0))  # noqa: PLR2004 - a leap year
    return timegm(parts.timetuple()) - since + float(f"0.{fraction or 0}")
