"""Lines of Dante's log: every kind that was recorded, the variants that were not, and what is none."""

import gzip
from collections import Counter
from contextlib import suppress

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxywatch.dante import fast_path
from proxywatch.dante import line as dante_log
from proxywatch.dante.records import Closed, Datagram, Moved, Opened, Record, Relayed, Server
from proxywatch.errors import ParseError
from support.corpora import FIXTURES, read

HEAD = b"Nov  1 12:04:52 (1795262692.980816) danted[7327]: info: "


def parse(message: bytes) -> Record | None:
    return dante_log.parse(HEAD + message)


def test_the_begin_of_a_session() -> None:
    """Client and proxy; the time from the parentheses."""
    record = parse(b"pass(6): tcp/connect [: 10.77.1.8.34353 10.77.0.1.1080 -> 10.77.3.1.34353 10.77.2.1.80")
    assert record == Opened(b"10.77.1.8.34353 10.77.0.1.1080", 1795262692.980816, b"7327", "connect")


def test_the_end_of_a_session() -> None:
    """What the client was given, and what the target was; not what was read from the client."""
    record = parse(
        b"pass(6): tcp/connect ]: 359 -> 10.77.1.40.28249 10.77.0.1.1080 -> 0, 52 -> 10.77.3.1.28249"
        b" 10.77.2.1.80 -> 360: remote peer closed.  Session duration: 0s"
    )
    assert isinstance(record, Closed)
    assert record.moved == Moved(sent=359, received=52, returned=360)
    assert (record.target, record.reason, record.passed) == (b"10.77.2.1.80", b"remote peer closed", True)


@pytest.mark.parametrize(
    ("written", "client"),
    [
        (b"fd77:1::1.32625 fd77::1.1080", b"fd77:1::1.32625"),
        (b"username%dlabuser@10.77.1.20.27209 10.77.0.1.1080", b"10.77.1.20.27209"),
        (b"username%a%41@b@10.77.1.20.27209 10.77.0.1.1080", b"10.77.1.20.27209"),
        (b"gssapi/clear%user@EXAMPLE.ORG@10.77.1.20.27209 10.77.0.1.1080", b"10.77.1.20.27209"),
        (b"pam.username%two words@10.77.1.20.27209 10.77.0.1.1080", b"10.77.1.20.27209"),
        (b"[192.0.2.7] [192.0.2.8] 10.77.1.20.27209 10.77.0.1.1080", b"10.77.1.20.27209"),
        (b"fe80::1%eth0.32625 fe80::2%eth0.1080", b"fe80::1%eth0.32625"),
        (b"::ffff:10.77.1.20.27209 ::ffff:10.77.0.1.1080", b"::ffff:10.77.1.20.27209"),
    ],
)
@pytest.mark.parametrize("operation", [b"[: %s -> 10.0.0.1.5 10.0.0.2.80", b"]: %s -> 10.0.0.1.5 a.test.80"])
def test_every_way_in_which_a_client_is_written(written: bytes, client: bytes, operation: bytes) -> None:
    """Users, GSS names, host ids, IPv6, scopes."""
    record = parse(b"pass(6): tcp/connect " + operation % written)
    assert isinstance(record, Opened | Closed)
    assert record.client == client
    assert isinstance(record, Opened) or record.target == b"a.test.80"


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        (b"Nov 21 12:04:52 (1795262692.980816) ", 1795262692.980816),
        (b"2026-11-21T12:04:52.1Z stdout F Nov 21 12:04:52 (1795262692.980816) ", 1795262692.980816),
        (b"<no localtime available> (1795262692.980816) ", 1795262692.980816),
        (b"<30>Nov 21 12:04:52 ", 28123492.0),
        (b"Feb 29 00:00:01 proxyhost ", 5097601.0),
        (b"2026-11-21T12:04:52.980816+00:00 proxyhost ", 1795262692.980816),
        (b"<30>1 2026-11-21T12:04:52Z proxyhost ", 1795262692.0),
        (b"2026-11-21T13:04:52+0100 proxyhost ", 1795262692.0),
        (b"2026-11-21T12:04:52.980816123Z proxyhost ", 1795262692.980816),
        (b"Nov 21 12:04:52.980816 proxyhost ", 28123492.980816),
        (b"1795262692.980816 proxyhost ", 1795262692.980816),
        (b"Nov 21 12:04:52 proxyhost daemon.info ", 28123492.0),
    ],
)
def test_every_head(stamp: bytes, time: float) -> None:
    """Dante's own, with another program's before it, and syslog's with and without a year."""
    record = dante_log.parse(stamp + b"sockd[7]: info: pass(1): tcp/accept [: 10.0.0.1.5 10.0.0.2.1080")
    assert isinstance(record, Opened)
    assert record.time == pytest.approx(time)
    assert record.pid == b"7"


