"""The health port: its verdict as a function, and its manners towards every kind of client."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.clock import Moment
from proxywatch.exporter.readiness import TunnelState, allowance, readiness, tunnel_check
from proxywatch.exporter.runner import Outcome
from proxywatch.health.checks import Check, Health, conclude
from proxywatch.health.server import HealthServer
from proxywatch.health.settings import Settings
from proxywatch.net.addresses import Addresses
from support.fakes import FakeClock
from support.wire import Wire, until

CLOCK = FakeClock()
UP = TunnelState("fresh", "last handshake 20 s ago", up=True)
DOWN = TunnelState("dead", "no handshake for 400 s", up=False)


def outcome(age: float | None, message: str = "") -> Outcome:
    """Of a collector whose last success is so old."""
    succeeded = None if age is None else Moment(CLOCK.now() - age, CLOCK.monotonic() - age)
    return Outcome("source" if message else "", message, 0.1, succeeded, bool(message))


@asynccontextmanager
async def port(
    outcomes: dict[str, Outcome],
    tunnel: TunnelState | None = UP,
    clock: FakeClock | None = None,
    **settings: object,
) -> AsyncIterator[tuple[HealthServer, str]]:
    """The health server on a free port."""
    used = clock or FakeClock()
    checks = {
        "/readyz": lambda: readiness({"latency": 100.0}, outcomes, tunnel, used),
        "/vpnz": lambda: [tunnel_check(tunnel)],
    }
    checks["/healthz"] = checks["/readyz"]
    listen = Addresses.parse("127.0.0.1:0")
    told = Settings(listen=listen, **settings)  # type: ignore[arg-type]
    async with HealthServer(told, checks, used) as server:
        yield server, server.addresses[0]


async def ask(address: str, request: bytes) -> tuple[int, str]:
    """Send the bytes; the code and body that came back."""
    wire = await Wire.to(address)
    await wire.send(request)
    head, _, body = (await wire.rest()).partition(b"\r\n\r\n")
    await wire.close()
    return int(head.split()[1]), body.decode()


@pytest.mark.parametrize(
    ("found", "tunnel", "ok", "words"),
    [
        (outcome(20), UP, True, "succeeded 20 s ago"),
        (outcome(20), None, True, "succeeded 20 s ago"),
        (outcome(99, "no route"), UP, True, "succeeded 99 s ago"),
        (outcome(101, "no route"), UP, False, "last success 101 s ago, 100 s allowed: no route"),
        (outcome(None, "no proxy"), UP, False, "has never succeeded: no proxy"),
        (None, UP, False, "has not run yet"),
        (outcome(20), DOWN, False, "succeeded 20 s ago"),
        (outcome(-50), UP, True, "succeeded 0 s ago"),
    ],
)
def test_verdict(found: Outcome | None, tunnel: TunnelState | None, *, ok: bool, words: str) -> None:
    """Ready is who has succeeded recently, with the tunnel up or unwatched."""
    health = conclude(readiness({"latency": 100.0}, {"latency": found} if found else {}, tunnel, CLOCK))
    assert (health.status == "ok") == ok
    assert health.checks[0].reason == words


def test_a_clock_that_was_an_hour_ahead_hides_nothing() -> None:
    """Ages are measured on the clock that never steps."""
    clock = FakeClock()
    clock.step(3600)
    found = Outcome("", "", 0.1, Moment.of(clock), 0)
    clock.step(-3600)
    asyncio.run(clock.advance(101))
    (check, _) = readiness({"latency": 100.0}, {"latency": found}, None, clock)
    assert (check.ok, check.age_seconds) == (False, 101)


def test_three_rounds_are_allowed() -> None:
    """And the time that the last of them may take."""
    assert allowance(30, 10) == 100


@pytest.mark.parametrize(
    ("path", "tunnel", "latency", "status"),
    [
        ("/", DOWN, None, 200),
        ("/livez", DOWN, None, 200),
        ("/readyz", UP, outcome(1), 200),
        ("/readyz", UP, outcome(1000), 503),
        ("/readyz", DOWN, outcome(1), 503),
        ("/vpnz", UP, None, 200),
        ("/vpnz", DOWN, outcome(1), 503),
        ("/vpnz", None, outcome(1), 200),
        ("/healthz?verbose", UP, outcome(1), 200),
        ("/healthz", UP, outcome(1000), 503),
        ("/nowhere", UP, outcome(1), 404),
    ],
)
async def test_paths(path: str, tunnel: TunnelState | None, latency: Outcome | None, status: int) -> None:
    """Liveness never depends on the tunnel; readiness does; /vpnz on nothing else."""
    async with port({"latency": latency} if latency else {}, tunnel) as (_, address):
        assert (await ask(address, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))[0] == status


async def test_tells_why() -> None:
    """A line per check, and the same as JSON."""
    async with port({"latency": outcome(1000, "refused")}, DOWN) as (_, address):
        status, body = await ask(address, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert status == 503
        assert body.splitlines() == [
            "- latency: last success 1000 s ago, 100 s allowed: refused",
            "- tunnel: dead: no handshake for 400 s",
        ]
        _, body = await ask(address, b"GET /healthz?verbose HTTP/1.1\r\n\r\n")
        health = msgspec.json.decode(body, type=Health)
        assert [check.ok for check in health.checks] == [False, False]
        for path in (b"/healthz", b"/readyz?verbose"):
            assert (await ask(address, b"GET %s HTTP/1.1\r\n\r\n" % path))[1] == body
        assert health.checks[0].age_seconds == 1000


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
async def test_methods(newline: bytes) -> None:
    """HEAD has the head of GET; others are refused; a bare line feed is as good."""
    async with port({}) as (_, address):
        assert await ask(address, b"HEAD /livez HTTP/1.0" + newline * 2) == (200, "")
        assert (await ask(address, b"POST / HTTP/1.1" + newline * 2))[0] == 405


async def test_options_as_a_load_balancer_sends_it() -> None:
    """HAProxy's plain `option httpchk`: the status of GET, and the methods."""
    async with port({}, DOWN) as (server, address):
        assert (await ask(address, b"OPTIONS / HTTP/1.0\r\n\r\n"))[0] == 200
        assert (await ask(address, b"OPTIONS /vpnz HTTP/1.0\r\n\r\n"))[0] == 503
        assert b"\r\nallow: GET, HEAD, OPTIONS\r\n" in server.respond(b"OPTIONS / HTTP/1.0\r\n\r\n")


