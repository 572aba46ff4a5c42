"""Both event loops, and servers and clients on them."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest
import uvloop

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

both_loops = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
Loop = Callable[[], asyncio.AbstractEventLoop]


def run(new_loop: Loop, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of this kind; 60 seconds are too long."""

    async def bounded() -> T:
        async with asyncio.timeout(60):
            try:
                return await main
            finally:
                await asyncio.sleep(0.01)  # what was closed goes in the loop's next turns

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(bounded())


@contextlib.asynccontextmanager
async def listening(server: asyncio.AbstractServer) -> AsyncIterator[tuple[str, int]]:
    """A server's address, while it listens."""
    try:
        yield server.sockets[0].getsockname()[:2]  # type: ignore[attr-defined]
    finally:
        server.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of other threads too
            await asyncio.sleep(0.001)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a RST."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
