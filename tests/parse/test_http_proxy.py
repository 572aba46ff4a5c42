"""HTTP/1 as a proxy meets it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse import http_proxy
from proxywatch.parse.http_proxy import (
    CHUNKED,
    UNTIL_CLOSE,
    Body,
    TooLargeError,
    forwarded,
    request_head,
    response_head,
)


def post(fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST http://a.test/ HTTP/" + version + b"\r\nHost: a.test\r\n" + fields + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        *(
            post(b"Transfer-Encoding: " + coding + b"\r\n")
            for coding in (
                b"chunked,",
                b"chunked, gzip",
                b"gzip, chunked",
                b"xchunked",
                b"",
                b"chunked;x=y",
                b"chunked\t",
                b"\x0bchunked",
            )
        ),
        *(
            post(b"Content-Length: " + length + b"\r\n")
            for length in (b"5, 5", b"+5", b"5 5", b"-1", b"", b"0x5", b"5" * 30, b"\xb2")
        ),
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        post(b"Content-Length: 5\r\nContent-Length: 6\r\n"),
        post(b"Content-Length: 5\r\nContent-Length: 5\r\n"),
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        post(b"Transfer-Encoding: chunked\r\n", b"1.0"),
        post(b"Content-Length : 5\r\n"),
        post(b"X: a\r\n b\r\n"),
        post(b"X: a\rb\r\n"),
        post(b"X: a\nb: c\r\n"),
        post(b"X: a\0b\r\n"),
        post(b": x\r\n"),
        post(b"Host: b.test\r\n"),
        post(b"Connection: close, Content-Length\r\nContent-Length: 5\r\n"),
        post(b"Connection: host\r\n"),
        b"GET http://a.test/ HTTP/1.1\r\n\r\n",
        b"GET  http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test/ HTTP/2.0\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test/\r\n\r\n",
        b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test:0/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test:70000/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n",
        b"CONNECT ::1:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"CONNECT u@a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ],
)
def test_whatever_has_two_readings_is_refused(data: bytes) -> None:
    """Two lengths, codings other than `chunked`, folded lines, blanks before a colon."""
    with pytest.raises(ParseError):
        request_head(data)


def test_chunked_in_any_case_is_chunked() -> None:
    """Spaces around a value are not part of it."""
    head = request_head(post(b"Transfer-Encoding:  Chunked \r\n"))
    assert head is not None
    assert head.length == CHUNKED
    assert b"Transfer-Encoding: chunked\r\n" in forwarded(head)


def test_the_origin_sees_the_target_and_nothing_that_is_meant_for_us() -> None:
    """Host from the target, no user, none of the fields that Connection names."""
    head = request_head(
        b"GET http://u:p@A.test/x?y=1#z HTTP/1.1\r\nHost: b.test\r\n"
        b"Connection: close, X-Secret\r\nX-Secret: 1\r\n"
        b"Proxy-Authorization: Basic eDp5\r\nProxy-Connection: Keep-Alive\r\n"
        b"Keep-Alive: 5\r\nTE: trailers\r\n"
        b"Accept: */*\r\n\r\n"
    )
    assert head is not None
    assert (
        forwarded(head) == b"GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    assert head.field(b"proxy-authorization") == b"Basic eDp5"
    assert forwarded(head, absolute=True, authorization=b"Basic bg==").splitlines()[::4] == [
        b"GET http://a.test/x?y=1 HTTP/1.1",
        b"Proxy-Authorization: Basic bg==",
    ]


def test_connect_with_names_and_addresses() -> None:
    """Brackets come off; the port is required."""
    for target, host in (
        (b"a.test:443", "a.test"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b"127.1:443", "127.0.0.1"),
    ):
        head = request_head(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\nrest")
        assert head is not None
        assert (head.host, head.port, head.path) == (host, 443, b"")


def test_an_upgrade_stays_together() -> None:
    """Connection: Upgrade of our own, beside what the client wants."""
    head = request_head(
        b"GET http://a.test/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert head is not None
    assert forwarded(head).endswith(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_heads_are_bounded() -> None:
    """In bytes and in fields."""
    with pytest.raises(TooLargeError):
        request_head(b"GET http://a.test/" + b"a" * http_proxy.LARGEST_HEAD)
    with pytest.raises(TooLargeError):
        request_head(post(b"X: y\r\n" * 101))


@pytest.mark.parametrize(
    ("data", "method", "length", "close"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", 5, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD", 0, False),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"GET", UNTIL_CLOSE, False),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", b"GET", 0, True),
        (b"HTTP/1.0 304 x\r\n\r\n", b"GET", 0, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"POST", 0, False),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET", CHUNKED, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"CONNECT", 0, False),
    ],
)
def test_where_a_response_ends(data: bytes, method: bytes, length: int, *, close: bool) -> None:
    """By its status, the method, and what it says."""
    response = response_head(data, method)
    assert response is not None
    assert (response.length, response.close, response.size) == (length, close, len(data))
    assert response_head(data[:-1], method) is None


def test_responses_that_are_none() -> None:
    """Nothing of them reaches a client."""
    for data in (
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        with pytest.raises(ParseError):
            response_head(data, b"GET")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.integers(1, 50), st.binary(max_size=5))
def test_chunks_in_any_pieces(chunks: list[bytes], step: int, rest: bytes) -> None:
    """The body ends at the same byte."""
    data = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nA: b\r\n\r\n"
    body = Body(CHUNKED)
    taken = 0
    for start in range(0, len(data), step):
        assert not body.done
        piece = data[start : start + step]
        taken += body.take(piece + rest if start + step >= len(data) else piece)
    assert body.done
    assert taken == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello",
        b"x\r\n",
        b"\r\n",
        b"5\r\nhelloXX",
        b"0\r\nbad line\r\n\r\n",
        b"5;" + b"a" * 300,
        b"+5\r\n",
        b"fffffffffffffffff\r\n",
        b"0\r\n" + b"A: b\r\n" * 2000,
    ],
)
def test_chunks_that_are_none(data: bytes) -> None:
    """Whole and byte by byte."""
    with pytest.raises(ParseError):
        Body(CHUNKED).take(data)
    body = Body(CHUNKED)
    with pytest.raises(ParseError):
        list(map(body.take, (bytes([byte]) for byte in data)))
