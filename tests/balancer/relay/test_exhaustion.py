"""When the machine runs out: descriptors, ports, time of the loop. Nobody else is blamed for it."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from balancer.relay.standing import node, relay, settings
from balancer.relay.test_socks import echo
from proxywatch.quantity import Duration
from testbed.faulty_socks import Talk, faulty
from testbed.socks import close, connect, dial, greet, receive, reply, request

ROOT = os.geteuid() == 0


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


SMALL = """
import asyncio, resource, sys
sys.path[:0] = {path!r}
import uvloop
from balancer.relay.standing import Brain, LOOPS, node
from proxywatch.balancer.relay.server import Relay
from proxywatch.balancer.relay.settings import Settings
from proxywatch.quantity import Address
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
async def main():
    brain = Brain([node({port}, name) for name in "abc"])
    async with Relay(Settings(listen=Address("127.0.0.1:0"), deny=()), brain) as relay:
        print(relay.addresses[0].rpartition(":")[2], flush=True)
        while True:
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                break
            print(brain.blamed, relay.counts, flush=True)
with asyncio.Runner(loop_factory=LOOPS[{loop!r}]) as runner:
    runner.run(main())
"""


def cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_no_descriptors_left(loop: str) -> None:
    """200 clients of a process that may have 128: little work, few lines, and it goes on by itself."""
    with faulty(echo) as port:
        script = textwrap.dedent(SMALL).format(path=sys.path, port=port, loop=loop)
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout
        assert process.stdin
        assert process.stderr
        try:
            own = int(process.stdout.readline())
            clients, served = [], 0
            before = cpu(process.pid)
            for _ in range(200):
                client = dial(own)
                clients.append(client)
                client.settimeout(2)
                try:
                    client.sendall(b"\5\1\0\5\1\0\1\xcb\0\x71\5\0\x50")
                    served += receive(client, 12)[3] == 0
                except OSError:
                    continue
            assert served >= 10
            time.sleep(2)
            assert cpu(process.pid) - before < 1.0
            close(*clients)
            time.sleep(1)
            with connect(own, ("203.0.113.5", 80)) as client:
                client.sendall(b"x")
                assert receive(client, 1) == b"x"
            process.stdin.write(b"\n")
            process.stdin.flush()
            told = process.stdout.readline().decode()
            assert "'node'" not in told
        finally:
            process.stdin.close()
            errors = process.stderr.read().decode()
            process.wait(20)
            process.stdout.close()
            process.stderr.close()
        assert errors.count("\n") < 20, errors


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EMFILE, "no_descriptors"), (errno.ENFILE, "no_descriptors"), (errno.EADDRNOTAVAIL, "no_ports"),
     (errno.ENOBUFS, "no_memory"), (errno.ENOMEM, "no_memory")],
)  # fmt: skip
def test_what_is_our_own_fault(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    """0x01, no other node is tried, nobody is blamed."""
    with relay([node(1, "a"), node(1, "b")], loop="asyncio") as it:

        async def fails(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(it.loop, "create_connection", fails)
        with dial(it.port) as client:
            greet(client)
            request(client, ("203.0.113.5", 80))
            assert reply(client) == 1
        assert it.brain.blamed == [("a", "self", reason)]


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="needs root")
def test_no_ports_left() -> None:
    """In a namespace with ten local ports: held connections use them up; it works again when they end."""
    script = textwrap.dedent(
        """
        import sys
        sys.path[:0] = {path!r}
        from balancer.relay.standing import node, relay
        from balancer.relay.test_socks import echo
        from testbed.faulty_socks import faulty
        from testbed.socks import connect, dial, greet, reply, request
        with faulty(echo) as port, relay([node(port)]) as it:
            open("/proc/sys/net/ipv4/ip_local_port_range", "w").write("61000 61019")
            held, told = [], []
            for number in range(30):
                import socket
                client = socket.socket()
                client.bind(("127.0.0.1", 20000 + number))
                client.connect(("127.0.0.1", it.port))
                greet(client); request(client, ("203.0.113.5", 80)); told.append(reply(client))
                held.append(client)
            for client in held: client.close()
            it.wait(lambda: it.active == 0)
            blames = {{blame for _, blame, _ in it.brain.blamed}}
            print(told.count(0), told.count(1), blames, {{reason for _, _, reason in it.brain.blamed}})
        """
    ).format(path=sys.path)
    command = [
        "unshare",
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
        sys.executable,
        "-c",
        script,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    good, bad, rest = done.stdout.strip().split(" ", 2)
    assert int(good) > 0
    assert int(bad) > 0
    assert rest == "{'self'} {'no_ports'}"


def test_silent_and_slow_clients_beside_a_real_one(loop: str) -> None:
    """300 that send nothing and 300 that drip: the real one is served, and all are gone at the deadline."""
    given = settings(handshake_timeout=Duration(2))
    with faulty(echo) as port, relay([node(port)], given, loop=loop) as it:
        silent = [dial(it.port) for _ in range(300)]
        slow = [dial(it.port) for _ in range(300)]
        start = time.monotonic()
        for client in slow:
            client.sendall(b"\5")
        took = []
        for _ in range(20):
            before = time.monotonic()
            with connect(it.port, ("203.0.113.5", 80)):
                took.append(time.monotonic() - before)
        assert sorted(took)[10] < 1
        while time.monotonic() - start < 1.5:
            for client in slow:
                client.sendall(b"\xff")
            time.sleep(0.5)
        it.wait(lambda: it.relay.handshakes == 0)
        assert time.monotonic() - start < 10
        close(*silent, *slow)


def test_a_loop_that_was_held_up_blames_nobody() -> None:
    """The answer has long been there; the deadline that passed meanwhile was not the node's."""
    asked = threading.Event()

    def script(talk: Talk) -> None:
        talk.greet()
        talk.request()
        asked.set()
        time.sleep(0.3)
        talk.send(b"\5\0\0\1\0\0\0\0\0\0")
        talk.hang()

    with faulty(script) as port, relay([node(port)], settings(dial_timeout=Duration(1))) as it:
        client = dial(it.port)
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert asked.wait(5)
        asyncio.run_coroutine_threadsafe(_blocked(2.0), it.loop).result(10)
        assert reply(client) == 0
        client.close()
        assert it.brain.failures == []


def test_a_dial_that_runs_out_after_our_own_delay_is_ours() -> None:
    """Blame `self`, reason `late`."""
    asked = threading.Event()

    def script(talk: Talk) -> None:
        talk.greet()
        talk.request()
        asked.set()
        talk.hang()

    with faulty(script) as port, relay([node(port)], settings(dial_timeout=Duration(1))) as it:
        client = dial(it.port)
        greet(client)
        request(client, ("203.0.113.5", 80))
        assert asked.wait(5)
        asyncio.run_coroutine_threadsafe(_blocked(1.5), it.loop).result(10)
        assert reply(client) == 1
        client.close()
        assert it.brain.blamed == [("n1", "self", "late")]


async def _blocked(seconds: float) -> None:
    """Hold the loop up."""
    time.sleep(seconds)  # noqa: ASYNC251 - on purpose


def test_sockets_are_closed(loop: str) -> None:
    """After a hundred sessions of all ends there are as many descriptors as before."""
    with faulty(echo) as port, relay([node(port)], loop=loop) as it:
        before = descriptors()
        for number in range(100):
            client = dial(it.port)
            greet(client)
            request(client, ("203.0.113.5", 80))
            if number % 4:
                assert reply(client) == 0
            if number % 3 == 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        it.wait(lambda: it.active == 0)
        it.wait(lambda: descriptors() <= before + 1)
        assert it.brain.in_flight == 0
