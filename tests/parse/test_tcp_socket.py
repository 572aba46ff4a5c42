"""The kernel's two listings of the same sockets."""

import struct
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse import inet_diag, socket_table, tcp_socket
from proxywatch.parse.tcp_socket import HELD, STANDINGS, STATES, Socket

RECORDED = Path(__file__).parent.parent / "fixtures" / "sockets"
PORT = 1080


def from_table() -> list[Socket]:
    tables = [(RECORDED / name).read_bytes().splitlines(keepends=True) for name in ("tcp.txt", "tcp6.txt")]
    return [socket for table in tables for socket in socket_table.parse(table, PORT)]


def from_inet_diag() -> list[Socket]:
    return [inet_diag.parse(bytes.fromhex(row)) for row in (RECORDED / "inet_diag.hex").read_text().split()]


def test_both_listings_agree() -> None:
    """They were recorded at the same moment."""
    assert sorted(from_table()) == sorted(from_inet_diag())


def test_what_was_made_is_counted() -> None:
    """Of IPv4 twelve connections in every state that can be made to last, and one of IPv6."""
    sockets = from_inet_diag()
    assert Counter(socket.standing for socket in sockets) == {
        "established": 4,
        "close_wait": 3,
        "fin_wait2": 1,
        "backlog": 3,
        "ended": 2,
        "listen": 2,
    }
    assert sum(socket.served for socket in sockets) == 8
    assert max(socket.queue for socket in sockets if socket.state == "listen") == 3


def test_other_ports_and_time_wait_are_left_out() -> None:
    """The table holds both, and the clients' own ends."""
    text = (RECORDED / "tcp.txt").read_bytes()
    assert len(text.splitlines()) == 30
    assert len(list(socket_table.parse(text.splitlines(), PORT))) == 13
    assert len(list(socket_table.parse(text.splitlines(), 1081))) == 2


def test_a_row_that_the_kernel_repeats_counts_once() -> None:
    """As it does when sockets come and go while the table is read."""
    text = (RECORDED / "tcp.txt").read_bytes().splitlines()
    assert len(list(socket_table.parse(text + text[3:], PORT))) == 13


@pytest.mark.parametrize("state", STATES)
def test_without_an_inode_nothing_is_served(state: str) -> None:
    """Whatever the state; and what has one is, in the states that a server can hold."""
    assert not Socket(state, 0, 0).served
    assert Socket(state, 7, 0).served == (state in HELD)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 65535))
def test_both_formats_carry_the_same(number: int, inode: int, queue: int, port: int) -> None:
    """A socket written in either format is read back."""
    expected = Socket(tcp_socket.state(number), inode, queue)
    row = struct.pack("=BBBB48xIIIII", 2, number, 0, 0, 0, queue, 0, 0, inode)
    assert inet_diag.parse(row) == expected
    line = f" 0: 0:{port:04X} 0:A0FA {number:02X} {0:08X}:{queue:08X} 0:0 0 0 0 {inode} 1 0".encode()
    assert list(socket_table.parse([line], port)) == ([] if number == 6 else [expected])
    assert expected.standing in {*STANDINGS, "listen", "time_wait", "close", "syn_sent"}


@given(st.binary(max_size=120))
def test_any_row(row: bytes) -> None:
    """A socket or our own error."""
    with suppress(ParseError):
        assert inet_diag.parse(row).state in STATES


@given(st.lists(st.binary(max_size=80)))
def test_any_table(lines: list[bytes]) -> None:
    """Sockets or our own error; :0438 stands where it matters."""
    spiced = [b" 0: 0:0438 " + line if index % 2 else line + b":0438" for index, line in enumerate(lines)]
    with suppress(ParseError):
        assert all(socket.state in STATES for socket in socket_table.parse(spiced, PORT))


def test_the_request_names_the_port() -> None:
    """Big-endian, in the identity; TIME_WAIT is not among the states."""
    request = inet_diag.request(inet_diag.IPV4, PORT)
    assert len(request) == 56
    assert request[8:10] == PORT.to_bytes(2, "big")
    assert not int.from_bytes(request[4:8], sys.byteorder) & 1 << 6
