"""HTTP clients: CONNECT, absolute-form requests, and what is refused."""

import base64
import socket
import threading
import time
from pathlib import Path

import bcrypt
import pytest

from balancer.relay.standing import node, relay, settings
from balancer.relay.test_socks import echo
from proxywatch.balancer.attempt import Refusal
from testbed.faulty_socks import Talk, faulty
from testbed.socks import dial, receive

HEADS: list[bytes] = []


def head_of(client: socket.socket) -> bytes:
    """A response's head."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            raise ConnectionError(f"closed after {data!r}")
        data += byte
    return data


def answer_of(client: socket.socket) -> tuple[int, bytes, bytes]:
    """Status, head and body of a response that says its length."""
    head = head_of(client)
    length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    body = receive(client, int(length[0].split(b":")[1])) if length else b""
    return int(head.split()[1]), head, body


def origin(body: bytes, *, delay: float = 0.0, seen: "list[bytes] | None" = None) -> "object":
    """A node whose destination answers each connection's one request."""

    def script(talk: Talk) -> None:
        talk.open()
        head = talk.head()
        if seen is not None:
            seen.append(head)
        time.sleep(delay)
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Origin: 1\r\n\r\n" % len(body) + body)
        talk.hang()

    return script


def credentials(user: str, password: str) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()) + b"\r\n"


CONNECT = b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n"


def test_407_leaves_the_connection_usable(loop: str, users_file: str) -> None:
    """It has Proxy-Authenticate and a length; the next request with good credentials works."""
    with (
        faulty(echo) as port,
        relay([node(port)], loop=loop, users=users_file) as it,
        dial(it.port) as client,
    ):
        client.sendall(CONNECT + b"\r\n")
        status, head, _ = answer_of(client)
        assert status == 407
        assert b'Proxy-Authenticate: Basic realm="' in head
        assert b"Connection: close" not in head
        client.sendall(CONNECT + credentials("alice", "wrong") + b"\r\n")
        assert answer_of(client)[0] == 407
        client.sendall(CONNECT + credentials("alice-country-se", "secret") + b"\r\nhello")
        assert head_of(client) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert receive(client, 5) == b"hello"
        request = it.brain.requests[-1]
        assert (request.user, request.wishes.country) == ("alice", "se")


def test_a_few_failures_then_the_end(users_file: str) -> None:
    """Announced."""
    with relay([], users=users_file) as it, dial(it.port) as client:
        for _ in range(4):
            client.sendall(CONNECT + b"\r\n")
            assert b"Connection: close" not in answer_of(client)[1]
        client.sendall(CONNECT + b"\r\n")
        assert b"Connection: close" in answer_of(client)[1]
        assert client.recv(1) == b""


