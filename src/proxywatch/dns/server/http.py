"""A small HTTP server for DNS over HTTP/1.1: requests with small bodies, one after the other on a connection."""

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter, TaskGroup
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools

from proxywatch.dns.answer import Handler
from proxywatch.dns.server import doh
from proxywatch.dns.server.doh import Reply

_READ = 4096
_HEAD = 16 << 10
_CONNECTIONS = 500
_REQUEST, _IDLE, _WRITE = 5.0, 30.0, 10.0


class DohServer:
    """Accepts connections and answers requests."""

    def __init__(self, handler: Handler, group: TaskGroup, tls: ssl.SSLContext | None = None) -> None:
        """Be handed who answers, where that happens, and how to secure connections."""
        self._handler = handler
        self._group = group
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._writers: set[StreamWriter] = set()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket from now on."""
        self._servers.append(
            await asyncio.start_server(self._accepted, sock=sock, limit=_READ, ssl=self._tls)
        )

    def close(self) -> None:
        """Stop listening, and drop the clients."""
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        if len(self._writers) >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._writers.add(writer)
        self._group.create_task(self._serve(reader, writer), name="dns over http")

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        client = (writer.get_extra_info("peername") or ("",))[0]
        try:
            while (request := await _next(reader)) is not None:
                reply = await self._reply(request, client)
                async with asyncio.timeout(_WRITE):
                    writer.write(_rendered(reply, head_only=request.method == "HEAD", keep=request.keep))
                    await writer.drain()
                if not request.keep:
                    break
            async with asyncio.timeout(_WRITE):
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _reply(self, request: "_Request", client: str) -> Reply:
        if request.refusal is not None:
            return request.refusal
        query = doh.query(request.method, request.target, request.kind, bytes(request.body))
        if isinstance(query, Reply):
            return query
        return doh.respond((await self._handler.answer(query, "https", client)).wire)


@dataclass(slots=True)
class _Request:
    """One request, filled by httptools."""

    method: str = ""
    target: str = ""
    kind: str = ""
    body: bytearray = field(default_factory=bytearray)
    size: int = 0
    keep: bool = False
    done: bool = False
    refusal: Reply | None = None

    def on_url(self, part: bytes) -> None:
        self.target += part.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.kind = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.done = True


async def _next(reader: StreamReader) -> _Request | None:
    """The next request; None at the end, or when none comes in time.

    What follows a request before its answer is dropped with the connection: no client of DNS pipelines.
    """
    request = _Request()
    parser = httptools.HttpRequestParser(request)
    try:
        async with asyncio.timeout(_IDLE):
            data = await reader.read(_READ)
        async with asyncio.timeout(_REQUEST):
            while data:
                request.size += len(data)
                if request.size > _HEAD or len(request.body) > doh.LARGEST:
                    request.refusal = doh.refuse(413, "too large for a query")
                    return request
                parser.feed_data(data)
                if request.done:
                    request.method = parser.get_method().decode("latin-1")
                    request.keep = parser.should_keep_alive()
                    return request
                data = await reader.read(_READ)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        request.refusal = doh.refuse(400, "not an HTTP request")
        return request
    except TimeoutError:
        pass
    return None


def _rendered(reply: Reply, *, head_only: bool, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append(f"connection: {'keep-alive' if keep else 'close'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if head_only else reply.body)
