"""What each source says of a real Dante in every phase of a session, beside the truth that the test made."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxywatch.exporter.collector import active, children, sockets
from proxywatch.exporter.collector.active import ActiveCollector
from proxywatch.exporter.table import COLLECTORS, Context
from proxywatch.metrics.registry import Collector
from testbed import socks
from testbed.danted import Danted, danted
from testbed.target import deaf, holding, target

COLUMNS = ("sockets", "io", "slots", "log", "processes")
NAMESERVER = "127.77.4.2"


class LogCount:
    """Stands in for the sessions collector: accepts opened minus closed, over the whole log."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def active(self) -> int:
        text = self._log.read_text()
        return text.count("tcp/accept [: ") - text.count(": pass(1): tcp/accept ]: ") - failed(text)


def failed(text: str) -> int:
    """Accepted, then ended by an error while negotiating or resolving."""
    return text.count(": block(1): tcp/accept ]: ")


@dataclass
class Bench:
    """A server with the collectors that watch it, and the table that the test prints."""

    server: Danted
    peers: dict[str, Collector]
    clients: list[socket.socket] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    @property
    def active(self) -> ActiveCollector:
        collector = self.peers["active"]
        assert isinstance(collector, ActiveCollector)
        return collector

    async def settle(self, reached: Callable[[], bool]) -> int | None:
        """Read until it is so, for ten seconds at most, and once more; the number that was chosen."""
        for _ in range(1000):
            with suppress(children.Unfound):  # another server ended while processes were looked at
                await self.read()
                if reached():
                    break
            await asyncio.sleep(0.01)
        await self.read()
        return self.active.status().connections

    async def read(self) -> None:
        for name in ("sockets", "children", "active"):
            await self.peers[name].update()

    async def expect(self, phase: str, truth: int | None = None) -> None:
        """Wait until Dante has taken up what the clients did, then hold every source against the truth."""
        truth = len(self.clients) if truth is None else truth
        chosen = await self.settle(lambda: self.active.status().connections == truth)
        table = sum(row.served for row in await sockets.from_table(self.server.port))
        counts = self.active.status().counts
        others = "".join(f"{counts[name]!s:>10}" for name in COLUMNS)
        self.rows.append(f"{phase:40}{truth:>6}{chosen!s:>8}{table:>10}{others}")
        assert chosen == truth, self.rows[-1]
        assert table == truth, self.rows[-1]

    def connections(self) -> dict[str, int]:
        status = self.peers["sockets"].status()
        assert isinstance(status, sockets.Status)
        return status.connections

    def hold(self, count: int, start: Callable[[], socket.socket]) -> list[socket.socket]:
        started = [start() for _ in range(count)]
        self.clients += started
        return started

    async def release(self) -> None:
        """Reset all: of a half closed session, Dante would not notice that its client is gone."""
        while self.clients:
            socks.reset(self.clients.pop())
        await self.settle(lambda: self.active.status().connections == 0)


@contextmanager
def bench(server: Danted) -> Iterator[Bench]:
    peers: dict[str, Collector] = {}
    context = Context().among(peers)
    settings = {"sockets": sockets.Settings(port=server.port), "children": children.Settings()}
    for entry in COLLECTORS:
        if entry.name in settings:
            peers[entry.name] = entry.build(settings[entry.name], context)
    ways = context.peers.connections() | {"log": LogCount(server.log).active}
    peers["active"] = active.build("auto", ways, context.clock)
    made = Bench(server, peers)
    try:
        yield made
    finally:
        socks.close(*made.clients)


@pytest.fixture
def table(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[Bench], None]]:
    """Prints a table when the test has filled it, also when it failed on the way."""
    benches: list[Bench] = []
    yield benches.append
    head = f"\n{'phase':40}{'truth':>6}{'chosen':>8}{'proc/net':>10}" + "".join(f"{c:>10}" for c in COLUMNS)
    with capsys.disabled():
        print("\n".join([head, *(row for made in benches for row in made.rows)]))


async def test_established(tmp_path: Path, table: Callable[[Bench], None]) -> None:
    """0, 1, 10, 100 and 1,000 sessions, and none again."""
    with danted(tmp_path) as server, holding() as site, bench(server) as made:
        table(made)
        await made.expect("idle")
        for count in (1, 10, 100, 1000):
            made.hold(count - len(made.clients), lambda: socks.connect(server.port, ("127.0.0.1", site.port)))
            await made.expect(f"established {count}")
        await made.release()
        await made.expect("all closed")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a resolver of its own")
