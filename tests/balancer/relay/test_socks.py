"""SOCKS clients before fake nodes: what they are told, and what the node sees."""

import socket
import threading
import time
from contextlib import ExitStack

import pytest

from balancer.relay.standing import node, relay, settings
from proxywatch.quantity import Duration
from testbed.faulty_socks import Talk, faulty
from testbed.socks import connect, dial, greet, receive, reply, request

V4_REQUEST = b"\5\1\0\1\xcb\0\x71\5\0\x50"


def echo(talk: Talk) -> None:
    """A node that opens everything, and sends back what comes, to its end."""
    talk.open()
    while data := talk.wire.recv(65536):
        talk.send(data)


def refusing(code: int) -> "object":
    def script(talk: Talk) -> None:
        talk.greet()
        talk.reply(code)

    return script


def test_a_connection_through_a_node(loop: str) -> None:
    """Bytes pass both ways and are counted; the books balance."""
    with faulty(echo) as port, relay([node(port)], loop=loop) as it:
        with connect(it.port, ("203.0.113.5", 80)) as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
            assert it.active == 1
        it.wait(lambda: it.active == 0)
        assert it.brain.closings == [("n1", 5, 5, "done")]
        assert it.brain.requests[0].destination is not None
        assert str(it.brain.requests[0].destination) == "203.0.113.5:80"


