"""Servers that others wrote, wrapped as they are: clients see no difference, and every byte is counted."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import dns.message
import dns.query
import pproxy  # type: ignore[import-untyped]
import pytest
from asyncio_socks_server.config import Config  # type: ignore[import-untyped]
from asyncio_socks_server.protocols import LocalTCP  # type: ignore[import-untyped]
from dnslib import RR, DNSRecord  # type: ignore[import-untyped]
from dnslib.server import (  # type: ignore[import-untyped]
    BaseResolver,
    DNSHandler,
    DNSLogger,
    DNSServer,
)

from instrument.loops import Loop, both_loops, listening, reset, run, until
from proxywatch.instrument import ConnectionClosed, MetricsAwareDns, MetricsAwareProxy, QueryAnswered

GREETING, REQUEST, REPLY = 3, 10, 2 + 10


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the clients want to reach."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def connect(
    proxy: tuple[str, int], target: tuple[str, int]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Through a SOCKS5 proxy, by hand."""
    reader, writer = await asyncio.open_connection(*proxy)
    writer.write(b"\5\1\0")
    assert await reader.readexactly(2) == b"\5\0"
    writer.write(b"\5\1\0\1" + socket.inet_aton(target[0]) + struct.pack("!H", target[1]))
    assert (await reader.readexactly(10))[:2] == b"\5\0"
    return reader, writer


class Measured:
    """A proxy and the ends that it tells of."""

    def __init__(self) -> None:
        self.proxy = MetricsAwareProxy()
        self.closed: list[ConnectionClosed] = []
        self.proxy.on("connection-close", self.closed.append, inline=True)

    @asynccontextmanager
    async def asyncio_socks_server(self) -> AsyncIterator[tuple[str, int]]:
        """asyncio-socks-server: a protocol factory."""
        config = Config()
        factory = self.proxy.wrap_factory(lambda: LocalTCP(config), type="socks5", route="x")
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        async with listening(server) as address:
            yield address

    @asynccontextmanager
    async def pproxy(self) -> AsyncIterator[tuple[str, int]]:
        """pproxy: a stream handler that leaves the connection to tasks of its own."""
        wrapped = self.proxy.wrap_handler(pproxy.server.stream_handler, type="socks5", route="x")
        options = {"rserver": [], "verbose": lambda _text: None}
        server = await pproxy.Server("socks5://127.0.0.1:0").start_server(options, wrapped)
        async with listening(server) as address:
            yield address


@both_loops
@pytest.mark.parametrize("name", ["asyncio_socks_server", "pproxy"])
def test_proxy(new_loop: Loop, name: str) -> None:
    """Twenty connections of different sizes, some reset: counts and bytes are what the clients did."""
    measured, expected_in, expected_out = Measured(), list[int](), list[int]()

    async def client(proxy: tuple[str, int], target: tuple[str, int], number: int) -> None:
        reader, writer = await connect(proxy, target)
        size = number * 10_000
        if size:
            writer.write(bytes(size))
            assert len(await reader.readexactly(size)) == size
        expected_in.append(size + GREETING + REQUEST)
        expected_out.append(size + REPLY)
        if number % 3:
            writer.close()
        else:
            reset(writer)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with (
            listening(await asyncio.start_server(echo, "127.0.0.1", 0)) as target,
            getattr(measured, name)() as proxy,
        ):
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(client(proxy, target, number))
            await until(lambda: len(measured.closed) == 20)
            await asyncio.sleep(0.1)

    run(new_loop, main())
    total = measured.proxy.get_totals()
    assert (total.opened, total.closed, total.active) == (20, 20, 0)
    assert sorted(event.bytes_in for event in measured.closed) == sorted(expected_in)
    assert sorted(event.bytes_out for event in measured.closed) == sorted(expected_out)
    assert {event.type for event in measured.closed} == {"socks5"}
    assert {event.reason for event in measured.closed} <= {"closed", "lost"}


class Fixed(BaseResolver):  # type: ignore[misc] # dnslib has no types
    """Knows one answer to everything."""

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:  # noqa: ARG002
        """An address, and NXDOMAIN for names of `missing`."""
        answer = request.reply()
        if request.q.qname.matchSuffix("missing"):
            answer.header.rcode = 3
        else:
            answer.add_answer(*RR.fromZone(f"{request.q.qname} 60 A 192.0.2.1"))
        return answer


@contextmanager
def dnslib_server(resolver: BaseResolver, handler: type[DNSHandler], *, tcp: bool) -> Iterator[int]:
    """The server of dnslib in threads of its own; its port."""
    quiet = DNSLogger(logf=lambda _text: None)
    server = DNSServer(resolver, address="127.0.0.1", port=0, tcp=tcp, logger=quiet, handler=handler)
    server.start_thread()
    try:
        yield server.server.server_address[1]
    finally:
        server.stop()
        server.server.server_close()
        server.thread.join()


def client_of(_request: DNSRecord, asker: DNSHandler) -> str:
    """The address that a query came from."""
    return str(asker.client_address[0])


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("level", ["resolver", "handler"])
def test_dnslib(tcp: bool, level: str) -> None:  # noqa: FBT001
    """Its resolver, or its handler of bytes, counted; the answers are its own."""
    measured, ended = MetricsAwareDns(), list[QueryAnswered]()
    measured.on("query-answered", ended.append, inline=True)
    source = "tcp" if tcp else "udp"
    resolver, handler = Fixed(), DNSHandler
    if level == "resolver":
        counted = measured.wrap(resolver.resolve, source=source, client=client_of)
        resolver.__dict__["resolve"] = counted
    else:

        class Counting(DNSHandler):  # type: ignore[misc]
            def get_reply(self, data: bytes) -> bytes:
                with measured.begin(data, source=self.protocol, client=self.client_address[0]) as query:
                    answer: bytes = super().get_reply(data)
                    query.answer(answer)
                    return answer

        handler = Counting
    ask = dns.query.tcp if tcp else dns.query.udp
    with dnslib_server(resolver, handler, tcp=tcp) as port:
        for name in ("www.example.com", "www.example.com", "a.missing"):
            query = dns.message.make_query(name, "A")
            answer = ask(query, "127.0.0.1", port=port, timeout=5)
            assert answer.id == query.id
            assert bool(answer.answer) == (name == "www.example.com")
    counts = measured.get_counts()
    assert counts.by_source_and_type == {(source, "A"): 3}
    assert counts.by_response_code == {"NOERROR": 2, "NXDOMAIN": 1}
    assert (measured.get_top_domains(1)[0].domain, ended[0].client) == ("www.example.com", "127.0.0.1")
