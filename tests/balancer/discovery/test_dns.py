"""Nodes by name, from a real name server: records come, change and go, and the time to live is respected."""

import asyncio
import shutil
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dnslib  # type: ignore[import-untyped]
import pytest

from proxywatch.balancer.discovery.dns import DnsSource
from proxywatch.balancer.discovery.names import NameSettings
from proxywatch.balancer.discovery.sighting import Sighting
from support.fakes import FakeClock

TYPES = {"A": dnslib.A, "AAAA": dnslib.AAAA}


class Zone(socketserver.ThreadingUDPServer):
    """A name server over UDP whose records a test changes."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttl = 60
        self.rcode = 0
        self.asked: list[str] = []
        zone = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                query = dnslib.DNSRecord.parse(data)
                kind = dnslib.QTYPE[query.q.qtype]
                name = str(query.q.qname).rstrip(".")
                zone.asked.append(f"{name} {kind}")
                reply = query.reply()
                reply.header.rcode = zone.rcode
                for value in zone.records.get((name, kind), []):
                    if kind == "SRV":
                        port, _, target = value.partition(" ")
                        data_ = dnslib.SRV(0, 5, int(port), target)
                    else:
                        data_ = TYPES[kind](value)
                    reply.add_answer(dnslib.RR(name, query.q.qtype, rdata=data_, ttl=zone.ttl))
                sock.sendto(reply.pack(), self.client_address)

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def zone() -> Iterator[Zone]:
    serving = Zone()
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.shutdown()
        serving.server_close()


@pytest.fixture
def server() -> Iterator[Zone]:
    with zone() as serving:
        yield serving


def source(server: Zone, clock: FakeClock, *names: NameSettings) -> DnsSource:
    return DnsSource(names, ("127.0.0.1",), server.server_address[1], clock)


class Watch:
    """A watch whose waits a test passes over."""

    def __init__(self, source: DnsSource, clock: FakeClock) -> None:
        self.clock = clock
        self.watching = source.watch()

    async def next(self) -> tuple[list[str], tuple[str, ...]]:
        sighting = await anext(self.watching)
        return [f"{it.upstream.host}:{it.upstream.port}" for it in sighting.nodes.values()], sighting.faults


class Skipping(FakeClock):
    """A clock on which waits take no time, and are on record."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep_until(self, deadline: float) -> None:
        self.waits.append(deadline - self.monotonic())
        self._monotonic = max(self._monotonic, deadline)


async def test_addresses_come_change_and_go(server: Zone) -> None:
    """In an order of their own, as a server turns them round; each is a node, with its sidecar."""
    server.records["se.example", "A"] = ["10.0.0.2", "10.0.0.1"]
    server.records["se.example", "AAAA"] = ["2001:db8::1"]
    clock = Skipping()
    names = [NameSettings("se.example", "se", kind, port=1085, sidecar_port=9090) for kind in ("A", "AAAA")]
    watching = source(server, clock, *names).watch()
    first = (await anext(watching)).nodes
    assert list(first) == ["se.example-10.0.0.1", "se.example-10.0.0.2", "se.example-2001-db8--1"]
    assert first["se.example-10.0.0.1"].sidecar == "http://10.0.0.1:9090"
    assert first["se.example-2001-db8--1"].upstream.host == "2001:db8::1"
    server.records["se.example", "A"] = ["10.0.0.3", "10.0.0.1"]
    assert list((await anext(watching)).nodes) == [
        "se.example-10.0.0.1", "se.example-10.0.0.3", "se.example-2001-db8--1",
    ]  # fmt: skip


async def test_srv_records_bring_their_ports(server: Zone) -> None:
    """Two proxies on one host are two nodes."""
    server.records["_socks._tcp.example", "SRV"] = ["1080 se1.example.", "1081 se1.example."]
    watch = Watch(source(server, Skipping(), NameSettings("_socks._tcp.example", "se", "SRV")), FakeClock())
    assert await watch.next() == (["se1.example:1080", "se1.example:1081"], ())


