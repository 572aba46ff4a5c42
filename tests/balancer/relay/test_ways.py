"""The ways to a node: its login, another proxy before it, TLS; and what stands before the relay."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from balancer.relay.standing import node, relay, settings
from balancer.relay.test_http import head_of
from balancer.relay.test_socks import V4_REQUEST, echo
from proxywatch.balancer.node import Upstream
from proxywatch.balancer.relay.settings import Listener, ProxyProtocol, Settings
from proxywatch.quantity import Address
from testbed import certificates
from testbed.faulty_socks import Talk, faulty
from testbed.socks import connect, dial, greet, receive, reply, request


def test_the_nodes_login(tmp_path: Path, loop: str) -> None:
    """The password comes from its file, when it is dialed."""
    (tmp_path / "password").write_text("pw\n")
    seen: list[object] = []

    def script(talk: Talk) -> None:
        seen.append(talk.greet(b"\5\2"))
        seen.append(talk.login())
        talk.reply()
        talk.hang()

    with faulty(script) as port:
        one = node(port, username="us", password_file=str(tmp_path / "password"))
        with relay([one], loop=loop) as it, connect(it.port, ("203.0.113.5", 80)):
            assert seen == [b"\2", (b"us", b"pw")]


@pytest.mark.parametrize("answer", [b"\5\xff", b"\5\2", b"HT"])
def test_a_node_that_wants_something_else(answer: bytes) -> None:
    """A login that we have not, none of ours, another protocol: its account."""

    def script(talk: Talk) -> None:
        talk.greet(answer)
        talk.hang()

    with faulty(script) as port, relay([node(port)]) as it, dial(it.port) as client:
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert reply(client) == 1
        assert it.brain.blamed[0][1:] in {("node", "node_login"), ("node", "node_protocol")}


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_node_behind_another_proxy(loop: str, scheme: str) -> None:
    """The first is asked for the second, the second for the destination."""
    asked: list[bytes] = []

    def two_in_one(talk: Talk) -> None:
        if scheme == "socks5":
            talk.greet()
            talk.reply()
            asked.append(talk.destination)
        else:
            asked.append(talk.head().split()[1])
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        talk.open()
        asked.append(talk.destination)
        talk.send(talk.read(2))

    with faulty(two_in_one) as port:
        first = Upstream(scheme, "127.0.0.1", port)  # type: ignore[arg-type]
        for via in (first, "entry"):
            asked.clear()
            with (
                relay([node(1080, via=via)], loop=loop, upstream_of={"entry": first}.get) as it,
                connect(it.port, ("203.0.113.5", 80)) as client,
            ):
                client.sendall(b"hi")
                assert receive(client, 2) == b"hi"
            assert asked[0] == (b"\x7f\0\0\1\x04\x38" if scheme == "socks5" else b"127.0.0.1:1080")
            assert asked[1] == b"\xcb\0\x71\5\0\x50"


@pytest.mark.parametrize(
    ("first", "second", "blame", "reason"),
    [(1, 0, "hop", "socks_general"), (5, 0, "node", "socks_refused"), (0, 1, "node", "socks_general"),
     (0, 5, "destination", "socks_refused")],
)  # fmt: skip
def test_blame_is_kept_apart_per_hop(first: int, second: int, blame: str, reason: str) -> None:
    """The first proxy's own failure is the hop's; what it says of the second is the node's."""

    def script(talk: Talk) -> None:
        talk.greet()
        talk.reply(first)
        talk.greet()
        talk.reply(second)

    with faulty(script) as port, relay([node(1080, via=Upstream("socks5", "127.0.0.1", port))]) as it:
        with dial(it.port) as client:
            greet(client)
            request(client, ("203.0.113.5", 80))
            reply(client)
        assert it.brain.blamed == [("n1", blame, reason)]


def test_a_hop_that_is_not_there_and_one_that_is_not_known() -> None:
    """The first is the hop's fault, the second ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = Upstream("socks5", "127.0.0.1", taken.getsockname()[1])
        for via, blamed in ((gone, ("hop", "dial_refused")), ("nobody", ("self", "node_via"))):
            with relay([node(1080, via=via)]) as it, dial(it.port) as client:
                greet(client)
                request(client, ("203.0.113.5", 80))
                assert reply(client) == 1
                assert it.brain.blamed[0][1:] == blamed


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server on 127.0.0.1 and of a client that trusts it."""
    made = certificates.make(tmp_path)
    return made.server(), ssl.create_default_context(cafile=made.bundle)


