"""What the proxy's clients talk to: an HTTP server, and destinations that keep them waiting.

with target() as site:
    ... GET http://127.0.0.1:{site.port}/bytes/1000 ...

/get             a line of text
/bytes/N         N bytes
/delay/S         a line of text after S seconds
/status/N        that status
/drip?n=N&s=S    N bytes, one at a time, over S seconds
"""

import asyncio
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

_CHUNK = bytes(65536)


@dataclass
class Target:
    """A server in a thread of its own.

    Attributes:
        port: Where it listens.
        requests: The paths that were asked for.
        peers: The addresses (host, port) that connected.
        silent: Set to have every further connection accepted and never answered.
        taken: Bytes of body that were sent to it.
        held: Open connections; the loop itself forgets those that were half closed.
    """

    port: int
    requests: list[str] = field(default_factory=list)
    peers: list[tuple[str, int]] = field(default_factory=list)
    silent: bool = False
    taken: int = 0
    held: set[asyncio.StreamWriter] = field(default_factory=set)


@contextmanager
def target(host: str = "127.0.0.1", port: int = 0) -> Iterator[Target]:
    """Serve HTTP until the block ends."""
    site = Target(port)
    with _in_thread(lambda: _serve(site, host)):
        yield site


@contextmanager
def holding(host: str = "127.0.0.1") -> Iterator[Target]:
    """Accept and say nothing; a connection that the client half closes stays open on this side."""
    site = Target(0, silent=True)
    with _in_thread(lambda: _serve(site, host)):
        yield site


@contextmanager
def deaf(host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a destination that never answers a dial: its backlog is full, so SYNs are dropped."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind((host, 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        yield int(listener.getsockname()[1])


async def _serve(site: Target, host: str) -> AsyncIterator[None]:
    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        return _connection(site, reader, writer)

    server = await asyncio.start_server(connected, host, site.port, backlog=1024)
    site.port = server.sockets[0].getsockname()[1]
    yield
    server.close()


async def _connection(site: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    site.peers.append(writer.get_extra_info("peername")[:2])
    site.held.add(writer)
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        if site.silent:
            await asyncio.Event().wait()
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1].decode()
            site.requests.append(path)
            if length := re.search(rb"content-length: (\d+)", head.lower()):
                site.taken += len(await reader.readexactly(int(length[1])))
            await _answer(writer, path)
            if b"connection: close" in head.lower():
                break
    site.held.remove(writer)
    writer.close()


async def _answer(writer: asyncio.StreamWriter, path: str) -> None:
    url = urlsplit(path)
    what, _, argument = url.path.strip("/").partition("/")
    query = {name: float(values[0]) for name, values in parse_qs(url.query).items()}
    status, size, pause = 200, 6, 0.0
    match what:
        case "bytes":
            size = int(argument)
        case "delay":
            await asyncio.sleep(float(argument))
        case "status":
            status = int(argument)
        case "drip":
            size = int(query.get("n", 10))
            pause = query.get("s", 1.0) / size
        case "get":
            pass
        case _:
            status = 404
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n".encode())
    chunk = b"." if pause else _CHUNK
    for start in range(0, size, len(chunk)):
        await asyncio.sleep(pause)
        writer.write(chunk[: size - start])
        await writer.drain()


@contextmanager
def _in_thread(serve: Callable[[], AsyncIterator[None]]) -> Iterator[None]:
    """Run an async generator's first half, then the block, then its second half, in a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="target", daemon=True)
    thread.start()
    steps = serve()

    async def step() -> None:
        async for _ in steps:
            return

    async def cancel() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # the transports that these closed end in the loop's next turns

    try:
        asyncio.run_coroutine_threadsafe(step(), loop).result(10)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(step(), loop).result(10)
        asyncio.run_coroutine_threadsafe(cancel(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
