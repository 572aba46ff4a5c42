"""Whatever a collecting program puts around Dante's lines, the counts are the same.

What is not known is refused.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dante import line as dante_line
from proxywatch.dante.envelope import unwrap, unwrap_all
from proxywatch.dante.log import DanteLog
from proxywatch.dante.records import Closed, Opened
from proxywatch.dante.sessions import Sessions
from proxywatch.errors import ParseError
from support.corpora import corpus

HEAD = re.compile(rb"(\w{3} [ \d]\d [\d:]{8}) \((\d+\.\d{6})\) danted\[(\d+)\]: (.*)")

# What Dante itself writes: to a file or standard error with a head of its own, to syslog without one.
Inner = Callable[[re.Match[bytes]], bytes]
# Around it: the outer line of the match and what is inside.
Outer = Callable[[re.Match[bytes], bytes], bytes]


def at(match: re.Match[bytes], form: str) -> bytes:
    return datetime.fromtimestamp(float(match[2]), UTC).strftime(form).encode()


def docker(_: re.Match[bytes], inner: bytes) -> bytes:
    entry = {"log": inner.decode() + "\n", "stream": "stderr", "time": "2026-11-21T12:04:52.980816123Z"}
    return json.dumps(entry, separators=(",", ":")).encode()


def journal_json(match: re.Match[bytes], inner: bytes) -> bytes:
    entry = {
        "__CURSOR": "s=1;i=2",
        "_SYSTEMD_UNIT": "danted.service",
        "_PID": match[3].decode(),
        "PRIORITY": "6",
        "__REALTIME_TIMESTAMP": str(round(float(match[2]) * 1e6) + 3),
        "_SOURCE_REALTIME_TIMESTAMP": str(round(float(match[2]) * 1e6)),
        "MESSAGE": inner.decode(),
    }
    return json.dumps(entry).encode()


def journal_bytes(match: re.Match[bytes], inner: bytes) -> bytes:
    entry = json.loads(journal_json(match, b""))
    return json.dumps(entry | {"MESSAGE": list(inner)}).encode()


# Each writes the time and the process itself, so a line of Dante's may come within it with a head or without.
WITH_STAMP: dict[str, Outer] = {
    "syslog socket": lambda m, inner: b"<30>%b danted[%b]: %b" % (m[1], m[3], inner),
    "rsyslog": lambda m, inner: b"%b proxyhost danted[%b]: %b" % (m[1], m[3], inner),
    "rsyslog with a priority": lambda m, inner: b"<30>%b proxyhost sockd[%b]: %b" % (m[1], m[3], inner),
    "rsyslog, ISO": lambda m, inner: (
        b"%b proxyhost danted[%b]: %b" % (at(m, "%Y-%m-%dT%H:%M:%S.%f+00:00"), m[3], inner)
    ),
    "busybox": lambda m, inner: b"%b proxyhost daemon.info danted[%b]: %b" % (m[1], m[3], inner),
    "RFC 5424": lambda m, inner: (
        b"<30>1 %b proxyhost danted %b - - %b" % (at(m, "%Y-%m-%dT%H:%M:%S.%fZ"), m[3], inner)
    ),
    "RFC 5424 with a BOM": lambda m, inner: (
        b"<30>1 %b proxyhost danted %b ID1 - \xef\xbb\xbf%b" % (at(m, "%Y-%m-%dT%H:%M:%S.%fZ"), m[3], inner)
    ),
    "RFC 5424 with data": lambda m, inner: (
        b'<30>1 %b proxyhost danted %b - [meta sequenceId="1"] %b'
        % (at(m, "%Y-%m-%dT%H:%M:%S.%fZ"), m[3], inner)
    ),
    "journalctl -o short-precise": lambda m, inner: (
        b"%b proxyhost danted[%b]: %b" % (at(m, "%b %d %H:%M:%S.%f"), m[3], inner)
    ),
    "journalctl -o short-iso": lambda m, inner: (
        b"%b proxyhost danted[%b]: %b" % (at(m, "%Y-%m-%dT%H:%M:%S+0000"), m[3], inner)
    ),
    "journalctl -o short-iso-precise": lambda m, inner: (
        b"%b proxyhost danted[%b]: %b" % (at(m, "%Y-%m-%dT%H:%M:%S.%f+00:00"), m[3], inner)
    ),
    "journalctl -o short-full": lambda m, inner: (
        b"%b proxyhost danted[%b]: %b" % (at(m, "%a %Y-%m-%d %H:%M:%S UTC"), m[3], inner)
    ),
    "journalctl -o short-full, another zone": lambda m, inner: (
        b"%b proxyhost danted[%b]: %b" % (at(m, "%a %Y-%m-%d %H:%M:%S CET"), m[3], inner)
    ),
    "journalctl -o with-unit": lambda m, inner: (
        b"%b proxyhost danted.service[%b]: %b" % (at(m, "%a %Y-%m-%d %H:%M:%S UTC"), m[3], inner)
    ),
    "journalctl -o short-unix": lambda m, inner: b"%b proxyhost danted[%b]: %b" % (m[2], m[3], inner),
    "journalctl -o short-monotonic": lambda m, inner: (
        b"[%12.6f] proxyhost danted[%b]: %b" % (float(m[2]) - 1.795e9, m[3], inner)
    ),
    "journalctl -o short-delta": lambda m, inner: (
        b"[%12.6f <    0.000123 >] proxyhost danted[%b]: %b" % (float(m[2]) - 1.795e9, m[3], inner)
    ),
    "journalctl -o json": journal_json,
    "journalctl -o json, not UTF-8": journal_bytes,
}
# These add to a line that has a head of its own, or one of the above.
WITHOUT_STAMP: dict[str, Outer] = {
    "nothing": lambda _, inner: inner,
    "CRI": lambda _, inner: b"2026-11-21T12:04:52.123456789Z stdout F " + inner,
    "CRI in another zone": lambda _, inner: b"2026-11-21T13:04:52.123456789+01:00 stderr F " + inner,
    "docker logs -t": lambda _, inner: b"2026-11-21T12:04:52.123456789Z " + inner,
    "docker json-file": docker,
    "docker compose": lambda _, inner: b"danted-1  | " + inner,
    "kubectl logs --prefix": lambda _, inner: b"[pod/proxy-5d9c7-abcde/danted] " + inner,
    "kubectl logs --prefix --timestamps": lambda _, inner: (
        b"[pod/proxy-5d9c7-abcde/danted] 2026-11-21T12:04:52.1Z " + inner
    ),
    "supervisor": lambda _, inner: b"2026-11-21 12:04:52 ERR [DANTE] " + inner,
    "supervisor, other words": lambda _, inner: b"2026-11-21 12:04:52,123 INFO [danted] " + inner,
    "TAI64N": lambda _, inner: b"@4000000065b9c5a81234abcd " + inner,
}


def around_syslog(outer: Outer) -> Outer:
    return lambda match, inner: outer(match, WITH_STAMP["rsyslog"](match, inner))


INNER: dict[str, Inner] = {"own head": lambda match: match[0], "message": lambda match: match[4]}
ENDS = {"LF": b"\n", "CRLF": b"\r\n"}
MATRIX = [
    *((f"{name}, {inner}", outer, inner) for name, outer in WITH_STAMP.items() for inner in INNER),
    *((name, outer, "own head") for name, outer in WITHOUT_STAMP.items()),
    *((f"{name}, around syslog's", around_syslog(outer), "message") for name, outer in WITHOUT_STAMP.items()),
]  # fmt: skip


def counted(content: bytes) -> DanteLog:
    log = DanteLog(Sessions(lambda _endpoint, _at: False))
    for start in range(0, len(content), 1 << 15):  # as it is read
        begin = content.rfind(b"\n", 0, start) + 1
        end = content.rfind(b"\n", 0, start + (1 << 15)) + 1
        log.take(content[begin:end])
    return log


@pytest.mark.parametrize(("outer", "inner"), [row[1:] for row in MATRIX], ids=[row[0] for row in MATRIX])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("name", ["main", "error"])
def test_the_counts_of_a_recorded_log_are_the_same_in_every_envelope(
    name: str, end: bytes, outer: Outer, inner: str
) -> None:
    """Envelope by inner head: every total, and no line unparsed."""
    log = corpus(name).log
    wrapped = b"".join(outer(match, INNER[inner](match)) + end for match in HEAD.finditer(log))
    plain, other = counted(log), counted(wrapped)
    assert wrapped.count(b"\n") == log.count(b"\n")
    assert other.sessions.totals == plain.sessions.totals
    assert (other.unparsed, other.lines) == (plain.unparsed, plain.lines)
    counts = other.sessions.counting.durations.count
    assert counts == plain.sessions.counting.durations.count


@pytest.mark.parametrize("name", ["CRI", "docker json-file", "kubectl logs --prefix"])
def test_lines_without_a_head_are_known_within_an_envelope(name: str) -> None:
    """`log: tcpinfo` writes them."""
    log = corpus("tcpinfo").log[:300_000].rpartition(b"\n")[0]
    lines = log.split(b"\n")
    empty = re.match(b"", b"")
    assert empty is not None
    wrapped = b"".join(WITHOUT_STAMP[name](empty, line) + b"\n" for line in lines)
    assert counted(wrapped).unparsed == 0
    assert counted(wrapped).sessions.totals == counted(log + b"\n").sessions.totals


LINE = (
    b"Nov 21 12:04:52 (1795262692.980816) danted[7]: info: pass(1): tcp/connect [: 10.0.0.1.5 10.0.0.2.1080"
)
UNKNOWN = {
    "logfmt": b'ts=2026-11-21T12:04:52Z level=info msg="%b -> 10.0.0.3.5 10.0.0.4.80"',
    "JSON of another program": b'{"message":"%b -> 10.0.0.3.5 10.0.0.4.80","level":"info"}',
    "JSON with more before": b'{"time":"x","log":"%b -> 10.0.0.3.5 10.0.0.4.80"}',
    "JSON that is cut": b'{"log":"%b -> 10.0.0.3.5 10.0.0.4.80',
    "quoted": b'"%b -> 10.0.0.3.5 10.0.0.4.80"',
    "CSV": b"12:04:52,danted,%b -> 10.0.0.3.5 10.0.0.4.80,end",
    "XML": b"<msg>%b -> 10.0.0.3.5 10.0.0.4.80</msg>",
    "a word": b"whatever %b -> 10.0.0.3.5 10.0.0.4.80",
    "a head that is cut": b"v 21 12:04:52 (1795262692.980816) danted[7]: %b",
}


@pytest.mark.parametrize("envelope", UNKNOWN.values(), ids=UNKNOWN)
def test_an_envelope_that_is_not_known_is_refused_as_a_whole(envelope: bytes) -> None:
    """No line of it counts for anything, by the quick way or by the other."""
    wrapped = envelope % LINE
    with pytest.raises(ParseError):
        dante_line.parse(wrapped)
    log = counted(wrapped + b"\n")
    assert (log.lines, log.unparsed) == (1, 1)
    assert sum(log.sessions.totals.opened.values()) == 0


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (b"Mar 29 01:59:50", b"Mar 29 03:00:10"),  # summer time begins in between
        (b"Oct 25 02:59:50", b"Oct 25 02:00:10"),  # and ends
        (
            b"Feb 28 23:59:50",
            b"Mar  1 00:00:10",
        ),  # of a year that is no leap year, which a stamp does not say
        (b"Dec 31 23:59:50", b"Jan  1 00:00:10"),
    ],
)
def test_a_session_lasts_as_long_as_the_log_says(begin: bytes, end: bytes) -> None:
    """Stamps without year or zone: twenty seconds, whatever the clock on the wall did meanwhile."""
    head = b"%b proxyhost danted[7]: info: "
    key = b"10.0.0.1.5 10.0.0.2.1080"
    log = DanteLog(Sessions(lambda _endpoint, _at: False))
    content = b"".join(
        (
            head % begin + b"pass(1): tcp/accept [: " + key + b"\n",
            head % end + b"pass(1): tcp/connect [: " + key + b" -> 10.0.0.3.5 10.0.0.4.80\n",
            head % end
            + b"pass(1): tcp/connect ]: 5 -> "
            + key
            + b" -> 7, 7 -> 10.0.0.3.5 10.0.0.4.80 -> 5: remote"
            b" peer closed.  Session duration: 20s\n",
            head % end
            + b"pass(1): tcp/accept ]: 5 -> "
            + key
            + b" -> 7: remote peer closed.  Session duration: 20s\n",
        )
    )
    log.take(content)
    counting = log.sessions.counting
    assert (counting.durations.count, counting.durations.sum) == (1, 20.0)
    assert counting.setups.sum <= 20
    assert log.sessions.totals.closed["connect", "client"] == 1


def test_a_stamp_that_says_the_zone_is_unix_time() -> None:
    """And one that does not is none."""
    message = b"info: pass(1): tcp/accept [: 10.0.0.1.5 10.0.0.2.1080"
    zoned = dante_line.parse(b"Sat 2026-11-21 12:04:52.980816 UTC host danted.service[7]: " + message)
    assert isinstance(zoned, Opened)
    assert zoned.time == 1795262692.980816
    local = dante_line.parse(b"Sat 2026-11-21 12:04:52 CET host danted[7]: " + message)
    assert isinstance(local, Opened)
    assert local.time == 28123492.0


def test_the_inner_head_is_the_one_that_counts() -> None:
    """Its time and its process are those of the child; an outer one may be systemd's idea of it."""
    record = dante_line.parse(b"Nov 21 12:14:43 h danted[1]: " + LINE)
    assert isinstance(record, Opened)
    assert (record.time, record.pid) == (1795262692.980816, b"7")