def test_a_node_over_tls(loop: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """An HTTP proxy behind TLS; its certificate counts."""

    def script(talk: Talk) -> None:
        talk.secure(tls[0])
        talk.head()
        talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        talk.send(talk.read(2))

    with faulty(script) as port:
        one = node(port, scheme="https")
        with relay([one], loop=loop, tls=tls[1]) as it, connect(it.port, ("203.0.113.5", 80)) as client:
            client.sendall(b"hi")
            assert receive(client, 2) == b"hi"
        with relay([one], loop=loop) as it, dial(it.port) as client:
            greet(client)
            request(client, ("203.0.113.5", 80))
            assert reply(client) == 1
            assert it.brain.blamed == [("n1", "node", "dial_tls")]


def test_clients_over_tls(loop: str, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """As browsers take an HTTPS proxy; the end of their data ends the session, and so does a cut."""
    ended = threading.Event()

    def script(talk: Talk) -> None:
        talk.open()
        while data := talk.wire.recv(100):
            talk.send(data)
        ended.set()

    for way in ("unwrap", "cut"):
        ended.clear()
        with faulty(script) as port, relay([node(port)], loop=loop, front=tls[0]) as it:
            client = tls[1].wrap_socket(dial(it.port), server_hostname="127.0.0.1")
            client.sendall(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a\r\n\r\n")
            head_of(client)
            client.sendall(b"hi")
            assert receive(client, 2) == b"hi"
            if way == "unwrap":
                client.unwrap().close()
            else:
                client.close()
            it.wait(lambda: it.active == 0)


def test_the_proxy_protocol_from_a_balancer(loop: str) -> None:
    """From a trusted peer the header is required, and tells who the client is; from others it is refused."""
    given = settings(proxy_protocol=ProxyProtocol(trusted=("127.0.0.0/8",)))
    with faulty(echo) as port, relay([node(port)], given, loop=loop) as it:
        for header in (b"PROXY TCP4 192.0.2.7 192.0.2.2 1024 1080\r\n", b"PROXY UNKNOWN\r\n"):
            with dial(it.port) as client:
                client.sendall(header + b"\5\1\0" + V4_REQUEST)
                assert receive(client, 4)[3] == 0
        assert [one.client for one in it.brain.requests] == ["192.0.2.7", "127.0.0.1"]
        with dial(it.port) as client:
            client.sendall(b"\5\1\0" + V4_REQUEST)
            assert client.recv(1) == b""
    with relay([]) as it, dial(it.port) as client:
        client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.2 1024 1080\r\n\r\n")
        assert b" 400 " in client.recv(100)


def test_listeners_with_wishes() -> None:
    """For clients that cannot log in; what they wish for themselves comes first."""
    more = (Listener(Address("127.0.0.1:0"), "country-se"),)
    with faulty(echo) as port, relay([node(port)], settings(listeners=more)) as it:
        second = int(it.relay.addresses[1].rpartition(":")[2])
        for name, country in ((b"", "se"), (b"x-country-de", "de")):
            with dial(second) as client:
                client.sendall(b"\5\1\2\1" + bytes([len(name)]) + name + b"\0" + V4_REQUEST)
                assert receive(client, 14)[5] == 0
            assert it.brain.requests[-1].wishes.country == country


@pytest.mark.parametrize(
    ("more", "fault"),
    [({"listen": Address(":1080")}, "beyond loopback without users"),
     ({"listen": Address("192.0.2.1:1080")}, "beyond loopback without users"),
     ({"listen": Address("127.evil.example:1080")}, "beyond loopback without users"),
     ({"listeners": (Listener(Address(":1081")),)}, "beyond loopback without users"),
     ({"auth": "required"}, "needs a users_file"),
     ({"deny": ("a b",)}, "neither a name nor an address"),
     ({"listeners": (Listener(Address("127.0.0.1:1"), "colour-red"),)}, "unknown wish 'colour'")],
)  # fmt: skip
def test_settings_that_are_refused(more: dict[str, object], fault: str) -> None:
    """At the start, with the reason."""
    with pytest.raises(ValueError, match=fault):
        Settings(**more)  # type: ignore[arg-type]


def test_settings_that_are_not() -> None:
    """Beyond loopback with users, or on purpose."""
    Settings(listen=Address(":1080"), auth="none")
    Settings(listen=Address(":1080"), users_file="users")
    Settings(listen=Address("[::1]:1080"))
    Settings(listen=Address("unix:/run/relay.sock"))