def test_the_head_of_rfc_5424() -> None:
    """The process id stands by itself."""
    line = b"<30>1 2026-11-21T12:04:52.980816+00:00 proxyhost danted 7 - - info: pass(1): tcp/accept [: "
    record = dante_log.parse(line + b"10.0.0.1.5 10.0.0.2.1080")
    assert isinstance(record, Opened)
    assert (record.time, record.pid) == (1795262692.980816, b"7")


@pytest.mark.parametrize("stamp", [b"Feb 31 12:04:52 ", b"2026-13-45T12:04:52Z ", b"Xyz  1 25:61:61 "])
def test_a_stamp_that_is_no_time(stamp: bytes) -> None:
    """A ParseError, whatever it looks like."""
    with pytest.raises(ParseError):
        dante_log.parse(stamp + b"host sockd[7]: info: pass(1): tcp/accept [: 10.0.0.1.5 10.0.0.2.1080")


def test_bindreply_names_the_client_last() -> None:
    """The roles are reversed: the first endpoint is the remote peer."""
    record = parse(
        b"pass(7): tcp/bindreply ]: 500 -> 10.77.2.1.38061 10.77.3.1.39865 -> 700, 700 -> 10.77.0.1.1080"
        b" 10.77.1.5.37747 -> 500: local client closed.  Session duration: 0s"
    )
    assert isinstance(record, Closed)
    assert (record.client, record.moved) == (b"10.77.1.5.37747", Moved(700, 500, 700))


