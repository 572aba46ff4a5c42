"""Invariant of the metrics port: whatever a client sends is answered in whole answers, at a bounded cost.

In whatever pieces it comes, the answers are those that it gets in one piece: every one has a known status, no
request is larger than the limit; the connection never holds more than a request and one read; and nothing of
it is left in the server once it is gone.

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
from proxywatch.net.turns import Turns
from proxywatch.web.connection import HttpConnection
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import WebServer

REQUESTS = (
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://x:1/metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /-/reload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
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
    rb"HTTP/1\.1 (?:100 Continue\r\n\r\n|(200|400|408|411|413|414|417|431|505) [A-Za-z -]+\r\n"
    rb"(?:[a-z-]+: [^\r\n]*\r\n)+\r\n(?:ok\n|[a-z0-9][^\n]*\n)?)"
)
_LIMITS = Limits(request_size=8 << 10)
_HELD = 2_200 + (8 << 10) + (4 << 10) + (128 << 10)  # objects, request, read, what is unread


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

    def get_extra_info(self, _: str) -> None:
        """No socket."""

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


class LooplessServer(WebServer):
    """A server without a loop: a turn follows when it is asked for."""

    def __init__(self) -> None:
        super().__init__("fuzz", answer, _LIMITS, SystemClock())
        self.soon: list[Callable[[], None]] = []
        self.turns = Turns(SystemClock().monotonic, self.soon.append)

    def turn(self) -> None:
        """Go on until nobody waits."""
        while self.soon:
            self.soon.pop()()


def answers(pieces: Iterable[bytes]) -> bytes:
    """The answers to what comes in these pieces."""
    server = LooplessServer()
    connection, wire = HttpConnection(server), Wire()
    connection.connection_made(cast("Any", wire))
    step = len(server.buffer)
    for piece in pieces:
        for part in (piece[at : at + step] for at in range(0, len(piece), step)):
            if not wire.closed:
                server.buffer[: len(part)] = part
                connection.buffer_updated(len(part))
            server.turn()
            assert server.budget.held <= _HELD
    connection.eof_received()
    connection.connection_lost(None)
    assert not any(map(len, server.waiting.values()))
    assert server.connections == server.budget.held == len(server.budget) == 0
    return wire.written


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    dice = Random(len(data))
    cuts = sorted({0, len(data), *(dice.randint(0, len(data)) for _ in range(dice.randint(0, 3)))})
    written = answers([data])
    position = 0
    while position < len(written):
        match = _ANSWER.match(written, position)
        assert match, written[position : position + 200]
        position = match.end()
    assert answers(data[start:end] for start, end in pairwise(cuts)) == written


def main() -> None:
    """Mutate requests."""
    fuzz(one, REQUESTS, _WORDS)


if __name__ == "__main__":
    main()
