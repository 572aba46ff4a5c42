"""UDP ASSOCIATE: datagrams through fake nodes and a real Dante."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from balancer.relay.standing import node, relay, settings
from proxywatch.parse import socks
from testbed.danted import BINARY, danted
from testbed.faulty_socks import Talk, faulty
from testbed.socks import UDP_ASSOCIATE, dial, greet, receive, reply, request


def associated(port: int) -> tuple[socket.socket, tuple[str, int]]:
    """A client with an association, and where to send datagrams to."""
    client = dial(port)
    client.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
    told = receive(client, 12)[2:]
    assert told[1] == 0
    read = socks.answer(told)
    assert read is not None
    return client, (read[0].host, read[0].port)


@contextmanager
def echo_server() -> Iterator[int]:
    """Sends every datagram back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        end = threading.Event()

        def serve() -> None:
            while not end.is_set():
                try:
                    data, source = server.recvfrom(65536)
                except TimeoutError:
                    continue
                server.sendto(data, source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            end.set()
            thread.join()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def exchanged(
    sender: socket.socket, to: tuple[str, int], destination: tuple[str, int], data: bytes
) -> bytes | None:
    """The payload that comes back, or None."""
    sender.settimeout(1.5)
    sender.sendto(socks.datagram_header(*destination) + data, to)
    try:
        answer = sender.recv(65536)
    except TimeoutError:
        return None
    return answer[socks.datagram(answer).start :]


@pytest.mark.skipif(not Path(BINARY).exists(), reason="needs dante-server")
def test_through_a_real_dante(tmp_path: Path, loop: str) -> None:
    """Echoed while the TCP connection lives; then nothing comes back, and no descriptor is left."""
    with danted(tmp_path) as server, echo_server() as echo, relay([node(server.port)], loop=loop) as it:
        before = descriptors()
        client, to = associated(it.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            for number in range(5):
                assert exchanged(sender, to, ("127.0.0.1", echo), b"%d" % number) == b"%d" % number
            client.close()
            it.wait(lambda: it.active == 0)
            assert exchanged(sender, to, ("127.0.0.1", echo), b"late") is None
        it.wait(lambda: descriptors() == before)
        assert it.brain.closings == [("n1", 5, 5 * 11, "done")]
        assert it.watcher.opened_[0].spoken == "udp"


def fake_node(talk: Talk) -> None:
    """Grants an association at a socket that sends all back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(0.1)
        talk.greet()
        assert talk.read(10)[1] == UDP_ASSOCIATE
        talk.send(b"\5\0\0\1\0\0\0\0" + own.getsockname()[1].to_bytes(2))
        talk.wire.settimeout(0.05)
        while True:
            try:
                data, source = own.recvfrom(65536)
                if data.endswith(b"end"):
                    return
                own.sendto(data, source)
            except TimeoutError:
                pass
            try:
                if not talk.wire.recv(1):
                    return
            except TimeoutError:
                pass


def test_the_end_of_the_nodes_connection_ends_the_clients(loop: str) -> None:
    """It lives exactly as long as both."""
    with faulty(fake_node) as port, relay([node(port)], loop=loop) as it:
        client, to = associated(it.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            assert exchanged(sender, to, ("203.0.113.5", 53), b"x") == b"x"
            sender.sendto(socks.datagram_header("203.0.113.5", 53) + b"end", to)
        assert client.recv(1) == b""
        client.close()
        it.wait(lambda: it.active == 0)


def test_datagrams_that_are_dropped(loop: str) -> None:
    """Denied destinations, fragments, no header, another source port."""
    with faulty(fake_node) as port, relay([node(port)], settings(deny=("loopback",)), loop=loop) as it:
        client, to = associated(it.port)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            assert exchanged(sender, to, ("203.0.113.5", 53), b"x") == b"x"
            assert exchanged(other, to, ("203.0.113.5", 53), b"x") is None
            for bad in (
                socks.datagram_header("127.0.0.1", 53) + b"x",
                b"\0\0\1" + socks.datagram_header("203.0.113.5", 53)[3:] + b"x",
                b"junk",
            ):
                sender.sendto(bad, to)
            assert exchanged(sender, to, ("203.0.113.5", 53), b"y") == b"y"
        client.close()


def test_nodes_that_carry_no_datagrams() -> None:
    """0x07: one that says so, an HTTP proxy, one behind another."""

    def refusing(talk: Talk) -> None:
        talk.greet()
        talk.reply(7)

    with faulty(refusing) as port:
        nodes = [node(port), node(port, scheme="http"), node(port, via="x")]
        for one in nodes:
            with relay([one]) as it, dial(it.port) as client:
                greet(client)
                request(client, ("0.0.0.0", 0), UDP_ASSOCIATE)
                assert reply(client) == 7
                assert it.brain.failures[0][1].blame == "destination"