async def test_a_check_that_fails_is_an_answer() -> None:
    """500, and the port goes on."""

    def fail() -> list[Check]:
        raise RuntimeError("broken")

    listen = Addresses.parse("127.0.0.1:0")
    async with HealthServer(Settings(listen=listen), {"/readyz": fail}, FakeClock()) as server:
        assert (await ask(server.addresses[0], b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 500
        assert (await ask(server.addresses[0], b"GET /livez HTTP/1.1\r\n\r\n"))[0] == 200


async def test_a_silent_client_is_answered_and_closed() -> None:
    """After the moment of silence as if it had asked for `/`; then it has a moment to go by itself."""
    clock = FakeClock()
    async with port({}, clock=clock) as (_, address):
        wire = await Wire.to(address)
        await asyncio.sleep(0.01)
        await clock.advance(0.9)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.reader.read(1), 0.02)
        await clock.advance(0.2)
        assert (await wire.rest()).startswith(b"HTTP/1.1 200 OK")
        await clock.advance(1.2)
        await wire.close()


async def test_a_trickling_client_is_answered_by_what_it_asked_for() -> None:
    """The moment counts from the beginning, whatever trickles; a request line alone is enough."""
    clock = FakeClock()
    async with port({}, DOWN, clock) as (_, address):
        wire = await Wire.to(address)
        for byte in b"GET /vpnz HTTP/1.1\r\nX":
            await wire.send(bytes([byte]))
            await asyncio.sleep(0.001)
        await clock.advance(1.1)
        assert (await wire.rest()).startswith(b"HTTP/1.1 503 ")
        await wire.close()


async def test_a_client_that_says_something_else_is_answered() -> None:
    """Bare `nc` with a word, an empty line, an end without a word, far too many words."""
    async with port({}) as (_, address):
        for words in (b"hello\n\n", b"\r\n\r\n", b"\n\n\n", b"x" * 20_000):
            assert (await ask(address, words))[0] == 200
        wire = await Wire.to(address)
        wire.writer.write_eof()
        assert (await wire.rest()).startswith(b"HTTP/1.1 200 OK")
        await wire.close()


async def test_two_thousand_silent_clients_delay_nobody() -> None:
    """The limit makes the oldest be answered early, and a probe among them is answered at once."""
    async with port({"latency": outcome(1)}, max_connections=500) as (server, address):
        wires = [await Wire.to(address) for _ in range(700)]
        assert (await ask(address, b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 200
        assert (await wires[0].rest()).startswith(b"HTTP/1.1 200 OK")
        assert server.connections <= 500
        for wire in wires:
            await wire.close()
        await until(lambda: server.connections == 0)


async def test_real_probers() -> None:
    """curl, and wget as a kubelet's exec probe has it."""
    async with port({}) as (_, address):
        for command in (["curl", "-sf"], ["curl", "-sfI"], ["wget", "-q", "--spider", "-T", "3", "-t", "1"]):
            if shutil.which(command[0]) is None:
                pytest.skip(f"{command[0]} is not installed")
            process = await asyncio.create_subprocess_exec(
                *command, f"http://{address}/livez", stdout=subprocess.DEVNULL
            )
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /vpnz HTTP/1.1\r\nHost: x\r\n\r\n", 503),
        (b"\r\n\r\nGET /vpnz HTTP/1.1\r\n\r\n", 200),
        (b" " * 5000 + b"GET /vpnz HTTP/1.1\r\n\r\n", 200),
        (b"GET /vpnz?" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 503),
        (b"POST / HTTP/1.1\n\n", 405),
    ],
)
async def test_the_cuts_between_packets_do_not_matter(request_: bytes, status: int) -> None:
    """Whole, byte by byte, in two: what counts is the first 1 KiB, to the first empty line."""
    async with port({}, DOWN) as (server, address):
        assert (await ask(address, request_))[0] == status
        assert int(server.respond(request_[:1024]).split()[1]) == status
        for pieces in (
            [bytes([byte]) for byte in request_],
            *([request_[:place], request_[place:]] for place in (1, 3, 4, 18, 19, 1023, 1024)),
        ):
            wire = await Wire.to(address)
            for piece in pieces:
                wire.writer.write(piece)
                await asyncio.sleep(0)
            assert int((await wire.rest()).split()[1]) == status
            await wire.close()


@given(st.binary(max_size=200))
def test_whatever_comes_is_answered(request: bytes) -> None:
    """The answer is whole, and its length is right."""
    server = HealthServer(Settings(), {}, FakeClock())
    head, _, body = server.respond(request).partition(b"\r\n\r\n")
    length = int(head.decode().lower().partition("content-length: ")[2].split()[0])
    assert head.startswith(b"HTTP/1.1 ")
    assert len(body) == (0 if request.lstrip().startswith(b"HEAD") else length)