def test_a_message_of_several_lines_is_its_first() -> None:
    """As the journal keeps it where Dante adds TCP_INFO."""
    message = (
        "info: pass(1): tcp/accept ]: 5 -> 10.0.0.1.5 10.0.0.2.1080 -> 7: remote peer closed."
        "  Session duration: 2s"
    )
    entry = {
        "MESSAGE": message + "\nTCP_INFO:\ntcpi_rtt : 1",
        "__REALTIME_TIMESTAMP": "1795262692980816",
        "_PID": "7",
    }
    record = dante_line.parse(json.dumps(entry).encode())
    assert isinstance(record, Closed)
    assert (record.time, record.pid, record.duration) == (1795262692.980816, b"7", 2)


@given(st.binary(max_size=200), st.sampled_from([row[1] for row in MATRIX]))
def test_any_bytes_in_any_envelope(text: bytes, outer: Outer) -> None:
    """A line, or a ParseError; as many lines come out of a chunk as went in."""
    match = HEAD.match(LINE)
    assert match is not None
    inner = text.replace(b"\n", b"").decode("latin-1").encode("ascii", "replace")
    for line in (text.replace(b"\n", b""), outer(match, inner), outer(match, match[0] + inner)):
        with suppress(ParseError):
            assert b"\n" not in unwrap(line)
        assert unwrap_all(line + b"\n").count(b"\n") == 1