@pytest.mark.parametrize(("ttl", "wait"), [(60, 60), (0, 5), (1, 5), (86400, 300)])
async def test_the_time_to_live_says_when_to_ask_again(server: Zone, ttl: int, wait: float) -> None:
    """Within bounds: neither a storm of questions, nor a day of silence."""
    server.records["se.example", "A"] = ["10.0.0.1"]
    server.ttl = ttl
    clock = Skipping()
    watch = Watch(source(server, clock, NameSettings("se.example", "se")), clock)
    await watch.next()
    await watch.next()
    assert clock.waits == [pytest.approx(wait)]
    assert len(server.asked) == 2


@pytest.mark.parametrize("rcode", [2, 5])
async def test_a_server_that_fails_keeps_the_nodes(server: Zone, rcode: int) -> None:
    """SERVFAIL and REFUSED are no answers; it is asked again soon."""
    server.records["se.example", "A"] = ["10.0.0.1"]
    clock = Skipping()
    watch = Watch(source(server, clock, NameSettings("se.example", "se")), clock)
    await watch.next()
    server.rcode, server.records = rcode, {}
    for _ in range(3):
        nodes, faults = await watch.next()
        assert nodes == ["10.0.0.1:1080"]
        assert faults == ("se.example: no resolver gives an answer",)
    assert clock.waits[-1] == pytest.approx(10)


@pytest.mark.parametrize("rcode", [0, 3])
async def test_an_empty_answer_is_believed_when_it_is_repeated(server: Zone, rcode: int) -> None:
    """No record, or no such name: the first time it may be a zone that is being loaded."""
    server.records["se.example", "A"] = ["10.0.0.1"]
    clock = Skipping()
    watch = Watch(source(server, clock, NameSettings("se.example", "se")), clock)
    await watch.next()
    server.rcode, server.records = rcode, {}
    assert await watch.next() == (["10.0.0.1:1080"], ("se.example: no A record",))
    assert await watch.next() == ([], ("se.example: no A record",))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unbound") is None, reason="needs unbound")
async def test_a_real_name_server(tmp_path: Path) -> None:
    """Unbound: records change with a reload, more than fit into a datagram come by TCP, and it goes away."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def zone_of(*addresses: str) -> None:
        data = "".join(f'  local-data: "se.example. 30 A {it}"\n' for it in addresses)
        (tmp_path / "unbound.conf").write_text(
            f'server:\n  interface: 127.0.0.1@{port}\n  username: ""\n  chroot: ""\n  directory: "{tmp_path}"\n'
            f'  pidfile: ""\n  use-syslog: no\n  do-daemonize: no\n  access-control: 127.0.0.0/8 allow\n'
            f'  local-zone: "example." static\n{data}'
        )

    zone_of("10.0.0.1", "10.0.0.2")
    command = ["unbound", "-d", "-c", str(tmp_path / "unbound.conf")]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        clock = Skipping()
        names = (NameSettings("se.example", "se"),)
        sighting = Sighting()
        watching = DnsSource(names, ("127.0.0.1",), port, clock).watch()
        for _ in range(50):
            sighting = await anext(watching)
            if sighting.nodes:
                break
            await asyncio.sleep(0.1)
        assert list(sighting.nodes) == ["se.example-10.0.0.1", "se.example-10.0.0.2"]
        assert clock.waits == [] or max(clock.waits) <= 30
        zone_of(*(f"10.0.1.{number}" for number in range(1, 201)))
        process.send_signal(signal.SIGHUP)
        for _ in range(50):
            sighting = await anext(watching)
            if len(sighting.nodes) == 200:
                break
            await asyncio.sleep(0.1)
        assert len(sighting.nodes) == 200
        process.kill()
        await process.wait()
        gone = await anext(watching)
        assert (len(gone.nodes), bool(gone.faults)) == (200, True)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
