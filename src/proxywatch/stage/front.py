"""A front before a proxy on loopback that makes it slow, lets it fail, or takes it away.

It forwards bytes both ways with a delay. While the tunnel is "dead" it answers the SOCKS handshake itself, with the
reply that a proxy gives whose VPN does not get through; while it is "gone" it accepts nothing.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from proxywatch.stage.proxy import HOST

State = Literal["up", "dead", "gone"]
_GENERAL_FAILURE = b"\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"
_PIECE = 16 << 10


class Front:
    """The front of one proxy.

    Attributes:
        state: How it behaves to new connections.
        delay: Seconds that each piece takes, each way.
        failing: Share of connections that fail while it is up, 0 to 1.
    """

    def __init__(self, port: int, proxy: int, delay: float, failing: float, dice: random.Random) -> None:
        self.port = port
        self.state: State = "up"
        self.delay = delay
        self.failing = failing
        self._proxy = proxy
        self._dice = dice

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Listen until the block ends."""
        server = await asyncio.start_server(self._serve, HOST, self.port)
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self.state == "dead" or self._dice.random() < self.failing:
                await self._refuse(reader, writer)
            elif self.state == "up":
                await self._forward(reader, writer)
        writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        await asyncio.sleep(self.delay)
        writer.write(b"\x05\x00")
        await reader.readexactly(4)
        await reader.read(_PIECE)
        await asyncio.sleep(self.delay)
        writer.write(_GENERAL_FAILURE)
        await writer.drain()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, self._proxy)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer))
                tasks.create_task(self._pump(far_reader, writer))
        finally:
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_PIECE):
                await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
