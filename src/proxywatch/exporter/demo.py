"""Everything on one machine with no configuration: a proxy, a target, some traffic, the exporter in front.

The proxy is a real Dante where it is installed; else a small SOCKS5 relay of our own stands in, which writes
no log, so that there are no sessions to see. All of it listens on loopback and ends with the demo.
"""

import asyncio
import itertools
import os
import random
import shutil
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

_HOST = "127.0.0.1"
_BLOCKED = "127.0.0.9"
_NAME, _IPV6 = 3, 4
_LARGEST = 100_000_000
_ZEROS = bytes(65536)
_SOCKS, _METRICS, _HEALTH = 1080, 9090, 9999
_ROUND_TRIP, _BYTES_PER_SECOND = 0.03, 6_000_000  # of the link to the target, some 45 Mbps
_FAILURES = ("refused", "blocked", "garbage", "scan")
_EVERY = 50
"""One client in so many fails, in each of the ways in turn."""
_DANTE = """\
logoutput: {directory}/danted.log
internal: {host} port = {port}
external: lo
clientmethod: none
socksmethod: none
{users}
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0
 log: connect disconnect error }}
socks block {{ from: 0.0.0.0/0 to: {blocked}/32
 log: connect disconnect error }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0
 log: connect disconnect error }}
"""
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
        server = await asyncio.start_server(_serve_target, _HOST, 0)
        await stack.enter_async_context(server)
        target = server.sockets[0].getsockname()[1]
        port = free_port(_SOCKS)
        binary = shutil.which("danted", path=os.environ.get("PATH", "") + ":/usr/sbin") or shutil.which(
            "sockd"
        )
        if binary:
            await stack.enter_async_context(_danted(binary, directory, port))
        else:
            await stack.enter_async_context(await asyncio.start_server(_serve_socks, _HOST, port))
        yield Place(directory, port, target, dante=bool(binary))


def settings(where: Place) -> str:
    """The exporter's settings for the demo, as a file would hold them."""
    return _SETTINGS.format(
        host=_HOST, socks=where.socks, target=where.target, directory=where.directory,
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
            f"SOCKS5 proxy  socks5h://{_HOST}:{where.socks}  ({proxy})",
            f"target        http://{_HOST}:{where.target}/get and /bytes/N",
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


def free_port(wished: int) -> int:
    """The port, or one that the kernel chooses when somebody has it already."""
    for port in (wished, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                listener.bind((_HOST, port))
                return int(listener.getsockname()[1])
    raise click.ClickException("no free port on loopback")


# The proxy


@asynccontextmanager
async def _danted(binary: str, directory: Path, port: int) -> AsyncIterator[None]:
    users = "user.privileged: root\nuser.unprivileged: nobody" if os.geteuid() == 0 else ""
    conf = directory / "danted.conf"
    conf.write_text(_DANTE.format(directory=directory, host=_HOST, port=port, users=users, blocked=_BLOCKED))
    command = (binary, "-f", str(conf), "-p", str(directory / "danted.pid"))
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    try:
        await _until_listening(process, port, directory / "danted.log")
        yield
    finally:
        # Its children are in the group of the mother; they go with her, sessions and all.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _until_listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    for _ in range(200):
        with suppress(OSError):
            _, writer = await asyncio.open_connection(_HOST, port)
            writer.close()
            return
        if process.returncode is not None:
            break
        await asyncio.sleep(0.05)
    with suppress(OSError):
        click.echo(log.read_text(errors="replace"), err=True)  # noqa: ASYNC240 - we are about to exit
    raise click.ClickException("danted did not start")


async def _serve_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Stand in for Dante: SOCKS5 CONNECT to an address, without a log."""
    with suppress(OSError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        host = await _address(reader, kind)
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        try:
            if host == _BLOCKED:
                raise PermissionError
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError as error:
            refusal = 2 if isinstance(error, PermissionError) else 5
            writer.write(bytes((5, refusal, 0, 1, 0, 0, 0, 0, 0, 0)))
        else:
            writer.write(bytes((5, 0, 0, 1, 0, 0, 0, 0, 0, 0)))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, far_writer))
                tasks.create_task(_pump(far_reader, writer))
    writer.close()


async def _address(reader: asyncio.StreamReader, kind: int) -> str:
    """An address as SOCKS5 writes it: 1 for IPv4, 4 for IPv6, 3 for a name with its length before it."""
    if kind == _NAME:
        return (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    family, size = (socket.AF_INET6, 16) if kind == _IPV6 else (socket.AF_INET, 4)
    return socket.inet_ntop(family, await reader.readexactly(size))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


# The target


async def _serve_target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`/get`: nothing; `/bytes/N`: N bytes; the connection is closed after one answer."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(_ROUND_TRIP)
        path = head.split(b" ", 2)[1]
        what, _, count = path.strip(b"/").partition(b"/")
        size = min(int(count), _LARGEST) if what == b"bytes" and count.isdigit() else 0
        status = b"200 OK" if what in (b"bytes", b"get") else b"404 Not Found"
        writer.write(
            b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (status, size)
        )
        for start in range(0, size, len(_ZEROS)):
            writer.write(_ZEROS[: size - start])
            await writer.drain()
            await asyncio.sleep(len(_ZEROS) / _BYTES_PER_SECOND)
    writer.close()


# The clients


async def _client(where: Place, kind: str, dice: random.Random) -> None:
    """One connection to the proxy: `page`, or one of the ways to fail."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(_HOST, where.socks)
        try:
            if kind == "garbage":
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                await reader.read()
            elif kind != "scan":
                address = _BLOCKED if kind == "blocked" else _HOST
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
