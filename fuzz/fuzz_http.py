"""Invariant: whatever a client sends, in whatever pieces, is borne; what is held of it is bounded.

python fuzz/fuzz_http.py [SECONDS] [SEED]
"""

from asyncio import Transport
from random import Random
from typing import cast

from mutate import fuzz

from proxywatch.source.clock import SystemClock
from proxywatch.web.connection import Connection
from proxywatch.web.limits import Limits
from proxywatch.web.message import Request, Response
from proxywatch.web.server import Server

REQUESTS = [
    b"GET /metrics HTTP/1.1\r\nHost: localhost:9090\r\nAccept: application/openmetrics-text;q=0.5\r\n\r\n",
    b"GET /metrics?collect[]=latency HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n" * 3,
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST /-/reload HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"CONNECT example.org:443 HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n",
]
LIMITS = Limits(request_size=4096, pipelined=4)
MOST = LIMITS.pipelined + 1


class Pipe:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        assert not self.closed
        self.written += data

    def writelines(self, lines: list[bytes]) -> None:
        """Keep them."""
        self.write(b"".join(lines))

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def close(self) -> None:
        """No more."""
        self.closed = True

    abort = close

    def write_eof(self) -> None:
        """No more from this side."""

    def pause_reading(self) -> None:
        """Wait."""

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        """All has been taken."""
        return 0


def handle(request: Request) -> Response:
    """As the routes do."""
    request.header(b"accept")
    return Response.make(200, request.path[:10])


def one(data: bytes) -> None:
    """Hold one input against the invariant, cut into pieces."""
    server = Server("http", handle, LIMITS, SystemClock())
    connection, pipe = Connection(server), Pipe()
    connection.connection_made(cast("Transport", pipe))
    dice = Random(len(data))
    while data and not pipe.closed:
        size = dice.choice((1, 7, 100, 5000))
        connection.data_received(data[:size])
        data = data[size:]
        assert sum(map(len, connection._headers.values())) <= LIMITS.request_size + size  # noqa: SLF001
        assert len(connection._requests or ()) <= MOST  # noqa: SLF001
    if not pipe.closed:
        connection.eof_received()
    connection.connection_lost(None)
    assert not pipe.written or pipe.written.startswith(b"HTTP/1.1 ")
    assert server.connections == 0
    assert server.books.least() is None


def main() -> None:
    """Mutate requests."""
    fuzz(one, REQUESTS)


if __name__ == "__main__":
    main()