def test_the_answer_to_connect_byte_by_byte() -> None:
    """No framing fields on a tunnel's 200, to HTTP/1.0 either."""
    with faulty(echo) as port, relay([node(port)]) as it:
        for version in (b"1.1", b"1.0"):
            with dial(it.port) as client:
                client.sendall(b"CONNECT a.test:80 HTTP/" + version + b"\r\nHost: a.test:80\r\n\r\n")
                assert head_of(client) == b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked,\r\n",
     b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked, gzip\r\n",
     b"Transfer-Encoding: chunked\t\r\n",
     b"Content-Length: 5, 5\r\n", b"Content-Length: +5\r\n", b"Content-Length: 5 5\r\n", b"X : y\r\n",
     b"X: y\r\n z\r\n", b"X: a\rb\r\n", b"X: a\0b\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n"],
)  # fmt: skip
def test_two_lengths_are_400_and_no_node_is_dialed(fields: bytes) -> None:
    """Nothing of such a request reaches anybody."""
    with relay([]) as it, dial(it.port) as client:
        client.sendall(b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\nhello")
        status, head, _ = answer_of(client)
        assert status == 400
        assert b"Connection: close" in head
        assert it.brain.requests == []


def test_a_head_too_large() -> None:
    """431."""
    with relay([]) as it, dial(it.port) as client:
        client.sendall(b"GET http://a.test/" + b"a" * (100 << 10))
        assert head_of(client).startswith(b"HTTP/1.1 431 ")


def test_what_the_origin_sees(loop: str) -> None:
    """Path and Host of the target; nothing that is meant for us."""
    seen: list[bytes] = []
    with faulty(origin(b"hi", seen=seen)) as port:  # type: ignore[arg-type]
        with relay([node(port)], loop=loop) as it, dial(it.port) as client:
            client.sendall(
                b"GET http://u:p@a.test/x HTTP/1.1\r\nHost: b.test\r\nConnection: close, X-Secret\r\n"
                b"X-Secret: 1\r\nAccept: */*\r\n" + credentials("x", "y") + b"\r\n"
            )
            status, head, body = answer_of(client)
            assert (status, body) == (200, b"hi")
            assert b"Connection: close" in head
            assert client.recv(1) == b""
        assert seen == [b"GET /x HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nConnection: close\r\n\r\n"]
        assert it.brain.requests[0].destination is not None
        assert it.brain.requests[0].destination.host == "a.test"


def test_pipelined_requests_in_order(loop: str) -> None:
    """Three in one send, two origins in turn, the second slow: three right bodies, each routed by itself."""
    seen: list[bytes] = []

    def script(talk: Talk) -> None:
        talk.open()
        head = talk.head()
        seen.append(head)
        body = head.split()[1]
        time.sleep(0.3 if body == b"/2" else 0)
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with faulty(script) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.sendall(
            b"GET http://a.test/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"
            b"GET http://b.test/2 HTTP/1.1\r\nHost: b.test\r\n\r\n"
            b"POST http://a.test/3 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
        )
        assert [answer_of(client)[2] for _ in range(3)] == [b"/1", b"/2", b"/3"]
        hosts = [request.destination.host for request in it.brain.requests if request.destination]
        assert hosts == ["a.test", "b.test", "a.test"]
        it.wait(lambda: it.active == 0)
        client.sendall(b"GET http://a.test/4 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert answer_of(client)[2] == b"/4"
    assert len(it.brain.closings) == 4


def test_bodies_both_ways(loop: str) -> None:
    """Chunked up and down, larger than any buffer, and an interim response before."""

    def script(talk: Talk) -> None:
        talk.open()
        talk.head()
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = 0
        while True:
            line = b""
            while not line.endswith(b"\r\n"):
                line += talk.read(1)
            length = int(line, 16)
            talk.read(length + 2)
            size += length
            if not length:
                break
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):
            talk.send(b"10000\r\n" + b"y" * 65536 + b"\r\n")
        talk.send(b"5\r\n%05d\r\n0\r\nX: y\r\n\r\n" % (size // 65536))

    with faulty(script) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.sendall(
            b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert head_of(client).startswith(b"HTTP/1.1 100 ")
        sender = threading.Thread(
            target=client.sendall, args=((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 50 + b"0\r\n\r\n",)
        )
        sender.start()
        assert b"Transfer-Encoding: chunked" in head_of(client)
        expected = (b"10000\r\n" + b"y" * 65536 + b"\r\n") * 40 + b"5\r\n00050\r\n0\r\nX: y\r\n\r\n"
        assert receive(client, len(expected)) == expected
        sender.join()


def test_an_answer_that_ends_with_the_connection(loop: str) -> None:
    """So does the client's, and says so."""

    def script(talk: Talk) -> None:
        talk.open()
        talk.head()
        talk.send(b"HTTP/1.0 200 OK\r\n\r\nto the end")

    with faulty(script) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.sendall(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert b"Connection: close" in head_of(client)
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"to the end"


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"", 502), (b"HTTP/1.1 200 OK\r\nContent-Le", 502), (b"SSH-2.0-x\r\n\r\n", 502),
     (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 502),
     (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 200)],
)  # fmt: skip
def test_answers_that_are_cut_or_none(loop: str, said: bytes, status: int) -> None:
    """502 with the reason; once it has begun, a reset."""

    def script(talk: Talk) -> None:
        talk.open()
        talk.head()
        talk.send(said)

    with faulty(script) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.sendall(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        head = head_of(client)
        assert int(head.split()[1]) == status
        if status == 200:
            with pytest.raises(ConnectionResetError):
                list(iter(lambda: client.recv(100), b""))
        else:
            assert b"Proxy-Status: proxywatch; error=" in head
        it.wait(lambda: it.active == 0)


def test_an_upgrade_becomes_a_tunnel(loop: str) -> None:
    """After 101 bytes pass both ways."""

    def script(talk: Talk) -> None:
        talk.open()
        assert b"Upgrade: websocket" in talk.head()
        talk.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
        talk.send(talk.read(4)[::-1])

    with faulty(script) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.sendall(
            b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert head_of(client).startswith(b"HTTP/1.1 101 ")
        assert receive(client, 2) == b"hi"
        client.sendall(b"abcd")
        assert receive(client, 4) == b"dcba"
        client.close()


@pytest.mark.parametrize(
    ("reply", "status", "error"),
    [(2, 403, b"http_request_denied"), (5, 502, b"connection_refused"),
     (4, 502, b"destination_ip_unroutable"),
     (6, 504, b"connection_timeout"), (1, 503, b"destination_unavailable")],
)  # fmt: skip
@pytest.mark.parametrize("method", ["CONNECT", "GET"])
def test_statuses_with_the_reason(reply: int, status: int, error: bytes, method: str) -> None:
    """As precise as the node's reply; a kept connection stays usable after a plain request."""

    def script(talk: Talk) -> None:
        talk.greet()
        talk.reply(reply)

    with faulty(script) as port, relay([node(port)]) as it, dial(it.port) as client:
        target = "a.test:80" if method == "CONNECT" else "http://a.test/"
        for _ in range(1 if method == "CONNECT" else 2):
            client.sendall(f"{method} {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
            found, head, _ = answer_of(client)
            assert found == status
            assert b"Proxy-Status: proxywatch; error=" + error in head


def test_refusals_of_the_brain_and_of_the_deny_list() -> None:
    """403 and 503, with the sentence."""
    with relay([], settings(deny=("loopback",))) as it:
        for refusal, target, status in (
            (Refusal("d", "denied", "rule 7 forbids it"), "a.test", 403),
            (Refusal("d", "no_node", "no node in se"), "a.test", 503),
            (None, "127.1", 403),
        ):
            it.brain.refusal = refusal
            with dial(it.port) as client:
                client.sendall(f"CONNECT {target}:80 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                found, head, body = answer_of(client)
                assert found == status
                sentence = refusal.reason if refusal else "forbidden destination (loopback)"
                assert sentence.encode() in body
                assert sentence.encode() in head


def test_documents_of_the_relay() -> None:
    """/proxy.pac where it was given one; nothing else."""
    with relay([], documents={"/proxy.pac": lambda: b"function"}) as it, dial(it.port) as client:
        client.sendall(b"GET /proxy.pac?x HTTP/1.1\r\nHost: x\r\n\r\nGET /else HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(client)[::2] == (200, b"function")
        assert answer_of(client)[0] == 404


@pytest.mark.parametrize("method", ["CONNECT", "GET"])
def test_a_node_that_is_an_http_proxy(loop: str, method: str, tmp_path: Path) -> None:
    """It gets CONNECT, or the request in absolute form, with its own credentials and never the client's."""
    seen: list[bytes] = []
    (tmp_path / "password").write_text("pw\n")

    def script(talk: Talk) -> None:
        seen.append(talk.head())
        if method == "CONNECT":
            talk.send(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n")
            talk.send(talk.read(4))
        else:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with faulty(script) as port:
        proxy = node(port, scheme="http", username="us", password_file=str(tmp_path / "password"))
        with relay([proxy], loop=loop) as it, dial(it.port) as client:
            target = "a.test:80" if method == "CONNECT" else "http://a.test/x"
            client.sendall(
                f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode() + credentials("me", "x") + b"\r\n"
            )
            if method == "CONNECT":
                head_of(client)
                client.sendall(b"abcd")
                assert receive(client, 4) == b"abcd"
            else:
                assert answer_of(client)[2] == b"hi"
    assert seen[0].startswith(f"{method} {target} HTTP/1.1\r\nHost: a.test".encode())
    assert credentials("us", "pw") in seen[0]
    assert seen[0].count(b"Proxy-Authorization") == 1


@pytest.mark.parametrize(
    ("status", "told", "blame"), [(407, 1, "node"), (503, 1, "node"), (403, 2, "destination")]
)
def test_what_an_http_node_answers(status: int, told: int, blame: str) -> None:
    """Its 407 is ours to solve, not the client's."""

    def script(talk: Talk) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    with faulty(script) as port, relay([node(port, scheme="http")]) as it, dial(it.port) as client:
        client.sendall(b"\5\1\0\5\1\0\1\xcb\0\x71\5\0\x50")
        assert receive(client, 4)[3] == told
        it.wait(lambda: len(it.brain.failures) == 1)
        assert it.brain.blamed[0][1] == blame


def test_a_user_who_is_removed(loop: str, tmp_path: Path) -> None:
    """Open tunnels end with the reason, kept HTTP connections get 407; the others stay."""
    path = tmp_path / "users"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    path.write_text(f"alice:{hashed}\nbob:{hashed}\n")
    with (
        faulty(echo) as port,
        relay([node(port)], settings(users_file=str(path)), loop=loop, users=str(path)) as it,
    ):
        clients = {}
        for user in ("alice", "bob"):
            clients[user] = client = dial(it.port)
            client.sendall(CONNECT + credentials(user, "secret") + b"\r\n")
            head_of(client)
        kept = dial(it.port)
        kept.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\n" + credentials("alice", "secret") + b"\r\n")
        assert answer_of(kept)[0] == 404
        changed = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
        path.write_text(f"bob:{changed}\n")
        it.call(it.relay._reload_users)
        with pytest.raises(ConnectionResetError):
            clients["alice"].recv(1)
        assert [reason for *_, reason in it.brain.closings] == ["user_removed"]
        clients["bob"].sendall(b"x")
        assert receive(clients["bob"], 1) == b"x"
        kept.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\n" + credentials("alice", "secret") + b"\r\n")
        assert answer_of(kept)[0] == 407
        kept.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\n" + credentials("bob", "secret") + b"\r\n")
        assert answer_of(kept)[0] == 407
        kept.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\n" + credentials("bob", "other") + b"\r\n")
        assert answer_of(kept)[0] == 404
        path.write_text("")
        it.call(it.relay._reload_users)
        kept.sendall(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(kept)[0] == 407
        for one in (kept, *clients.values()):
            one.close()
