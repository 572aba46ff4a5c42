"""What bad clients cost: scrapes and probes meanwhile, memory at the worst moment and afterwards.

    python proof/bench/bench_attacks.py [SECONDS] [ROUNDS] [WORD]

Each attack runs against a fresh exporter for that long, on loopback, with a bounded number of connections;
then the attacker is ended, and the memory is read again. The same exporter is attacked in several rounds, so
that one sees whether what stays with it grows. With a word, only attacks that have it in their name.
"""

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from bench_connections import ask
from serving import Running, exporter, raise_open_files

_RECOVERY = 3.0
_RESET = struct.pack("ii", 1, 0)
GET = b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n"


class Attacker:
    """Connections to one address, and how many the server has ended."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname, parts.port
        self.open: list[socket.socket] = []
        self.sent = 0

    async def connect(self) -> socket.socket:
        """One more."""
        sock = socket.socket()
        sock.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().sock_connect(sock, self.address)
        self.open.append(sock)
        return sock

    async def send(self, sock: socket.socket, data: bytes) -> bool:
        """As much as it takes; False when it was thrown out or takes no more."""
        try:
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().sock_sendall(sock, data)
        except (OSError, TimeoutError):
            return False
        self.sent += len(data)
        return True


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
            sock.close()
            attacker.open.remove(sock)

    await asyncio.gather(*(one() for _ in range(8)))


async def pipelining(attacker: Attacker) -> None:
    """A hundred clients that ask without end and read nothing."""

    async def one() -> None:
        while True:
            sock = await attacker.connect()
            while await attacker.send(sock, GET * 1000):
                pass

    await asyncio.gather(*(one() for _ in range(100)))


async def resets(attacker: Attacker) -> None:
    """Clients that ask and reset the connection, as fast as one process can."""
    while True:
        sock = await attacker.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        await attacker.send(sock, GET)
        attacker.open.remove(sock)
        sock.close()


async def half_closed(attacker: Attacker) -> None:
    """2,000 clients that ask, close their half, and never read."""
    for _ in range(2000):
        sock = await attacker.connect()
        await attacker.send(sock, GET)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
    await asyncio.Event().wait()


async def garbage(attacker: Attacker) -> None:
    """Random bytes, connection after connection."""
    while True:
        sock = await attacker.connect()
        await attacker.send(sock, os.urandom(2000))
        attacker.open.remove(sock)
        sock.close()


async def silent(attacker: Attacker) -> None:
    """5,000 connections without a word."""
    for _ in range(5000):
        await attacker.connect()
    await asyncio.Event().wait()


ATTACKS: tuple[tuple[str, str, Callable[[Attacker], Awaitable[None]]], ...] = (
    ("slow requests", "http", slowloris),
    ("enormous heads", "http", enormous),
    ("pipelining, unread", "http", pipelining),
    ("resets", "http", resets),
    ("half closed, unread", "http", half_closed),
    ("garbage", "http", garbage),
    ("silence", "http", silent),
    ("silence on health", "health", silent),
    ("garbage on health", "health", garbage),
    ("resets on health", "health", resets),
)


async def bear(
    us: Running, face: str, attack: Callable[[Attacker], Awaitable[None]], seconds: float, rounds: int
) -> str:
    """The row of one attack."""
    before = worst = us.resident()
    scrapes: list[float] = []
    probes: list[float] = []
    after = []
    for _ in range(rounds):
        command = [sys.executable, __file__, "attack", attack.__name__, getattr(us, face)]
        attacker = subprocess.Popen(command)  # noqa: ASYNC220 - returns at once
        await asyncio.sleep(1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            scrapes.append(await ask(us.http, "/metrics"))
            probes.append(await ask(us.health, "/livez"))
            worst = max(worst, us.resident())
            await asyncio.sleep(0.02)
        attacker.kill()
        attacker.wait()
        await asyncio.sleep(_RECOVERY)
        after.append(us.resident())
    points = [1000 * sorted(seen)[int(len(seen) * 0.99)] for seen in (scrapes, probes)]
    stays = " ".join(f"{each:.1f}" for each in after)
    return f"{points[0]:>9.1f}{points[1]:>9.1f}{before:>9.1f}{worst:>9.1f}   {stays}"


def rows(seconds: float, rounds: int, word: str) -> Iterator[str]:
    """One attack after the other."""
    for name, face, attack in ATTACKS:
        if word not in name:
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            exporter(Path(folder), http="request_timeout: 5s") as us,
        ):
            yield f"{name:<22}{uvloop.run(bear(us, face, attack, seconds, rounds))}"


if __name__ == "__main__":
    raise_open_files()
    if sys.argv[1:2] == ["attack"]:
        uvloop.run(globals()[sys.argv[2]](Attacker(sys.argv[3])))
    print(f"{'':<22}{'scrape':>9}{'health':>9}{'memory':>9}{'worst':>9}   after each round")
    print(f"{'':<22}{'p99, ms':>9}{'p99, ms':>9}{'MB':>9}{'MB':>9}   MB")
    told = [*sys.argv[1:4], *("5", "3", "")[len(sys.argv) - 1 :]]
    for row in rows(float(told[0]), int(told[1]), told[2]):
        print(row, flush=True)
