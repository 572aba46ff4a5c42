"""What connections hold stays within the budget, by the server's own count and by the allocator's."""

import asyncio
import contextlib
import gc
import ssl
import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest

from proxywatch.clock import SystemClock
from proxywatch.net.limits import Limits
from proxywatch.web.connection import HttpConnection, State
from proxywatch.web.guard import Guard
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import WebServer
from support.wire import Wire, serving, until

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 3000


class Nothing:
    """A transport whose client reads nothing."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.kept.append(bytes(data))

    def writelines(self, pieces: Any) -> None:
        self.kept += [bytes(piece) for piece in pieces]

    def close(self) -> None:
        self.closed = True
        self.kept.clear()

    abort = close

    def write_eof(self) -> None:
        return

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.kept))

    def get_extra_info(self, _: str) -> None:
        return

    def pause_reading(self) -> None:
        return

    resume_reading = pause_reading


async def test_unfinished_requests_are_within_the_budget() -> None:
    """The costliest are closed for others, and a scraper still gets in."""
    async with serving(limits=Limits(memory=1 << 20)) as (server, address):
        wires = [await Wire.to(address) for _ in range(100)]
        for wire in wires:
            await wire.send(HEAD[:16_000])
        await until(lambda: server.connections < 70)
        assert server.budget.held <= 1 << 20
        scraper = await Wire.to(address)
        assert (await scraper.ask("/"))[0] == 200
        for wire in (*wires, scraper):
            await wire.close()
    assert server.budget.held == 0


async def test_unread_responses_are_within_the_budget() -> None:
    """What nobody reads is charged; what was read is not, though it was charged before."""
    large = Response.make(200, b"x" * 300_000)
    async with serving(lambda _: large, Limits(memory=2 << 20)) as (server, address):
        reader = await Wire.to(address)
        wires = [await Wire.to(address, limit=1024) for _ in range(30)]
        assert (await reader.ask("/"))[0] == 200
        for wire in wires:
            await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        await until(lambda: server.connections < 31)
        assert server.budget.held <= 2 << 20
        assert (await reader.ask("/"))[0] == 200
        for wire in (*wires, reader):
            wire.writer.transport.abort()
            await wire.close()


async def test_handshakes_are_within_the_budget(tmp_path: Path, certificates: Path) -> None:
    """A greeting costs OpenSSL some 50 kB; so few of them fit."""
    (tmp_path / "web.yml").write_text(
        f"tls_server_config: {{cert_file: {certificates}/server.pem, key_file: {certificates}/server.key}}"
    )
    context = Guard(str(tmp_path / "web.yml"), SystemClock().monotonic).terms.context
    assert context is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.do_handshake()
    greeting = outgoing.read()
    async with serving(limits=Limits(memory=1 << 20)) as (server, address):
        server.tls = (context, frozenset())
        wires = [await Wire.to(address) for _ in range(40)]
        for wire in wires:
            await wire.send(greeting)
        await until(lambda: 0 < server.connections <= 20)
        assert server.budget.held <= 1 << 20
        for wire in wires:
            await wire.close()


def request(kind: str) -> bytes:
    """The bytes that bring a connection into a state."""
    return {
        "idle": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "head": HEAD[:16_000],
        "body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + b"x" * 5000,
        "answering": b"GET /slow HTTP/1.1\r\n" + b"".join(b"h%02d: %0140d\r\n" % (n, n) for n in range(99))
        + b"Host: x\r\n\r\n",
        "unread": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 300,
        "refused": b"nonsense\r\n\r\n",
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["idle", "head", "body", "answering", "unread", "refused"])
async def test_a_charge_is_never_too_low(kind: str) -> None:
    """By the allocator's count of what Python holds for a hundred connections in this state."""
    forever = asyncio.get_running_loop().create_future()

    def answer(request: HttpRequest) -> Any:
        return forever if request.path == "/slow" else Response.make(200, "ok\n")

    async with WebServer("http", answer, Limits(memory=1 << 40), SystemClock()) as server:
        connections = [HttpConnection(server) for _ in range(100)]
        data = request(kind)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for connection in connections:
            connection.connection_made(cast("Any", Nothing()))
            server.buffer[: len(data)] = data
            connection.buffer_updated(len(data))
        for _ in range(50):
            await asyncio.sleep(0)
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        expected = {
            "answering": State.ANSWERING,
            "head": State.HEAD,
            "body": State.BODY,
            "refused": State.LEAVING,
        }
        assert {connection.state for connection in connections} == {expected.get(kind, State.IDLE)}
        assert held <= server.budget.held
        forever.set_result(Response.make(200, ""))
        for connection in connections:
            connection.connection_lost(None)
