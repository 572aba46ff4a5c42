"""The limits of a request hold to the byte, whatever the pieces in which it arrives."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxywatch.net.limits import Limits
from proxywatch.web.connection import HttpConnection
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import WebServer
from support.fakes import FakeClock

LIMIT = 200
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LINE = b"GET /here HTTP/1.1\r\nHost:\r\n"


def padded(length: int, start: bytes = LINE + b"X: ") -> bytes:
    """A head of so many bytes."""
    return start + b"x" * (length - len(start) - 4) + b"\r\n\r\n"


def chunked(*chunks: bytes) -> bytes:
    """A request with a body in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"POST /c HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def posted(length: int, body: bytes) -> bytes:
    """A request that says how long its body is."""
    return b"POST /p HTTP/1.1\r\nHost:\r\nContent-Length: %d\r\n\r\n" % length + body


EXACT = posted(152, b"\n" * 152)
STREAMS: dict[str, tuple[bytes, list[int]]] = {
    "the largest": (padded(LIMIT), [200]),
    "a byte too many": (padded(LIMIT + 1), [431]),
    "far too many": (padded(50 * LIMIT), [431]),
    "many small headers": (LINE + b"a:\r\n" * 100 + b"\r\n", [431]),
    "a long address": (b"GET /" + b"x" * 500 + b" HTTP/1.1\r\n\r\n", [414]),
    "an address to the limit": (b"GET /" + b"x" * 173 + b" HTTP/1.1\r\nHost:\r\n\r\n", [200]),
    "an address that leaves no room": (b"GET /" + b"x" * 184 + b" HTTP/1.1\r\n\r\n", [431]),
    "empty lines before": (b"\r\n" * 10 + LINE + b"\r\n", [200]),
    "empty lines without end": (b"\r\n" * 101, [431]),
    "a body to the limit": (EXACT, [200]),
    "a body that is too long": (posted(153, b"\n" * 153), [413]),
    "a body that is far too long": (posted(10**12, b""), [413]),
    "a body that is announced too long": (posted(153, b""), [413]),
    "a body that is not there": (posted(5, b""), []),
    "chunks": (chunked(b"ab", b"\r\n\r\n"), [411]),
    "many chunks": (chunked(*[b"\n"] * 400), [411]),
    "one after the other": (padded(LIMIT) + EXACT + padded(LIMIT) + EXACT, [200] * 4),
    "the third is too large": (padded(LIMIT) + EXACT + padded(LIMIT + 1) + LINE + b"\r\n", [200, 200, 431]),
    "a goodbye": (LINE + b"Connection: close\r\n\r\n" + LINE + b"\r\n", [200]),
    "an upgrade": (LINE + b"Connection: upgrade\r\nUpgrade: x\r\n\r\n" + LINE + b"\r\n", [200, 200]),
    "nonsense": (LINE + b"\r\n" + b"nonsense\r\n\r\n" + LINE + b"\r\n", [200, 400]),
    "nonsense, long": (b"nonsense" * 100, [400]),
    "bare line feeds": (b"GET / HTTP/1.1\n\n", [400]),
    "HTTP/0.9 and more": (b"GET /here\n\r\n" + LINE + b"\r\n", [400]),
    "two lengths": (LINE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc", [400]),
    "a length and chunks": (
        LINE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    "a length with many digits": (LINE + b"Content-Length: " + b"0" * 110 + b"\r\n\r\n", [200]),
}


class Kept:
    """A transport that keeps what is written, and whether we still read."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = self.paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.written += b"".join(pieces)

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def answers(pieces: Iterable[bytes], *, slow: bool = False) -> list[int]:
    """The codes that a client gets who sends these."""

    async def later(_: HttpRequest) -> Response:
        await asyncio.sleep(0)
        return Response.make(200, b"")

    def at_once(_: HttpRequest) -> Response:
        return Response.make(200, b"")

    async with WebServer(
        "http", later if slow else at_once, Limits(request_size=LIMIT), FakeClock()
    ) as server:
        connection, kept = HttpConnection(server), Kept()
        connection.connection_made(cast("Any", kept))
        for piece in pieces:
            for start in range(0, len(piece), len(server.buffer)):
                part = piece[start : start + len(server.buffer)]
                while kept.paused and not kept.closed:  # noqa: ASYNC110 - as a transport does that is told to wait
                    await asyncio.sleep(0)
                if not kept.closed:
                    connection.get_buffer(-1)[: len(part)] = part
                    connection.buffer_updated(len(part))
                assert len(connection._rest) <= len(server.buffer)
        for _ in range(10):
            await asyncio.sleep(0)
        connection.connection_lost(None)
    return [int(code) for code in _STATUS.findall(kept.written)]


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    return [stream[start:end] for start, end in pairwise([0, *sorted(places), len(stream)])]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("slow", [False, True])
async def test_whole_at_every_byte_and_byte_by_byte(name: str, *, slow: bool) -> None:
    """The same answers, which are the expected ones."""
    stream, expected = STREAMS[name]
    assert await answers([stream], slow=slow) == expected
    assert await answers([bytes([byte]) for byte in stream], slow=slow) == expected
    for place in range(1, min(len(stream), 700)):
        assert await answers(cut(stream, [place]), slow=slow) == expected, place


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([stream for stream, _ in STREAMS.values()]), min_size=1, max_size=4),
    st.data(),
)
def test_any_pieces_of_anything(streams: list[bytes], data: st.DataObject) -> None:
    """However the streams are joined and cut."""
    stream = b"".join(streams)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert asyncio.run(answers(cut(stream, places))) == asyncio.run(answers([stream]))
