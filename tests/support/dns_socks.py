"""A SOCKS5 proxy in a few lines."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def socks(*, reply: int = 0, password: str = "") -> AsyncIterator[tuple[int, list[str]]]:
    """A SOCKS5 proxy that takes every name for 127.0.0.1; tells its port and what it was asked for."""
    wanted: list[str] = []

    async def pipe(reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await reader.readexactly((await reader.readexactly(2))[1])
            writer.write(b"\5\2" if password else b"\5\0")
            if password:
                user = await reader.readexactly((await reader.readexactly(2))[1])
                secret = await reader.readexactly((await reader.readexactly(1))[0])
                writer.write(b"\1\0" if (user, secret.decode()) == (b"u", password) else b"\1\1")
            kind = (await reader.readexactly(4))[3]
            size = 4 if kind == 1 else (await reader.readexactly(1))[0]
            host = await reader.readexactly(size)
            port = int.from_bytes(await reader.readexactly(2), "big")
            wanted.append(f"{'.'.join(map(str, host)) if kind == 1 else host.decode()}:{port}")
            writer.write(b"\5" + bytes((reply,)) + b"\0\1\0\0\0\0\0\0")
            if reply:
                writer.close()
                return
            there, here = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pipe(reader, here), pipe(there, writer))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], wanted
    server.close()
    await asyncio.sleep(0.05)
