"""Reports of ended sockets from the real kernel: all of them, or the loss of exactly so many."""

import errno
import os
import socket
import time
from contextlib import closing

import pytest

from proxywatch.errors import SourceError
from proxywatch.parse import tcp_info
from proxywatch.parse.tcp_info import Row
from proxywatch.source import broadcasts, namespace, sock_diag
from proxywatch.source.broadcasts import Broadcasts
from testbed.namespace import Namespace


def connect(count: int) -> int:
    """Open and close connections over loopback, one after the other; the port that was listened on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(count):
            with socket.create_connection(listener.getsockname()), listener.accept()[0]:
                pass
        return int(listener.getsockname()[1])


def reports_of(messages: Broadcasts, port: int, count: int) -> list[bytes]:
    """Reports of accepted connections of a port, until there are so many, for ten seconds at most."""
    found: list[bytes] = []
    end = time.monotonic() + 10
    while len(found) < count and time.monotonic() < end:
        for report in messages.read(64):
            row = tcp_info.row(report)
            if row.local_port == port and row.remote_port:
                found.append(report)
        time.sleep(0.001)
    return found


async def test_each_end_is_reported() -> None:
    """Of 300, every one; the waiting ends when the first comes."""
    with sock_diag.listen() as messages:
        port = connect(300)
        await messages.wait(5)
        assert len(reports_of(messages, port, 300)) == 300
        assert messages.dropped() is not None
        assert messages.buffer >= 1 << 17


async def test_waiting_ends_without_a_message() -> None:
    """After so many seconds."""
    with Broadcasts(4, 0, 20, buffer=1 << 16) as messages:
        await messages.wait(0.01)
        assert messages.read(10) == []


def test_what_does_not_fit_is_told() -> None:
    """The smallest buffer, a reader that sleeps: once it is told, then the next end is reported again."""
    with sock_diag.listen(1) as messages:
        connect(1000)
        time.sleep(0.1)
        while messages.read(100):
            pass
        assert messages.overruns >= 1
        assert messages.dropped()
        assert len(one_more(messages)) == 1


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_what_is_lost_is_counted_exactly() -> None:
    """In a namespace of our own, of 10,000 ends each is read or counted as lost."""
    side = Namespace("quiet", {})
    with closing(side), side.entered(), sock_diag.listen(1) as messages:
        connect(5000)
        read, lost, deadline = 0, 0, time.monotonic() + 10
        while read + lost < 10_001 and time.monotonic() < deadline:  # and the listener
            read += len(messages.read(100))
            lost = messages.dropped() or 0
            time.sleep(0.01)
        assert (read + lost, messages.overruns > 0, lost > 5000) == (10_001, True, True)


def one_more(messages: Broadcasts) -> list[Row]:
    """The report of one more connection, tried a few times: others on this machine end some too."""
    for _ in range(20):
        port = connect(1)
        time.sleep(0.02)
        reports = messages.read(1000)
        rows = [tcp_info.row(it) for it in reports]
        if found := [it for it in rows if it.local_port == port and it.remote_port]:
            return found
    return []


def test_a_group_that_is_refused() -> None:
    """As under a profile that forbids netlink, or on a kernel that does not have it: not for now."""
    with pytest.raises(SourceError) as caught:
        Broadcasts(31, 1, 20, buffer=1 << 16)
    assert not caught.value.temporary


def test_a_socket_that_fails() -> None:
    """Is an error of the machine."""
    messages = sock_diag.listen()
    messages.close()
    with pytest.raises(SourceError):
        messages.read(1)
    messages.close()


def test_others_messages_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """From another process, of another type, cut off, with a length that lies."""
    good = (20).to_bytes(4, "little") + (20).to_bytes(2, "little") + bytes(10) + b"body"
    datagrams = [
        (good, (4711, 0)),
        (good[:4] + b"\x03\0" + good[6:], (0, 1)),
        (good[:7], (0, 1)),
        ((99).to_bytes(4, "little") + good[4:], (0, 1)),
        (good, (0, 1)),
    ]

    class Fake:
        def recvfrom(self, _: int) -> tuple[bytes, tuple[int, int]]:
            if not datagrams:
                raise BlockingIOError(errno.EAGAIN, "nothing")
            return datagrams.pop(0)

        def close(self) -> None:
            pass

    messages = sock_diag.listen()
    messages.close()
    monkeypatch.setattr(messages, "_sockets", [Fake()])
    assert messages.read(10) == [b"body"]


def test_without_the_right_to_exceed_the_limit() -> None:
    """The most that everybody gets is taken."""
    asked: list[int] = []

    class Fake:
        def setsockopt(self, _level: int, option: int, _value: int) -> None:
            asked.append(option)
            if option == 33:
                raise PermissionError

        def getsockopt(self, _level: int, _option: int) -> int:
            return 425_984

    assert broadcasts._enlarge(Fake(), 4 << 20) == 425_984  # type: ignore[arg-type]
    assert asked == [33, socket.SO_RCVBUF]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_several_sockets_share_what_one_may_not_hold() -> None:
    """Without CAP_NET_ADMIN: each message comes once, and each socket has its share."""
    side = Namespace("quiet", {})
    with closing(side), side.entered(), sock_diag.listen(4 << 20, 1 << 19) as messages:
        assert len(messages._sockets) == 8
        port = connect(1000)
        reports = reports_of(messages, port, 1000)
        assert len({tcp_info.row(it).cookie for it in reports}) == len(reports) == 1000
        connect(3000)
        time.sleep(0.3)
        shares = [0] * 8
        for number, one in enumerate(messages._sockets):
            found: list[bytes] = []
            while messages._read(one, 10_000, found):
                pass
            shares[number] = len(found)
        lost = messages.dropped()
        assert (lost, sum(shares)) == (0, 6001)
        assert min(shares) > 600


@pytest.mark.parametrize(
    ("wanted", "granted", "count"), [(100, 100, 1), (100, 200, 1), (100, 60, 2), (100, 30, 4), (100, 1, 8)]
)
def test_among_how_many(wanted: int, granted: int, count: int) -> None:
    """A power of two, eight at most."""
    assert broadcasts._count(wanted, granted) == count


def test_which_addresses_are_here() -> None:
    """Loopback is; one of a documentation network is not."""
    assert namespace.is_local(bytes([127, 0, 0, 1]))
    assert not namespace.is_local(bytes([203, 0, 113, 77]))
    assert not namespace.is_local(bytes.fromhex("20010db8") + bytes(12))
    assert namespace.connect_to_itself()
