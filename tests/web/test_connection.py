"""One client's connection: order, limits, and manners towards clients that have none."""

import asyncio
import gc
import socket
import struct
from collections.abc import Awaitable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxywatch.net.limits import Limits
from proxywatch.web.connection import HttpConnection, State
from proxywatch.web.message import HttpRequest, Response
from support.fakes import FakeClock
from support.wire import Wire, serving, until

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def echo(request: HttpRequest) -> Response:
    await asyncio.sleep(0)
    return Response.make(200, request.path)


async def test_keeps_the_connection() -> None:
    """Two requests, one connection."""
    async with serving() as (_, address):
        wire = await Wire.to(address)
        assert (await wire.ask("/"))[2] == b"hello\n"
        status, headers, body = await wire.ask("/")
        assert (status, body) == (200, b"hello\n")
        assert "connection" not in headers
        assert headers["date"].endswith(" GMT")
        await wire.close()


async def test_closes_when_asked() -> None:
    """`Connection: close` and HTTP/1.0 end the connection after the answer, and the answer says so."""
    for request in (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        async with serving() as (_, address):
            wire = await Wire.to(address)
            await wire.send(request)
            answer = await wire.rest()
            assert answer.endswith(b"hello\n")
            assert b"connection: close" in answer
            await wire.close()


async def test_head_has_no_body() -> None:
    """HEAD tells the length and sends nothing; the next answer is found where it should be."""
    async with serving() as (_, address):
        wire = await Wire.to(address)
        _, headers, _ = await wire.ask("/", method="HEAD")
        assert headers["content-length"] == "6"
        assert (await wire.ask("/"))[2] == b"hello\n"
        await wire.close()


async def test_answers_pipelined_requests_in_order() -> None:
    """Also when the handler takes its time."""
    async with serving(echo) as (_, address):
        wire = await Wire.to(address)
        await wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(20)))
        assert [(await wire.response())[2] for _ in range(20)] == [b"/%d" % number for number in range(20)]
        await wire.close()


async def test_pipelining_holds_no_more_than_one_read() -> None:
    """While one request is answered the others wait with the client; each gets its answer in the end."""
    gate = asyncio.Event()

    async def slow(request: HttpRequest) -> Response:
        await gate.wait()
        return await echo(request)

    async with serving(slow) as (server, address):
        wire = await Wire.to(address)
        await wire.send(GET * 1000)
        await asyncio.sleep(0.05)
        (connection,) = server._connections
        assert len(connection._rest) <= len(server.buffer)
        gate.set()
        assert [(await wire.response())[2] for _ in range(1000)] == [b"/"] * 1000
        await wire.close()


async def test_a_client_that_pipelines_leaves_turns_to_others() -> None:
    """However many requests come in one read, the loop turns after a few of them."""
    served = 0

    def count(_: HttpRequest) -> Response:
        nonlocal served
        served += 1
        return Response.make(200, b"")

    async with serving(count) as (_, address):
        wire = await Wire.to(address)
        wire.writer.write(GET * 130)
        longest = before = 0
        while served < 130:
            await asyncio.sleep(0)
            longest, before = max(longest, served - before), served
        assert longest <= 32  # two turns, when one ends and the next read comes in the same round
        await wire.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=12))
def test_the_cuts_between_packets_do_not_matter(lengths: list[int]) -> None:
    """The same bytes give the same answers, however they arrive."""
    stream = (
        b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: x\r\nAccept: y\r\n\r\n"
        b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz"
        b"\r\n\r\nGET http://x:1/c HTTP/1.1\r\nHost: x\r\n\r\nHEAD /d HTTP/1.0\r\n\r\n"
    )

    def tell(request: HttpRequest) -> Response:
        return Response.make(
            200, f"{request.method} {request.path} {request.query} {request.header(b'accept')}"
        )

    async def talk() -> bytes:
        async with serving(tell) as (_, address):
            wire = await Wire.to(address)
            at = 0
            for length in [*lengths, len(stream)]:
                await wire.send(stream[at : at + length])
                await asyncio.sleep(0)
                at += length
            answer = await wire.rest()
            await wire.close()
            return answer

    bodies = [part.partition(b"\r\n\r\n")[2] for part in asyncio.run(talk()).split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"GET /a b=c x, y", b"POST /b  ", b"GET /c  ", b""]


