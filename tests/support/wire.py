"""A client that can misbehave: raw bytes over a TCP connection."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from proxywatch.net.limits import Limits
from proxywatch.quantity import Address
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import Answer, WebServer
from support.fakes import FakeClock


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, address: str, **options: Any) -> "Wire":
        host, _, port = address.rpartition(":")
        host = "127.0.0.1" if host in ("[::]", "") else host.strip("[]")
        return cls(*await asyncio.open_connection(host, int(port), **options))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one response: code, headers, body."""
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1")
        line, *lines = head.rstrip().split("\r\n")
        headers = dict(each.split(": ", 1) for each in lines)
        body = b"" if head_only else await self.reader.readexactly(int(headers["content-length"]))
        return int(line.split()[1]), headers, body

    async def ask(self, target: str, *headers: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        return await self.response(head_only=method == "HEAD")

    async def rest(self) -> bytes:
        """Whatever comes until the server closes; empty when it did so by a reset."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5)
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


def hello(_: HttpRequest) -> Response:
    """The least handler."""
    return Response.make(200, "hello\n")


@asynccontextmanager
async def serving(
    handler: Callable[[HttpRequest], Answer] = hello,
    limits: Limits | None = None,
    clock: FakeClock | None = None,
) -> AsyncIterator[tuple[WebServer, str]]:
    """A server on a free port, with a clock that stands still unless moved."""
    async with WebServer("http", handler, limits or Limits(), clock or FakeClock()) as server:
        await server.listen([Address.parse("127.0.0.1:0")])
        yield server, server.addresses[0]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - about another connection's state, which has no event
            await asyncio.sleep(0.001)
