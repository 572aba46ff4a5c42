"""Where a server listens: both families, one of them, unix sockets, sockets of systemd."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxywatch.errors import ConfigError, ParseError
from proxywatch.net import sockets
from proxywatch.net.addresses import Addresses
from proxywatch.net.listener import Listener
from proxywatch.quantity import Address
from support.wire import until


def test_a_bare_port_is_for_both_families() -> None:
    """IPv4 and IPv6 clients reach the same socket."""
    (sock,) = sockets.bound(Address.parse(":0"), "http.listen")
    with sock:
        sock.listen()
        port = sock.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


def test_a_host_is_kept_to(tmp_path: Path) -> None:
    """Loopback of one family, of the other, and a unix socket."""
    for text, described in (
        ("127.0.0.1:0", "127.0.0.1:"),
        ("[::1]:0", "[::1]:"),
        (f"unix:{tmp_path}/s", "unix:/"),
    ):
        (sock,) = sockets.bound(Address.parse(text), "http.listen")
        with sock:
            assert sockets.describe(sock).startswith(described)


def test_a_taken_port_is_a_fault() -> None:
    """With the setting's name and the kernel's reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address.parse(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"http.listen: cannot listen on .*: Address already in use"):
            sockets.bound(address, "http.listen")


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    """One that nobody listens on; a living one and an ordinary file are left alone."""
    path = tmp_path / "s"
    address = Address.parse(f"unix:{path}")
    sockets.bound(address, "http.listen")[0].close()
    with sockets.bound(address, "http.listen")[0] as living:
        living.listen()
        with pytest.raises(ConfigError, match="in use"):
            sockets.bound(address, "http.listen")
    path.unlink()
    path.write_text("mine")
    with pytest.raises(ConfigError, match="in use"):
        sockets.bound(address, "http.listen")
    assert path.read_text() == "mine"


async def test_a_unix_socket_goes_with_its_server(tmp_path: Path) -> None:
    """It is there while the listener is open."""
    listener = Listener("http", lambda: pytest.fail("nobody connects"), 1)
    await listener.open(Addresses.parse(f"127.0.0.1:0, unix:{tmp_path}/s"))
    assert len(listener.addresses) == 2
    assert (tmp_path / "s").is_socket()
    listener.close()
    assert not (tmp_path / "s").exists()


ADOPT = """
import os, sys
from proxywatch.net import sockets
os.environ["LISTEN_PID"] = str(os.getpid())
for name in ("http", "health"):
    print(name, *(sock.getsockname()[1] for sock in sockets.inherited(name)))
"""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("http:health", ([0], [1])),
        ("health:http", ([1], [0])),
        ("a.socket:health", ([0], [1])),
        ("", ([0, 1], [])),
    ],
)
def test_sockets_of_systemd(names: str, expected: tuple[list[int], list[int]]) -> None:
    """Told apart by name; one without a name of ours is for metrics."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [sock.getsockname()[1] for sock in (one, two)]
        environment = os.environ | {"LISTEN_FDS": "2", "LISTEN_FDNAMES": names}

        def move() -> None:
            first, second = os.dup2(one.fileno(), 50), os.dup2(two.fileno(), 51)
            os.dup2(first, 3)
            os.dup2(second, 4)

        process = subprocess.run(
            [sys.executable, "-c", ADOPT],
            env=environment,
            preexec_fn=move,
            close_fds=False,
            capture_output=True,
            text=True,
            check=True,
        )
    lines = dict(line.partition(" ")[::2] for line in process.stdout.splitlines())
    told = tuple([ports.index(int(port)) for port in lines[name].split()] for name in ("http", "health"))
    assert told == expected


def test_addresses_as_written() -> None:
    """One, several with commas, a list; nonsense is refused; what is printed reads back the same."""
    assert Addresses.parse(":9090") == (":9090",)
    assert Addresses.parse("127.0.0.1:1, unix:/run/x") == ("127.0.0.1:1", "unix:/run/x")
    assert Addresses.parse([":1", ":2"]) == (":1", ":2")
    assert Addresses.parse(str(Addresses.parse(":1,:2"))) == (":1", ":2")
    for wrong in ("", " , ", "9090", ["nonsense"]):
        with pytest.raises(ParseError):
            Addresses.parse(wrong)


async def test_a_port_that_is_taken_stops_the_start() -> None:
    """Before anything else has begun."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address.parse(f"127.0.0.1:{taken.getsockname()[1]}")
        listener = Listener("health", lambda: pytest.fail("nobody connects"), 1)
        with pytest.raises(ConfigError, match=r"health\.listen"):
            await listener.open([address])


async def test_connections_of_the_vanished_end() -> None:
    """Every connection has from its listener how long the kernel waits for an acknowledgement."""
    taken: list[socket.socket] = []

    class Guest(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taken.append(transport.get_extra_info("socket"))

    listener = Listener("http", Guest, 7)
    await listener.open([Address.parse("127.0.0.1:0")])
    host, port = listener.addresses[0].split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    await until(lambda: bool(taken))
    assert taken[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
    assert taken[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    writer.close()
    await writer.wait_closed()
    listener.close()
