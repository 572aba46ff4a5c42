"""A real Dante on loopback, or a small SOCKS5 relay that stands in where none is installed."""

import asyncio
import os
import shutil
import signal
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import click

HOST = "127.0.0.1"
BLOCKED = "127.0.0.9"
"""A destination that the proxy's rules block."""
_NAME, _IPV6 = 3, 4
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


def dante() -> str | None:
    """Where Dante is installed; None where it is not."""
    return shutil.which("danted", path=os.environ.get("PATH", "") + ":/usr/sbin") or shutil.which("sockd")


@asynccontextmanager
async def proxy(directory: Path, port: int) -> AsyncIterator[bool]:
    """A proxy on the port, until the block ends; yields whether it is a real Dante."""
    binary = dante()
    async with AsyncExitStack() as stack:
        if binary:
            await stack.enter_async_context(_danted(binary, directory, port))
        else:
            await stack.enter_async_context(await asyncio.start_server(_serve_socks, HOST, port))
        yield bool(binary)


def free_port(wished: int) -> int:
    """The port, or one that the kernel chooses when somebody has it already."""
    for port in (wished, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                listener.bind((HOST, port))
                return int(listener.getsockname()[1])
    raise click.ClickException("no free port on loopback")


@asynccontextmanager
async def _danted(binary: str, directory: Path, port: int) -> AsyncIterator[None]:
    users = "user.privileged: root\nuser.unprivileged: nobody" if os.geteuid() == 0 else ""
    conf = directory / "danted.conf"
    conf.write_text(_DANTE.format(directory=directory, host=HOST, port=port, users=users, blocked=BLOCKED))
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
            _, writer = await asyncio.open_connection(HOST, port)
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
            if host == BLOCKED:
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