async def test_refuses_what_is_not_http() -> None:
    """With a word, which arrives although more of the client's bytes do."""
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00" * 50,
        b"hello there, how are you\r\n\r\n",
        b"GET / SPDY/9\r\n\r\n",
    ):
        async with serving() as (_, address):
            wire = await Wire.to(address)
            await wire.send(nonsense)
            assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
            await wire.close()


async def test_a_refused_client_is_not_cut_off_before_it_has_read_why() -> None:
    """It closes first: unread bytes of it would make the kernel drop our words."""
    async with serving() as (server, address):
        wire = await Wire.to(address)
        await wire.send(b"nonsense\r\n\r\n")
        await until(lambda: len(server.waiting[State.LEAVING]) == 1)
        (connection,) = server._connections
        connection.resume_writing()
        await wire.send(b"and more of it" * 100)
        await asyncio.sleep(0.02)
        assert server.connections == 1
        assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")
        await wire.close()


async def test_refuses_an_enormous_head() -> None:
    """A header without an end is refused at the limit, and what is held of it stays within it."""
    async with serving(limits=Limits(request_size=10_000)) as (_, address):
        wire = await Wire.to(address)
        await wire.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
        status, _, _ = await wire.response()
        assert status == 431
        await wire.close()


async def test_hears_a_refused_client_only_so_far() -> None:
    """Whoever goes on and on after the refusal is cut off."""
    async with serving(limits=Limits(request_size=10_000)) as (server, address):
        wire = await Wire.to(address)
        chunks = (wire.send(b"x" * 100_000) for _ in range(100))
        with pytest.raises(ConnectionError):
            await _all(chunks)
        await until(lambda: server.connections == 0)
        await wire.close()


async def _all(sends: Iterable[Awaitable[None]]) -> None:
    for each in sends:
        await each


async def test_refuses_an_enormous_body() -> None:
    """No route reads a body; a large one is not waited for, not even its first byte."""
    async with serving(limits=Limits(request_size=10_000)) as (_, address):
        wire = await Wire.to(address)
        await wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await wire.response())[0] == 413
        await wire.close()


async def test_ends_slow_requests() -> None:
    """A request that trickles in is refused when its time is up, each byte notwithstanding."""
    clock = FakeClock()
    async with serving(limits=Limits(request_time=10), clock=clock) as (server, address):
        wire = await Wire.to(address)
        for byte in b"GET / HTTP/1.1\r\nX":
            await wire.send(bytes([byte]))
            await until(lambda: len(server.waiting[State.HEAD]) == 1)
            await clock.advance(0.5)
        assert server.connections == 1
        await clock.advance(2)
        assert (await wire.response())[0] == 408
        await wire.close()


async def test_ends_idle_connections() -> None:
    """Silently: there is nothing to answer."""
    clock = FakeClock()
    async with serving(limits=Limits(idle_time=60), clock=clock) as (server, address):
        wire = await Wire.to(address)
        await wire.ask("/")
        await clock.advance(59)
        await wire.ask("/")
        await clock.advance(59)
        assert server.connections == 1
        await clock.advance(2)
        assert await wire.rest() == b""
        await until(lambda: server.connections == 0)
        await wire.close()


async def test_ends_clients_that_do_not_read() -> None:
    """Whoever asks and does not take the answer is dropped, and its buffer with it."""
    clock = FakeClock()
    large = Response.make(200, b"x" * 4_000_000)
    async with serving(lambda _: large, Limits(write_time=30), clock) as (server, address):
        wire = await Wire.to(address, limit=1024)
        await wire.send(GET * 10)
        await until(lambda: len(server.waiting[State.WRITING]) == 1)
        await clock.advance(31)
        await until(lambda: server.connections == 0)
        await wire.close()


