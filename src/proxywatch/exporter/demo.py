"""Everything on one machine with no configuration: a proxy, a target, some traffic, the exporter in front.

The proxy is a real Dante where it is installed; else a small SOCKS5 relay of our own stands in, which writes
no log, so that there are no sessions to see. All of it listens on loopback and ends with the demo.
"""

import asyncio
import itertools
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from proxywatch.stage import target
from proxywatch.stage.proxy import BLOCKED, HOST, free_port, proxy

_SOCKS, _METRICS, _HEALTH = 1080, 9090, 9999
_ROUND_TRIP, _BYTES_PER_SECOND = 0.03, 6_000_000  # of the link to the target, some 45 Mbps
_FAILURES = ("refused", "blocked", "garbage", "scan")
_EVERY = 50
"""One client in so many fails, in each of the ways in turn."""
_SETTINGS = """\
proxy: {{name: demo, url: "socks5h://{host}:{socks}"}}
latency: {{interval: 5s, timeout: 3s, targets: ["http://{host}:{target}/get"]}}
speed: {{interval: 15s, url: "http://{host}:{target}/bytes/{{bytes}}"}}
sessions: {{log: "{directory}/danted.log", start: beginning}}
sockets: {{port: {socks}}}
exit: {{enabled: false}}
interface: {{enabled: false}}
wireguard: {{enabled: false}}
http: {{listen: "{host}:{metrics}"}}
health: {{listen: "{host}:{health}"}}
log: {{level: warning}}
"""


@dataclass(frozen=True)
class Place:
    """Where the demo's parts are.

    Attributes:
        directory: Of its files; ends with it.
        socks: The proxy's port.
        target: The local web server's port.
        dante: Whether the proxy is a real Dante.
    """

    directory: Path
    socks: int
    target: int
    dante: bool


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """A target and a proxy, until the block ends."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="proxywatch-demo-")))
        serve = partial(target.serve, round_trip=_ROUND_TRIP, bytes_per_second=_BYTES_PER_SECOND)
        server = await asyncio.start_server(serve, HOST, 0)
        await stack.enter_async_context(server)
        port = free_port(_SOCKS)
        real = await stack.enter_async_context(proxy(directory, port))
        yield Place(directory, port, server.sockets[0].getsockname()[1], dante=real)


def settings(where: Place) -> str:
    """The exporter's settings for the demo, as a file would hold them."""
    return _SETTINGS.format(
        host=HOST, socks=where.socks, target=where.target, directory=where.directory,
        metrics=free_port(_METRICS), health=free_port(_HEALTH),
    )  # fmt: skip


def welcome(where: Place, http: list[str], health: list[str]) -> str:
    """What the demo prints when all of it runs."""
    proxy = (
        "a real Dante"
        if where.dante
        else "a stand-in, as Dante is not installed: there are no sessions to see"
    )
    return "\n".join(
        (
            f"SOCKS5 proxy  socks5h://{HOST}:{where.socks}  ({proxy})",
            f"target        http://{HOST}:{where.target}/get and /bytes/N",
            *(f"status page   http://{address}/" for address in http),
            *(f"metrics       http://{address}/metrics" for address in http),
            *(f"health        http://{address}/readyz" for address in health),
            "",
            f"The link to the target is shaped to {_BYTES_PER_SECOND * 8 / 1e6:.0f} Mbps and"
            f" {_ROUND_TRIP * 1000:.0f} ms. One client in {_EVERY} fails on purpose: a refused port,",
            "a blocked destination, garbage, a scan. The first speed test comes within seconds.",
            "Ctrl-C ends all of it.",
        )
    )


async def traffic(where: Place, dice: random.Random) -> None:
    """A few clients at a time: pages of all sizes, and now and then what fails; never ends by itself."""
    limit = asyncio.Semaphore(20)
    failures = itertools.cycle(_FAILURES)
    async with asyncio.TaskGroup() as tasks:
        for number in itertools.count(1):
            await limit.acquire()
            kind = "page" if number % _EVERY else next(failures)
            client = tasks.create_task(_client(where, kind, dice), name=f"client {kind}")
            client.add_done_callback(lambda _: limit.release())
            await asyncio.sleep(dice.expovariate(4))


# The clients


async def _client(where: Place, kind: str, dice: random.Random) -> None:
    """One connection to the proxy: `page`, or one of the ways to fail."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(HOST, where.socks)
        try:
            if kind == "garbage":
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                await reader.read()
            elif kind != "scan":
                address = BLOCKED if kind == "blocked" else HOST
                port = 1 if kind == "refused" else where.target
                await _through(reader, writer, address, port, dice)
        finally:
            writer.close()


async def _through(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, dice: random.Random
) -> None:
    """SOCKS5 CONNECT, then a page of a random size; some clients linger."""
    writer.write(b"\x05\x01\x00")
    await reader.readexactly(2)
    writer.write(b"\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack("!H", port))
    reply = await reader.readexactly(10)
    if reply[1] == 0:
        await asyncio.sleep(dice.expovariate(1))
        size = int(dice.paretovariate(1) * 1000)
        writer.write(b"GET /bytes/%d HTTP/1.1\r\nHost: demo\r\n\r\n" % min(size, 1_000_000))
        while await reader.read(65536):
            pass
