"""The head of a request: RFC 9112's rules on meaning, and our limits."""

import pytest

from proxywatch.web import head
from proxywatch.web.message import HttpRequest
from support.wire import Wire, serving

HOST = b"Host: x\r\n"


def read(data: bytes, most: int = 100) -> HttpRequest:
    return head.parse(data, most)


def status(data: bytes, most: int = 100) -> int:
    with pytest.raises(head.RefusedError) as refused:
        read(data, most)
    return refused.value.response.status


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        (b"GET /a HTTP/1.1", "/a", ""),
        (b"GET /a?b=c?d HTTP/1.1", "/a", "b=c?d"),
        (b"GET http://x:9090/metrics HTTP/1.1", "/metrics", ""),
        (b"GET HTTP://x HTTP/1.1", "/", ""),
        (b"GET https://x/?a HTTP/1.1", "/", "a"),
        (b"GET http://x?a HTTP/1.1", "/", "a"),
        (b"OPTIONS * HTTP/1.1", "*", ""),
        (b"OPTIONS / HTTP/1.0", "/", ""),
    ],
)
def test_targets(line: bytes, path: str, query: str) -> None:
    """A path, a whole URL as for a proxy, an asterisk."""
    request = read(line + b"\r\n" + HOST + b"\r\n")
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize("target", [b"x:443", b"*", b"ftp://x/a", b"http:/a", b"a/b"])
def test_other_targets_are_refused(target: bytes) -> None:
    """400 each."""
    assert status(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n") == 400


def test_connect_is_refused() -> None:
    """This is no proxy."""
    assert status(b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n") == 400


@pytest.mark.parametrize(
    ("version", "hosts", "good"),
    [
        (b"1.1", [b"x"], True),
        (b"1.1", [b""], True),
        (b"1.1", [b"[::1]:9090"], True),
        (b"1.1", [b"x.y:80"], True),
        (b"1.1", [], False),
        (b"1.1", [b"x", b"x"], False),
        (b"1.1", [b"x y"], False),
        (b"1.1", [b"x/y"], False),
        (b"1.1", [b"x:y"], False),
        (b"1.1", [b"u@x"], False),
        (b"1.0", [], True),
        (b"1.0", [b"x"], True),
        (b"1.0", [b"x", b"y"], False),
    ],
)
def test_host(version: bytes, hosts: list[bytes], *, good: bool) -> None:
    """HTTP/1.1 has exactly one, HTTP/1.0 at most one, and it is a name."""
    data = b"GET / HTTP/" + version + b"\r\n" + b"".join(b"Host: %b\r\n" % host for host in hosts) + b"\r\n"
    if good:
        assert read(data).path == "/"
    else:
        assert status(data) == 400


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"foo, Close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_who_keeps_the_connection(version: bytes, connection: bytes, *, keep: bool) -> None:
    """As RFC 9112 defines it."""
    data = b"GET / HTTP/" + version + b"\r\nHost: x\r\nConnection: " + connection + b"\r\n\r\n"
    assert read(data).keep_alive is keep


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\n", 413),
        (b"HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 413),
        (b"OPTIONS / HTTP/1.1\r\nContent-Length: 5\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 411),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n", 400),
        (b"POST / HTTP/1.1\r\nExpect: miracles\r\n", 417),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"GET / HTTP/1.2\r\n", 505),
        (b"GET / HTTP/0.9\r\n", 505),
        (b"GET /\r\n", 400),
        (b"GET / RTSP/1.0\r\n", 400),
        (b"GET / ICE/1.0\r\n", 400),
        (b"BREW / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\0\r\n", 400),
        (b"GET / HTTP/1.1\r\nA\r\n", 400),
        (b"GET / HTTP/1.1\nA: b\n", 400),
    ],
)
def test_what_is_refused(request_: bytes, code: int) -> None:
    """Before any of a body is read."""
    assert status(request_ + HOST + b"\r\n") == code


@pytest.mark.parametrize(("count", "code"), [(100, 200), (101, 431), (3200, 431)])
async def test_the_number_of_headers_is_bounded(count: int, code: int) -> None:
    """A hundred with Host, as servers do."""
    async with serving() as (_, address):
        wire = await Wire.to(address)
        await wire.send(b"GET / HTTP/1.1\r\n" + HOST + b"a:b\r\n" * (count - 1) + b"\r\n")
        assert (await wire.response())[0] == code
        await wire.close()


async def test_old_clients_may_keep_the_connection() -> None:
    """As `ab -k` does: HTTP/1.0 that asks for it is told so, else it waits for the end."""
    async with serving() as (_, address):
        wire = await Wire.to(address)
        for _ in range(2):
            await wire.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            code, headers, body = await wire.response()
            assert (code, headers["connection"], body) == (200, "keep-alive", b"hello\n")
        await wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in await wire.rest()
        await wire.close()


async def test_continues_at_once() -> None:
    """`100 Continue` before the body, which is then read and skipped; a refusal comes instead of it."""
    async with serving() as (_, address):
        wire = await Wire.to(address)
        await wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"abc")
        assert (await wire.response())[0] == 200
        assert (await wire.ask("/"))[0] == 200
        await wire.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n"
        )
        assert (await wire.response())[0] == 413
        await wire.close()