async def test_a_newcomer_takes_the_place_of_the_idlest() -> None:
    """So that a scraper gets in, whoever else sits there."""
    async with serving(limits=Limits(connections=3)) as (server, address):
        first, *others = [await Wire.to(address) for _ in range(3)]
        await until(lambda: server.connections == 3)
        newcomer = await Wire.to(address)
        assert (await newcomer.ask("/"))[0] == 200
        assert await first.rest() == b""
        assert [(await wire.ask("/"))[0] for wire in others] == [200, 200]
        for wire in (first, newcomer, *others):
            await wire.close()


async def test_answers_a_client_that_has_closed_its_half() -> None:
    """What was asked before the end is answered."""
    async with serving(echo) as (_, address):
        wire = await Wire.to(address)
        await wire.send(GET)
        wire.writer.write_eof()
        assert (await wire.rest()).endswith(b"/")
        await wire.close()


async def test_answers_what_was_asked_before_the_end_however_long_it_takes() -> None:
    """The request that is under way when the client closes its half, and those that wait behind it."""
    gate = asyncio.Event()

    async def slow(request: HttpRequest) -> Response:
        await gate.wait()
        return await echo(request)

    async with serving(slow) as (server, address):
        wire = await Wire.to(address)
        await wire.send(GET * 3 + b"GET /unfinished HTTP/1.1\r\n")
        wire.writer.write_eof()
        await until(lambda: any(connection.state is State.ANSWERING for connection in server._connections))
        await asyncio.sleep(0.05)
        gate.set()
        assert (await wire.rest()).count(b"HTTP/1.1 200 OK") == 3
        await until(lambda: server.connections == 0)
        await wire.close()


async def test_survives_clients_that_vanish() -> None:
    """A reset while the answer is being made costs nobody anything."""
    async with serving(echo) as (server, address):
        for _ in range(50):
            wire = await Wire.to(address)
            raw = wire.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await wire.send(GET)
            await wire.close()
        await until(lambda: server.connections == 0)
        wire = await Wire.to(address)
        assert (await wire.ask("/"))[0] == 200
        await wire.close()


async def test_nothing_is_left_of_who_has_gone() -> None:
    """Whether it was idle, in the middle of a request, refused, or did not read."""
    large = Response.make(200, b"x" * 4_000_000)
    async with serving(lambda _: large) as (server, address):
        for words in (b"", b"GET / HT", b"nonsense\r\n\r\n", GET * 3):
            for _ in range(20):
                wire = await Wire.to(address)
                await wire.send(words)
                wire.writer.transport.abort()
        await until(lambda: server.connections == 0)
        assert server._least() is None
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, HttpConnection)]


async def test_a_failing_handler_is_a_500() -> None:
    """At once or later; the connection stays in order."""

    def fail(request: HttpRequest) -> Response:
        raise RuntimeError(request.path)

    async def fail_later(request: HttpRequest) -> Response:
        raise RuntimeError(request.path)

    for handler in (fail, fail_later):
        async with serving(handler) as (_, address):
            wire = await Wire.to(address)
            assert (await wire.ask("/"))[0] == 500
            assert (await wire.ask("/"))[0] == 500
            await wire.close()


async def test_the_end_of_the_server_waits_for_answers() -> None:
    """A request that is under way when the server ends is still answered; idle connections are closed."""
    gate = asyncio.Event()

    async def slow(_: HttpRequest) -> Response:
        await gate.wait()
        return Response.make(200, "late")

    async with serving(slow) as (server, address):
        idle = await Wire.to(address)
        wire = await Wire.to(address)
        await wire.send(GET)
        await until(lambda: len(server.waiting[State.IDLE]) == 1)
        asyncio.get_running_loop().call_later(0.05, gate.set)
    assert (await wire.rest()).endswith(b"late")
    assert await idle.rest() == b""
    await wire.close()
    await idle.close()