STYLES = {
    "socks5": [b"\5\1\0", V4_REQUEST],
    "socks5 with credentials": [b"\5\1\2", b"\1\1u\1p", V4_REQUEST],
    "socks4": [b"\4\1\0\x50\xcb\0\x71\5u\0"],
    "socks4a": [b"\4\1\0\x50\0\0\0\1u\0a.example\0"],
    "connect": [b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n"],
}
REPLIES = {
    "socks5": b"\5\0" + b"\5\0\0\1" + b"\0" * 6,
    "socks5 with credentials": b"\5\2" + b"\1\0" + b"\5\0\0\1" + b"\0" * 6,
    "socks4": b"\0\x5a" + b"\0" * 6,
    "socks4a": b"\0\x5a" + b"\0" * 6,
    "connect": b"HTTP/1.1 200 Connection established\r\n\r\n",
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("glued", [True, False])
def test_handshakes_split_and_glued(loop: str, style: str, *, glued: bool) -> None:
    """One byte per segment, or all in one send with payload behind it: the same."""
    with faulty(echo) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b"".join(STYLES[style]) + b"PING"
        if glued:
            client.sendall(data)
        else:
            for byte in data:
                client.sendall(bytes([byte]))
                time.sleep(0.0005)
        expected = REPLIES[style] + b"PING"
        assert receive(client, len(expected)) == expected


@pytest.mark.parametrize("style", STYLES)
def test_early_data_goes_to_the_node_that_said_yes_once(loop: str, style: str) -> None:
    """The first node answers 0x01, the second yes: the origin sees PING exactly once."""
    seen: list[bytes] = []

    def first(talk: Talk) -> None:
        talk.greet()
        talk.reply(1)
        try:
            seen.append(talk.wire.recv(100))
        except ConnectionResetError:
            seen.append(b"")

    def second(talk: Talk) -> None:
        talk.open()
        talk.send(talk.read(4))
        talk.wire.settimeout(0.2)
        try:
            seen.append(talk.wire.recv(100))
        except TimeoutError:
            seen.append(b"nothing more")

    with (
        faulty(first) as bad,
        faulty(second) as good,
        relay([node(bad, "a"), node(good, "b")], loop=loop) as it,
    ):
        with dial(it.port) as client:
            client.sendall(b"".join(STYLES[style]) + b"PING")
            assert receive(client, len(REPLIES[style]) + 4).endswith(b"PING")
            it.wait(lambda: len(seen) == 2)
        assert sorted(seen) == [b"", b"nothing more"]
        assert it.brain.blamed == [("a", "node", "socks_general")]


@pytest.mark.parametrize(
    ("code", "told", "blame", "tries"),
    [(1, 1, "node", 3), (2, 2, "destination", 1), (3, 1, "node", 3), (4, 4, "destination", 2),
     (5, 5, "destination", 1), (6, 6, "destination", 2), (7, 7, "destination", 1), (8, 8, "destination", 1),
     (99, 1, "node", 3)],
)  # fmt: skip
def test_the_nodes_no(code: int, told: int, blame: str, tries: int) -> None:
    """Passed on as it came, or tried elsewhere; 0x04 and 0x06 once."""
    with faulty(refusing(code)) as port:  # type: ignore[arg-type]
        nodes = [node(port, name) for name in "abcd"]
        with relay(nodes) as it, dial(it.port) as client:
            greet(client)
            request(client, ("203.0.113.5", 80))
            assert reply(client) == told
            assert client.recv(1) == b""
            assert [name for name, _, _ in it.brain.blamed] == list("abcd"[:tries])
            assert {whose for _, whose, _ in it.brain.blamed} == {blame}


def test_a_second_opinion_blames_the_node() -> None:
    """Where another exit reaches the destination, the first was wrong about it."""
    with faulty(refusing(4)) as bad, faulty(echo) as good:  # type: ignore[arg-type]
        nodes = [node(bad, "a"), node(good, "b")]
        with relay(nodes) as it, connect(it.port, ("203.0.113.5", 80)) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
            assert it.brain.blamed == [("a", "node", "socks_host")]


@pytest.mark.parametrize(
    ("offer", "login", "answer"),
    [(b"\0", False, 0), (b"\2", False, 2), (b"\0\2", False, 2), (b"\2\0", False, 2), (b"\1\0\2", False, 2),
     (b"\1", False, 255), (b"", False, 255),
     (b"\0", True, 255), (b"\2", True, 2), (b"\0\2", True, 2), (b"\2\0", True, 2), (b"\1\0\2", True, 2),
     (b"\1", True, 255), (b"", True, 255)],
)  # fmt: skip
def test_which_method(offer: bytes, answer: int, users_file: str, *, login: bool) -> None:
    """2 whenever it is offered, 0 where nobody has to log in, never one that was not offered."""
    with relay([], users=users_file if login else "") as it, dial(it.port) as client:
        client.sendall(b"\5" + bytes([len(offer)]) + offer)
        assert receive(client, 2) == bytes([5, answer])
        if answer == 255:
            assert client.recv(1) == b""


def test_empty_words_where_nobody_logs_in() -> None:
    """A user with an empty password has wishes; both empty is a pair like any other."""
    with faulty(echo) as port, relay([node(port)]) as it:
        for name, country in ((b"x-country-se", "se"), (b"", "")):
            with dial(it.port) as client:
                client.sendall(b"\5\1\2\1" + bytes([len(name)]) + name + b"\0" + V4_REQUEST)
                assert receive(client, 14)[:4] == b"\5\2\1\0"
            assert it.brain.requests[-1].wishes.country == country


def test_an_unknown_wish_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """In the sub-negotiation, before anything is dialed; the log names it."""
    with relay([]) as it, dial(it.port) as client:
        client.sendall(b"\5\1\2\1\x0ex-colour-black\0")
        assert receive(client, 4) == b"\5\2\1\1"
        assert client.recv(1) == b""
        assert it.watcher.refusals == [("socks5", "wish", "client")]
        assert "unknown wish 'colour'" in caplog.text
        assert it.brain.requests == []


@pytest.mark.parametrize(
    "name", [b"127.0.0.1", b"::1", b"[::1]", b"2130706433", b"0x7f.1", b"localhost", b"a.local"]
)
def test_denied_destinations(name: bytes) -> None:
    """0x02, and no node is asked."""
    with (
        relay([], settings(deny=("loopback", "link-local", "private", "metadata"))) as it,
        dial(it.port) as client,
    ):
        greet(client)
        client.sendall(b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\x50")
        assert reply(client) == 2
        assert it.brain.requests == []


def test_commands_that_are_not_served() -> None:
    """BIND gets 0x07, in SOCKS4 a rejection; so do an unknown command and port 0."""
    with relay([]) as it:
        for command in (2, 9):
            with dial(it.port) as client:
                greet(client)
                request(client, ("203.0.113.5", 80), command)
                assert reply(client) == 7
        with dial(it.port) as client:
            client.sendall(b"\4\2\0\x50\xcb\0\x71\5\0")
            assert receive(client, 8)[1] == 0x5B


def test_half_close_by_the_client(loop: str) -> None:
    """The whole request, then SHUT_WR; the answer comes a second later, to its end."""
    got: list[int] = []

    def origin(talk: Talk) -> None:
        talk.open()
        size = 0
        while data := talk.wire.recv(1 << 20):
            size += len(data)
        got.append(size)
        time.sleep(1)
        talk.send(b"a" * (1 << 20))

    with faulty(origin) as port, relay([node(port)], loop=loop) as it:
        for style in ("socks5", "socks4a", "connect"):
            with dial(it.port) as client:
                client.sendall(b"".join(STYLES[style]))
                receive(client, len(REPLIES[style]))
                client.sendall(b"q" * (8 << 20))
                client.shutdown(socket.SHUT_WR)
                time.sleep(0.5)
                assert it.active == 1
                assert it.brain.in_flight == 1
                answer = b"".join(iter(lambda: client.recv(1 << 20), b""))
                assert len(answer) == 1 << 20
            it.wait(lambda: it.active == 0)
        assert got == [8 << 20] * 3
        assert {reason for *_, reason in it.brain.closings} == {"done"}


def test_an_end_of_file_with_the_request(loop: str) -> None:
    """Everything at once, the end as well: it travels on behind the bytes."""

    def origin(talk: Talk) -> None:
        talk.open()
        data = b"".join(iter(lambda: talk.wire.recv(100), b""))
        talk.send(data[::-1])

    with faulty(origin) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        client.sendall(b"\5\1\0" + V4_REQUEST + b"abc")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(100), b"")).endswith(b"cba")


@pytest.mark.parametrize("side", ["client", "node"])
def test_a_reset_of_one_side_resets_the_other(loop: str, side: str) -> None:
    """What was cut does not look whole."""
    ended: list[object] = []
    cut = threading.Event()

    def origin(talk: Talk) -> None:
        talk.open()
        talk.send(b"first")
        if side == "node":
            cut.wait(5)
            talk.reset()
            return
        try:
            ended.append(talk.wire.recv(100))
        except OSError as error:
            ended.append(type(error))

    with faulty(origin) as port, relay([node(port)], loop=loop) as it, dial(it.port) as client:
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert reply(client) == 0
        assert receive(client, 5) == b"first"
        if side == "client":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            it.wait(lambda: bool(ended))
            assert ended == [ConnectionResetError]
        else:
            cut.set()
            with pytest.raises(ConnectionResetError):
                client.recv(100)
        it.wait(lambda: it.active == 0)
        assert it.brain.closings[0][3] == "reset"


def test_back_pressure_bounds_memory(loop: str) -> None:
    """A client that does not read stops the node; what waits here is bounded."""
    sent = [0]

    def origin(talk: Talk) -> None:
        talk.open()
        talk.wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        while sent[0] < 200 << 20:
            talk.send(b"x" * 65536)
            sent[0] += 65536

    with (
        faulty(origin) as port,
        relay([node(port)], loop=loop, conserve=False) as it,
        dial(it.port) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert reply(client) == 0
        before = -1
        while sent[0] != before:
            before = sent[0]
            time.sleep(0.3)
        assert sent[0] < 60 << 20, "the node was not stopped"
        session = next(iter(it.relay.sessions))
        assert session.client is not None
        assert it.call(session.client.transport.get_write_buffer_size) <= 512 << 10


def test_a_silent_client_goes_at_the_deadline(loop: str) -> None:
    """From accept to the complete request, not renewed by bytes."""
    with ExitStack() as stack, relay([], settings(handshake_timeout=Duration(1)), loop=loop) as it:
        silent, slow = (stack.enter_context(dial(it.port)) for _ in range(2))
        start = time.monotonic()
        slow.settimeout(0.2)
        ended = False
        while not ended and time.monotonic() - start < 5:
            try:
                slow.sendall(b"\5" if time.monotonic() - start < 0.2 else b"\xff")
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended
        with pytest.raises(ConnectionResetError):
            silent.recv(1)
        assert it.relay.handshakes == 0
        assert {reason for _, reason, _ in it.watcher.refusals} == {"handshake_timeout"}


def test_the_oldest_handshake_makes_room(loop: str) -> None:
    """Silent clients cannot keep out one that asks."""
    with faulty(echo) as port, relay([node(port)], settings(max_handshakes=20), loop=loop) as it:
        silent = [dial(it.port) for _ in range(60)]
        with connect(it.port, ("203.0.113.5", 80)) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert it.relay.handshakes <= 20
        assert it.relay.counts["evicted"] >= 40
        for one in silent:
            one.close()


def test_a_node_that_hangs_is_given_up_for_the_next(loop: str) -> None:
    """At the dial's deadline, and it is blamed."""

    def hanging(talk: Talk) -> None:
        talk.greet()
        talk.request()
        talk.hang()

    quick = settings(dial_timeout=Duration(0.5))
    with faulty(hanging) as bad, faulty(echo) as good:
        nodes = [node(bad, "a"), node(good, "b")]
        with relay(nodes, quick, loop=loop) as it:
            with connect(it.port, ("203.0.113.5", 80)) as client:
                client.sendall(b"x")
                assert receive(client, 1) == b"x"
            assert it.brain.blamed == [("a", "node", "dial_timeout")]


def test_a_node_that_is_not_there(loop: str) -> None:
    """Refused at once; no node left is 0x01."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with relay([node(taken.getsockname()[1])], loop=loop) as it, dial(it.port) as client:
            greet(client)
            request(client, ("203.0.113.5", 80))
            assert reply(client) == 1
            assert it.brain.blamed == [("n1", "node", "dial_refused")]


def test_a_client_that_leaves_while_the_node_is_asked(loop: str) -> None:
    """Nobody's fault; the node's connection goes as well."""
    asked, ended = threading.Event(), threading.Event()

    def hanging(talk: Talk) -> None:
        talk.greet()
        talk.request()
        asked.set()
        talk.hang()
        ended.set()

    with faulty(hanging) as port, relay([node(port)], loop=loop) as it:
        client = dial(it.port)
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert asked.wait(5)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        it.wait(lambda: it.brain.abandoned_ == ["n1"])
        assert ended.wait(5)
        assert it.brain.failures == []


def test_idle_connections_end() -> None:
    """Silent in both directions for too long."""
    with faulty(echo) as port, relay([node(port)], settings(idle_timeout=Duration(0.5))) as it:
        with connect(it.port, ("203.0.113.5", 80)) as client, pytest.raises(ConnectionResetError):
            client.recv(1)
        assert it.brain.closings[0][3] == "idle"


def test_the_relay_is_full() -> None:
    """One more is told so, and blames nobody."""
    with ExitStack() as stack:
        port = stack.enter_context(faulty(echo))
        it = stack.enter_context(relay([node(port)], settings(max_connections=1)))
        stack.enter_context(connect(it.port, ("203.0.113.5", 80)))
        client = stack.enter_context(dial(it.port))
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert reply(client) == 1
        assert it.watcher.refusals == [("socks5", "full", "self")]


def test_drain_waits_and_then_ends(loop: str) -> None:
    """No new connection, open ones go on until the deadline, then end with the reason."""
    with faulty(echo) as port, relay([node(port)], loop=loop) as it:
        with connect(it.port, ("203.0.113.5", 80)) as client:
            thread = threading.Thread(target=it.drain, args=(1.0,))
            thread.start()
            it.wait(lambda: it.relay.draining)
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
            with pytest.raises(OSError, match=r"refused|reset"):
                dial(it.port).recv(1)
            thread.join()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert it.brain.closings[0][3] == "drained"


def test_connections_of_a_node_are_ended_with_a_reason() -> None:
    """Those of others stay."""
    with faulty(echo) as one, faulty(echo) as two, relay([node(one, "a"), node(two, "b")]) as it:
        first = connect(it.port, ("203.0.113.5", 80))
        it.brain.nodes = it.brain.nodes[1:]
        second = connect(it.port, ("203.0.113.5", 80))
        assert it.call(it.relay.close_node, "a", "exit_drift") == 1
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        second.sendall(b"x")
        assert receive(second, 1) == b"x"
        assert [(name, reason) for name, _, _, reason in it.brain.closings] == [("a", "exit_drift")]
        second.close()
        first.close()


def test_connections_of_every_kind_are_ended(loop: str) -> None:
    """A tunnel, a request in absolute form and an association: each ends at once, and is accounted for."""

    def waiting(talk: Talk) -> None:
        talk.greet()
        command = talk.read(4)[1]
        talk.read(6)
        talk.send(b"\5\0\0\1\x7f\0\0\1\0\x09")
        if command == 1:
            talk.wire.recv(1000)
        talk.hang()

    with faulty(waiting) as port, relay([node(port)], loop=loop) as it, ExitStack() as stack:
        clients = [stack.enter_context(dial(it.port)) for _ in range(3)]
        clients[0].sendall(b"\5\1\0" + V4_REQUEST)
        clients[1].sendall(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        clients[2].sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
        it.wait(lambda: it.active == 3)
        assert it.call(it.relay.close_node, "n1", "exit_drift") == 3
        assert it.active == 0
        assert [reason for *_, reason in it.brain.closings] == ["exit_drift"] * 3
        for client in clients:
            with pytest.raises(ConnectionResetError):
                list(iter(lambda: client.recv(100), b""))  # noqa: B023


def test_a_relay_that_ends_leaves_nothing_open(loop: str) -> None:
    """Clients in every state when the process ends."""
    with faulty(lambda talk: talk.hang()) as port, ExitStack() as stack:
        with relay([node(port)], loop=loop) as it:
            for data in (b"", b"\5", b"\5\1\0", b"\5\1\0" + V4_REQUEST, b"GET http://a.test/ HTTP/1.1\r\n"):
                stack.enter_context(dial(it.port)).sendall(data)
            it.wait(lambda: len(it.brain.requests) == 1)
        assert it.brain.abandoned_ == ["n1"]


def test_a_node_whose_exit_drifted_during_the_dial_is_not_used(loop: str) -> None:
    """Its yes comes too late: the next node serves, and nothing of the client's went to the first."""
    with faulty(echo) as bad, faulty(echo) as good, relay([node(bad, "a"), node(good, "b")], loop=loop) as it:
        it.brain.drifted.add("a")
        with connect(it.port, ("203.0.113.5", 80)) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert it.brain.connects == ["b"]
        assert it.brain.blamed == [("a", "node", "exit_drift")]
