"""Dumps from the real kernel."""

import socket

import pytest

from proxywatch.errors import SourceError
from proxywatch.parse import inet_diag
from proxywatch.parse.tcp_socket import Socket
from proxywatch.source import netlink

SOCK_DIAG, BY_FAMILY = 4, 20


def test_only_the_port_that_was_asked_for() -> None:
    """Of two listeners and a connection, the kernel lists what has the local port."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)),
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
    ):
        rows = dump(listener.getsockname()[1])
        assert sorted(row.state for row in rows) == ["established", "listen"]
        assert [row.state for row in dump(client.getsockname()[1])] == ["established"]


def test_many_datagrams() -> None:
    """A thousand sockets do not fit one."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(1000)]
        port = listener.getsockname()[1]
        assert len(list(netlink.dump(SOCK_DIAG, BY_FAMILY, inet_diag.request(inet_diag.IPV4, port)))) > 2
        assert len(dump(port)) == 1001
        for client in clients:
            client.close()


def test_a_refusal_is_final() -> None:
    """A request that the kernel does not know will not be known later."""
    with pytest.raises(SourceError, match="netlink: ") as caught:
        list(netlink.dump(SOCK_DIAG, BY_FAMILY, b"\xff" * 56))
    assert not caught.value.temporary


def test_a_family_that_does_not_exist() -> None:
    """As under a profile that forbids it."""
    with pytest.raises(SourceError) as caught:
        list(netlink.dump(31, BY_FAMILY, b""))
    assert not caught.value.temporary


def dump(port: int) -> list[Socket]:
    datagrams = netlink.dump(SOCK_DIAG, BY_FAMILY, inet_diag.request(inet_diag.IPV4, port))
    return [inet_diag.parse(row) for rows in datagrams for row in rows]
