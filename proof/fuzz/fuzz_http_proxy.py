"""Invariant: a head is refused or has one reading, and what is passed on of it reads the same.

Bodies end at the same byte however they are cut. What is passed on names no field that was meant for us, has
exactly one of Content-Length and Transfer-Encoding, and one Host, which is the target's.

python fuzz/fuzz_http_proxy.py [SECONDS] [SEED]
"""

from itertools import pairwise
from random import Random

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import http_proxy

HEADS = (
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
    b"GET http://u:p@a.test/x?y=1 HTTP/1.1\r\nHost: b.test\r\nConnection: close, X-S\r\nX-S: 1\r\n\r\n",
    b"POST http://a.test:8080 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST http://[::2]/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET http://a.test/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.0 200\r\n\r\nbody", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nA: b\r\n\r\nrest",
)  # fmt: skip
WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b":", b"\t", b"\0", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"Connection: Host\r\n", b"@", b"http://", b"HTTP/1.1",
    b"+5", b"5, 5", b"chunked, gzip", b"0\r\n\r\n", b"A" * 9000, b"X: y\r\n" * 60,
)  # fmt: skip


def request(data: bytes) -> None:
    """A request's head, and what the origin gets."""
    try:
        head = http_proxy.request_head(data)
    except ParseError:
        return
    if head is None:
        return
    assert http_proxy.request_head(data[: head.size]) == head
    assert http_proxy.request_head(data[: head.size - 1]) is None
    if not head.path or not head.host:
        return
    sent = http_proxy.forwarded(head, absolute=True)
    again = http_proxy.request_head(sent)
    assert again is not None
    assert again.size == len(sent)
    assert again[:5] == head[:5]
    assert again.length == head.length
    names = [name.lower() for name, _ in again.fields]
    assert names.count(b"host") == 1
    assert b"proxy-authorization" not in names
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1


def response(data: bytes) -> None:
    """A response's head, and what the client gets."""
    try:
        head = http_proxy.response_head(data, b"GET")
    except ParseError:
        return
    if head is None:
        return
    try:
        sent = http_proxy.passed_on(head, 1, close=head.close)
    except ParseError:
        return
    again = http_proxy.response_head(sent, b"GET")
    assert again is not None
    assert (again.status, again.length, again.size) == (head.status, head.length, len(sent))


def body(data: bytes, dice: Random) -> None:
    """Chunks, whole and in pieces."""
    found = []
    for pieces in (1, 3, len(data)):
        reader = http_proxy.Body(http_proxy.CHUNKED)
        cuts = sorted({0, len(data), *(dice.randint(0, len(data)) for _ in range(pieces))})
        taken = 0
        try:
            for start, end in pairwise(cuts):
                if not reader.done:
                    taken += reader.take(data[start:end])
            found.append((taken, reader.done))
        except ParseError:
            found.append((-1, False))
    assert len(set(found)) == 1, found


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    request(data)
    response(data)
    body(data, Random(len(data)))


if __name__ == "__main__":
    fuzz(one, HEADS, WORDS)
