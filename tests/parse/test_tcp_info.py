"""Rows and reports as the kernel wrote them, and those that it does not write."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse import tcp_info
from proxywatch.parse.tcp_info import Counters
from proxywatch.tcp.totals import Figures, end_of
from support import tcp_rows
from support.tcp_rows import RECORDED

V4, V6 = bytes([127, 0, 0, 1]), bytes(15) + b"\1"


def ends(course: str) -> dict[bool, Counters]:
    """The counters of both sockets of a course, by whether it was the opener's."""
    found = {}
    for report in RECORDED[course]:
        counters = tcp_info.counters(report)
        assert counters is not None
        if counters.answered:
            found[counters.received >= 7000 or not counters.segments] = counters
    return found


@pytest.mark.parametrize(("kind", "address"), [("ipv4", V4), ("ipv6", V6), ("mapped", V4)])
def test_whose_it_is(kind: str, address: bytes) -> None:
    """Either family, and IPv4 within IPv6 as if it were IPv4; a connection's two ends name each other."""
    one, other = (
        tcp_info.row(it) for it in RECORDED[f"{kind} opener closes first"] if tcp_info.row(it).local_port
    )
    assert (one.local, one.remote) == (address, address)
    assert (one.local_port, one.remote_port) == (other.remote_port, other.local_port)
    living = {tcp_info.row(it).cookie: tcp_info.row(it) for it in RECORDED[f"{kind} living"]}
    assert {one.cookie, other.cookie} < living.keys(), "a report names its socket as the look before did"
    assert all(living[it.cookie].inode and not it.inode for it in (one, other))


@pytest.mark.parametrize(
    ("course", "opener", "accepting"),
    [
        ("ipv4 opener closes first", "fin", "fin"),
        ("ipv6 opener closes first", "fin", "fin"),
        ("mapped opener closes first", "fin", "fin"),
        ("accepting side closes first", "fin", "fin"),
        ("opener closes with 3000 unread", "reset", "reset"),
        ("opener resets", "reset", "reset"),
        ("accepting side resets", "reset", "reset"),
    ],
)
def test_how_it_ended_and_what_it_moved(course: str, opener: str, accepting: str) -> None:
    """Payload exactly as sent, and to one byte as received; but for a side that itself reset."""
    both = ends(course)
    assert end_of(both[True], dialled=True) == opener
    back = 10_000 if "3000" in course else 7000
    if course == "accepting side resets":
        figures = Figures.of(both[True], dialled=True)
        assert (figures.sent, figures.received) == (5000, 7000)
        return
    assert end_of(both[False], dialled=False) == accepting
    figures = Figures.of(both[False], dialled=False)
    assert (figures.sent, figures.received - 5000 in (0, 1)) == (back, True)
    if course != "opener resets":
        figures = Figures.of(both[True], dialled=True)
        assert (figures.sent, figures.received - back in (0, 1)) == (5000, True)


@pytest.mark.parametrize("course", ["dial refused", "dial refused and disconnected"])
def test_a_dial_that_failed(course: str) -> None:
    """It tried, and nothing ever came back."""
    [report] = RECORDED[course]
    counters = tcp_info.counters(report)
    assert counters is not None
    assert (counters.mtu > 0, counters.answered, end_of(counters, dialled=True)) == (True, False, "failed")


@pytest.mark.parametrize("course", ["never used", "ipv4 listener", "ipv6 listener", "mapped listener"])
def test_what_never_was_a_connection(course: str) -> None:
    """A listener, or nothing at all, never looked for a way."""
    for report in RECORDED[course]:
        counters = tcp_info.counters(report)
        assert counters is not None
        assert counters.mtu == 0


@pytest.mark.parametrize(
    ("size", "sent", "minimum", "out_of_order", "end"),
    [
        (280, 900, 7, 3, "fin"),
        (224, 900, 7, 0, "fin"),
        (192, None, 7, 0, "unknown"),
        (136, None, 0, 0, "unknown"),
    ],
)
def test_older_kernels(size: int, sent: int | None, minimum: int, out_of_order: int, end: str) -> None:
    """What the struct has not is not known; how it ended cannot be told without the bytes sent."""
    info = tcp_rows.info(sent=900, received=80, minimum=7, out_of_order=3, size=size)
    counters = tcp_info.counters(tcp_rows.row(("10.0.0.1", 1080), ("10.0.0.2", 5), info=info))
    assert counters is not None
    assert (counters.sent, counters.minimum, counters.out_of_order) == (sent, minimum, out_of_order)
    assert (counters.received, end_of(counters, dialled=False)) == (80, end)


def test_rows_that_say_less() -> None:
    """Without counters, as in TIME_WAIT; with and without a control group."""
    bare = tcp_rows.row(("10.0.0.1", 1080), ("10.0.0.2", 5))
    assert (tcp_info.counters(bare), tcp_info.cgroup(bare)) == (None, None)
    assert tcp_info.cgroup(tcp_rows.row(("10.0.0.1", 1080), cgroup=4711)) == 4711


@pytest.mark.parametrize(
    "report",
    [
        b"",
        RECORDED["ipv4 living"][0][:71],
        b"\x0b" + RECORDED["ipv4 living"][0][1:],
        tcp_rows.row(("10.0.0.1", 1080), info=tcp_rows.info(size=120)),
        tcp_rows.row(("10.0.0.1", 1080)) + struct.pack("=HH", 3, 2),
        tcp_rows.row(("10.0.0.1", 1080)) + struct.pack("=HH", 284, 2) + bytes(4),
    ],
)
def test_what_is_refused(report: bytes) -> None:
    """Too short, of another family, without counts of bytes, attributes that are cut off."""
    with pytest.raises(ParseError):
        tcp_info.row(report), tcp_info.counters(report)


@given(st.binary(max_size=600))
def test_any_bytes(report: bytes) -> None:
    """A record or ParseError, nothing else."""
    with suppress(ParseError):
        tcp_info.row(report)
        tcp_info.counters(report)
        tcp_info.cgroup(report)


@given(
    lost=st.integers(0, 3), sent=st.integers(0, 2**40), received=st.integers(0, 2**40), dialled=st.booleans()
)
def test_payload_is_what_was_moved(lost: int, sent: int, received: int, *, dialled: bool) -> None:
    """However much was sent again."""
    info = tcp_rows.info(sent=sent, received=received, dialled=dialled, retransmitted=lost)
    counters = tcp_info.counters(tcp_rows.row(("10.0.0.1", 1080), ("10.0.0.2", 5), info=info))
    assert counters is not None
    figures = Figures.of(counters, dialled=dialled)
    assert (figures.sent, figures.received, figures.retransmitted) == (sent, received, lost)
    assert end_of(counters, dialled=dialled) == "fin"
