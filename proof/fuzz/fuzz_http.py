"""Invariant of the exposition's server: whatever a client sends is borne, and answered in whole answers.

In whatever pieces it comes, the answers are those that it gets in one piece: every one has a known status, no
request is larger than the limit, nothing waits in a book once the connection is gone.

python proof/fuzz/fuzz_http.py [SECONDS] [SEED]
"""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import Any, cast

from mutate import fuzz

from proxywatch.clock import SystemClock
from proxywatch.net.limits import Limits
from proxywatch.web.connection import HttpConnection
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import WebServer

REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET /metrics?collect[]=latency HTTP/1.0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\n" + b"X: y\r\n" * 50 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
_WORDS = (
    b"\r\n", b"\n", b"\r\n\r\n", b" ", b":", b"HTTP/1.1", b"HTTP/9.9", b"Content-Length: -1\r\n", b"\0",
    b"\xff", b"?", b"&" * 99, b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"A" * 9000, b"%00", b"../",
)  # fmt: skip
_ANSWER = re.compile(
    rb"HTTP/1\.1 (200|400|408|413|414|431) [A-Za-z -]+\r\n(?:[a-z-]+: [^\r\n]*\r\n)+\r\n"
    rb"(?:ok\n|this [^\n]*\n|the [^\n]*\n)?"
)
_LIMITS = Limits(request_size=8 << 10)


class Wire:
    """A transport that keeps what is written, and knows whether it is closed."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Keep them."""
        self.write(b"".join(pieces))

    def close(self) -> None:
        """Closed."""
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        """Whether it is."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """Nothing to do."""

    resume_reading = pause_reading


def answer(request: HttpRequest) -> Response:
    """What the handler of the real server does first with a request."""
    size = len(request.path) + sum(len(name) + len(value) for name, value in request.headers.items())
    assert size <= _LIMITS.request_size
    request.header(b"accept")
    try:
        request.values("collect[]")
    except ValueError:
        return Response.make(400, "the query is too long\n")
    return Response.make(200, "ok\n")


class Turns(Server):
    """A server without a loop: whoever waits for a turn gets it when asked to."""

    def __init__(self) -> None:
        super().__init__("fuzz", answer, _LIMITS, SystemClock())
        self.turns: list[Callable[[], None]] = []

    def later(self, turn: Callable[[], None]) -> None:
        """Note it."""
        self.turns.append(turn)


def told(pieces: Iterable[bytes]) -> bytes:
    """The answers to what comes in these pieces."""
    server = Turns()
    connection, wire = HttpConnection(server), Wire()
    connection.connection_made(cast("Any", wire))
    step = len(server.buffer)
    for piece in pieces:
        for part in (piece[at : at + step] for at in range(0, len(piece), step)):
            if not wire.closed:
                server.buffer[: len(part)] = part
                connection.buffer_updated(len(part))
            while server.turns:
                server.turns.pop()()
    connection.eof_received()
    connection.connection_lost(None)
    books = server.books
    assert not any(map(len, (books.idle, books.reading, books.writing, books.leaving)))
    assert server.connections == 0
    return wire.written


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    dice = Random(len(data))
    cuts = sorted({0, len(data), *(dice.randint(0, len(data)) for _ in range(dice.randint(0, 3)))})
    written = told([data])
    position = 0
    while position < len(written):
        match = _ANSWER.match(written, position)
        assert match, written[position : position + 200]
        position = match.end()
    assert told(data[start:end] for start, end in pairwise(cuts)) == written


def main() -> None:
    """Mutate requests."""
    fuzz(one, REQUESTS, _WORDS)


if __name__ == "__main__":
    main()