def test_a_datagram_that_was_blocked_and_data_that_went_through() -> None:
    """`-` lines."""
    blocked = parse(
        b"block(6): udp/udpassociate -: 10.77.1.40.56526 10.77.0.1.55132 -> 0.0.0.0.0 nxudp.test.5300:"
        b" could not resolve target address nxudp.test.5300: Name or service not known "
    )
    assert isinstance(blocked, Datagram)
    assert blocked.target == b"nxudp.test.5300"
    assert parse(
        b"pass(6): tcp/connect -: 10.0.0.1.5 10.0.0.2.1080 -> 1.1.1.1.1 2.2.2.2.80 (50): x"
    ) == Relayed(1795262692.980816)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"info: Dante/server[1/1] v1.4.4 running", "running"),
        (b"alert: mother[1/1]: shutting down", "ending"),
        (b"alert: run_request(): mother unexpectedly closed the IPC control channel", "ending"),
        (b"info: SIGHUP ]: config reloaded.  Broadcasting to children to do the same", "reloaded"),
        (b"warning: sigchld(): io-child 32600 exited unexpectedly on signal SIGKILL", "child_died"),
        (b"warning: EOF from io-child 32600", "child_died"),
    ],
)
def test_the_server_itself(line: bytes, event: str) -> None:
    """Starts, ends, reloads and deaths."""
    record = dante_log.parse(HEAD.removesuffix(b"info: ") + line)
    assert isinstance(record, Server)
    assert record.event == event
    assert record.pid == (b"32600" if event == "child_died" else b"7327")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"TCP_INFO:",
        b"tcpi_rtt             : 18 <-> 102014",
        b'"verifyonly": "no",',
        b"  ru_oublock : 240",
        b"total session duration          : 0.003724s",
        HEAD + b"Dante v1.4.2 up 0 days, 0:00, a: 5, h: 5 c: 5",
        HEAD + b"tcp: 10.77.1.5.42739 10.77.0.1.1080 <-> 10.77.3.1.42739 10.77.2.1.8000: age: 2s, idle: 2s",
    ],
)
def test_noise(line: bytes) -> None:
    """Known, and nothing to do with sessions."""
    assert dante_log.parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"0.1.1080 -> 10.77.3.1.34353 10.77.2.1.80",
        b"127.0.0.1 - - [21/Nov/2026:12:04:52 +0000] GET / 200",
        HEAD + b"pass(6): tcp/teleport [: 10.0.0.1.5 10.0.0.2.1080",
        HEAD
        + b"pass(6): tcp/connect [: 10.77.1.8.3435Nov 21 12:04:52 (1795262692.980816) danted[7327]: info: x",
        HEAD + b"pass(6): tcp/connect",
    ],
)
def test_what_is_no_line_of_dante(line: bytes) -> None:
    """Cut, glued, or another program's."""
    with pytest.raises(ParseError):
        dante_log.parse(line)


@pytest.mark.parametrize(
    "name",
    [
        b'x": Name or service not known',
        b"]: pass(6): tcp/connect [: 9.9.9.9.1 10.77.0.1.1080 -> 10.77.3.1.1 8.8.8.8.443",
        b"\\nNov 21 12:00:00 (1795262400.000001) danted[1]: info: pass(6): tcp/connect [: 9.9.9.9.1 8.8.8.8",
        b"1 -> 9.9.9.9.1 8.8.8.8.8 -> 2: remote peer closed.  Session duration: 0s",
    ],
)
def test_what_clients_put_into_names_moves_nothing(name: bytes) -> None:
    """Neither client nor verdict nor kind of line can be forged."""
    record = parse(
        b'block(2): tcp/connect ]: 10.77.1.5.38827 10.77.0.1.1080: could not resolve hostname "'
        + name + b'": Temporary failure in name resolution'
    )  # fmt: skip
    assert isinstance(record, Closed)
    assert (record.client, record.passed, record.moved) == (b"10.77.1.5.38827", False, None)
    ruled = parse(b"block(1): tcp/connect ]: 10.77.1.5.38827 10.77.0.1.1080 -> 0.0.0.0.0 " + name + b".80")
    assert isinstance(ruled, Closed)
    assert (ruled.client, ruled.target, ruled.reason) == (b"10.77.1.5.38827", name + b".80", b"")
    syslog = b'<28>Nov 21 12:11:45 danted[31414]: warning: could not DNS-resolve "' + name + b'": x'
    assert dante_log.parse(syslog) is None


@pytest.mark.parametrize("path", sorted(str(p.relative_to(FIXTURES)) for p in FIXTURES.rglob("*.log*.gz")))
def test_every_recorded_line_is_known(path: str) -> None:
    """No line of a real server is unparsed, whatever its settings."""
    kinds = Counter(
        type(dante_log.parse(line)).__name__ for line in read(path.removesuffix(".gz")).split(b"\n")
    )
    assert sum(kinds.values()) > 4


@pytest.mark.parametrize("name", ["main", "disconnect", "tcpinfo", "ioop", "lifecycle"])
def test_the_split_of_a_chunk_says_what_the_parser_says(name: str) -> None:
    """The quick way over plain lines and the parser agree on every recorded line."""
    lines = read(f"{name}.log").splitlines(keepends=True)
    plain = [line for line in lines if agrees(line)]
    assert len(plain) > 5
    told = [record for line in plain for record in records(*fast_path.split(line))]
    rows = fast_path.split(b"".join(plain))
    assert sum(bool(row[GONE]) for row in rows) == len(plain) - len(rows) > 1
    assert [record for row in rows for record in records(row)] == told