async def test_every_phase(tmp_path: Path, table: Callable[[Bench], None]) -> None:
    """Negotiating, resolving, dialling, half closed either way, and all of them at once."""
    with ExitStack() as stack:
        resolver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        resolver.bind((NAMESERVER, 53))
        mute = stack.enter_context(deaf())
        silent = stack.enter_context(holding())
        site = stack.enter_context(target())
        timeouts = {"connect": 60, "tcp_fin_wait": 60}
        server = stack.enter_context(danted(tmp_path, nameserver=NAMESERVER, timeouts=timeouts))
        made = stack.enter_context(bench(server))
        table(made)
        made.hold(50, lambda: socks.dial(server.port))
        await made.expect("negotiating 50")
        half_closed_by_the_target(made, site.port)
        await made.settle(lambda: made.connections()["fin_wait2"] == 30)
        await made.expect("and half closed by the target 30", 80)
        await made.release()
        made.hold(20, lambda: asking(server.port, ("held.test", 80)))
        await made.expect("resolving 20")
        made.hold(40, lambda: asking(server.port, ("127.0.0.1", mute)))
        socks.close(*[asking(server.port, ("127.0.0.1", mute)) for _ in range(10)])
        await made.expect("and dialling 40, whose client left 10", 70)
        made.hold(50, lambda: socks.dial(server.port))
        half_closed_by_the_target(made, site.port)
        half_closed_by_the_client(made, silent.port)
        await made.expect("and all of the above", 200)
        assert made.connections()["close_wait"] == 60


async def test_half_closed_by_the_client(tmp_path: Path, table: Callable[[Bench], None]) -> None:
    """A session goes on when its client has no more to say; Dante counts on even when it is gone."""
    with danted(tmp_path) as server, holding() as silent, bench(server) as made:
        table(made)
        half_closed_by_the_client(made, silent.port)
        await made.expect("half closed by the client 50")
        assert made.connections()["close_wait"] == 50
        await made.release()
        await made.expect("and then reset by it", 0)


def half_closed_by_the_target(made: Bench, port: int) -> None:
    for client in made.hold(30, lambda: socks.connect(made.server.port, ("127.0.0.1", port))):
        client.sendall(b"GET /get HTTP/1.1\r\nConnection: close\r\n\r\n")


def half_closed_by_the_client(made: Bench, port: int) -> None:
    for client in made.hold(50, lambda: socks.connect(made.server.port, ("127.0.0.1", port))):
        client.shutdown(socket.SHUT_WR)


async def test_ended_by_dante_alone(tmp_path: Path, table: Callable[[Bench], None]) -> None:
    """A connection that only the kernel still knows is not served."""
    with danted(tmp_path, timeouts={"tcp_fin_wait": 1}) as server, target() as site, bench(server) as made:
        table(made)
        half_closed_by_the_target(made, site.port)
        await made.expect("finished but lingering 30", 0)
        assert made.connections()["ended"] == 30


async def test_not_yet_accepted(tmp_path: Path, table: Callable[[Bench], None]) -> None:
    """What waits in the backlog of a Dante that does not accept is not served, and is told apart."""
    with danted(tmp_path) as server, bench(server) as made:
        table(made)
        await made.expect("idle")
        server.process.send_signal(signal.SIGSTOP)
        made.hold(5, lambda: socks.dial(server.port))
        await made.expect("waiting in the backlog 5", 0)
        assert made.connections()["backlog"] == 5
        [finding] = await made.peers["sockets"].examine()
        assert finding.text.startswith("5 connections")
        server.process.send_signal(signal.SIGCONT)
        await made.expect("and accepted 5")


async def test_a_mother_that_is_gone(tmp_path: Path, table: Callable[[Bench], None]) -> None:
    """Orphans drain their sessions, and these are served."""
    with danted(tmp_path) as server, holding() as site, bench(server) as made:
        table(made)
        made.hold(40, lambda: socks.connect(server.port, ("127.0.0.1", site.port)))
        await made.expect("established 40")
        server.terminate()
        await made.peers["sockets"].update()
        with pytest.raises(children.Unfound):
            await made.peers["children"].update()
        status = made.active.status()
        assert (status.connections, status.counts["io"]) == (40, 40)
        socks.close(*made.clients)


def asking(port: int, destination: tuple[str, int]) -> socket.socket:
    """A client that has asked and is not yet answered."""
    client = socks.dial(port)
    socks.greet(client)
    socks.request(client, destination)
    return client
