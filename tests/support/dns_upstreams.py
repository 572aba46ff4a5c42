"""Resolvers that answer as a test wants: by UDP and TCP on one port of the loopback, with dnspython."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from proxywatch.dns.server import sockets

Message = dns.message.Message
Packets = list[bytes]


def answer(query: Message, *records: str, rcode: int = 0, authority: str = "") -> Message:
    """A response with records as a zone file writes them: `a.test. 60 IN A 192.0.2.1`."""
    response = dns.message.make_response(query, our_payload=1232)
    response.flags |= dns.flags.RA
    response.set_rcode(dns.rcode.Rcode(rcode))
    for text, section in [*((each, response.answer) for each in records), (authority, response.authority)]:
        if text:
            name, ttl, klass, kind, data = text.split(maxsplit=4)
            section.append(dns.rrset.from_text(name, int(ttl), klass, kind, data))
    return response


def address(query: Message) -> Message:
    """192.0.2.1 for every name, for a minute."""
    return answer(query, f"{query.question[0].name} 60 IN A 192.0.2.1")


def packets(query: Message) -> Packets:
    """The same, as what is sent."""
    return [address(query).to_wire()]


@dataclass
class FakeUpstream:
    """What a test sets and sees.

    Attributes:
        udp: The packets that answer a query by UDP, sent in this order.
        tcp: The same for TCP; each is sent with its length.
        asked: All queries, with their transport.
        elsewhere: Packets that another socket sends first.
        chopped: Whether TCP answers come byte by byte.
    """

    port: int = 0
    udp: Callable[[Message], Packets] = packets
    tcp: Callable[[Message], Packets] = packets
    elsewhere: Callable[[Message], Packets] = lambda _: []
    chopped: bool = False
    delay: float = 0.0
    asked: list[tuple[str, Message]] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """For the settings."""
        return f"udp://127.0.0.1:{self.port}"

    def names(self) -> list[str]:
        """What was asked, in lower case, once per query."""
        return [str(query.question[0].name).lower() for _, query in self.asked]


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, upstream: FakeUpstream) -> None:
        self.upstream = upstream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.upstream.asked.append(("udp", query))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            for packet in self.upstream.elsewhere(query):
                stranger.sendto(packet, addr)
        later = asyncio.get_running_loop().call_later
        for packet in self.upstream.udp(query):
            later(self.upstream.delay, self.transport.sendto, packet, addr)


@asynccontextmanager
async def fake_upstream(upstream: FakeUpstream) -> AsyncIterator[FakeUpstream]:
    """Run it."""
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                query = dns.message.from_wire(await reader.readexactly(size))
                upstream.asked.append(("tcp", query))
                await asyncio.sleep(upstream.delay)
                for packet in upstream.tcp(query):
                    await send(writer, len(packet).to_bytes(2, "big") + packet)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
        step = 1 if upstream.chopped else len(data)
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            if upstream.chopped:
                await asyncio.sleep(0)

    udp, tcp = sockets.pair((socket.AF_INET, "127.0.0.1", upstream.port), "test")
    upstream.port = tcp.getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(upstream), sock=udp)
    server = await asyncio.start_server(serve, sock=tcp)
    try:
        yield upstream
    finally:
        transport.close()
        server.close()
        await asyncio.sleep(0.01)


@contextmanager
def threaded(upstream: FakeUpstream | None = None) -> Iterator[int]:
    """A fake upstream on an event loop of its own, for tests that run no loop; its port."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    ended, given = asyncio.Event(), upstream or FakeUpstream()

    async def serve() -> None:
        async with fake_upstream(given):
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield given.port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