GONE, OTHER = 13, 18


def records(row: tuple[bytes, ...]) -> list[Opened | Closed]:
    """The records of a row, with the times that its stamps say."""
    second = int(row[0])
    return fast_path.records(row, second, second + int(row[GONE] or row[1]) * 1e-6)


def agrees(line: bytes) -> bool:
    """Whether the quick way takes a line; what it takes, the parser tells too."""
    (row,) = fast_path.split(line)
    if not row[0]:
        assert row[OTHER] + b"\n" == line
        return False
    (record,) = records(row)
    parsed = dante_log.parse(line[:-1])
    assert isinstance(parsed, Opened | Closed)
    assert record.time == pytest.approx(parsed.time, abs=1e-6)
    assert msgspec.structs.replace(record, time=parsed.time) == parsed
    return True


END = HEAD + (
    b"pass(6): tcp/connect ]: 9 -> 10.0.0.1.5 10.0.0.2.1080 -> 7, 7 -> 10.0.0.3.5 10.0.0.4.80 -> 9: remote"
    b" peer closed.  Session duration: 0s\n"
)
GOODBYE = HEAD + (
    b"pass(2): tcp/accept ]: 9 -> 10.0.0.1.5 10.0.0.2.1080 -> 7: remote peer closed.  Session duration: 0s\n"
)


@pytest.mark.parametrize(
    ("words", "other"),
    [
        (b"[7327]", b"[7328]"),
        (b"692.98", b"693.98"),
        (b"10.0.0.1.5 ", b"10.0.0.1.6 "),
        (b": 9 ->", b": 8 ->"),
        (b"-> 7:", b"-> 8:"),
        (b"remote peer", b"local client"),
        (b"tcp/accept", b"tcp/connect"),
    ],
)
def test_an_end_is_taken_with_the_accept_end_that_says_the_same_alone(words: bytes, other: bytes) -> None:
    """Of another child, second, client, sum or reason it is a line of its own."""
    assert len(fast_path.split(END + GOODBYE)) == 1
    assert words in GOODBYE
    apart = fast_path.split(END + GOODBYE.replace(words, other))
    assert len(apart) == 2
    assert not apart[0][GONE]


@pytest.mark.parametrize("ids", [b"", b" [10.9.9.9]", b" [10.9.9.9] [10.9.9.8]"])
def test_host_ids_after_the_target_are_no_target(ids: bytes) -> None:
    """They stand in brackets."""
    client = b"10.0.0.1.5 10.0.0.2.1080 -> "
    ended = parse(
        b"pass(6): tcp/connect ]: 9 -> " + client + b"7, 7 -> 10.0.0.3.5 10.0.0.4.80" + ids
        + b" -> 9: remote peer closed.  Session duration: 0s"
    )  # fmt: skip
    refused = parse(b"block(6): tcp/connect ]: " + client + b"10.0.0.3.5 a.test.80" + ids + b": x failed: y")
    for record, target in ((ended, b"10.0.0.4.80"), (refused, b"a.test.80")):
        assert isinstance(record, Closed)
        assert record.target == target


def test_an_association_that_relayed_nothing() -> None:
    """What a client sent reached no target."""
    for line in (HEAD, b"Nov  1 12:04:52 danted[7]: info: "):
        record = dante_log.parse(
            line + b"pass(6): udp/udpassociate ]: 0/0 -> 10.0.0.1.5 10.0.0.2.9 -> 70/1: local client closed."
            b"  Session duration: 1s"
        )
        assert isinstance(record, Closed)
        assert record.moved == Moved(0, 0, 0)


RULED = b"block(2): tcp/connect ]: 10.0.0.1.5 10.0.0.2.1080 -> 0.0.0.0.0 %s.80"


@example(b"10.0.0.9.80: no route", RULED)
@example(
    b" -> 0",
    b"pass(2): tcp/connect ]: 1 -> 10.0.0.1.5 10.0.0.2.1080 -> 2, 2 -> 10.0.0.3.5 10.0.0.4.80 -> 1: local c%s"
    b": local client closed.  Session duration: 0s",
)
@given(
    st.lists(
        st.sampled_from(
            [b" -> ", b": ", b".80", b" ", b"10.0.0.9.80", b"cafe.80", b"a.test", b"5", b"@", b"%", b"x",
             b".  Session duration: 0s", b"remote peer closed", b"connect(2) to 1.1.1.1.1 from x failed: y"]
        ), max_size=8,
    ).map(b"".join),
    st.sampled_from(
        [RULED,
         b"block(2): tcp/connect ]: 10.0.0.1.5 10.0.0.2.1080 -> 10.0.0.3.4 %s.80: Host is down",
         b"block(2): tcp/connect ]: 10.0.0.1.5 10.0.0.2.1080: could not resolve hostname '%s': Try again",
         b"block(2): tcp/accept ]: 10.0.0.1.5 10.0.0.2.1080: %s",
         b"pass(2): tcp/connect [: username%%%s@10.0.0.1.5 10.0.0.2.1080 -> 10.0.0.3.5 10.0.0.4.80",
         b"pass(2): tcp/connect ]: 1 -> username%%%s@10.0.0.1.5 10.0.0.2.1080 -> 2, 2 -> 10.0.0.3.5"
         b" 10.0.0.4.80 -> 1: remote peer closed.  Session duration: 0s"]
    ),
)  # fmt: skip
def test_whatever_clients_put_into_names_the_split_says_what_the_parser_says(
    name: bytes, line: bytes
) -> None:
    """Nothing that a client chooses makes the quick way take another meaning out of a line."""
    agrees(HEAD + line % name + b"\n")


@pytest.mark.parametrize("digits", [b"9" * 400 + b".0", b"1" * 5000 + b".5"])
def test_numbers_that_no_machine_has(digits: bytes) -> None:
    """Neither a stamp without end nor a counter of thousands of digits is taken for one."""
    end = b"10.0.0.1.5 10.0.0.2.1080 -> 0, %d -> 10.0.0.3.5 10.0.0.4.80 -> 0: x.  Session duration: 0s"
    lines = (
        b"Nov 21 12:04:52 (" + digits + b") danted[7]: info: pass(1): tcp/accept [: 10.0.0.1.5 10.0.0.2.1080",
        HEAD + b"pass(1): tcp/connect ]: " + digits.partition(b".")[0] + b" -> " + end % 5,
        HEAD + b"pass(1): tcp/connect ]: 0 -> " + end.replace(b"%d", digits.partition(b".")[0]),
    )
    for line in lines:
        with pytest.raises(ParseError):
            dante_log.parse(line)
        assert [row[0] for row in fast_path.split(line + b"\n")] == [b""]


@given(st.binary(max_size=300))
def test_any_bytes_at_all(line: bytes) -> None:
    """A record, noise, or ParseError."""
    for whole in (line.replace(b"\n", b""), HEAD + line):
        with suppress(ParseError):
            dante_log.parse(whole)


@given(st.integers(0, 2_000_000), st.sampled_from([gzip.decompress((FIXTURES / "main.log.gz").read_bytes())]))
def test_a_recorded_log_cut_anywhere(at: int, log: bytes) -> None:
    """As a full disk or a copy leaves it."""
    for line in (log[at % len(log) :][:500].partition(b"\n")[0], log[: at % len(log)].rpartition(b"\n")[2]):
        with suppress(ParseError):
            dante_log.parse(line)
